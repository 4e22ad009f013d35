"""Values of a pipeline's definition: what is written as it is, and the expressions that an execution evaluates.

``{"Get": "Parameters.X"}``, ``{"Std:Join": {"On": "/", "Values": [...]}}`` and ``{"Std:JsonGet": {...}}``:
https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-properties.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: What an execution tells of itself.
EXECUTION = frozenset(
    (
        "PipelineName",
        "PipelineArn",
        "PipelineExecutionId",
        "PipelineExecutionArn",
        "StartDateTime",
        "CurrentDateTime",
        "TrainingJobName",
        "ProcessingJobName",
    )
)
_PART = re.compile(r"\[(?:'([^']*)'|\"([^\"]*)\"|(\d+))\]|\.?([^.\[\]]+)")
#: By which member an item of a list of a description is named: ``Outputs['train']``.
_NAMED_BY = ("OutputName", "InputName", "ChannelName", "MetricName", "Name")


class NoValue(Exception):
    """An expression has no value. The message is a sentence that says why."""


@dataclass
class Scope:
    """What expressions may ask about.

    ``steps`` holds what a finished step's description says, ``files`` the places of its property files in S3.
    ``read`` gives an object's content by its S3 address. ``now`` gives the value of a variable that changes.
    """

    parameters: Mapping[str, Any]
    execution: Mapping[str, str]
    read: Callable[[str], bytes]
    steps: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    files: dict[tuple[str, str], str] = field(default_factory=dict)

    def value(self, given: Any) -> Any:
        """A value with every expression in it evaluated; raises :class:`NoValue`."""
        if isinstance(given, list):
            return [self.value(each) for each in given]
        if not isinstance(given, dict):
            return given
        if len(given) == 1:
            (name, inside), *_ = given.items()
            if name == "Get":
                return self._get(str(inside))
            if name in ("Std:Join", "std:Join"):
                return str(inside.get("On", "")).join(_text(self.value(each)) for each in inside["Values"])
            if name in ("Std:JsonGet", "std:JsonGet"):
                return self._json_get(inside)
        return {name: self.value(each) for name, each in given.items()}

    def _get(self, path: str) -> Any:
        head, _, rest = path.partition(".")
        if head == "Parameters":
            return self.parameters[rest]
        if head == "Execution":
            if rest not in self.execution:
                raise NoValue(f"Execution.{rest} has no value here.")
            return self.execution[rest]
        name, _, below = rest.partition(".")
        if name not in self.steps:
            raise NoValue(f"Step {name} has no properties: it did not succeed in this execution.")
        return follow(self.steps[name], below, path)

    def _json_get(self, inside: Mapping[str, Any]) -> Any:
        if "PropertyFile" in inside:
            reference = inside["PropertyFile"]
            path = str(reference["Get"] if isinstance(reference, Mapping) else reference)
            _, step, _, file = path.split(".", 3)
            url = self.files.get((step, file))
            if url is None:
                raise NoValue(f"Property file {file} of step {step} is not there: the step did not succeed.")
        else:
            url = str(self.value(inside["S3Uri"]))
        try:
            document = json.loads(self.read(url))
        except ValueError:
            raise NoValue(f"Failed to parse the property file {url}: it is no JSON document.") from None
        return follow(document, str(self.value(inside["Path"])).removeprefix("$").removeprefix("."), url)


def follow(found: Any, path: str, source: str) -> Any:
    """What ``path`` leads to in a document: names apart by dots, ``[0]`` and ``['name']``. Raises :class:`NoValue`."""
    position = 0
    while position < len(path):
        part = _PART.match(path, position)
        if part is None:
            raise NoValue(f"The path {path!r} in {source} cannot be read.")
        position = part.end()
        key = next(each for each in part.groups() if each is not None)
        try:
            found = _item(found, key, is_index=part[3] is not None)
        except (KeyError, IndexError, TypeError):
            raise NoValue(f"Nothing was found at {path!r} in {source}: there is no {key!r}.") from None
    return found


def _item(found: Any, key: str, *, is_index: bool) -> Any:
    if isinstance(found, list):
        if is_index or key.isdigit():
            return found[int(key)]
        named = [each for each in found if any(each.get(name) == key for name in _NAMED_BY)]
        return named[0]
    return found[key]


def references(value: Any) -> Iterator[str]:
    """The paths of every ``Get`` in a value, nested ones included."""
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from references(each)
    elif isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get("Get"), str):
            yield value["Get"]
        else:
            for each in value.values():
                yield from references(each)


def is_expression(value: Any) -> bool:
    """Whether a value is to be evaluated."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _FUNCTIONS


_FUNCTIONS = frozenset(("Get", "Std:Join", "std:Join", "Std:JsonGet", "std:JsonGet"))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, (list, dict)) else str(value)
