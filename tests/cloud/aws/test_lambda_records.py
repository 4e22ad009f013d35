"""Functions as records: created, changed, published, pointed at by aliases, permitted, deleted; and what is refused."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cloud.aws.event_world import EventWorld, archive
from tests.cloud.aws.in_process import error

HANDLER = "def handler(event, context): return {text!r}"


def answer(events: EventWorld, function: str, **arguments: Any) -> Any:
    return json.loads(events.client("lambda").invoke(FunctionName=function, **arguments)["Payload"].read())


def test_a_function_is_created(events: EventWorld) -> None:
    lambdas, name = events.client("lambda"), f"{events.name}-fn"
    role = events.role("lambda.amazonaws.com")
    made = lambdas.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=role,
        Handler="app.handler",
        Code={"ZipFile": archive(HANDLER)},
        Tags={"a": "b"},
    )
    assert (made["State"], made["StateReasonCode"]) == ("Pending", "Creating")
    lambdas.get_waiter("function_active_v2").wait(FunctionName=name)
    got = lambdas.get_function(FunctionName=name)
    config = got["Configuration"]
    assert got["Tags"] == {"a": "b"}
    assert (config["State"], config["LastUpdateStatus"], config["Version"]) == ("Active", "Successful", "$LATEST")
    assert (config["Timeout"], config["MemorySize"], config["Architectures"]) == (3, 128, ["x86_64"])
    assert config["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}
    assert name in [each["FunctionName"] for each in lambdas.list_functions()["Functions"]]
    lambdas.delete_function(FunctionName=name)
    assert error(lambdas.get_function, FunctionName=name)[:2] == (404, "ResourceNotFoundException")


def test_code_from_s3(events: EventWorld) -> None:
    s3, bucket = events.client("s3"), f"{events.name}-code"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a.zip", Body=archive(HANDLER.format(text="from S3")))
    function = events.function("", Code={"S3Bucket": bucket, "S3Key": "a.zip"})
    assert answer(events, function) == "from S3"
    status, code, message = error(
        events.client("lambda").update_function_code, FunctionName=function, S3Bucket=bucket, S3Key="no.zip"
    )
    assert (status, code) == (400, "InvalidParameterValueException")
    assert message.startswith("Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The spec")


def test_versions_and_aliases(events: EventWorld) -> None:
    lambdas = events.client("lambda")
    function = events.function(HANDLER.format(text="one"))
    assert lambdas.publish_version(FunctionName=function)["Version"] == "1"
    assert lambdas.publish_version(FunctionName=function)["Version"] == "1"
    updated = lambdas.update_function_code(FunctionName=function, ZipFile=archive(HANDLER.format(text="two")))
    assert updated["LastUpdateStatus"] == "InProgress"
    lambdas.get_waiter("function_updated_v2").wait(FunctionName=function)
    assert lambdas.publish_version(FunctionName=function, Description="second")["Version"] == "2"
    alias = lambdas.create_alias(FunctionName=function, Name="live", FunctionVersion="1")
    assert alias["AliasArn"] == f"{function}:live"
    assert answer(events, f"{function}:live") == "one"
    assert answer(events, function, Qualifier="2") == "two"
    assert answer(events, function) == "two"
    lambdas.update_alias(FunctionName=function, Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    assert {answer(events, f"{function}:live") for _ in range(40)} == {"one", "two"}
    listed = lambdas.list_versions_by_function(FunctionName=function)["Versions"]
    assert [each["Version"] for each in listed] == ["$LATEST", "1", "2"]
    status, code, message = error(lambdas.delete_function, FunctionName=function, Qualifier="1")
    assert (status, code) == (409, "ResourceConflictException")
    assert message == "Version was not able to be deleted as the following aliases reference it: ['live']"
    lambdas.delete_alias(FunctionName=function, Name="live")
    lambdas.delete_function(FunctionName=function, Qualifier="1")
    assert error(lambdas.invoke, FunctionName=function, Qualifier="1")[2] == f"Function not found: {function}:1"


def test_the_functions_policy(events: EventWorld) -> None:
    lambdas = events.client("lambda")
    function = events.function(HANDLER)
    assert error(lambdas.get_policy, FunctionName=function)[2] == "The resource you requested does not exist."
    given = {
        "FunctionName": function,
        "StatementId": "rule",
        "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com",
        "SourceArn": "arn:aws:events:us-east-1:123456789012:rule/r",
    }
    statement = {
        "Sid": "rule",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": function,
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:events:us-east-1:123456789012:rule/r"}},
    }
    assert json.loads(lambdas.add_permission(**given)["Statement"]) == statement
    assert json.loads(lambdas.get_policy(FunctionName=function)["Policy"])["Statement"] == [statement]
    assert error(lambdas.add_permission, **given)[:2] == (409, "ResourceConflictException")
    lambdas.remove_permission(FunctionName=function, StatementId="rule")
    assert error(lambdas.remove_permission, FunctionName=function, StatementId="rule")[:2] == (
        404,
        "ResourceNotFoundException",
    )


def outside() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("../outside.py", "x = 1")
    return data.getvalue()


def link() -> bytes:
    data = io.BytesIO()
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(data, "w") as file:
        file.writestr(entry, "/etc/passwd")
    return data.getvalue()


UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."


@pytest.mark.parametrize(
    ("changes", "status", "code", "message"),
    [
        ({"Code": {"ZipFile": b"no archive"}}, 400, "InvalidParameterValueException", UNZIP),
        ({"Code": {"ZipFile": outside()}}, 400, "InvalidParameterValueException", UNZIP),
        ({"Code": {"ZipFile": link()}}, 400, "InvalidParameterValueException", UNZIP),
        (
            {"Code": {"ZipFile": archive({})}},
            400,
            "InvalidParameterValueException",
            "Uploaded file must be a non-empty",
        ),
        ({"Code": {}}, 400, "InvalidParameterValueException", "Please provide a source for function code."),
        ({"Runtime": "python9"}, 400, "ValidationException", "Value 'python9' at 'runtime' failed to satisfy"),
        ({"Runtime": "nodejs22.x"}, 501, "NotImplementedException", "do not serve the runtime nodejs22.x"),
        (
            {"TracingConfig": {"Mode": "Active"}},
            501,
            "NotImplementedException",
            "do not serve active tracing in",
        ),
        ({"PackageType": "Image"}, 501, "NotImplementedException", "do not serve container images"),
        (
            {"Environment": {"Variables": {"AWS_REGION": "x"}}},
            400,
            "InvalidParameterValueException",
            "Reserved keys used in this request: AWS_REGION",
        ),
        (
            {"Role": "arn:aws:iam::123456789012:role/none"},
            400,
            "InvalidParameterValueException",
            "The role defined for the function cannot be assumed by Lambda.",
        ),
    ],
)
def test_what_create_refuses(events: EventWorld, changes: dict[str, Any], status: int, code: str, message: str) -> None:
    with pytest.raises(ClientError) as caught:
        events.function(HANDLER, **changes)
    told = caught.value.response
    assert (told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Code"]) == (status, code)
    assert message in told["Error"]["Message"]


def test_a_name_is_taken_once(events: EventWorld) -> None:
    role = events.role("lambda.amazonaws.com")
    events.function(HANDLER, Role=role)
    with pytest.raises(events.client("lambda").exceptions.ResourceConflictException) as caught:
        events.function(HANDLER, Role=role)
    assert caught.value.response["Error"]["Message"] == f"Function already exist: {events.name}-fn"


def test_what_is_not_served(events: EventWorld) -> None:
    function = events.function(HANDLER)
    status, code, message = error(
        events.client("lambda").create_function_url_config, FunctionName=function, AuthType="NONE"
    )
    assert (status, code) == (501, "NotImplementedException")
    assert message == "The local clouds do not serve lambda:CreateFunctionUrlConfig yet; see docs/fidelity.md."
