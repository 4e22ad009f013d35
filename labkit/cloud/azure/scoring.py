"""The scoring URI of managed online endpoints: a request's credential, the deployment it goes to, what comes back.

https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints#http-status-codes says which
status stands for what; the header fields of a failed model are those of that page. No part of Resource Manager is on a
request's way.
"""

from __future__ import annotations

import hmac
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from labkit.cloud.azure import monitor, tokens
from labkit.cloud.azure.errors import AzureError, Codes
from labkit.cloud.azure.inference_server import METHOD, TARGET
from labkit.cloud.azure.online_hosting import Deployment, Endpoint, Hosts
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.errors import Denied, ModelFailed, NotFound, TimedOut, Unavailable
from labkit.cloud.http import Request, Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

ERRORS: Codes = {}
#: Operation -> note, for ``docs/fidelity.md``.
SERVED = {
    "Score": "with a key, an Azure Machine Learning token or a Microsoft Entra token; maxQueueWait has no effect",
}
#: What a role must allow for a request with a Microsoft Entra token.
SCORE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"
#: For whom Microsoft Entra issues tokens that endpoints take.
AUDIENCE = "https://ml.azure.com"
#: The request's header that names a deployment, and the answer's that says which it was.
DEPLOYMENT = "azureml-model-deployment"
#: Bytes that the inference server's front takes at most.
LARGEST_BODY = 100 * 1024 * 1024
#: Characters of ``x-ms-client-request-id`` that count.
CLIENT_ID = 40

#: Fields of a request that concern the connection or the credential, not the model.
_NOT_PASSED_ON = frozenset(("authorization", "connection", "content-length", "expect", "host", "transfer-encoding"))
_NO_ROUTE = (
    "No valid deployments to route to. Please check that the endpoint has at least one deployment with positive weight "
    "values or use a deployment specific header to route."
)
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_accepts = tokens.one_of([AUDIENCE])


@dataclass(slots=True)
class Outcome:
    """How a request ended: what goes back, and what the model answered (status 0: it was not asked)."""

    response: Response
    deployment: str = ""
    model_status: int = 0
    model_seconds: float = 0.0


def answer(call: Call) -> Response:
    """Answers one request to an endpoint's host name."""
    started = call.request.received or time.perf_counter()
    call.operation, call.read_only = SCORE, True
    endpoint = hosts(call).find(call.target.region, call.target.name)
    if endpoint is None:
        message = f"There is no online endpoint {call.target.name} in {call.target.region}."
        raise AzureError("NotFound", message, 404)
    call.resource = endpoint.id
    try:
        outcome = _outcome(call, endpoint)
    except Denied as denied:
        monitor.measure(call, endpoint, Outcome(_text(403, denied.message)), started)
        raise
    fields = outcome.response.headers
    fields.append(("server", "azureml-frontdoor"))
    if "x-request-id" not in [name.lower() for name, _ in fields]:
        fields.append(("x-request-id", call.request_id))
    monitor.measure(call, endpoint, outcome, started)
    return outcome.response


def failure(call: Call, error: AzureError) -> Response:
    """An error as the front door writes it: a line of text."""
    response = _text(error.status, error.message, *error.headers)
    response.headers += [("server", "azureml-frontdoor"), ("x-request-id", call.request_id)]
    return response


def hosts(call: Call) -> Hosts:
    """The host names of endpoints, and what stands behind them."""
    return call.cloud.resources.store(Hosts, f"/subscriptions/{call.subscription}")


def _outcome(call: Call, endpoint: Endpoint) -> Outcome:
    refused = _authenticate(call, endpoint)
    if refused is not None:
        return Outcome(refused)
    named = call.request.headers.get(DEPLOYMENT)
    deployment = endpoint.deployment(named) if named else endpoint.draw()
    if deployment is None:
        return Outcome(_text(404, _NO_ROUTE))
    if not named and (shadow := endpoint.shadow()) is not None:
        _mirror(call, endpoint, shadow)
    if not deployment.enter():
        return Outcome(_too_many(), deployment.name)
    try:
        return _ask(endpoint, deployment, call.request, call.request_id)
    finally:
        deployment.leave()


def _mirror(call: Call, endpoint: Endpoint, shadow: Deployment) -> None:
    """Sends a copy of the request to another deployment: it runs, is measured and logged, and answers nobody.

    As nobody waits for it, it waits for its turn as long as a request may take.
    """
    sent = time.perf_counter()

    def send() -> None:
        started = time.perf_counter()
        if shadow.enter(max(sent + shadow.settings.request_timeout - started, 0.0)):
            started = time.perf_counter()
            try:
                outcome = _ask(endpoint, shadow, call.request, call.request_id)
            finally:
                shadow.leave()
        else:
            outcome = Outcome(_too_many(), shadow.name)
        monitor.measure(call, endpoint, outcome, started)

    endpoint.aside(send)


def _ask(endpoint: Endpoint, deployment: Deployment, request: Request, request_id: str) -> Outcome:
    """Has one deployment answer."""
    name = deployment.name
    if len(request.body) > LARGEST_BODY:
        return Outcome(_model_error(413, name), name, 413)
    headers = {key.lower(): value for key, value in request.headers.items}
    headers = {key: value for key, value in headers.items() if key not in _NOT_PASSED_ON}
    headers |= {METHOD: request.method, TARGET: request.target, "x-request-id": request_id}
    if client := headers.get("x-ms-client-request-id"):
        headers["x-ms-client-request-id"] = _UNFIT.sub("", client)[:CLIENT_ID]
    try:
        given = endpoint.serving.invoke(
            headers, request.body, variant=name, timeout=deployment.settings.request_timeout
        )
    except TimedOut:
        return Outcome(_text(408, "upstream request timeout", (DEPLOYMENT, name)), name)
    except ModelFailed as error:
        return Outcome(_model_error(error.status, name), name, error.status)
    except Unavailable:
        return Outcome(_model_error(503, name, b"no healthy upstream"), name, 503)
    except NotFound:
        return Outcome(_text(404, _NO_ROUTE))
    fields = [*given.headers.items(), (DEPLOYMENT, name)]
    if given.status != 200:
        response = _model_error(given.status, name, given.body, fields)
    else:
        response = Response(200, fields, given.body)
    return Outcome(response, name, given.status, given.model_seconds)


def _authenticate(call: Call, endpoint: Endpoint) -> Response | None:
    """Sees who sends the request and whether they may; the answer for those who may not."""
    scheme, _, presented = call.request.headers.get("authorization").partition(" ")
    presented = presented.strip()
    mode = endpoint.auth_mode
    if scheme.lower() != "bearer" or not presented:
        return _unauthorized(_BAD_HEADER[mode])
    if not endpoint.is_public:
        return _text(403, "Public network access is disabled for this endpoint: it takes requests of its network only.")
    scope = call.cloud.identities.tenant
    if mode == "Key":
        matches = [hmac.compare_digest(presented.encode(), key.encode()) for key in endpoint.keys]
        if True not in matches:
            return _unauthorized(_DENIED[mode])
        call._caller = Caller("azure", "key", scope, endpoint.region)
        return None
    accepts = _accepts if mode == "AADToken" else tokens.one_of([endpoint.id])
    try:
        claims = call.cloud.identities.tokens.verify(presented, accepts)
    except tokens.Rejected:
        return _unauthorized(_DENIED[mode])
    if call.cloud.identities.find(claims.object_id) is None:
        return _unauthorized(_DENIED[mode])
    call._caller = Caller("azure", claims.object_id, claims.tenant, endpoint.region, claims.identifier)
    if mode == "AADToken":
        call.engine.access.authorize(call._caller, SCORE, endpoint.id)
    return None


#: What the front door says of a credential that is missing or malformed, and of one that is wrong.
_BAD_HEADER = {
    "Key": "key_auth_bad_header_forbidden",
    "AMLToken": "token_auth_bad_header_forbidden",
    "AADToken": "token_auth_bad_header_forbidden",
}
_DENIED = {
    "Key": "key_auth_access_denied",
    "AMLToken": "token_auth_access_denied",
    "AADToken": "token_auth_access_denied",
}


def _unauthorized(reason: str) -> Response:
    return _text(401, reason, ("WWW-Authenticate", "Bearer"))


def _too_many() -> Response:
    return _text(429, "", ("ms-azureml-model-error-reason", "too_many_pending_request"))


def _model_error(
    status: int, deployment: str, body: bytes = b"", fields: list[tuple[str, str]] | None = None
) -> Response:
    """What a model's failure comes back as: its own answer, with the status that says whose failure it is."""
    if fields is None:
        fields = [("content-type", "text/plain"), (DEPLOYMENT, deployment)]
        body = body or HTTPStatus(status).phrase.encode()
    reason = [("ms-azureml-model-error-reason", "model_error"), ("ms-azureml-model-error-statuscode", str(status))]
    return Response(424, [*fields, *reason], body)


def _text(status: int, message: str, *fields: tuple[str, str]) -> Response:
    return Response(status, [("content-type", "text/plain"), *fields], message.encode())
