"""Refusing a part of an operation that is otherwise served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.cloud.aws.errors import AwsError, refusal

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call


def part_of(call: Call, what: str) -> AwsError:
    """The error for ``what``, which the operation has at AWS and not here."""
    why = f"The local clouds do not serve {what} in {call.service}:{call.operation}; see docs/fidelity.md."
    return refusal(call.service, call.operation, why)
