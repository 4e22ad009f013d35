"""The functions of Azure Resource Manager templates that need nothing but their arguments.

https://learn.microsoft.com/azure/azure-resource-manager/templates/template-functions. ``uniqueString`` and ``guid``
answer values of the documented form, the same for the same arguments, but not those that Azure computes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from typing import Any
from urllib.parse import quote

from labkit.cloud.azure.template_language import Function

_KIT = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    return bool(first == second)


def _concat(*parts: Any) -> Any:
    if parts and isinstance(parts[0], list):
        return [item for part in parts for item in part]
    return "".join(_text(part) for part in parts)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "True" if value else "False"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _contains(whole: Any, item: Any) -> bool:
    if isinstance(whole, dict):
        return str(item).lower() in {name.lower() for name in whole}
    return (str(item) in whole) if isinstance(whole, str) else item in whole


def _union(first: Any, *others: Any) -> Any:
    whole = first.copy()
    for other in others:
        if isinstance(whole, dict):
            whole |= other
        else:
            whole += [item for item in other if item not in whole]
    return whole


def _format(pattern: str, *values: Any) -> str:
    return pattern.format(*(_text(value) for value in values))


def _unique(*parts: str) -> str:
    digest = hashlib.sha256("-".join(parts).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:13]


def _bool(value: Any) -> bool:
    return value.lower() in ("true", "1") if isinstance(value, str) else bool(value)


#: By lower-case name.
PURE: dict[str, Function] = {
    "add": lambda a, b: a + b,
    "and": lambda *values: all(values),
    "array": lambda value: value if isinstance(value, list) else [value],
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64tostring": lambda text: base64.b64decode(text).decode(),
    "bool": _bool,
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "concat": _concat,
    "contains": _contains,
    "createarray": lambda *items: list(items),
    "createobject": lambda *pairs: dict(zip(pairs[::2], pairs[1::2], strict=True)),
    "div": lambda a, b: a // b,
    "empty": lambda value: value is None or len(value) == 0,
    "endswith": lambda text, end: text.lower().endswith(end.lower()),
    "equals": _same,
    "false": lambda: False,
    "first": lambda whole: whole[0],
    "format": _format,
    "greater": lambda a, b: a > b,
    "greaterorequals": lambda a, b: a >= b,
    "guid": lambda *parts: str(uuid.uuid5(_KIT, "-".join(parts))),
    "indexof": lambda text, part: text.lower().find(part.lower()),
    "int": int,
    "join": lambda items, sign: sign.join(map(_text, items)),
    "json": json.loads,
    "last": lambda whole: whole[-1],
    "length": len,
    "less": lambda a, b: a < b,
    "lessorequals": lambda a, b: a <= b,
    "max": lambda *values: max(values[0] if isinstance(values[0], list) else values),
    "min": lambda *values: min(values[0] if isinstance(values[0], list) else values),
    "mod": lambda a, b: a % b,
    "mul": lambda a, b: a * b,
    "not": lambda value: not value,
    "null": lambda: None,
    "or": lambda *values: any(values),
    "padleft": lambda text, width, sign=" ": _text(text).rjust(width, sign),
    "range": lambda start, count: list(range(start, start + count)),
    "replace": lambda text, old, new: text.replace(old, new),
    "skip": lambda whole, count: whole[max(count, 0) :],
    "split": lambda text, sign: text.split(sign),
    "startswith": lambda text, start: text.lower().startswith(start.lower()),
    "string": _text,
    "sub": lambda a, b: a - b,
    "substring": lambda text, start, length=None: text[start:] if length is None else text[start : start + length],
    "take": lambda whole, count: whole[: max(count, 0)],
    "tolower": lambda text: text.lower(),
    "toupper": lambda text: text.upper(),
    "trim": lambda text: text.strip(),
    "true": lambda: True,
    "union": _union,
    "uniquestring": _unique,
    "uricomponent": lambda text: quote(text, safe=""),
}
