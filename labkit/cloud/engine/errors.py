"""What can go wrong in the engine, in no vendor's words.

A dialect keeps one table from these classes to its cloud's error codes, HTTP statuses and shapes. An error may
carry the dialect's own ``code`` where one class has several names in a cloud.
"""

from __future__ import annotations


class CloudError(Exception):
    """A request that could not be done. The message is one sentence, written for the person who sent it."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Invalid(CloudError):
    """The request breaks a rule that can be checked without looking at the clouds' state."""


class NotFound(CloudError):
    """The thing named is not there."""


class Conflict(CloudError):
    """The thing exists already, or its state does not allow the operation."""


class LimitExceeded(CloudError):
    """A documented quota or size limit would be passed."""


class Unauthenticated(CloudError):
    """No credential, or one that is wrong or out of date."""


class Denied(CloudError):
    """A valid credential that may not do this."""


class Throttled(CloudError):
    """Too many requests at once."""


class Unsupported(CloudError):
    """An operation or a feature that the kit does not serve. It refuses; it never pretends."""


class Unavailable(CloudError):
    """Nothing can serve the request at the moment."""


class OfReplica(CloudError):
    """An error that a model replica had: ``variant`` is the variant's name and ``replica`` the replica's, if known."""

    variant = ""
    replica = ""


class TimedOut(OfReplica):
    """The work did not finish within its limit."""


class StartFailed(OfReplica):
    """A process (model replica, job step, function) did not become ready. ``log_tail`` is its last output."""

    def __init__(self, message: str, *, log_tail: str = "", code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.log_tail = log_tail


class ModelFailed(OfReplica):
    """The model answered with an error of its own: ``status`` and ``body`` are the model container's answer."""

    def __init__(self, message: str, *, status: int, body: bytes = b"", code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.body = body
