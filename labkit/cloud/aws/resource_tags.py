"""The tags on resources, which policies may ask about as ``aws:ResourceTag/KEY``.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-resourcetag
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from labkit.cloud.aws import (
    events_state,
    lambda_state,
    moto_base,
    sagemaker_state,
    scheduler_state,
    sns_state,
    sqs_state,
)
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.place import Place
from labkit.cloud.engine.errors import NotFound

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud

Tags = Mapping[str, str]


def tags_of(cloud: AwsCloud, arn: str) -> Tags:
    """The tags of what an ARN names; none where there is no such thing, or nothing of its kind has tags.

    Buckets are asked about by tag only where an account has switched that on, which is refused here.
    """
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return {}
    service, region, resource = parts[2], parts[3], parts[5]
    if service == "iam":
        return cloud.identities.tags_of(arn) or {}
    finder = _OF_SERVICE.get(service)
    try:
        return finder(Place(cloud, region), resource) if finder else {}
    except (AwsError, NotFound):
        return {}


def _sagemaker(place: Place, resource: str) -> Tags:
    kind, _, name = resource.partition("/")
    state = place.store(sagemaker_state.State)
    found = state.by_kind.get(kind, {}).get(name.lower())
    if kind == "model-package" and "/" in name:
        # A version has its group's tags: API_CreateModelPackage.html, Tags.
        found = state.groups.get(name.partition("/")[0].lower())
    return found.tags if found is not None else {}


def _logs(place: Place, resource: str) -> Tags:
    return place.engine.logs.group(place.scope, resource.split(":")[1]).labels


def _events(place: Place, resource: str) -> Tags:
    kind, _, name = resource.partition("/")
    bus, _, rule = name.rpartition("/")
    if kind == "rule":
        return events_state.find_rule(place, rule, bus or None).tags
    return events_state.find_bus(place, name).tags


def _scheduler(place: Place, resource: str) -> Tags:
    # Schedules have no tags: their group has.
    kind, _, name = resource.partition("/")
    return scheduler_state.find_group(place, name).tags if kind == "schedule-group" else {}


def _lambda(place: Place, resource: str) -> Tags:
    return lambda_state.get(place, resource.split(":")[1]).tags


def _sqs(place: Place, resource: str) -> Tags:
    return sqs_state.find(place, place.arn("sqs", resource)).tags


def _sns(place: Place, resource: str) -> Tags:
    return sns_state.find(place, place.arn("sns", resource)).tags


def _ecr(place: Place, resource: str) -> Tags:
    listed = moto_base.backend("ecr", region=place.region).tagger.list_tags_for_resource(place.arn("ecr", resource))
    return {each["Key"]: each["Value"] for each in listed["tags"]}


_OF_SERVICE: Mapping[str, Callable[[Place, str], Tags]] = {
    "ecr": _ecr,
    "events": _events,
    "lambda": _lambda,
    "logs": _logs,
    "sagemaker": _sagemaker,
    "scheduler": _scheduler,
    "sns": _sns,
    "sqs": _sqs,
}
