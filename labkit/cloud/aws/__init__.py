"""AWS over the engine: one file per service, over moto where moto does what AWS does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud, Call

__all__ = ["AwsCloud", "Call"]


def __getattr__(name: str) -> Any:
    """Imports the front when it is asked for: processes of models and functions need their own module only."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from labkit.cloud.aws import front

    return getattr(front, name)
