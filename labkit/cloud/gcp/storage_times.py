"""Times as Cloud Storage writes them."""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime


def text(when: datetime) -> str:
    """RFC 3339, in milliseconds: ``2026-01-31T12:00:00.000Z``."""
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"


def http(when: datetime) -> str:
    """As in a header field: ``Sat, 31 Jan 2026 12:00:00 GMT``."""
    return format_datetime(when.replace(microsecond=0), usegmt=True)
