"""What a batch transform leaves out of its records, and how it puts records and answers together again.

https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform-data-processing.html
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Formats whose records can be read, by their content types.
CSV, JSON = "csv", "json"
FORMATS = {
    "text/csv": CSV,
    "application/json": JSON,
    "application/jsonlines": JSON,
    "application/x-jsonlines": JSON,
}
#: The filter that keeps everything.
ALL = "$"

_STEP = re.compile(r"\.(?P<name>[^.\[\]*\s]+)|\.\*|\[(?P<within>[^\[\]]*)\]")
_NAME = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_SLICE = re.compile(r"(-?\d*):(-?\d*)")


class FilterError(Exception):
    """A filter that cannot be read, or a record that has not what the filter names."""


Select = Callable[[Any], Any]


def selector(path: str) -> Select:
    """What a JSONPath expression takes out of a record; raises :class:`FilterError` for one of another form."""
    if not path.startswith(ALL):
        raise FilterError(f"{path!r} is no JSONPath expression: it begins with $.")
    steps: list[Select] = []
    at = len(ALL)
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            raise FilterError(f"{path!r} has {path[at:]!r}, which is no operator that SageMaker supports.")
        steps.append(_step(path, found))
        at = found.end()

    def select(value: Any) -> Any:
        for step in steps:
            value = step(value)
        return value

    return select


def _step(path: str, found: re.Match[str]) -> Select:
    within = "*" if found["within"] is None else found["within"].strip()
    if found["name"] is not None:
        return _names([found["name"]])
    if within == "*":
        return lambda value: list(value.values()) if isinstance(value, dict) else value
    parts = [each.strip() for each in within.split(",")]
    if all(names := [_NAME.fullmatch(each) for each in parts]):
        return _names([str(each[1] if each[1] is not None else each[2]) for each in names if each])
    if not all(re.fullmatch(r"-?\d+", each) or _SLICE.fullmatch(each) for each in parts):
        raise FilterError(f"{path!r} has [{within}], which is no operator that SageMaker supports.")
    return _indices(parts)


def _names(names: Sequence[str]) -> Select:
    def select(value: Any) -> Any:
        if not isinstance(value, dict):
            raise FilterError(f"A record has no attributes, and the filter names {names[0]!r}.")
        if missing := [each for each in names if each not in value]:
            raise FilterError(f"A record has no attribute {missing[0]!r}.")
        return value[names[0]] if len(names) == 1 else {each: value[each] for each in names}

    return select


def _indices(parts: Sequence[str]) -> Select:
    def select(value: Any) -> Any:
        if not isinstance(value, list):
            raise FilterError(f"A record is no list, and the filter names the position {parts[0]}.")
        taken: list[Any] = []
        for part in parts:
            if span := _SLICE.fullmatch(part):
                first, end = (int(each) if each else None for each in span.groups())
                taken += value[first:end]
                continue
            if not -len(value) <= int(part) < len(value):
                raise FilterError(f"A record has {len(value)} parts, and the filter names the position {part}.")
            taken.append(value[int(part)])
        return taken[0] if len(parts) == 1 and ":" not in parts[0] else taken

    return select


def read(line: bytes, form: str) -> Any:
    """A record: a row of CSV as the list of its texts, or any JSON value."""
    text = line.decode("utf-8", "replace").strip("\r\n")
    if form == CSV:
        return next(csv.reader([text]), [])
    try:
        return json.loads(text)
    except ValueError as error:
        raise FilterError(f"A record is no JSON: {error}.") from None


def write(value: Any, form: str) -> bytes:
    """A record as a line, without its end."""
    if form == JSON:
        return json.dumps(value).encode()
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(value if isinstance(value, list) else [value])
    return stream.getvalue().encode()


class Processing:
    """The ``DataProcessing`` of a job whose records are of one format."""

    def __init__(self, given: Mapping[str, str], form: str) -> None:
        self._form = form
        self._join = given.get("JoinSource", "None") == "Input"
        self._input, self._output = (given.get(each) or ALL for each in ("InputFilter", "OutputFilter"))
        self._select = selector(self._input), selector(self._output)
        #: Whether answers have to be told apart by records.
        self.by_record = self._join or self._output != ALL

    def before(self, line: bytes) -> bytes:
        """What the model gets of a record."""
        if self._input == ALL:
            return line
        kept = write(self._select[0](read(line, self._form)), self._form)
        return kept + b"\n" if line.endswith(b"\n") else kept

    def after(self, lines: Sequence[bytes], answer: bytes) -> bytes:
        """What is stored of records and the model's answer to them."""
        if not self.by_record:
            return answer
        answers = [each for each in answer.splitlines() if each.strip()]
        if len(answers) != len(lines):
            raise FilterError("Fail to join data: mismatched line count between the input and the output")
        stored = [self._stored(line, each) for line, each in zip(lines, answers, strict=True)]
        return b"".join(write(each, self._form) + b"\n" for each in stored)

    def _stored(self, line: bytes, answer: bytes) -> Any:
        record, output = read(line, self._form), read(answer, self._form)
        if not self._join:
            return self._select[1](output)
        if self._form == CSV:
            joined: Any = [*record, *output]
        elif isinstance(record, dict):
            joined = {**record, "SageMakerOutput": output}
        else:
            joined = {"SageMakerInput": record, "SageMakerOutput": output}
        return self._select[1](joined)
