"""Endpoint configurations: kept as given, and refused by name where the kit does not serve them."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cloud.aws.sagemaker_world import World

PREFIX = "arn:aws:sagemaker:us-east-1:123456789012"


def refused(world: World, *variants: Any, **more: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        world.config("config", *variants, **more)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_configuration_is_described_as_it_was_made(world: World) -> None:
    model = world.model("model")
    name = world.config(
        "Config",
        {"VariantName": "blue", "ModelName": model, "InitialVariantWeight": 0.9, "VolumeSizeInGB": 5},
        {"VariantName": "green", "ModelName": model, "InitialInstanceCount": 2, "InstanceType": "ml.c5.xlarge"},
        KmsKeyId="arn:aws:kms:us-east-1:123456789012:key/k",
        Tags=[{"Key": "stage", "Value": "dev"}],
    )
    shown = world.sm.describe_endpoint_config(EndpointConfigName=name)
    assert shown["EndpointConfigArn"] == f"{PREFIX}:endpoint-config/{name.lower()}"
    assert shown["KmsKeyId"] == "arn:aws:kms:us-east-1:123456789012:key/k"
    blue, green = shown["ProductionVariants"]
    assert blue == {
        "VariantName": "blue",
        "ModelName": model,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
        "InitialVariantWeight": pytest.approx(0.9),
        "VolumeSizeInGB": 5,
    }
    assert (green["InitialVariantWeight"], green["InitialInstanceCount"]) == (1.0, 2)
    assert world.sm.list_tags(ResourceArn=shown["EndpointConfigArn"])["Tags"] == [{"Key": "stage", "Value": "dev"}]
    (summary,) = world.sm.list_endpoint_configs(NameContains=name)["EndpointConfigs"]
    assert summary["EndpointConfigArn"] == shown["EndpointConfigArn"]


def test_a_name_is_taken_once(world: World) -> None:
    model = world.model("model")
    world.config("config", model)
    assert refused(world, model) == (
        "ValidationException",
        f'Cannot create already existing endpoint configuration "{PREFIX}:endpoint-config/{world.name("config")}".',
    )


def test_a_model_that_is_not_there(world: World) -> None:
    assert refused(world, "no-such-model") == (
        "ValidationException",
        f'Could not find model "{PREFIX}:model/no-such-model".',
    )
    assert world.sm.list_endpoint_configs(NameContains=world.prefix)["EndpointConfigs"] == []


@pytest.mark.parametrize("operation", ["describe_endpoint_config", "delete_endpoint_config"])
def test_an_unknown_configuration(world: World, operation: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(world.sm, operation)(EndpointConfigName="none")
    message = f'Could not find endpoint configuration "{PREFIX}:endpoint-config/none".'
    assert caught.value.response["Error"] == {"Code": "ValidationException", "Message": message}


def test_a_deleted_configuration_is_gone(world: World) -> None:
    name = world.config("config", world.model("model"))
    world.sm.delete_endpoint_config(EndpointConfigName=name)
    assert world.sm.list_endpoint_configs(NameContains=name)["EndpointConfigs"] == []


def test_variant_names_differ(world: World) -> None:
    model = world.model("model")
    code, message = refused(world, model, model)
    assert code == "ValidationException"
    assert "Duplicate variant name AllTraffic" in message


def test_ten_variants_at_most(world: World) -> None:
    model = world.model("model")
    variants = [{"VariantName": f"v{number}", "ModelName": model} for number in range(11)]
    code, message = refused(world, *variants)
    assert code == "ValidationException"
    assert message.endswith("Member must have length less than or equal to 10")
    world.config("ten", *variants[:10])


def test_instances_are_required(world: World) -> None:
    model = world.model("model")
    with pytest.raises(ClientError, match="InstanceType is missing in production variant v"):
        world.sm.create_endpoint_config(
            EndpointConfigName=world.name("config"),
            ProductionVariants=[{"VariantName": "v", "ModelName": model, "InitialInstanceCount": 1}],
        )


@pytest.mark.parametrize(
    ("variant", "rule"),
    [
        ({"InstanceType": "ml.huge.large"}, "Member must satisfy enum value set"),
        ({"VariantName": "under_score"}, "Member must satisfy regular expression pattern"),
    ],
)
def test_botocores_constraints_are_told_in_aws_words(world: World, variant: dict[str, Any], rule: str) -> None:
    code, message = refused(world, {"ModelName": "m", **variant})
    assert code == "ValidationException"
    assert rule in message


@pytest.mark.parametrize(
    ("variant", "more", "names"),
    [
        ({"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}, {}, "(ServerlessConfig of variant"),
        ({"AcceleratorType": "ml.eia2.medium"}, {}, "(AcceleratorType of variant"),
        ({"CoreDumpConfig": {"DestinationS3Uri": "s3://b/k"}}, {}, "(CoreDumpConfig of variant"),
        ({"ManagedInstanceScaling": {"Status": "ENABLED"}}, {}, "(ManagedInstanceScaling of variant"),
        ({"EnableSSMAccess": True}, {}, "(EnableSSMAccess of variant"),
        ({"RoutingConfig": {"RoutingStrategy": "PREFIX_AWARE"}}, {}, "(RoutingConfig of variant"),
        ({}, {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b"}}}, "(AsyncInferenceConfig)"),
        (
            {},
            {
                "DataCaptureConfig": {
                    "EnableCapture": True,
                    "InitialSamplingPercentage": 100,
                    "DestinationS3Uri": "s3://b",
                    "CaptureOptions": [{"CaptureMode": "Input"}],
                }
            },
            "(DataCaptureConfig)",
        ),
        (
            {},
            {"ShadowProductionVariants": [{"VariantName": "s", "ModelName": "m", "InstanceType": "ml.m5.large"}]},
            "(ShadowProductionVariants)",
        ),
        (
            {},
            {
                "ExplainerConfig": {
                    "ClarifyExplainerConfig": {"ShapConfig": {"ShapBaselineConfig": {"ShapBaseline": "1,2"}}}
                }
            },
            "(ExplainerConfig)",
        ),
        ({}, {"MetricsConfig": {"EnableEnhancedMetrics": True}}, "(MetricsConfig)"),
    ],
)
def test_what_is_not_served_refuses_by_its_name(
    world: World, variant: dict[str, Any], more: dict[str, Any], names: str
) -> None:
    code, message = refused(world, {"ModelName": world.model("model"), **variant}, **more)
    assert code == "NotImplementedException"
    assert names in message


def test_inference_components_are_not_served(world: World) -> None:
    with pytest.raises(ClientError, match="inference components"):
        world.sm.create_endpoint_config(
            EndpointConfigName=world.name("config"),
            ProductionVariants=[{"VariantName": "v", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}],
        )


def test_what_is_switched_off_may_stand_there(world: World) -> None:
    capture = {
        "EnableCapture": False,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://b",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    routing = {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    name = world.config("config", {"ModelName": world.model("m"), "RoutingConfig": routing}, DataCaptureConfig=capture)
    assert world.sm.describe_endpoint_config(EndpointConfigName=name)["DataCaptureConfig"] == capture
