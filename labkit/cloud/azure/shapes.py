"""Reading what a request's JSON holds: objects and texts where they should be, or Resource Manager's error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from labkit.cloud.azure.errors import AzureError


def section(whole: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object of this name; an empty one where there is none. Raises :class:`AzureError` for anything else."""
    value = whole.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(name, value, "an object")
    return value


def text(whole: Mapping[str, Any], name: str, default: str = "") -> str:
    """The text of this name; ``default`` where there is none. Raises :class:`AzureError` for anything else."""
    value = whole.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise _wrong(name, value, "a text")
    return value or default


def conditions(given: str) -> list[str]:
    """The conditions of a ``$filter``, which ``and`` joins; what stands between quotation marks is not split."""
    parts = re.split(r"\s+and\s+(?=(?:[^']*'[^']*')*[^']*$)", given.strip(), flags=re.IGNORECASE)
    return [part.strip() for part in parts if part.strip()]


def _wrong(name: str, value: Any, wanted: str) -> AzureError:
    what = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return AzureError(
        "InvalidRequestContent",
        f"The request content was invalid and could not be deserialized: '{name}' has to be {wanted}, not "
        f"{what.get(type(value), 'an object')}.",
        400,
    )
