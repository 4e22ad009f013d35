"""The files in ``build`` in which learners of the foundations keep keys and answers: reads them, says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from labkit.labs.beginner.churn import shown
from labkit.labs.task import NotAttempted, Work, Wrong

#: What each denial in ``answers.json`` says, and each denied call in ``denied.json``.
DENIAL, DENIED_CALL = ("who", "action", "resource", "why"), ("id", "when", "who", "what")

DUMPS = "json.dumps writes what json.loads can read"


def read_json(work: Work, file: str, expected: str, hint: str = DUMPS) -> Any:
    """What a JSON file holds; ``expected`` says what it is for, to who has none, ``hint`` is for what is no JSON."""
    path = work.folder / "build" / file
    name = shown(work, path)
    if not path.is_file():
        raise NotAttempted(f"no file {name}", expected)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except UnicodeDecodeError as error:
        where = f"byte {error.start} is no text in UTF-8"
    raise Wrong(f"a {name} that is no JSON ({where})", expected, hint)


def record(
    work: Work, file: str, keys: Sequence[str], expected: str, hint: str = "", no_json: str = DUMPS
) -> dict[str, Any]:
    """The object that a JSON file holds, with text under each of the keys; ``no_json`` is the hint for another file."""
    return _record(read_json(work, file, expected, no_json), keys, f"{work.folder.name}/build/{file}", hint)


def records(work: Work, file: str, keys: Sequence[str], expected: str) -> list[dict[str, Any]]:
    """The objects of the list that a JSON file holds, each with text under each of the keys; the list can be empty."""
    listed = read_json(work, file, expected)
    name = f"{work.folder.name}/build/{file}"
    if not isinstance(listed, list):
        raise Wrong(f"{_kind(listed)} as {name}", "a list", f"around one object, too: [{{{keys[0]!r}: ...}}]")
    return [_record(each, keys, f"entry {number} of {name}") for number, each in enumerate(listed, 1)]


def _record(value: Any, keys: Sequence[str], name: str, hint: str = "") -> dict[str, Any]:
    expected = f"text under {', '.join(keys[:-1])} and {keys[-1]}"
    if not isinstance(value, dict):
        raise Wrong(f"{_kind(value)} as {name}", f"an object with {expected}", hint)
    for key in keys:
        if key not in value:
            raise Wrong(f"{name} without {key}", expected, hint)
        if not isinstance(value[key], str) or not value[key]:
            raise Wrong(f"{name} with {_kind(value[key])} under {key}", expected, hint)
    return value


def _kind(value: Any) -> str:
    """What a JSON value is, as a phrase."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text" if value else "an empty text"
        case list():
            return "a list"
        case _:
            return "an object"


def one_of(choices: Sequence[str]) -> str:
    """The answers that there are, as a phrase."""
    return f"one of {', '.join(map(repr, choices))}"


def moment(text: str) -> datetime | None:
    """A time in any ISO form, to the second; None for what is none."""
    try:
        found = datetime.fromisoformat(text).replace(microsecond=0)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
