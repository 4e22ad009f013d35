"""From a container's command and arguments, as a pipeline has them, to what is run.

Placeholders: https://www.kubeflow.org/docs/components/pipelines/user-guides/components/container-components/ and
https://www.kubeflow.org/docs/components/pipelines/user-guides/core-functions/use-placeholders/ (the run's own names).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.cloud.gcp.pipeline_values import ValueProblem, text

_PLACEHOLDER = re.compile(r"\{\{\$(?:\.([^{}]+?))?\}\}")
_PART = re.compile(r"\.?(\w+)|\[(?:'([^']+)'|\"([^\"]+)\"|(\d+))\]")
#: How KFP's compiler writes a Python component: the source is argument 0 of this script.
_LIGHTWEIGHT = re.compile(
    r'program_path=\$\(mktemp -d\)\s+printf "%s" "\$0" > "\$program_path/ephemeral_component\.py"\s+'
    r"_KFP_RUNTIME=true python3 -m kfp\.dsl\.executor_main\s+--component_module_path\s+"
    r'"\$program_path/ephemeral_component\.py"\s+"\$@"\s*'
)
#: What the compiler has installed beside the component's own packages: its own version, whose executor runs here as
#: that of the version that is here.
_COMPILERS_OWN = re.compile(r"kfp==2(?:\.\w+)+")
#: Options of pip that are followed by a value.
_WITH_VALUE = {"--index-url", "-i", "--extra-index-url", "--trusted-host", "--find-links", "-f"}


@dataclass(frozen=True)
class Lightweight:
    """A Python component: its source, what pip is to install for it, and the arguments of KFP's executor."""

    source: str
    requirements: tuple[str, ...]
    arguments: tuple[str, ...]


def resolved(elements: Sequence[Any], given: Mapping[str, Any], constants: Mapping[str, str]) -> list[str]:
    """A command with its placeholders replaced, given the executor's input; raises :class:`ValueProblem`.

    ``constants`` are the run's names, such as ``pipeline_job_name``.
    """
    present = {*given["inputs"].get("parameterValues", {}), *given["inputs"].get("artifacts", {})}
    return [
        _PLACEHOLDER.sub(lambda found: _value(found[1], given, constants), plain)
        for element in elements
        for plain in _structured(element, present)
    ]


def lightweight(command: Sequence[str]) -> Lightweight | None:
    """The Python component that a command is, where KFP's compiler wrote it so; None for any other command."""
    command = list(command)
    requirements: list[str] = []
    if command[:2] == ["sh", "-c"] and len(command) > 4 and command[2].rstrip().endswith('&& "$0" "$@"'):
        requirements += _packages(command[2])
        command = command[3:]
    if command[:2] != ["sh", "-ec"] or len(command) < 4 or not _LIGHTWEIGHT.fullmatch(command[2]):
        return None
    return Lightweight(command[3], tuple(requirements), tuple(command[4:]))


def _packages(script: str) -> list[str]:
    """What a script has pip install."""
    lexer = shlex.shlex(script, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    found, installing, skip = [], False, False
    for number, word in enumerate(words):
        if words[number - 2 : number + 1] == ["-m", "pip", "install"]:
            installing = True
        elif set(word) <= set(";&|()<>"):
            installing = skip = False
        elif installing:
            if not skip and not word.startswith("-") and not _COMPILERS_OWN.fullmatch(word):
                found.append(word)
            skip = word in _WITH_VALUE
    return found


def _structured(element: Any, present: set[str]) -> list[str]:
    """The words that an element stands for: ``IfPresent`` may leave it out or make several of it."""
    if isinstance(element, str):
        if not element.startswith(('{"Concat": ', '{"IfPresent": ')):
            return [element]
        element = json.loads(element)
    if isinstance(element, list):
        return [word for each in element for word in _structured(each, present)]
    if "Concat" in element:
        return ["".join(word for each in element["Concat"] for word in _structured(each, present))]
    asked = element["IfPresent"]
    chosen = asked["Then"] if asked["InputName"] in present else asked.get("Else")
    return [] if chosen is None else _structured(chosen, present)


def _value(path: str | None, given: Mapping[str, Any], constants: Mapping[str, str]) -> str:
    if path is None:
        return json.dumps(given)
    if path in constants:
        return constants[path]
    parts = [name or quoted or other or index for name, quoted, other, index in _PART.findall(path)]
    side, kind, *rest = parts if len(parts) >= 3 else ("", "")
    found: Any = None
    if side in ("inputs", "outputs") and kind == "parameters":
        found = given[side].get("parameterValues" if side == "inputs" else "parameters", {}).get(rest[0])
        if side == "outputs" and found is not None and rest[1:] == ["output_file"]:
            return str(found["outputFile"])
        if side == "inputs" and len(rest) == 1:
            return text(found)
    if side in ("inputs", "outputs") and kind == "artifacts" and rest:
        held = given[side].get("artifacts", {}).get(rest[0], {}).get("artifacts", [])
        if len(rest) == 1:
            return json.dumps(held)
        if not held:
            raise ValueProblem(f"The placeholder {{{{$.{path}}}}} names an artifact that was not given.")
        if rest[1] == "path":
            return str(held[0]["uri"]).replace("gs://", "/gcs/", 1)
        found = held[0].get(rest[1])
        for key in rest[2:]:
            found = found.get(key) if isinstance(found, dict) else None
        if rest[1] in ("uri", "name", "metadata"):
            return text(found)
    raise ValueProblem(f"The placeholder {{{{$.{path}}}}} is not served.")
