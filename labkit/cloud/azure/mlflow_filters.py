"""MLflow's filters of runs: ``metrics.auc > 0.8 and params.model = 'forest'``, and the order of what they choose.

https://mlflow.org/docs/latest/search-runs.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labkit.cloud.azure.errors import AzureError

#: A run as MLflow shows it -> whether it is chosen.
Filter = Callable[[Mapping[str, Any]], bool]

_NAME = r"""(?:`[^`]+`|"[^"]+"|[\w./-]+)"""
_CLAUSE = re.compile(
    rf"""\s*(?:(?P<kind>metrics?|params?|parameters?|tags?|attributes?|attr|run)\.)?(?P<name>{_NAME})\s*
    (?P<operator>>=|<=|!=|=|>|<|\bNOT\s+IN\b|\bIN\b|\bI?LIKE\b)\s*
    (?P<value>'[^']*'|"[^"]*"|-?[\d.]+(?:e[+-]?\d+)?|\([^)]*\))\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_AND = re.compile(r"and\b", re.IGNORECASE)
_ORDER = re.compile(rf"\s*(?:(?P<kind>\w+)\.)?(?P<name>{_NAME})(?:\s+(?P<way>asc|desc))?\s*", re.IGNORECASE)
_ATTRIBUTES = {"start_time", "end_time", "status", "run_id", "run_name", "user_id", "artifact_uri", "created"}
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


def parse(text: str) -> Filter:
    """The filter that a text says; raises :class:`AzureError` for one that is none."""
    clauses: list[Filter] = []
    at = 0
    while text[at:].strip():
        found = _CLAUSE.match(text, at)
        if found is None:
            raise _invalid(text)
        clauses.append(_clause(found, text))
        at = found.end()
        if text[at:].strip():
            word = _AND.match(text, at)
            if word is None:
                raise _invalid(text)
            at = word.end()
    return lambda run: all(clause(run) for clause in clauses)


def ordered(found: Sequence[dict[str, Any]], order: str) -> list[dict[str, Any]]:
    """Runs in the order that a text such as ``metrics.auc DESC`` says; those without a value come last."""
    matched = _ORDER.fullmatch(order)
    if matched is None:
        raise _invalid(order)
    down = (matched["way"] or "").lower() == "desc"
    read = _reader(matched["kind"] or "attributes", _plain(matched["name"]), order)
    values = [(read(run), run) for run in found]
    known = sorted((each for each in values if each[0] is not None), key=lambda each: each[0], reverse=down)
    return [run for _, run in [*known, *(each for each in values if each[0] is None)]]


def _clause(found: re.Match[str], text: str) -> Filter:
    operator = " ".join(found["operator"].upper().split())
    read = _reader(found["kind"] or "attributes", _plain(found["name"]), text)
    written = found["value"]
    if operator in ("IN", "NOT IN"):
        if not written.startswith("("):
            raise _invalid(text)
        choices = [_plain(each.strip()) for each in written[1:-1].split(",")]
        return lambda run: (str(read(run)) in choices) is (operator == "IN")
    if operator in ("LIKE", "ILIKE"):
        form = re.escape(_plain(written)).replace("%", ".*").replace("_", ".")
        pattern = re.compile(form, re.IGNORECASE if operator == "ILIKE" else 0)
        return lambda run: (value := read(run)) is not None and pattern.fullmatch(str(value)) is not None
    quoted = written[0] in "'\""
    compare = _COMPARED[operator]

    def holds(run: Mapping[str, Any]) -> bool:
        value = read(run)
        if value is None:
            return False
        if isinstance(value, str):
            return compare(value, _plain(written))
        if quoted:
            raise _invalid(text)
        return compare(value, float(written))

    return holds


def _reader(kind: str, name: str, text: str) -> Callable[[Mapping[str, Any]], Any]:
    """What reads one value of a run, None where it has none."""
    kind = kind.lower()
    if kind.startswith(("metric", "param", "tag")):
        field = "metrics" if kind.startswith("metric") else "params" if kind.startswith("param") else "tags"

        def read(run: Mapping[str, Any]) -> Any:
            value = next((each["value"] for each in run["data"][field] if each["key"] == name), None)
            return float(value) if field == "metrics" and value is not None else value

        return read
    known = "start_time" if name.lower() == "created" else name.lower()
    if known not in _ATTRIBUTES:
        raise _invalid(text)
    return lambda run: run["info"].get(known)


def _plain(written: str) -> str:
    return written[1:-1] if written[:1] in "'\"`" and written[-1:] == written[:1] and len(written) > 1 else written


def _invalid(text: str) -> AzureError:
    return AzureError("INVALID_PARAMETER_VALUE", f"The local clouds cannot read the filter or order {text!r}.", 400)
