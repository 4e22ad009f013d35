"""Tags of SageMaker's resources.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AddTags.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.sagemaker_state import KINDS, State, get

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

MOST = 50


def as_dict(tags: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags as a request lists them, by key; raises for the keys that are AWS's own."""
    found: dict[str, str] = {}
    for tag in tags or ():
        if tag["Key"].lower().startswith("aws:"):
            message = f"The tag key {tag['Key']} is reserved: keys that begin with aws: are for AWS to set."
            raise AwsError("ValidationException", message)
        if tag["Key"] in found:
            raise AwsError("ValidationException", f"Duplicate tag key: {tag['Key']}.")
        found[tag["Key"]] = tag["Value"]
    return found


def add_tags(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    tags = _tags_of(call, parameters["ResourceArn"])
    added = tags | as_dict(parameters["Tags"])
    if len(added) > MOST:
        raise AwsError("ValidationException", f"A resource has {MOST} tags at most; this would make it {len(added)}.")
    tags.update(added)
    return {"Tags": _as_list(tags)}


def list_tags(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    # A page has room for 50 at least, which is as many as a resource may have.
    return {"Tags": _as_list(_tags_of(call, parameters["ResourceArn"]))}


def delete_tags(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    tags = _tags_of(call, parameters["ResourceArn"])
    for key in parameters["TagKeys"]:
        tags.pop(key, None)
    return {}


def _as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tags_of(call: Call, resource: str) -> dict[str, str]:
    _, _, _, region, account, path = resource.split(":", 5)
    kind, _, name = path.partition("/")
    if kind not in KINDS:
        raise part_of(call, f"tags of {kind} resources")
    if (region, account) != (call.region, call.account):
        raise AwsError("ValidationException", f'Could not find {KINDS[kind]} "{resource}".')
    tags: dict[str, str] = get(call, call.store(State).by_kind[kind], kind, name).tags
    return tags
