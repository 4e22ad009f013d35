"""An environment's packages, checked against what is installed: nothing is built and nothing is installed here.

An environment names an image and, usually, a conda file. Azure builds a new image of the two before it starts a
deployment, and fails the deployment when that is not possible
(https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints#error-imagebuildfailure). Here
a package that is missing or of another version fails it in the same way, by name. The Python version may differ, as
there is one only; the log says so.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.cloud.engine.requirements import unmet_lines

#: What sentences call the packages' list.
CONDA_FILE = "The conda file"
#: Conda's names for packages that pip knows under others.
_CONDA_NAMES = {
    "dask-core": "dask",
    "matplotlib-base": "matplotlib",
    "opencv": "opencv-python",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
}
#: What installs packages: of no consequence where none is installed.
_INSTALLERS = frozenset(("conda", "pip", "setuptools", "wheel"))
#: Packages that hold the inference server, which the kit has itself.
_SERVER = frozenset(("azureml-contrib-services", "azureml-defaults", "azureml-inference-server-http"))

_SPEC = re.compile(r"(?:[\w.-]+::?)?(?P<name>[A-Za-z0-9_][\w.-]*)\s*(?P<version>[^\[\]]*)")
_NAME = re.compile(r"\s*([A-Za-z0-9][\w.-]*)")


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a check: sentences on what is not met, and on what is met in another way than on Azure."""

    problems: list[str]
    notes: list[str]


def check(environment: Mapping[str, Any]) -> Checked:
    """Checks the ``properties`` of an environment's version."""
    notes = []
    if image := environment.get("image"):
        notes.append(f"The local clouds run no containers: the lab's own environment stands for the image {image}.")
    text = environment.get("condaFile") or ""
    if not text:
        return Checked([], notes)
    try:
        listed = list(_listed(text))
    except _Malformed as error:
        return Checked([f"{CONDA_FILE} {error}"], notes)
    lines = []
    for name, line in listed:
        if name == "python":
            if note := _python_note(line):
                notes.append(note)
        elif name in _SERVER:
            notes.append(f"{name} is not installed: the kit's own inference server stands for it.")
        elif name not in _INSTALLERS:
            lines.append(line)
    return Checked(unmet_lines(lines, CONDA_FILE), notes)


class _Malformed(Exception):
    """The conda file cannot be read. The message goes on from its name."""


def _listed(text: str) -> Iterator[tuple[str, str]]:
    """The packages of a conda file: each one's name and what is asked for, as pip writes it."""
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _Malformed(f"is not YAML: {' '.join(str(error).split())}.") from None
    dependencies = content.get("dependencies") if isinstance(content, dict) else None
    if not isinstance(dependencies, list):
        raise _Malformed("has no list of dependencies.")
    for each in dependencies:
        if isinstance(each, str):
            yield _of_conda(each)
        elif isinstance(each, dict) and list(each) == ["pip"] and isinstance(each["pip"] or [], list):
            for line in each["pip"] or []:
                named = _NAME.match(str(line))
                yield (_plain(named[1]) if named else ""), str(line)
        else:
            raise _Malformed(f"has the dependency {each!r}, which is neither a package nor a list for pip.")


def _of_conda(spec: str) -> tuple[str, str]:
    """A conda package's name and requirement: ``numpy=1.26`` asks pip for ``numpy==1.26.*``."""
    found = _SPEC.fullmatch(spec.strip())
    if found is None:
        return "", spec
    name, version = _plain(found["name"]), found["version"].strip()
    known = _CONDA_NAMES.get(name, name)
    if re.fullmatch(r"=[\w.!+]+(=\S*)?", version):
        number = version[1:].partition("=")[0]
        return name, f"{known}=={number}.*"
    if re.fullmatch(r"\d[\w.]*(\s+\S+)?", version):
        return name, f"{known}=={version.split()[0]}"
    if re.fullmatch(r"=?=?\s*[\w.]+\.?\*", version):
        number = version.lstrip("= ").rstrip(".*")
        return name, f"{known}=={number}.*"
    return name, f"{known}{version}"


def _python_note(line: str) -> str:
    wanted = re.sub(r"^python[=<>~! ]*", "", line).removesuffix(".*")
    here = platform.python_version()
    asked, mine = wanted.split(".")[:2], here.split(".")[:2]
    if not re.fullmatch(r"\d+(\.\d+)*", wanted) or asked == mine[: len(asked)]:
        return ""
    return f"{CONDA_FILE} asks for Python {wanted}: the script runs with Python {here}, the lab's own."


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
