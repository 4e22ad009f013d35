"""What a target gets of an event: all of it, a part, or a text made of its parts.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[(\d+)\]|\[['\"]([^'\"]+)['\"]\]")
_VARIABLE = re.compile(r"<([A-Za-z0-9_.-]+)>")
_MISSING = object()


def is_path(text: str) -> bool:
    """Whether a text is a path as InputPath takes it: ``$.detail.steps[0]``."""
    return text.startswith("$") and _STEP.sub("", text[1:]) == ""


def at(event: Any, path: str) -> Any:
    """The value at a path; None where there is none."""
    found = _at(event, path)
    return None if found is _MISSING else found


def _at(event: Any, path: str) -> Any:
    for name, index, quoted in _STEP.findall(path):
        if index:
            if not isinstance(event, list) or int(index) >= len(event):
                return _MISSING
            event = event[int(index)]
        elif isinstance(event, Mapping) and (name or quoted) in event:
            event = event[name or quoted]
        else:
            return _MISSING
    return event


def of_target(target: Mapping[str, Any], event: Mapping[str, Any], rule: str, rule_arn: str, ingested: str) -> str:
    """What a target of a rule gets."""
    if "Input" in target:
        return str(target["Input"])
    if path := target.get("InputPath"):
        return json.dumps(at(event, path), ensure_ascii=False)
    if transformer := target.get("InputTransformer"):
        values = {name: _at(event, path) for name, path in (transformer.get("InputPathsMap") or {}).items()}
        values |= {
            "aws.events.rule-name": rule,
            "aws.events.rule-arn": rule_arn,
            "aws.events.event.ingestion-time": ingested,
            "aws.events.event.json": event,
            "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
        }
        return _filled(transformer["InputTemplate"], values)
    return json.dumps(event, ensure_ascii=False)


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """The template with its variables: as JSON, or within a JSON string as text."""
    parts: list[str] = []
    inside = False
    position = 0
    while position < len(template):
        variable = _VARIABLE.match(template, position)
        if variable and variable[1] in values:
            value = values[variable[1]]
            if value is _MISSING:
                value = ""
            if inside:
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                parts.append(json.dumps(text, ensure_ascii=False)[1:-1])
            else:
                parts.append(json.dumps(value, ensure_ascii=False))
            position = variable.end()
            continue
        character = template[position]
        if inside and character == "\\":
            parts.append(template[position : position + 2])
            position += 2
            continue
        if character == '"':
            inside = not inside
        parts.append(character)
        position += 1
    return "".join(parts)
