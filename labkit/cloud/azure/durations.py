"""Lengths of time as Azure's interfaces write them: ISO 8601, such as ``PT5S`` or ``P1DT2H``."""

from __future__ import annotations

import re
from datetime import timedelta

_PARTS = re.compile(
    r"P(?:(?P<weeks>\d+(?:\.\d+)?)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)


def parse(text: object) -> timedelta | None:
    """The length that a text says, or None when it says none. Years and months have no length."""
    if not isinstance(text, str) or text.endswith(("P", "T")) or (found := _PARTS.fullmatch(text)) is None:
        return None
    return timedelta(**{name: float(value) for name, value in found.groupdict().items() if value})


def text(length: timedelta) -> str:
    """A length as Azure writes it, to the millisecond."""
    seconds = length.total_seconds()
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    clock = "".join(f"{int(value)}{unit}" for value, unit in ((hours, "H"), (minutes, "M")) if value)
    if rest or not (days or clock):
        clock += f"{rest:.3f}".rstrip("0").rstrip(".") + "S"
    return (f"P{int(days)}D" if days else "P") + (f"T{clock}" if clock else "")
