"""Requests of SageMaker's runtime, read without any model of the service: predictions must be quick.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.http import Request

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

_PATH = re.compile(r"/endpoints/([^/]+)/(invocations|async-invocations|invocations-response-stream)")
_OPERATIONS = {
    "invocations": "InvokeEndpoint",
    "async-invocations": "InvokeEndpointAsync",
    "invocations-response-stream": "InvokeEndpointWithResponseStream",
}
#: Header in lower case -> parameter.
HEADERS = {
    "content-type": "ContentType",
    "accept": "Accept",
    "x-amzn-sagemaker-custom-attributes": "CustomAttributes",
    "x-amzn-sagemaker-target-model": "TargetModel",
    "x-amzn-sagemaker-target-variant": "TargetVariant",
    "x-amzn-sagemaker-target-container-hostname": "TargetContainerHostname",
    "x-amzn-sagemaker-inference-id": "InferenceId",
    "x-amzn-sagemaker-enable-explanations": "EnableExplanations",
    "x-amzn-sagemaker-inference-component": "InferenceComponentName",
    "x-amzn-sagemaker-session-id": "SessionId",
    "x-amzn-sagemaker-prefix-aware-id": "PrefixAwareId",
}
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")


def is_runtime(request: Request) -> bool:
    """Whether a request signed for SageMaker is for its runtime."""
    return _PATH.fullmatch(request.raw_path) is not None


def find(call: Call) -> tuple[str, dict[str, Any]]:
    """The operation and its parameters; ``Body`` is the body as it came. Raises :class:`AwsError`."""
    matched = _PATH.fullmatch(call.request.raw_path)
    if matched is None or call.request.method != "POST":
        raise AwsError(
            "UnknownOperationException",
            f"{call.request.method} {call.request.path} is no operation of the runtime.",
            404,
        )
    endpoint = unquote(matched[1])
    parameters: dict[str, Any] = {"EndpointName": endpoint, "Body": call.body}
    for name, value in call.request.headers.items:
        if parameter := HEADERS.get(name.lower()):
            parameters[parameter] = value
    call.parameters = {name: value for name, value in parameters.items() if name != "Body"}
    rule = ""
    if len(endpoint) > 63:
        rule = "Member must have length less than or equal to 63"
    elif not _NAME.fullmatch(endpoint):
        rule = "Member must satisfy regular expression pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9])*"
    if rule:
        message = (
            f"1 validation error detected: Value '{endpoint}' at 'endpointName' failed to satisfy constraint: {rule}"
        )
        raise AwsError("ValidationError", message, 400)
    return _OPERATIONS[matched[2]], parameters
