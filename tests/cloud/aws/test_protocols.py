"""Requests as boto3 sends them, and results as boto3 reads them: nothing is lost on either way."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import prepare_request_dict
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.cloud.aws import protocols
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.protocols import Answer, Operation
from labkit.cloud.http import Headers, Request

WHEN = datetime(2026, 11, 24, 12, 30, 15, tzinfo=UTC)


@lru_cache
def model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def operation(service: str, name: str, protocol: str) -> Operation:
    return Operation(service, name, protocol, protocols.model_of(service).operation_model(name), {})


def read(service: str, name: str, protocol: str, result: dict[str, Any]) -> dict[str, Any]:
    """A result as botocore's parser reads what was sent."""
    response = protocols.serialize(operation(service, name, protocol), result, "an-id")
    sent = {
        "status_code": response.status,
        "headers": {key.lower(): value for key, value in response.headers},
        "body": response.body,
    }
    parsed: dict[str, Any] = create_parser(protocol).parse(sent, model(service).operation_model(name).output_shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == "an-id"
    return parsed


text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
times = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(lambda t: t.replace(microsecond=0, tzinfo=UTC))


def values(shape: Any) -> st.SearchStrategy[Any]:
    """Results that fit an output shape."""
    kind = shape.type_name
    if kind == "structure":
        members = {n: values(m) for n, m in shape.members.items() if "location" not in m.serialization}
        return st.fixed_dictionaries({}, optional=members)
    if kind == "list":
        return st.lists(values(shape.member), min_size=1, max_size=2)
    if kind == "map":
        return st.dictionaries(text.filter(bool), values(shape.value), min_size=1, max_size=2)
    simple: dict[str, st.SearchStrategy[Any]] = {
        "string": text.map(str.strip).filter(bool),
        "integer": st.integers(0, 1000),
        "long": st.integers(0, 2**50),
        "float": st.integers(0, 1000).map(float),
        "double": st.integers(0, 1000).map(float),
        "boolean": st.booleans(),
        "timestamp": times,
        "blob": st.binary(max_size=8),
    }
    return simple[kind]


def plain(value: Any) -> Any:
    """Without the empty structures and the time zones that parsers leave out or change."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if plain(item) not in ({}, [])}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.astimezone(UTC) if isinstance(value, datetime) else value


@pytest.mark.parametrize(
    ("service", "name", "protocol"),
    [
        ("sagemaker", "DescribeEndpoint", "json"),
        ("logs", "FilterLogEvents", "json"),
        ("cloudwatch", "GetMetricData", "json"),
        ("cloudwatch", "GetMetricData", "query"),
        ("sts", "AssumeRole", "query"),
        ("iam", "GetAccessKeyLastUsed", "query"),
        ("s3", "ListObjectsV2", "rest-xml"),
        ("s3", "ListObjectVersions", "rest-xml"),
        ("s3", "GetBucketAcl", "rest-xml"),
        ("s3", "GetObjectAttributes", "rest-xml"),
        ("s3", "ListParts", "rest-xml"),
    ],
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_botocore_reads_what_was_answered(service: str, name: str, protocol: str, data: st.DataObject) -> None:
    result = data.draw(values(model(service).operation_model(name).output_shape))
    if name == "GetBucketAcl":
        for grant in result.get("Grants", []):
            grant.setdefault("Grantee", {})["Type"] = "CanonicalUser"
    assert plain(read(service, name, protocol, result)) == plain(result)


def test_an_object_travels_in_headers_and_body() -> None:
    result = {
        "Body": b"\x00\xff",
        "ContentLength": 2,
        "LastModified": WHEN,
        "Metadata": {"a": "b", "c_d": "e"},
        "DeleteMarker": False,
        "ETag": '"x"',
    }
    response = protocols.serialize(operation("s3", "GetObject", "rest-xml"), Answer(result, status=206), "an-id")
    headers = dict(response.headers)
    assert (response.status, response.body) == (206, b"\x00\xff")
    assert headers["Last-Modified"] == "Tue, 24 Nov 2026 12:30:15 GMT"
    assert (headers["x-amz-meta-a"], headers["x-amz-meta-c_d"]) == ("b", "e")
    assert (headers["Content-Length"], headers["x-amz-delete-marker"]) == ("2", "false")


def test_an_operation_without_output() -> None:
    response = protocols.serialize(operation("sagemaker", "DeleteModel", "json"), None, "an-id")
    assert (response.status, response.body) == (200, b"")
    assert protocols.serialize(operation("s3", "DeleteBucket", "rest-xml"), {}, "an-id").status == 204


def sent(service: str, name: str, protocol: str, parameters: dict[str, Any]) -> Request:
    """A request as botocore's serializer makes it."""
    serializer = create_serializer(protocol)
    made = serializer.serialize_to_request(parameters, model(service).operation_model(name))
    prepare_request_dict(made, f"https://{service}.amazonaws.com")
    body = made["body"]
    if isinstance(body, dict):
        from urllib.parse import urlencode

        body = urlencode(body).encode()
    return Request(made["method"], "x", "/", Headers(made["headers"].items()), body or b"")


@pytest.mark.parametrize(
    ("service", "name", "protocol", "parameters"),
    [
        (
            "sagemaker",
            "CreateEndpointConfig",
            "json",
            {
                "EndpointConfigName": "c",
                "ProductionVariants": [{"VariantName": "v", "InitialVariantWeight": 0.5, "InitialInstanceCount": 1}],
                "Tags": [{"Key": "ü", "Value": ""}],
            },
        ),
        ("sagemaker", "ListEndpoints", "json", {"CreationTimeAfter": WHEN, "MaxResults": 5}),
        (
            "cloudwatch",
            "PutMetricData",
            "query",
            {
                "Namespace": "n",
                "MetricData": [
                    {"MetricName": "m", "Dimensions": [{"Name": "a", "Value": "b+ &"}], "Value": 1.5, "Unit": "None"},
                    {"MetricName": "k", "Values": [1.0, 2.0], "Counts": [1.0, 3.0]},
                ],
            },
        ),
        ("iam", "CreateRole", "query", {"RoleName": "r", "AssumeRolePolicyDocument": "{}", "MaxSessionDuration": 3600}),
        ("iam", "TagUser", "query", {"UserName": "u", "Tags": [{"Key": "k", "Value": "v"}]}),
    ],
)
def test_what_botocore_sends_is_read(service: str, name: str, protocol: str, parameters: dict[str, Any]) -> None:
    request = sent(service, name, protocol, parameters)
    found = protocols.find(service, request)
    assert (found.name, found.protocol) == (name, protocol)
    parsed = protocols.parse(found, request, request.body)
    assert {key: plain(value) for key, value in parsed.items() if key in parameters} == parameters


def test_compressed_bodies() -> None:
    body = b'{"Namespace": "n"}' * 1000
    request = Request("POST", "x", "/", Headers([("Content-Encoding", "gzip")]))
    assert protocols.decompressed(request, gzip.compress(body)) == body
    assert protocols.decompressed(Request("POST", "x", "/"), body) == body
    with pytest.raises(AwsError, match="no valid gzip"):
        protocols.decompressed(request, body)
    with pytest.raises(AwsError, match="larger than"):
        protocols.decompressed(request, gzip.compress(bytes(protocols.LARGEST_BODY + 1)))


def test_secrets_and_bodies_are_left_out_of_the_record() -> None:
    put = operation("s3", "PutObject", "rest-xml")
    assert protocols.redacted(put, {"Bucket": "b", "Body": b"x", "SSECustomerKey": "k"}) == {
        "Bucket": "b",
        "SSECustomerKey": "***",
    }
    profile = operation("iam", "CreateLoginProfile", "query")
    assert protocols.redacted(profile, {"UserName": "u", "Password": "p"}) == {"UserName": "u", "Password": "***"}
    assert protocols.redacted(operation("s3", "ListObjectsV2", "rest-xml"), {"ContinuationToken": "t"}) == {
        "ContinuationToken": "t"
    }
