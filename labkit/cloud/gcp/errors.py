"""Google's errors: one exception, the code that each engine error has, and its form over gRPC and REST.

https://cloud.google.com/apis/design/errors, https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.cloud.engine import errors as engine
from labkit.cloud.http import Response

#: Canonical code -> (its number in gRPC, its HTTP status).
CODES: Mapping[str, tuple[int, int]] = {
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}

#: Engine error -> canonical code. An engine error may bring a canonical code of its own.
OF_ENGINE: Mapping[type[engine.CloudError], str] = {
    engine.Invalid: "INVALID_ARGUMENT",
    engine.NotFound: "NOT_FOUND",
    engine.Conflict: "FAILED_PRECONDITION",
    engine.LimitExceeded: "RESOURCE_EXHAUSTED",
    engine.Unauthenticated: "UNAUTHENTICATED",
    engine.Denied: "PERMISSION_DENIED",
    engine.Throttled: "RESOURCE_EXHAUSTED",
    engine.Unsupported: "UNIMPLEMENTED",
    engine.Unavailable: "UNAVAILABLE",
    engine.TimedOut: "DEADLINE_EXCEEDED",
    engine.StartFailed: "FAILED_PRECONDITION",
    engine.ModelFailed: "FAILED_PRECONDITION",
}


class GcpError(engine.CloudError):
    """An error in Google's words. ``code`` is a canonical code's name (``NOT_FOUND``).

    ``details`` are messages of ``google.rpc`` (``ErrorInfo``, ``BadRequest`` ...); ``headers`` go with an HTTP answer.
    """

    code: str

    def __init__(
        self, code: str, message: str, details: Sequence[Any] = (), *, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message, code=code)
        self.details = list(details)
        self.headers = list(headers)

    @property
    def number(self) -> int:
        """The code's number in gRPC."""
        return CODES[self.code][0]

    @property
    def status(self) -> int:
        """The code's HTTP status."""
        return CODES[self.code][1]

    def rpc_status(self) -> Any:
        """The error as a ``google.rpc.Status`` message, as gRPC's trailing metadata and operations carry it."""
        from labkit.cloud.gcp import schema

        status = schema.message("google.rpc.Status")(code=self.number, message=self.message)
        for each in self.details:
            status.details.add().Pack(each)
        return status

    def body(self) -> dict[str, Any]:
        """The error as REST has it."""
        error: dict[str, Any] = {"code": self.status, "message": self.message, "status": self.code}
        if self.details:
            from google.protobuf.json_format import MessageToDict

            from labkit.cloud.gcp import schema

            error["details"] = MessageToDict(self.rpc_status(), descriptor_pool=schema.pool())["details"]
        return {"error": error}


def of_engine(error: engine.CloudError) -> GcpError:
    """An engine error as Google's APIs name it."""
    if isinstance(error, GcpError):
        return error
    if error.code is not None and error.code in CODES:
        return GcpError(error.code, error.message)
    code = next((OF_ENGINE[kind] for kind in type(error).__mro__ if kind in OF_ENGINE), "INTERNAL")
    return GcpError(code, error.message)


def refusal(what: str, why: str = "") -> GcpError:
    """What a method that the kit does not serve answers: ``UNIMPLEMENTED``, HTTP 501."""
    return GcpError("UNIMPLEMENTED", why or f"The local clouds do not serve {what} yet; see docs/fidelity.md.")


def invalid(message: str, field: str = "") -> GcpError:
    """``INVALID_ARGUMENT``; with the offending field, a ``BadRequest`` among the details."""
    if not field:
        return GcpError("INVALID_ARGUMENT", message)
    from labkit.cloud.gcp import schema

    details = schema.message("google.rpc.BadRequest")()
    details.field_violations.add(field=field, description=message)
    return GcpError("INVALID_ARGUMENT", message, [details])


def response(error: GcpError) -> Response:
    """The error as REST sends it."""
    headers = [("Content-Type", "application/json; charset=UTF-8"), *error.headers]
    return Response(error.status, headers, json.dumps(error.body(), indent=2).encode() + b"\n")
