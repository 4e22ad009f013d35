"""A call of the audit trail as CloudTrail records it.

https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.model import OperationNotFoundError

from labkit.cloud.aws import hosts, protocols
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.audit import Event

if TYPE_CHECKING:
    from labkit.cloud.aws.identity import Identities

#: Service -> operations that are data events, which the event history does not have; ``*`` is all of them.
#: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-data-events-with-cloudtrail.html
_DATA = {
    "cloudwatch": r"PutMetricData|GetMetricData|GetMetricStatistics",
    "events": r"PutEvents",
    "lambda": r"Invoke.*",
    "logs": r"PutLogEvents|FilterLogEvents|GetLogEvents|StartQuery|GetQueryResults",
    "s3": r".*Object.*|.*Multipart.*|UploadPart.*|ListParts",
    "sagemaker-runtime": r".*",
    "sns": r"Publish.*",
    "sqs": r"(Send|Receive|Delete)Message.*|ChangeMessageVisibility.*",
}
_TYPES = {
    ("iam", "group"): "AWS::IAM::Group",
    ("iam", "policy"): "AWS::IAM::Policy",
    ("iam", "role"): "AWS::IAM::Role",
    ("iam", "user"): "AWS::IAM::User",
    ("lambda", "function"): "AWS::Lambda::Function",
    ("s3", ""): "AWS::S3::Bucket",
    ("sagemaker", "endpoint"): "AWS::SageMaker::Endpoint",
    ("sagemaker", "endpoint-config"): "AWS::SageMaker::EndpointConfig",
    ("sagemaker", "model"): "AWS::SageMaker::Model",
    ("sagemaker", "pipeline"): "AWS::SageMaker::Pipeline",
}


def is_management(event: Event) -> bool:
    """Whether a call is in the event history: one that AWS has, about the control of resources."""
    pattern = _DATA.get(event.service)
    if event.status == 501 or not event.caller or (pattern and re.fullmatch(pattern, event.operation)):
        return False
    return bool(event.operation)


def entry(event: Event, identities: Identities) -> dict[str, Any]:
    """An entry of LookupEvents, the whole record in it as text."""
    record = _record(event, identities)
    return {
        "EventId": event.id,
        "EventName": event.operation,
        "ReadOnly": str(event.read_only).lower(),
        "AccessKeyId": event.caller.credential if event.caller else None,
        "EventTime": event.at.replace(microsecond=0),
        "EventSource": record["eventSource"],
        "Username": event.caller.principal.rpartition("/")[2] if event.caller else None,
        "Resources": _resources(event),
        "CloudTrailEvent": json.dumps(record, default=_plain),
    }


def _record(event: Event, identities: Identities) -> dict[str, Any]:
    assert event.caller is not None
    service = hosts.SIGNED_AS.get(event.service, event.service)
    record: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": _identity(event.caller, identities),
        "eventTime": f"{event.at:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": f"{service}.amazonaws.com",
        "eventName": event.operation,
        "awsRegion": event.region,
        "sourceIPAddress": event.client if event.client.endswith(".amazonaws.com") else "127.0.0.1",
        "userAgent": event.client,
    }
    if event.error:
        # CloudTrail has one code for every service's way of saying it.
        record["errorCode"] = event.error.removesuffix("Exception") if "AccessDenied" in event.error else event.error
        record["errorMessage"] = event.message
    return record | {
        "requestParameters": _parameters(event) or None,
        "responseElements": None,
        "requestID": event.request_id,
        "eventID": event.id,
        "readOnly": event.read_only,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": event.caller.scope,
        "eventCategory": "Management",
    }


def _identity(caller: Caller, identities: Identities) -> dict[str, Any]:
    """``userIdentity``: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html"""
    key = identities.find(caller.credential)
    told: dict[str, Any] = {
        "type": "IAMUser",
        "principalId": key.user_id if key else None,
        "arn": caller.principal,
        "accountId": caller.scope,
        "accessKeyId": caller.credential,
    }
    name = caller.principal.rpartition("/")[2]
    if ":user/" in caller.principal:
        told["userName"] = name
        session: Mapping[str, Any] = {}
    elif ":assumed-role/" in caller.principal:
        told["type"] = "AssumedRole"
        role = caller.principal.split("/")[1]
        session = {
            "type": "Role",
            "principalId": told["principalId"].partition(":")[0] if told["principalId"] else None,
            "arn": key.issuer if key else f"arn:aws:iam::{caller.scope}:role/{role}",
            "accountId": caller.scope,
            "userName": role,
        }
    else:
        told["type"] = "FederatedUser"
        issuer = key.issuer if key else ""
        session = {
            "type": "IAMUser",
            "arn": issuer,
            "accountId": caller.scope,
            "userName": issuer.rpartition("/")[2],
        }
    if key and key.token:
        attributes = {"creationDate": f"{key.issued:%Y-%m-%dT%H:%M:%SZ}" if key.issued else None}
        told["sessionContext"] = {
            **({"sessionIssuer": session} if session else {}),
            "attributes": {**attributes, "mfaAuthenticated": "false"},
        }
    return told


def _resources(event: Event) -> list[dict[str, str]]:
    if not event.resource.startswith("arn:"):
        return []
    _, _, service, _, _, path = event.resource.split(":", 5)
    kind, _, name = path.partition("/") if service != "s3" else ("", "", path.partition("/")[0])
    if service == "lambda":
        kind, _, name = path.partition(":")
    told = {"ResourceName": name if service != "iam" else event.resource.rpartition("/")[2]}
    if known := _TYPES.get((service, kind)):
        told["ResourceType"] = known
    return [told]


def _parameters(event: Event) -> dict[str, Any]:
    """``requestParameters``: members' names begin in lower case, at every level; names that users give stay."""
    given = event.parameters or {}
    if event.service == "s3":
        return {"bucketName" if name == "Bucket" else _camel(name): value for name, value in given.items()}
    try:
        shape = protocols.model_of(event.service).operation_model(event.operation).input_shape
    except OperationNotFoundError:
        shape = None
    lowered: dict[str, Any] = _lowered(shape, given)
    return lowered


def _lowered(shape: Any, value: Any) -> Any:
    kind = shape.type_name if shape is not None else ""
    if isinstance(value, Mapping):
        if kind == "map":
            return {name: _lowered(shape.value, each) for name, each in value.items()}
        members = shape.members if kind == "structure" else {}
        return {_camel(name): _lowered(members.get(name), each) for name, each in value.items()}
    if isinstance(value, list):
        return [_lowered(shape.member if kind == "list" else None, each) for each in value]
    return value


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _plain(value: Any) -> Any:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else str(value)
