"""Parameters against the constraints of botocore's model, refused in AWS's wording.

One sentence covers every violation, as AWS answers: ``2 validation errors detected: Value null at 'endpointName' failed
to satisfy constraint: Member must not be null; Value '0' at ...``. S3 words each error its own way, in ``s3.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from labkit.cloud.aws.errors import AwsError

#: The code of a validation error, where it is not ``ValidationException``.
CODES = {
    "iam": "ValidationError",
    "sts": "ValidationError",
    "sagemaker-runtime": "ValidationError",
    "cloudwatch": "ValidationError",
    "logs": "InvalidParameterException",
    "ecr": "InvalidParameterException",
    "sns": "ValidationError",
}
#: Services that word a missing parameter their own way: (code, message).
MISSING = {
    "cloudwatch": ("MissingParameter", "The parameter {name} is required."),
}


def check(service: str, shape: Any, parameters: dict[str, Any]) -> None:
    """Raises :class:`AwsError` when ``parameters`` break the constraints of the input ``shape``."""
    if service in MISSING and (absent := [name for name in shape.required_members if name not in parameters]):
        code, message = MISSING[service]
        raise AwsError(code, message.format(name=absent[0]), 400)
    problems = list(_structure(shape, parameters, ""))
    if not problems:
        return
    count = len(problems)
    text = f"{count} validation error{'s' if count > 1 else ''} detected: {'; '.join(problems)}"
    raise AwsError(CODES.get(service, "ValidationException"), text, 400)


def _structure(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if name not in value:
            yield f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
    for name, item in value.items():
        yield from _value(shape.members[name], item, _join(path, name))


def _join(path: str, name: str) -> str:
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _value(shape: Any, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        if not getattr(shape, "is_document_type", False):
            yield from _structure(shape, value, path)
        return
    violated = f"Value {_shown(value)} at '{path}' failed to satisfy constraint:"
    for rule in _broken(shape, value):
        yield f"{violated} {rule}"
    if kind == "list":
        for index, item in enumerate(value, 1):
            if shape.member.type_name in ("structure", "list", "map"):
                yield from _value(shape.member, item, f"{path}.{index}.member")
            elif rules := list(_broken(shape.member, item)):
                yield f"{violated} Member must satisfy constraint: [{', '.join(rules)}]"
                return
    elif kind == "map":
        for key, item in value.items():
            if rules := list(_broken(shape.key, key)):
                yield f"{violated} Map keys must satisfy constraint: [{', '.join(rules)}]"
                return
            if shape.value.type_name in ("structure", "list", "map"):
                yield from _value(shape.value, item, f"{path}.{key}.member")
            elif rules := list(_broken(shape.value, item)):
                yield f"{violated} Map value must satisfy constraint: [{', '.join(rules)}]"
                return


def _broken(shape: Any, value: Any) -> Iterator[str]:
    """The constraints of one value's shape that it breaks."""
    kind, limits = shape.type_name, shape.metadata
    if kind in ("string", "blob", "list", "map"):
        low, high = limits.get("min"), limits.get("max")
        if low is not None and len(value) < low:
            yield f"Member must have length greater than or equal to {low}"
        if high is not None and len(value) > high:
            yield f"Member must have length less than or equal to {high}"
            return
        if kind == "string":
            if (values := limits.get("enum")) and value not in values:
                yield f"Member must satisfy enum value set: [{', '.join(values)}]"
            elif (
                (pattern := limits.get("pattern"))
                and (compiled := _compiled(pattern))
                and not compiled.fullmatch(value)
            ):
                yield f"Member must satisfy regular expression pattern: {pattern}"
    elif kind in ("integer", "long", "float", "double"):
        low, high = limits.get("min"), limits.get("max")
        if low is not None and value < low:
            yield f"Member must have value greater than or equal to {low}"
        if high is not None and value > high:
            yield f"Member must have value less than or equal to {high}"


def _shown(value: Any) -> str:
    """A value as Java prints it."""
    if isinstance(value, dict):
        return "'{" + ", ".join(f"{key}={item}" for key, item in value.items()) + "}'"
    if isinstance(value, list):
        return "'[" + ", ".join(str(item) for item in value) + "]'"
    return f"'{str(value).lower() if isinstance(value, bool) else value}'"


#: Java's Unicode classes, which Python's ``re`` lacks, as what may stand inside a character class (a little wider).
_UNICODE = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{Alpha}": "a-zA-Z",
    r"\p{ASCII}": "\x00-\x7f",
    r"\p{Print}": "\x20-\x7e",
    r"\p{Graph}": "\x21-\x7e",
}


@lru_cache(maxsize=2048)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern for Python, or None when it uses what Python does not have: then it is not checked."""
    flags = re.ASCII
    for name, inside in _UNICODE.items():
        if name in pattern:
            pattern, flags = pattern.replace(name, inside), re.NOFLAG
    if r"\p{" in pattern or "&&" in pattern:
        return None
    try:
        return re.compile(pattern, flags)
    except re.error:
        return None
