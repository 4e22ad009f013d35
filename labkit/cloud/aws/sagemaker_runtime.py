"""SageMaker's runtime: a prediction from an endpoint, its errors and its metrics.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.sagemaker_deployment import log_group
from labkit.cloud.aws.sagemaker_hosting import Endpoint
from labkit.cloud.aws.sagemaker_state import State
from labkit.cloud.engine.errors import ModelFailed, NotFound, TimedOut, Unavailable
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

SERVICE = "sagemaker-runtime"

#: Bytes that a request's body may have, and at which the connection's own limit lies.
LARGEST_BODY = 6 * 1024 * 1024
LARGEST_CONTENT = LARGEST_BODY + 4096
#: Seconds in which the container has to answer.
TIME_LIMIT = 60.0
#: Characters of the container's answer that an error quotes.
LONGEST_QUOTE = 16 * 1024

NAMESPACE = "AWS/SageMaker"

CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
#: Parameters that ask for what the kit does not serve, and what that is.
_NOT_SERVED = {
    "EnableExplanations": "explanations",
    "InferenceComponentName": "inference components",
    "SessionId": "stateful sessions",
    "PrefixAwareId": "routing by prefix",
}
#: Parameter -> the most characters that it may have.
_LONGEST = {"ContentType": 1024, "Accept": 1024, "CustomAttributes": 1024, "InferenceId": 64, "TargetVariant": 63}

_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. "
    "Review the latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)
#: What the container's own front (nginx) answers when the process behind it is gone.
_BAD_GATEWAY = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


def invoke_endpoint(call: Call, parameters: dict[str, Any]) -> Response:
    """Sends the body to a variant's container and hands its answer back.

    Errors of the container come back as ``ModelError`` (424) with its own status as ``OriginalStatusCode``.
    """
    body: bytes = parameters["Body"]
    if len(body) > LARGEST_CONTENT:
        raise AwsError("413", f"HTTP content length exceeded {LARGEST_CONTENT} bytes.", 413)
    endpoint = _endpoint(call, parameters)
    _check(call, endpoint, parameters)
    headers = {
        name: parameters[parameter]
        for name, parameter in (
            ("content-type", "ContentType"),
            ("accept", "Accept"),
            (CUSTOM_ATTRIBUTES, "CustomAttributes"),
        )
        if parameter in parameters
    }
    started = time.perf_counter()
    try:
        answer = endpoint.serving.invoke(headers, body, variant=parameters.get("TargetVariant"), timeout=TIME_LIMIT)
    except NotFound:
        names = ", ".join(state.name for state in endpoint.serving.variants())
        message = (
            f"Variant {parameters['TargetVariant']} of endpoint {endpoint.name} not found; its variants are {names}."
        )
        raise AwsError("ValidationError", message) from None
    except Unavailable as error:
        raise AwsError("ServiceUnavailable", error.message, 503) from None
    except TimedOut as error:
        _measure(call, endpoint, error.variant, 0, time.perf_counter() - started)
        raise _model_error(call, endpoint, 0, _TIMED_OUT) from None
    except ModelFailed as error:
        _measure(call, endpoint, error.variant, error.status, time.perf_counter() - started)
        raise _model_error(call, endpoint, error.status, _BAD_GATEWAY) from None
    _measure(call, endpoint, answer.variant, answer.status, answer.model_seconds)
    if not 200 <= answer.status < 300:
        raise _model_error(call, endpoint, answer.status, answer.body.decode("utf-8", "replace"))
    sent = [
        ("content-type", answer.headers.get("content-type", "application/octet-stream")),
        ("x-amzn-invoked-production-variant", answer.variant),
    ]
    if CUSTOM_ATTRIBUTES in answer.headers:
        sent.append((CUSTOM_ATTRIBUTES, answer.headers[CUSTOM_ATTRIBUTES]))
    return Response(200, sent, answer.body)


OPERATIONS: dict[str, Callable[[Call, dict[str, Any]], Response]] = {"InvokeEndpoint": invoke_endpoint}

NOTES = {
    "InvokeEndpoint": "endpoints with one model a variant; explanations, inference components, sessions and "
    "multi-model targets refuse"
}


def _endpoint(call: Call, parameters: Mapping[str, Any]) -> Endpoint:
    """The endpoint, which the runtime tells apart by case and does not know until it serves."""
    name = parameters["EndpointName"]
    endpoint = call.store(State).endpoints.get(name.lower())
    if endpoint is None or endpoint.name != name or not endpoint.variants:
        message = f"Endpoint {name} of account {call.account} not found."
        if endpoint is not None and endpoint.name == name:
            message += f" It is {endpoint.status}, and takes requests once it is InService."
        raise AwsError("ValidationError", message)
    return endpoint


def _check(call: Call, endpoint: Endpoint, parameters: Mapping[str, Any]) -> None:
    for name, what in _NOT_SERVED.items():
        if name in parameters:
            raise part_of(call, f"{what} ({name})")
    if "TargetModel" in parameters:
        message = f"Endpoint {endpoint.name} is not a multi-model endpoint and does not support target model header."
        raise AwsError("ValidationError", message)
    if "TargetContainerHostname" in parameters:
        message = (
            f"Endpoint {endpoint.name} has no containers that can be invoked directly, and does not support target "
            "container hostname header."
        )
        raise AwsError("ValidationError", message)
    problems = []
    if len(parameters["Body"]) > LARGEST_BODY:
        problems.append(_constraint("body", f"Member must have length less than or equal to {LARGEST_BODY}"))
    for name, most in _LONGEST.items():
        if len(parameters.get(name, "")) > most:
            problems.append(
                _constraint(name[0].lower() + name[1:], f"Member must have length less than or equal to {most}")
            )
    if problems:
        plural = "s" if len(problems) > 1 else ""
        message = f"{len(problems)} validation error{plural} detected: {'; '.join(problems)}"
        raise AwsError("ValidationError", message)


def _constraint(member: str, rule: str) -> str:
    return f"Value at '{member}' failed to satisfy constraint: {rule}"


def _model_error(call: Call, endpoint: Endpoint, status: int, text: str) -> AwsError:
    """ModelError as the runtime words it. Status 0 stands for no answer at all."""
    side = "client" if 400 <= status < 500 else "server"
    group = log_group(endpoint.name)
    quoted = f'with message "{text}"' if len(text) <= LONGEST_QUOTE else "and could not load the entire response body"
    console = f"https://{call.region}.console.aws.amazon.com/cloudwatch/home?region={call.region}"
    message = (
        f"Received {side} error ({status}) from primary {quoted}. See {console}#logEventViewer:group={group} "
        f"in account {call.account} for more information."
    )
    return AwsError(
        "ModelError",
        message,
        424,
        OriginalStatusCode=status,
        OriginalMessage=text[:LONGEST_QUOTE],
        LogStreamArn=f"arn:aws:logs:{call.region}:{call.account}:log-group:{group}",
    )


def _measure(call: Call, endpoint: Endpoint, variant: str, status: int, model_seconds: float) -> None:
    """The endpoint's metrics for one request that reached a container; status 0 stands for no answer.

    https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html#cloudwatch-metrics-endpoint-invocation
    """
    dimensions = {"EndpointName": endpoint.name, "VariantName": variant}
    instances = next((each.wanted.count for each in endpoint.variants if each.name == variant), 1)
    failed = not 200 <= status < 300
    overhead = time.perf_counter() - call.request.received - model_seconds
    put = call.engine.metrics.put
    for name, value, unit in (
        ("Invocations", 1.0, "None"),
        ("InvocationsPerInstance", 1.0 / instances, "None"),
        ("Invocation4XXErrors", float(400 <= status < 500), "None"),
        ("Invocation5XXErrors", float(failed and not 400 <= status < 500), "None"),
        ("InvocationModelErrors", float(failed), "None"),
        ("ModelLatency", model_seconds * 1e6, "Microseconds"),
        ("OverheadLatency", max(overhead, 0.0) * 1e6, "Microseconds"),
    ):
        put(call.scope, NAMESPACE, name, dimensions, value, unit=unit)
