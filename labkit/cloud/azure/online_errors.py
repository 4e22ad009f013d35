"""Errors of online endpoints: mistakes in a request, and reasons for which a deployment fails.

Azure's front end hands on what its inferencing service says, wrapped: code ``BadRequest``, and in ``details`` the code
``InferencingClientCallFailed`` with the service's own JSON. Failures of a deployment have the codes of
https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints#common-deployment-errors.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from labkit.cloud.azure.errors import AzureError, refusal

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

_GUIDE = "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg"


def invalid(call: Call, message: str, field: str = "") -> AzureError:
    """A mistake in a request; ``field`` is the part of it, where the service names one."""
    inner = {
        "errors": {field: [message]},
        "type": "https://tools.ietf.org/html/rfc9110#section-15.5.1",
        "title": "One or more validation errors occurred.",
        "status": 400,
        "traceId": f"00-{call.request_id.replace('-', '')}-{call.request_id[:16].replace('-', '')}00-00",
    }
    wrapped = call.user_error("The request is invalid.", 400, "BadRequest")
    return AzureError(
        "BadRequest",
        "The request is invalid.",
        400,
        details=[{"code": "InferencingClientCallFailed", "message": json.dumps(inner, separators=(",", ":"))}],
        info=wrapped.info,
    )


def busy(call: Call, what: str, state: str) -> AzureError:
    """What a change answers while another one is under way."""
    message = f"{what} is {state}: another operation on it is already in progress. Try again when it has finished."
    error = call.user_error(message, 409, "Conflict")
    return AzureError("Conflict", message, 409, info=error.info)


def not_served(what: str) -> AzureError:
    """What a request for a part of online endpoints answers that the kit does not serve."""
    return refusal(what)


def failed(code: str, message: str, guide: str = "", log: str = "") -> AzureError:
    """Why a deployment failed. ``guide`` is the section of Microsoft's guide, ``log`` the end of the container's."""
    text = f"{message.rstrip('.')}. {_GUIDE}#{guide or f'error-{code.lower()}'}"
    if log:
        text += f"\n\nContainer logs:\n{log}"
    return AzureError(code, text, 400)
