"""A step's Arguments against the operation that takes them: when the pipeline is made, and when the step runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from labkit.cloud.aws import protocols
from labkit.cloud.aws.json_values import from_json
from labkit.cloud.aws.pipeline_values import is_expression

#: Members that a pipeline sets itself, so that a definition cannot.
_SET_BY_PIPELINE = {"CreateModelPackage": frozenset(("ModelPackageName", "CertifyForMarketplace"))}
#: Members that a pipeline sets where a definition does not.
_NAMED_BY_PIPELINE = frozenset(("ModelName", "ProcessingJobName", "TrainingJobName", "TransformJobName"))


def shape_of(operation: str) -> Any:
    """botocore's model of an operation's input."""
    return protocols.model_of("sagemaker").operation_model(operation).input_shape


def has_property(operation: str, name: str) -> bool:
    """Whether a step that an operation does has a property: a member of what describes it when it is done."""
    described = protocols.model_of("sagemaker").operation_model(operation.replace("Create", "Describe", 1)).output_shape
    return name in described.members


def check(operation: str, arguments: Any, invalid: Callable[[str], Exception]) -> None:
    """Raises ``invalid(reason)`` for members that the operation does not have or has to have, and for values of
    another form; lists are as long as they may be.
    """
    for name in _SET_BY_PIPELINE.get(operation, ()):
        if name in arguments:
            raise invalid(f"Unknown Argument member '{name}'")
    shape = shape_of(operation)
    own = operation.removeprefix("Create") + "Name"
    _check(shape, arguments, invalid, spared=_NAMED_BY_PIPELINE & {own})


def _check(
    shape: Any, value: Any, invalid: Callable[[str], Exception], name: str = "", spared: frozenset[str] = frozenset()
) -> None:
    if value is None or is_expression(value):
        return
    kind = shape.type_name
    if kind in ("structure", "map"):
        if not isinstance(value, dict):
            raise invalid("Expecting start of Json Object.")
        for member, each in value.items():
            if kind == "map":
                _check(shape.value, each, invalid, member)
            elif member not in shape.members:
                raise invalid(f"Unknown Argument member '{member}'")
            else:
                _check(shape.members[member], each, invalid, member)
        for member in getattr(shape, "required_members", ()):
            if value.get(member) is None and member not in spared:
                raise invalid(f"Model Validation failed: {member} must not be null.")
    elif kind == "list":
        if not isinstance(value, list):
            raise invalid("Expecting start of Json Array.")
        # https://github.com/aws/sagemaker-python-sdk/issues/6156 quotes AWS.
        least, most = shape.metadata.get("min", 0), shape.metadata.get("max", len(value))
        if len(value) < least:
            raise invalid(
                f"Model Validation failed: Length of container {name}={len(value)} cannot be less than min={least}."
            )
        if len(value) > most:
            raise invalid(
                f"Model Validation failed: Length of container {name}={len(value)} cannot be greater than max={most}."
            )
        for each in value:
            _check(shape.member, each, invalid, name)
    elif isinstance(value, (dict, list)):
        raise invalid(
            f"Expecting a value of type {kind}, found {'an object' if isinstance(value, dict) else 'a list'}."
        )


def typed(operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluated arguments as the operation takes them; raises :class:`AwsError` ``SerializationException``."""
    shape = shape_of(operation)
    made: dict[str, Any] = from_json(shape, _converted(shape, arguments))
    return made


def _converted(shape: Any, value: Any) -> Any:
    """Numbers where the operation wants text and the other way round: parameters have one type, their uses others."""
    kind = shape.type_name
    if isinstance(value, dict) and kind == "structure":
        return {name: _converted(shape.members[name], each) for name, each in value.items() if name in shape.members}
    if isinstance(value, dict) and kind == "map":
        return {name: _converted(shape.value, each) for name, each in value.items()}
    if isinstance(value, list) and kind == "list":
        return [_converted(shape.member, each) for each in value]
    if kind == "string" and isinstance(value, (bool, int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind in ("integer", "long", "float", "double") and isinstance(value, str):
        try:
            return int(value) if kind in ("integer", "long") else float(value)
        except ValueError:
            return value
    if kind == "boolean" and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return value
