"""A function's configuration: what of it is served, checked as Lambda checks it.

https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: The runtimes whose functions run here; each runs on this environment's own Python.
RUNTIMES = tuple(f"python3.{minor}" for minor in range(8, 15))
#: Variables that a function's environment may not set
#: (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime).
RESERVED = frozenset(
    (
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SECRET_KEY",
        "AWS_SECURITY_TOKEN",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    )
)
#: What a function may have at AWS and not here.
_NOT_SERVED = (
    "AcceleratorConfig",
    "CapacityProviderConfig",
    "CodeSigningConfigArn",
    "DurableConfig",
    "FileSystemConfigs",
    "ImageConfig",
    "KMSKeyArn",
    "Layers",
    "PublishTo",
    "RuntimeConfig",
    "TenancyConfig",
)


def check(call: Call, parameters: Mapping[str, Any]) -> None:
    """Raises :class:`AwsError` for what Lambda does not take, and for what is not served."""
    for name in _NOT_SERVED:
        if parameters.get(name):
            raise part_of(call, name)
    if parameters.get("PackageType", "Zip") != "Zip":
        raise part_of(call, "container images (PackageType Image)")
    if any((parameters.get("VpcConfig") or {}).get(part) for part in ("SubnetIds", "SecurityGroupIds")):
        raise part_of(call, "VpcConfig")
    if (parameters.get("TracingConfig") or {}).get("Mode") == "Active":
        raise part_of(call, "active tracing")
    if (parameters.get("SnapStart") or {}).get("ApplyOn", "None") != "None":
        raise part_of(call, "SnapStart")
    if (parameters.get("LoggingConfig") or {}).get("LogFormat", "Text") != "Text":
        raise part_of(call, "logs in JSON format")
    if parameters.get("Runtime", RUNTIMES[0]) not in RUNTIMES:
        ours = f"{RUNTIMES[0]} to {RUNTIMES[-1]}"
        raise part_of(call, f"the runtime {parameters['Runtime']} (functions here are written for {ours})")
    _check_environment(parameters.get("Environment") or {})
    target = (parameters.get("DeadLetterConfig") or {}).get("TargetArn")
    if target and not target.startswith(("arn:aws:sqs:", "arn:aws:sns:")):
        message = f"The provided target {target} is no queue of SQS and no topic of SNS."
        raise AwsError("InvalidParameterValueException", message)
    if "Role" in parameters:
        _check_role(call, parameters["Role"])


def _check_environment(environment: Mapping[str, Any]) -> None:
    variables = environment.get("Variables") or {}
    if taken := sorted(RESERVED & set(variables)):
        message = (
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. Reserved keys used "
            f"in this request: {', '.join(taken)}"
        )
        raise AwsError("InvalidParameterValueException", message)
    if sum(len(name) + len(value) for name, value in variables.items()) > 4096:
        message = (
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided exceeded the 4KB limit."
        )
        raise AwsError("InvalidParameterValueException", message)


def _check_role(call: Call, role: str) -> None:
    record = call.cloud.identities.role(role)
    if record is None or not call.cloud.identities.does_trust(record, "lambda.amazonaws.com"):
        message = "The role defined for the function cannot be assumed by Lambda."
        raise AwsError("InvalidParameterValueException", message)


def described(call: Call, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of FunctionConfiguration that a request sets, with what Lambda sets where it says nothing."""
    name = parameters["FunctionName"]
    return {
        "Runtime": parameters["Runtime"],
        "Role": parameters["Role"],
        "Handler": parameters["Handler"],
        "Description": parameters.get("Description", ""),
        "Timeout": parameters.get("Timeout", 3),
        "MemorySize": parameters.get("MemorySize", 128),
        "PackageType": "Zip",
        "Architectures": parameters.get("Architectures") or ["x86_64"],
        "EphemeralStorage": parameters.get("EphemeralStorage") or {"Size": 512},
        "TracingConfig": {"Mode": "PassThrough"},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": logging(name, parameters.get("LoggingConfig")),
        "RuntimeVersionConfig": {"RuntimeVersionArn": f"arn:aws:lambda:{call.region}::runtime:{'0' * 64}"},
        "Environment": environment(parameters),
        "DeadLetterConfig": dead_letters(parameters),
    }


def logging(name: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"LogFormat": "Text", "LogGroup": (given or {}).get("LogGroup") or f"/aws/lambda/{name}"}


def environment(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    variables = (parameters.get("Environment") or {}).get("Variables")
    return {"Variables": dict(variables)} if variables else None


def dead_letters(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    target = (parameters.get("DeadLetterConfig") or {}).get("TargetArn")
    return {"TargetArn": target} if target else None
