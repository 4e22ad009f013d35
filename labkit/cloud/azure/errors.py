"""Azure's errors: one exception, the codes that each service has for an engine error, and Resource Manager's shape.

https://github.com/Azure/azure-resource-manager-rpc/blob/master/v1.0/common-api-details.md#error-response-content and
https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from labkit.cloud.engine import errors as engine
from labkit.cloud.http import Response

#: Engine error -> (code, HTTP status): what a service table need not repeat.
Codes = Mapping[type[engine.CloudError], tuple[str, int]]


class AzureError(engine.CloudError):
    """An error in Azure's words: ``code`` as clients see it, the HTTP ``status``, ``details`` in ARM's shape.

    ``info`` holds entries of ``additionalInfo`` (type -> info) in Resource Manager's errors and further elements
    in Storage's.
    """

    code: str

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 400,
        *,
        details: Sequence[Mapping[str, Any]] = (),
        target: str = "",
        info: Mapping[str, Any] | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.details = list(details)
        self.target = target
        self.info = dict(info or {})
        #: Response headers that go with the error.
        self.headers = list(headers)

    def body(self) -> dict[str, Any]:
        """The error as Resource Manager writes it, without the outer ``error``."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.target:
            body["target"] = self.target
        if self.details or self.info:
            body["details"] = self.details
        if self.info:
            body["additionalInfo"] = [{"type": kind, "info": info} for kind, info in self.info.items()]
        return body


#: What Resource Manager and most resource providers answer.
GENERIC: Codes = {
    engine.Invalid: ("BadRequest", 400),
    engine.NotFound: ("ResourceNotFound", 404),
    engine.Conflict: ("Conflict", 409),
    engine.LimitExceeded: ("QuotaExceeded", 409),
    engine.Unauthenticated: ("AuthenticationFailed", 401),
    engine.Denied: ("AuthorizationFailed", 403),
    engine.Throttled: ("TooManyRequests", 429),
    engine.Unavailable: ("ServiceUnavailable", 503),
    engine.TimedOut: ("RequestTimeout", 408),
    engine.Unsupported: ("NotImplemented", 501),
}


def of_engine(error: engine.CloudError, own: Codes | None = None) -> AzureError:
    """An engine error as a service names it; ``own`` are the codes that the service does not share."""
    if isinstance(error, AzureError):
        return error
    for kind in type(error).__mro__:
        code, status = (own or {}).get(kind) or GENERIC.get(kind) or ("", 0)
        if code:
            return AzureError(error.code or code, error.message, status)
    return AzureError(error.code or "InternalServerError", error.message, 500)


def refusal(what: str, why: str = "") -> AzureError:
    """What an operation that the kit does not serve answers: HTTP 501, in the cloud's own error shape."""
    return AzureError("NotImplemented", why or f"The local clouds do not serve {what} yet; see docs/fidelity.md.", 501)


def user_error(message: str, status: int, inner: str, region: str, now: datetime, operation: str) -> AzureError:
    """An error of Azure Machine Learning's own (its "management front end"), as it wraps every mistake of a caller's.

    ``inner`` is the code of the innermost error (``NotFound``, ``Immutable`` ...).
    """
    return AzureError(
        "UserError",
        message,
        status,
        info={
            "ComponentName": {"value": "managementfrontend"},
            "Correlation": {"value": {"operation": operation.replace("-", ""), "request": operation[:16]}},
            "Environment": {"value": region},
            "Location": {"value": region},
            "Time": {"value": now.isoformat()},
            "InnerError": {"value": {"code": inner, "innerError": None}},
        },
    )


def arm_response(error: AzureError, request_id: str, *, head: bool = False) -> Response:
    """The error as Resource Manager sends it."""
    headers = [
        ("Content-Type", "application/json; charset=utf-8"),
        ("x-ms-request-id", request_id),
        ("x-ms-correlation-request-id", request_id),
        ("x-ms-failure-cause", "gateway" if error.status in (401, 403, 404) else "service"),
        *error.headers,
    ]
    return Response(error.status, headers, b"" if head else json.dumps({"error": error.body()}).encode())
