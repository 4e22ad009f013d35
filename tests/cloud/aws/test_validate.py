"""Parameters against botocore's constraints, in AWS's wording."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.cloud.aws import protocols, validate
from labkit.cloud.aws.errors import AwsError

VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


def refusal(service: str, operation: str, parameters: dict[str, Any]) -> tuple[str, str]:
    shape = protocols.model_of(service).operation_model(operation).input_shape
    with pytest.raises(AwsError) as caught:
        validate.check(service, shape, parameters)
    assert caught.value.status == 400
    return caught.value.code, caught.value.message


def one(value: str, path: str, rule: str) -> str:
    return f"1 validation error detected: Value {value} at '{path}' failed to satisfy constraint: {rule}"


def test_what_is_right() -> None:
    shape = protocols.model_of("sagemaker").operation_model("CreateEndpointConfig").input_shape
    validate.check("sagemaker", shape, {"EndpointConfigName": "a-b", "ProductionVariants": [VARIANT]})


@pytest.mark.parametrize(
    ("operation", "parameters", "message"),
    [
        ("DescribeEndpoint", {}, one("null", "endpointName", "Member must not be null")),
        (
            "DescribeEndpoint",
            {"EndpointName": "a" * 64},
            one(f"'{'a' * 64}'", "endpointName", "Member must have length less than or equal to 63"),
        ),
        (
            "CreateEndpointConfig",
            {"EndpointConfigName": "c", "ProductionVariants": []},
            one("'[]'", "productionVariants", "Member must have length greater than or equal to 1"),
        ),
        (
            "CreateEndpointConfig",
            {"EndpointConfigName": "c", "ProductionVariants": [VARIANT, {**VARIANT, "InitialInstanceCount": 0}]},
            one(
                "'0'",
                "productionVariants.2.member.initialInstanceCount",
                "Member must have value greater than or equal to 1",
            ),
        ),
        (
            "ListEndpoints",
            {"MaxResults": 101},
            one("'101'", "maxResults", "Member must have value less than or equal to 100"),
        ),
        (
            "ListEndpoints",
            {"SortOrder": "Up"},
            one("'Up'", "sortOrder", "Member must satisfy enum value set: [Ascending, Descending]"),
        ),
    ],
)
def test_sagemakers_wording(operation: str, parameters: dict[str, Any], message: str) -> None:
    assert refusal("sagemaker", operation, parameters) == ("ValidationException", message)


def test_patterns_are_javas() -> None:
    code, message = refusal("sagemaker", "DescribeEndpoint", {"EndpointName": "_bad_"})
    pattern = protocols.model_of("sagemaker").shape_for("EndpointName").metadata["pattern"]
    assert (code, message) == (
        "ValidationException",
        one("'_bad_'", "endpointName", f"Member must satisfy regular expression pattern: {pattern}"),
    )
    key = {"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:model/m", "Tags": [{"Key": "é-Ω 1", "Value": "ü"}]}
    validate.check("sagemaker", protocols.model_of("sagemaker").operation_model("AddTags").input_shape, key)


def test_several_at_once() -> None:
    code, message = refusal("sagemaker", "CreateEndpoint", {"EndpointName": "_"})
    assert code == "ValidationException"
    assert message.startswith("2 validation errors detected: Value null at 'endpointConfigName'")
    assert "; Value '_' at 'endpointName'" in message


def test_maps_and_lists_of_words() -> None:
    container = {"Image": "i", "Environment": {"a b": "x"}}
    _, message = refusal("sagemaker", "CreateModel", {"ModelName": "m", "PrimaryContainer": container})
    assert message.startswith("1 validation error detected: Value '{a b=x}' at 'primaryContainer.environment' failed")
    assert "Map keys must satisfy constraint: [Member must satisfy regular expression pattern:" in message
    vpc = {"SecurityGroupIds": ["sg-1", "no good"], "Subnets": ["s"]}
    _, message = refusal("sagemaker", "CreateModel", {"ModelName": "m", "VpcConfig": vpc})
    assert "Value '[sg-1, no good]' at 'vpcConfig.securityGroupIds'" in message
    assert "Member must satisfy constraint: [Member must satisfy regular expression pattern:" in message


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "code"),
    [
        ("iam", "CreateUser", {"UserName": "a b"}, "ValidationError"),
        ("sts", "GetFederationToken", {"Name": "b"}, "ValidationError"),
        ("logs", "CreateLogGroup", {"logGroupName": "a b"}, "InvalidParameterException"),
        ("ecr", "CreateRepository", {"repositoryName": "A"}, "InvalidParameterException"),
        ("cloudwatch", "PutMetricData", {"Namespace": ":x", "MetricData": []}, "ValidationError"),
    ],
)
def test_each_services_code(service: str, operation: str, parameters: dict[str, Any], code: str) -> None:
    found, message = refusal(service, operation, parameters)
    assert found == code
    assert "validation error" in message


def test_cloudwatch_names_a_missing_parameter() -> None:
    missing = ("MissingParameter", "The parameter Namespace is required.")
    assert refusal("cloudwatch", "PutMetricData", {"MetricData": []}) == missing
