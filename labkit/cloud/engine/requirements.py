"""The packages that a model's code asks for, as pip reads them, checked against what is installed.

The clouds install them before they import the learner's module, from a file of the model package
(https://sagemaker.readthedocs.io/en/stable/frameworks/sklearn/using_sklearn.html#using-third-party-libraries) or into
the container's image. The local clouds install nothing: a package that is missing, or of the wrong version, fails the
deployment by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

#: Options of a line that name another file with requirements.
_NESTED = re.compile(r"(?:-r|--requirement)[ =]?\s*(?P<path>\S+)")
#: Options that say where from or how to install, not what.
_HOW = re.compile(
    r"(?:-i|--index-url|--extra-index-url|--no-index|-f|--find-links|--trusted-host|--prefer-binary|--pre)\b"
)


def unmet(file: Path) -> list[str]:
    """One sentence for each requirement that is not met, in the file's order; an empty list when all are."""
    return list(_unmet_in(file, frozenset()))


def unmet_lines(lines: Iterable[str], name: str) -> list[str]:
    """As :func:`unmet`, of lines that came without a file; ``name`` is what the sentences call their source."""
    return [problem for line in lines if not _HOW.match(line) for problem in _unmet_line(line.strip(), name)]


def _unmet_in(file: Path, seen: frozenset[Path]) -> Iterator[str]:
    for line in _lines(file):
        nested = _NESTED.match(line)
        if nested:
            other = (file.parent / nested["path"]).resolve()
            if not other.is_file():
                yield f"{file.name} includes {nested['path']}, which is not in the model package."
            elif other not in seen:
                yield from _unmet_in(other, seen | {file.resolve(), other})
        elif not _HOW.match(line):
            yield from _unmet_line(line, file.name)


def _lines(file: Path) -> Iterator[str]:
    """The lines as pip reads them: continued lines joined, comments, hashes and empty lines left out."""
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.sub(r"(?:^|\s)#.*$", "", line)
        line = re.sub(r"\s--hash=\S+", "", line).strip()
        if line:
            yield line


def _unmet_line(line: str, name: str) -> Iterator[str]:
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        yield (
            f"{name} has the line {line!r}, which cannot be checked: write a package's name and version, "
            "such as scikit-learn>=1.2."
        )
        return
    yield from _unmet_requirement(requirement, name, extra="")


def _unmet_requirement(requirement: Requirement, name: str, extra: str) -> Iterator[str]:
    try:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            return
    except UndefinedEnvironmentName:
        return
    try:
        distribution = metadata.distribution(requirement.name)
    except metadata.PackageNotFoundError:
        yield f"{name} asks for {requirement}, which is not installed here."
        return
    if not requirement.specifier.contains(distribution.version, prereleases=True):
        yield f"{name} asks for {requirement}, but version {distribution.version} is installed here."
        return
    for wanted in sorted(requirement.extras):
        for line in distribution.requires or ():
            needed = Requirement(line)
            if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
                yield from _unmet_requirement(needed, f"{name} ({requirement.name}[{wanted}])", wanted)
