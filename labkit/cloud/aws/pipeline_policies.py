"""What a step says of being run again or not at all: its cache and its retries.

https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching-enabling.html
https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

#: ISO 8601, and the forms of the documentation (``30d``, ``T16m``, ``30dT5h``), in any case.
_DURATION = re.compile(
    r"P?(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?",
    re.IGNORECASE,
)
_DAYS = {"years": 365, "months": 30, "weeks": 7, "days": 1}
_EXCEPTIONS = frozenset(
    [
        "Step.SERVICE_FAULT",
        "Step.THROTTLING",
        "SageMaker.JOB_INTERNAL_ERROR",
        "SageMaker.CAPACITY_ERROR",
        "SageMaker.RESOURCE_LIMIT",
    ]
)


@dataclass(frozen=True)
class Cache:
    """How old an earlier execution of a step may be to be taken for this one; None is any age."""

    expires: timedelta | None


@dataclass(frozen=True)
class Retrying:
    """A retry policy: which exceptions it is for, when and how often."""

    exceptions: frozenset[str]
    interval: float
    rate: float
    attempts: int | None
    expires: timedelta | None

    def wait(self, exception: str, attempt: int) -> float | None:
        """Seconds to wait before the next attempt after attempt number ``attempt``, or None for none."""
        if exception not in self.exceptions or (self.attempts is not None and attempt > self.attempts):
            return None
        return self.interval * self.rate ** (attempt - 1)


def read_cache(given: Any, invalid: Callable[[str], Exception]) -> Cache | None:
    """A step's CacheConfig; None where it is off. Raises ``invalid(reason)``."""
    if given is None:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("Enabled"), bool):
        raise invalid("CacheConfig has to be an object with Enabled true or false.")
    if not given["Enabled"]:
        return None
    if given.get("ExpireAfter") is None:
        return Cache(None)
    return Cache(duration(str(given["ExpireAfter"]), invalid))


def duration(text: str, invalid: Callable[[str], Exception]) -> timedelta:
    """An ISO 8601 duration; a year is 365 days, a month 30."""
    found = _DURATION.fullmatch(text)
    parts = {name: int(value) for name, value in found.groupdict().items() if value} if found else {}
    if not parts:
        raise invalid(f"ExpireAfter '{text}' is not an ISO 8601 duration.")
    days = sum(parts.pop(name, 0) * length for name, length in _DAYS.items())
    return timedelta(days=days, **parts)


def read_retries(given: Any, invalid: Callable[[str], Exception]) -> tuple[Retrying, ...]:
    """A step's RetryPolicies; raises ``invalid(reason)``."""
    found = []
    for each in given or ():
        exceptions = frozenset(each.get("ExceptionType", ()))
        if unknown := exceptions - _EXCEPTIONS:
            raise invalid(f"Unknown ExceptionType '{min(unknown)}'.")
        attempts, minutes = each.get("MaxAttempts"), each.get("ExpireAfterMin")
        if (attempts is None) == (minutes is None):
            raise invalid("A retry policy has either MaxAttempts or ExpireAfterMin.")
        if attempts is not None and not 1 <= attempts <= 20:
            raise invalid("MaxAttempts has to be from 1 to 20.")
        found.append(
            Retrying(
                exceptions,
                float(each.get("IntervalSeconds", 1)),
                float(each.get("BackoffRate", 2.0)),
                attempts,
                None if minutes is None else timedelta(minutes=minutes),
            )
        )
    return tuple(found)
