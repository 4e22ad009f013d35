"""Times as Cloud Storage writes them."""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime

from labkit.cloud.engine.clock import iso_milliseconds


def text(when: datetime) -> str:
    """RFC 3339, in milliseconds: ``2026-01-31T12:00:00.000Z``."""
    return iso_milliseconds(when)


def http(when: datetime) -> str:
    """As in a header field: ``Sat, 31 Jan 2026 12:00:00 GMT``."""
    return format_datetime(when.replace(microsecond=0), usegmt=True)
