"""CloudWatch Logs' filter patterns: terms, JSON (``{ $.latency > 50 }``), space-delimited (``[ip, ..., code = 4*]``).

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from labkit.cloud.aws.log_conditions import REGEXES, Predicate, Scanner, invalid, number

#: Wildcard selectors that one JSON pattern may hold; one selector may hold one.
WILDCARDS = 3

_MARK = re.compile(r"[?-](?=\S)")
_TERM = re.compile(r"\w+", re.ASCII)
_STEP = re.compile(r"\.?\['([^']*)'\]|\.([\w-]+)|\[(\d+)\]|(\.\*|\[\*\])", re.ASCII)
_IS = re.compile(r"IS\s+(NULL|TRUE|FALSE)\b")
_NOT_EXISTS = re.compile(r"NOT\s+EXISTS\b")
_NAME = re.compile(r"[\w-]+", re.ASCII)
_FIELD = re.compile(r'"([^"]*)"|\[([^\]]*)\]|(\S+)')


@lru_cache(maxsize=64)
def matcher(pattern: str) -> Predicate[str]:
    """A function that says whether an event's message matches.

    Raises :class:`AwsError` (InvalidParameterException) for a pattern that is not written as documented.
    """
    text = pattern.strip()
    for opening, closing, read in (("{", "}", _json_pattern), ("[", "]", _delimited_pattern)):
        if text.startswith(opening):
            if not text.endswith(closing) or len(text) == 1:
                raise invalid(f"If a filter pattern starts with '{opening}' it must end with '{closing}'")
            scanner = Scanner(text[1:-1])
            matches = read(scanner)
            if scanner.regexes > REGEXES:
                raise invalid(f"Invalid filter pattern: it has more than {REGEXES} regular expressions")
            return matches
    return _terms(Scanner(text))


def _terms(scanner: Scanner) -> Predicate[str]:
    """``ERROR``, ``"a phrase"``, ``%regex%``, each alone, with ``-`` (not this) or with ``?`` (any of these)."""
    required: list[Predicate[str]] = []
    excluded: list[Predicate[str]] = []
    optional: list[Predicate[str]] = []
    while not scanner.ended:
        mark = scanner.next(_MARK)
        kind = required if mark is None else optional if mark[0] == "?" else excluded
        kind.append(_term(scanner))
    if not required and not excluded and optional:
        return lambda message: any(holds(message) for holds in optional)
    # As documented: beside other terms, those with a question mark have no effect.
    return lambda message: all(holds(message) for holds in required) and not any(holds(message) for holds in excluded)


def _term(scanner: Scanner) -> Predicate[str]:
    expression = scanner.regex()
    if expression is not None:
        return lambda message: expression.search(message) is not None
    phrase = scanner.quoted()
    if phrase is not None:
        # As documented, " " matches everything.
        wanted = phrase if phrase.strip() else ""
        return lambda message: wanted in message
    word = scanner.next(_TERM)
    following = scanner.text[scanner.position : scanner.position + 1]
    if word is None or (following and not following.isspace()):
        raise invalid(f"Invalid character(s) in term '{following}'")
    return lambda message: word[0] in message


# -- JSON ----------------------------------------------------------------------------------------------------------


class _Number(str):
    """A number as it is written in the event."""


def _json_pattern(scanner: Scanner) -> Predicate[str]:
    holds = scanner.expression(lambda: _json_comparison(scanner))
    if not scanner.ended:
        scanner.fail()
    if scanner.wildcards > WILDCARDS:
        raise invalid(f"Invalid filter pattern: it has more than {WILDCARDS} wildcard selectors")

    def matches(message: str) -> bool:
        try:
            document = json.loads(message, parse_int=_Number, parse_float=_Number)
        except (ValueError, RecursionError):
            return False
        return holds(document)

    return matches


def _json_comparison(scanner: Scanner) -> Predicate[Any]:
    select = _selector(scanner)
    if scanner.next(_NOT_EXISTS):
        return lambda document: not any(True for _ in select(document))
    if keyword := scanner.next(_IS):
        wanted = {"NULL": None, "TRUE": True, "FALSE": False}[keyword[1]]
        return lambda document: any(value is wanted for value in select(document))
    meets = scanner.condition()

    def holds(document: Any) -> bool:
        # Only texts and numbers compare: objects, arrays and null meet neither = nor !=.
        return any(
            meets(value, float(value) if isinstance(value, _Number) else None)
            for value in select(document)
            if isinstance(value, str)
        )

    return holds


def _selector(scanner: Scanner) -> Callable[[Any], Iterator[Any]]:
    """Reads ``$.name``, ``$.list[0].name``, ``$.*``, ``$.['dotted.name']``; selects the values that are there."""
    if not scanner.take("$"):
        scanner.fail()
    steps: list[str | int | None] = []
    while step := _STEP.match(scanner.text, scanner.position):
        scanner.position = step.end()
        quoted, name, index, wildcard = step.groups()
        steps.append(None if wildcard else int(index) if index else name if name is not None else quoted)
    if not steps:
        scanner.fail()
    if steps.count(None) > 1:
        raise invalid("Invalid filter pattern: a property selector has more than one wildcard")
    scanner.wildcards += steps.count(None)

    def select(value: Any, depth: int = 0) -> Iterator[Any]:
        if depth == len(steps):
            yield value
            return
        step = steps[depth]
        if step is None and isinstance(value, (dict, list)):
            for item in value.values() if isinstance(value, dict) else value:
                yield from select(item, depth + 1)
        elif isinstance(step, str):
            if isinstance(value, dict) and step in value:
                yield from select(value[step], depth + 1)
        elif step is not None and isinstance(value, list) and step < len(value):
            yield from select(value[step], depth + 1)

    return select


# -- space-delimited -----------------------------------------------------------------------------------------------


def _delimited_pattern(scanner: Scanner) -> Predicate[str]:
    before, after = _columns(scanner)
    count = len(before) + len(after or [])

    def matches(message: str) -> bool:
        spans = list(_FIELD.finditer(message))
        if len(spans) < count:
            return False
        fields = [next((group for group in span.groups() if group is not None), "") for span in spans]
        if after is None and len(fields) > count:
            # The last name stands for the rest of the event, as in [w1=ERROR, w2].
            fields[count - 1 :] = [message[spans[count - 1].start() :].rstrip()]
        columns = list(zip(before, fields, strict=False))
        if after:
            columns += zip(after, fields[-len(after) :], strict=True)
        return all(holds(field) for holds, field in columns)

    return matches


def _columns(scanner: Scanner) -> tuple[list[Predicate[str]], list[Predicate[str]] | None]:
    """The columns before ``...`` and those after it (None: there is no ellipsis)."""
    if scanner.ended:
        raise invalid("Invalid filter pattern: it names no field")
    before: list[Predicate[str]] = []
    after: list[Predicate[str]] | None = None
    while True:
        if scanner.take("..."):
            if after is not None:
                raise invalid("Invalid filter pattern: it has more than one ellipsis")
            after = []
        else:
            (before if after is None else after).append(_column(scanner))
        if scanner.ended:
            return before, after
        if not scanner.take(","):
            scanner.fail()


def _column(scanner: Scanner) -> Predicate[str]:
    """A name, alone (or left out) for any value, or with conditions on it."""
    start = scanner.position
    scanner.next(_NAME)
    if not scanner.text[scanner.position :].lstrip().startswith(("=", "!", "<", ">", "(")):
        return lambda field: True
    scanner.position = start
    names: set[str] = set()

    def comparison() -> Predicate[str]:
        name = scanner.next(_NAME)
        if name is None:
            scanner.fail()
        names.add(name[0])
        meets = scanner.condition()
        return lambda field: meets(field, number(field))

    holds = scanner.expression(comparison)
    if len(names) > 1:
        raise invalid(f"Invalid filter pattern: one field is called {' and '.join(sorted(names))}")
    return holds
