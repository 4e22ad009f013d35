"""Raw requests in a scoring script.

https://learn.microsoft.com/azure/machine-learning/how-to-deploy-advanced-entry-script#binary-or-image-data
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Request

F = TypeVar("F", bound=Callable[..., Any])

#: Read by the server after it has imported the script.
_rawHttpRequested = False


def rawhttp(func: F) -> F:
    """Decorates ``run``, which is then called with the request itself: an :class:`AMLRequest`."""
    global _rawHttpRequested
    _rawHttpRequested = True
    return func


class AMLRequest(Request):
    """A request as ``run`` gets it: Flask's."""
