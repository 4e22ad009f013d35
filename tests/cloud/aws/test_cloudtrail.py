"""CloudTrail's event history through boto3: who called what, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from labkit.cloud.aws import AwsCloud
from labkit.cloud.engine import Engine
from tests.cloud.aws.in_process import error
from tests.cloud.aws.policy_cases import allow
from tests.cloud.aws.test_permissions import Person, document, session


@pytest.fixture
def trail(client: Callable[[str], Any]) -> Any:
    return client("cloudtrail")


def looked_up(trail: Any, key: str, value: str, **more: Any) -> list[dict[str, Any]]:
    attribute = {"AttributeKey": key, "AttributeValue": value}
    found: list[dict[str, Any]] = trail.lookup_events(LookupAttributes=[attribute], **more)["Events"]
    return found


def test_a_denied_call(cloud: AwsCloud, client: Any, trail: Any) -> None:
    ann = Person(cloud, client("iam"))
    message = error(ann.client("sagemaker").delete_endpoint, EndpointName="churn")[2]
    (event,) = looked_up(trail, "Username", ann.name)
    assert (event["EventName"], event["EventSource"]) == ("DeleteEndpoint", "sagemaker.amazonaws.com")
    assert (event["ReadOnly"], event["AccessKeyId"]) == ("false", ann.key["AccessKeyId"])
    assert event["Resources"] == [{"ResourceType": "AWS::SageMaker::Endpoint", "ResourceName": "churn"}]
    record = json.loads(event["CloudTrailEvent"])
    assert (record["errorCode"], record["errorMessage"]) == ("AccessDenied", message)
    assert record["requestParameters"] == {"endpointName": "churn"}
    assert record["responseElements"] is None
    assert (record["eventType"], record["eventCategory"]) == ("AwsApiCall", "Management")
    assert record["managementEvent"] is True
    assert record["eventID"] == event["EventId"]
    user = client("iam").get_user(UserName=ann.name)["User"]
    assert record["userIdentity"] == {
        "type": "IAMUser",
        "principalId": user["UserId"],
        "arn": ann.arn,
        "accountId": "123456789012",
        "accessKeyId": ann.key["AccessKeyId"],
        "userName": ann.name,
    }


def test_a_roles_session(cloud: AwsCloud, client: Any, trail: Any) -> None:
    me = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}
    role = client("iam").create_role(RoleName="audited", AssumeRolePolicyDocument=document(me))["Role"]
    credentials = client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="shift")["Credentials"]
    error(session(cloud, credentials, "sagemaker").list_models)
    (event,) = looked_up(trail, "EventName", "ListModels")
    identity = json.loads(event["CloudTrailEvent"])["userIdentity"]
    assert (identity["type"], identity["principalId"]) == ("AssumedRole", f"{role['RoleId']}:shift")
    assert identity["sessionContext"]["sessionIssuer"] == {
        "type": "Role",
        "principalId": role["RoleId"],
        "arn": role["Arn"],
        "accountId": "123456789012",
        "userName": "audited",
    }
    assert event["Username"] == "shift"


def test_data_events_are_elsewhere(client: Any, trail: Any, engine: Engine) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="audited-data")
    s3.put_object(Bucket="audited-data", Key="k", Body=b"")
    names = [each["EventName"] for each in looked_up(trail, "ResourceName", "audited-data")]
    assert names == ["CreateBucket"]
    assert any(each.operation == "PutObject" for each in engine.audit.events())


def test_pages_and_times(client: Any, trail: Any, engine: Engine) -> None:
    before = engine.clock.now()
    for _ in range(3):
        client("sagemaker").list_endpoints()
    first = trail.lookup_events(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "ListEndpoints"}], MaxResults=2
    )
    assert len(first["Events"]) == 2
    second = looked_up(trail, "EventName", "ListEndpoints", MaxResults=2, NextToken=first["NextToken"])
    assert not {each["EventId"] for each in first["Events"]} & {each["EventId"] for each in second}
    assert looked_up(trail, "EventName", "ListEndpoints", EndTime=before - timedelta(hours=1)) == []
    wrong = {"StartTime": before, "EndTime": before - timedelta(hours=1)}
    assert error(trail.lookup_events, **wrong)[1] == "InvalidTimeRangeException"
    assert error(trail.lookup_events, MaxResults=51)[1] == "ValidationException"
    assert error(trail.lookup_events, NextToken="bm8=")[1] == "InvalidNextTokenException"
    two = [{"AttributeKey": "ReadOnly", "AttributeValue": "true"}] * 2
    assert error(trail.lookup_events, LookupAttributes=two)[1] == "InvalidLookupAttributesException"


def test_who_may_read_it(cloud: AwsCloud, client: Any) -> None:
    ann = Person(cloud, client("iam"))
    assert error(ann.client("cloudtrail").lookup_events)[1] == "AccessDeniedException"
    ann.give(allow("cloudtrail:LookupEvents"))
    ann.client("cloudtrail").lookup_events()


def test_what_is_not_served(trail: Any) -> None:
    status, code, message = error(trail.create_trail, Name="all", S3BucketName="b")
    assert (status, code) == (501, "NotImplementedException")
    assert "cloudtrail:CreateTrail" in message


def test_members_begin_in_lower_case_and_names_that_users_give_stay(client: Any, trail: Any) -> None:
    client("sns").create_topic(Name="audited", Attributes={"DisplayName": "A"}, Tags=[{"Key": "Team", "Value": "Red"}])
    (event,) = looked_up(trail, "EventName", "CreateTopic")
    assert json.loads(event["CloudTrailEvent"])["requestParameters"] == {
        "name": "audited",
        "attributes": {"DisplayName": "A"},
        "tags": [{"key": "Team", "value": "Red"}],
    }
    client("s3").create_bucket(Bucket="audited-settings")
    created = looked_up(trail, "EventName", "CreateBucket")[0]
    assert json.loads(created["CloudTrailEvent"])["requestParameters"]["bucketName"] == "audited-settings"
