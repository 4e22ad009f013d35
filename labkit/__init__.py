"""The MLOps Lab Kit: cloud infrastructure and MLOps on AWS, Azure and Google Cloud, learned on local clouds.

A notebook needs one name from here: ``from labkit import Lab``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.lab import CheckFailed, Lab

__all__ = ["CheckFailed", "Lab"]


def __getattr__(name: str) -> Any:
    # Imported when asked for, so that the local clouds and the command line start without a notebook's imports.
    if name in __all__:
        from labkit import lab

        return getattr(lab, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
