"""Endpoints: their statuses, their FailureReasons, and changes under load."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from labkit.cloud.aws import AwsCloud, sagemaker_deployment, sklearn_images
from labkit.cloud.aws.sagemaker_endpoints import INSTANCES_OF_A_TYPE
from labkit.cloud.engine import Engine
from tests.cloud.aws.sagemaker_world import DOUBLER, IMAGE, ORDERS, World, archive
from tests.waiting import eventually

PREFIX = "arn:aws:sagemaker:us-east-1:123456789012"
NO_PING = (
    "The primary container for production variant AllTraffic did not pass the ping health check. "
    "Please check CloudWatch logs for this endpoint."
)
#: A container that loads only once the file named in its environment is there.
GATED = """
import os, time
def model_fn(model_dir):
    while not os.path.exists(os.environ["GATE"]):
        time.sleep(0.01)
    return None
def predict_fn(data, model):
    return data
"""


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file for which GATED waits; made at the end of the test in any case."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


def refused(operation: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        operation(**parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


# -- making one ----------------------------------------------------------------------------------------------------


def test_an_endpoint_goes_from_creating_to_in_service(world: World, engine: Engine, gate: Path) -> None:
    model = world.model("model", GATED, Environment={"GATE": str(gate)})
    config = world.config("config", {"ModelName": model, "InitialInstanceCount": 2, "InitialVariantWeight": 3})
    name, arn = world.name("Endpoint"), f"{PREFIX}:endpoint/{world.name('endpoint')}"
    tags = [{"Key": "stage", "Value": "test"}]

    made = world.sm.create_endpoint(EndpointName=name, EndpointConfigName=config, Tags=tags)

    assert made["EndpointArn"] == arn
    creating = world.sm.describe_endpoint(EndpointName=name)
    assert (creating["EndpointStatus"], creating["EndpointConfigName"]) == ("Creating", config)
    assert "ProductionVariants" not in creating
    assert refused(world.runtime.invoke_endpoint, EndpointName=name, Body=b"[[1]]") == (
        "ValidationError",
        f"Endpoint {name} of account 123456789012 not found. It is Creating, and takes requests once it is InService.",
    )
    for operation in (
        world.sm.delete_endpoint,
        lambda **name: world.sm.update_endpoint(**name, EndpointConfigName="c"),
    ):
        assert refused(operation, EndpointName=name) == (
            "ValidationException",
            f'Cannot update in-progress endpoint "{arn}".',
        )

    gate.touch()
    world.wait(name)
    shown = world.sm.describe_endpoint(EndpointName=name)
    assert (shown["EndpointStatus"], shown["EndpointArn"]) == ("InService", arn)
    assert "FailureReason" not in shown
    (variant,) = shown["ProductionVariants"]
    (image,) = variant.pop("DeployedImages")
    assert variant == {
        "VariantName": "AllTraffic",
        "CurrentWeight": 3.0,
        "DesiredWeight": 3.0,
        "CurrentInstanceCount": 2,
        "DesiredInstanceCount": 2,
    }
    assert image["SpecifiedImage"] == IMAGE
    assert image["ResolvedImage"].startswith(f"{IMAGE.partition(':')[0]}@sha256:")
    assert shown["CreationTime"] <= shown["LastModifiedTime"] <= engine.clock.now()
    assert world.sm.list_tags(ResourceArn=arn)["Tags"] == tags
    assert world.invoke(name, "[[1, 2]]") == [[1.0, 2.0]]


def test_a_waiters_call_is_held_until_the_endpoint_is_settled(world: World, gate: Path) -> None:
    config = world.config("config", world.model("model", GATED, Environment={"GATE": str(gate)}))
    name = world.name("endpoint")
    world.sm.create_endpoint(EndpointName=name, EndpointConfigName=config)
    # Nobody opens the gate before this is answered.
    assert world.sm.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Creating"
    asked: list[str] = []
    world.sm.meta.events.register("before-call.sagemaker.DescribeEndpoint", lambda **_: asked.append(name))
    threading.Timer(0.5, gate.touch).start()
    world.sm.get_waiter("endpoint_in_service").wait(EndpointName=name)
    assert asked == [name], "the waiter's one call was held; its own pause is 30 s"


def test_names_and_configurations_are_checked(world: World) -> None:
    name = world.endpoint("endpoint", world.model("model"))
    config = world.sm.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    create = world.sm.create_endpoint
    assert refused(create, EndpointName=name.upper(), EndpointConfigName=config) == (
        "ValidationException",
        f'Cannot create already existing endpoint "{PREFIX}:endpoint/{name}".',
    )
    assert refused(create, EndpointName=world.name("other"), EndpointConfigName="none") == (
        "ValidationException",
        f'Could not find endpoint configuration "{PREFIX}:endpoint-config/none".',
    )
    for operation in (world.sm.describe_endpoint, world.sm.delete_endpoint):
        assert refused(operation, EndpointName="none") == (
            "ValidationException",
            f'Could not find endpoint "{PREFIX}:endpoint/none".',
        )


def test_a_model_deleted_before_the_endpoint_is_made(world: World) -> None:
    config = world.config("config", world.model("model"))
    world.sm.delete_model(ModelName=world.name("model"))
    assert refused(world.sm.create_endpoint, EndpointName=world.name("e"), EndpointConfigName=config) == (
        "ValidationException",
        f'Could not find model "{PREFIX}:model/{world.name("model")}".',
    )


def test_an_endpoint_goes_on_when_what_it_was_made_of_is_deleted(world: World) -> None:
    name = world.endpoint("endpoint", world.model("model"))
    world.sm.delete_model(ModelName=world.name("model"))
    world.sm.delete_endpoint_config(EndpointConfigName=world.name("endpoint"))
    world.s3.delete_object(Bucket=world.bucket, Key=f"{world.name('model')}/model.tar.gz")
    assert world.invoke(name, "[[1, 2]]") == [[2.0, 4.0]]


def test_instances_past_the_quota(world: World) -> None:
    config = world.config(
        "config", {"ModelName": world.model("m"), "InitialInstanceCount": 21, "InstanceType": "ml.m4.10xlarge"}
    )
    code, message = refused(world.sm.create_endpoint, EndpointName=world.name("e"), EndpointConfigName=config)
    assert code == "ResourceLimitExceeded"
    assert message.startswith(
        f"The account-level service limit 'ml.m4.10xlarge for endpoint usage' is {INSTANCES_OF_A_TYPE} Instances, "
        "with current utilization of 0 Instances and a request delta of 21 Instances."
    )
    assert world.sm.list_endpoints(NameContains=world.prefix)["Endpoints"] == []


# -- what a container gets -----------------------------------------------------------------------------------------


def test_a_container_runs_as_its_role_in_the_labs_environment(world: World, cloud: AwsCloud) -> None:
    model = world.model("model", ORDERS, Environment={"NAME": "blue", "HTTPS_PROXY": "http://elsewhere"})
    name = world.endpoint("endpoint", model)
    wanted = [
        "NAME",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "HTTPS_PROXY",
        "AWS_ACCESS_KEY_ID",
        "LABKIT_STATE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "SM_MODEL_DIR",
    ]
    found = world.invoke(name, {"env": wanted})
    token = found.pop("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    folder = Path(found.pop("SM_MODEL_DIR"))
    assert found == {
        "NAME": "blue",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": None,
        "LABKIT_STATE": None,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/_aws/credentials",
    }
    assert (folder / "code" / "inference.py").is_file()
    credentials = cloud.identities.container_credentials(token)
    assert credentials is not None
    assert credentials["RoleArn"] == world.role

    world.sm.delete_endpoint(EndpointName=name)
    assert not folder.exists()
    assert cloud.identities.container_credentials(token) is None


def test_an_isolated_container_has_no_credentials_and_no_way_out(world: World) -> None:
    url = world.upload("m.tar.gz", archive({"code/inference.py": ORDERS}))
    container = {"Image": IMAGE, "ModelDataUrl": url}
    name = world.name("isolated")
    world.sm.create_model(
        ModelName=name, ExecutionRoleArn=world.role, PrimaryContainer=container, EnableNetworkIsolation=True
    )
    endpoint = world.endpoint("endpoint", name)
    wanted = ["AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "HTTPS_PROXY"]
    assert world.invoke(endpoint, {"env": wanted}) == {
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": None,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": None,
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }


def test_what_a_container_says_is_in_its_log(world: World, engine: Engine) -> None:
    name = world.endpoint("endpoint", {"ModelName": world.model("m"), "InitialInstanceCount": 2})
    streams = engine.logs.streams("aws:123456789012:us-east-1", f"/aws/sagemaker/Endpoints/{name}")
    assert len(streams) == 2
    assert all(stream.name.startswith("AllTraffic/i-0") and len(stream.name) == 30 for stream in streams)
    assert world.log(engine, name).count("loading doubler") == 2


def test_code_may_come_apart_from_the_model(world: World) -> None:
    code = world.upload("sourcedir.tar.gz", archive({"serve.py": DOUBLER}))
    environment = {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": code}
    name = world.endpoint("endpoint", world.model("m", None, {"weights.bin": b"w"}, Environment=environment))
    assert world.invoke(name, "[[1, 2]]") == [[2.0, 4.0]]


def test_a_model_without_an_archive(world: World) -> None:
    world.upload("plain/code/inference.py", DOUBLER.encode())
    data = {"S3Uri": f"s3://{world.bucket}/plain/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    container = {"Image": IMAGE, "ModelDataSource": {"S3DataSource": data}}
    world.sm.create_model(ModelName=world.name("m"), ExecutionRoleArn=world.role, PrimaryContainer=container)
    assert world.invoke(world.endpoint("endpoint", world.name("m")), "[[1, 2]]") == [[2.0, 4.0]]


# -- failing to make one -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "logged"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def model_fn(", "SyntaxError"),
        ("def predict_fn(data, model): ...", "Please provide a model_fn implementation."),
        ("def model_fn(model_dir): raise ValueError('bad pickle')", "ValueError: bad pickle"),
        ("import sys\nprint('leaving')\nsys.exit(3)", "leaving"),
        ("import os\nprint('gone', flush=True)\nos._exit(3)", "gone"),
        (None, "The model package has no code/inference.py. It holds: other.txt."),
        ("def model_fn(d): open('/opt/ml/model/x')", "/opt/ml/model/x is a path inside SageMaker's own container"),
    ],
)
def test_a_container_that_does_not_start_fails_its_ping(
    world: World, engine: Engine, code: str | None, logged: str
) -> None:
    assert world.failure("endpoint", world.model("model", code, {"other.txt": "x"})) == NO_PING
    assert logged in world.log(engine, world.name("endpoint"))
    assert (
        refused(world.runtime.invoke_endpoint, EndpointName=world.name("endpoint"), Body=b"x")[0] == "ValidationError"
    )
    arn = f"{PREFIX}:endpoint/{world.name('endpoint')}"
    assert refused(world.sm.update_endpoint, EndpointName=world.name("endpoint"), EndpointConfigName="c") == (
        "ValidationException",
        f'Cannot update endpoint "{arn}", which is Failed: it can only be deleted.',
    )
    world.sm.delete_endpoint(EndpointName=world.name("endpoint"))


def test_a_container_that_hangs_fails_its_ping(world: World, monkeypatch: pytest.MonkeyPatch, gate: Path) -> None:
    monkeypatch.setattr(sagemaker_deployment, "START_TIMEOUT", 0.5)
    assert world.failure("endpoint", world.model("model", GATED, Environment={"GATE": str(gate)})) == NO_PING


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"", "The object is empty."),
        (b"this is no archive", "The object is not compressed with gzip"),
        (archive({"a": os.urandom(5000)})[:2000], "The gzip data ends too early"),
        (archive({"../evil.py": "x"}), "holds '../evil.py', a path that leads out of the model's folder."),
    ],
)
def test_model_data_that_cannot_be_unpacked(world: World, engine: Engine, data: bytes, detail: str) -> None:
    model = world.model("model")
    url = world.upload(f"{model}/model.tar.gz", data)
    reason = world.failure("endpoint", model)
    assert reason.startswith(
        f'Failed to extract model data archive for container "container_1" from URL "{url}". '
        "Please ensure that the object located at the URL is a valid tar.gz archive."
    )
    assert detail in reason
    assert list((engine.folder / "sagemaker").rglob("evil.py")) == []


def test_model_data_deleted_after_the_model_was_made(world: World) -> None:
    model = world.model("model")
    world.s3.delete_object(Bucket=world.bucket, Key=f"{model}/model.tar.gz")
    url = f"s3://{world.bucket}/{model}/model.tar.gz"
    assert world.failure("endpoint", model) == (
        f'Failed to download model data for container "container_1" from URL: "{url}". Please ensure that there is '
        "an object located at the URL and that the role passed to CreateModel has permissions to download the object."
    )


def test_model_data_larger_than_the_volume(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sagemaker_deployment, "VOLUME_GB", 0.001)
    model = world.model("model", files={"zeros.bin": bytes(3 * 1024**2)})
    url = f"s3://{world.bucket}/{model}/model.tar.gz"
    assert world.failure("endpoint", model) == (
        f'Failed to extract model data archive for container "container_1" from URL "{url}". Please ensure that the '
        "object located at the URL is a valid tar.gz archive. The model data is larger than the 0.001 GB that the "
        "instance has room for."
    )


def test_a_role_deleted_after_the_model_was_made(world: World) -> None:
    model = world.model("model")
    world.iam.delete_role_policy(RoleName=world.name("role"), PolicyName="rights")
    world.iam.delete_role(RoleName=world.name("role"))
    assert world.failure("endpoint", model).startswith(f'The execution role ARN "{world.role}" is invalid.')


@pytest.mark.parametrize(
    "image",
    [
        "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.0-cpu-py310",
        "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3",
        "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:9.9-9-cpu-py3",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:latest",
    ],
)
def test_an_image_that_is_not_served(world: World, image: str) -> None:
    assert world.failure("endpoint", world.model("model", Image=image)) == (
        f"The image '{image}' is not served by these local clouds, which run no containers: in us-east-1 they serve "
        "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3 and its versions 0.20.0, "
        "0.23-1, 1.0-1, 1.2-1, 1.4-2, 1.4-2-py312."
    )


@pytest.mark.parametrize("region", sorted(sklearn_images.ACCOUNTS))
def test_the_images_are_those_that_the_sagemaker_sdk_names(region: str) -> None:
    sklearn = json.loads(
        (Path(pytest.importorskip("sagemaker.core").__path__[0]) / "image_uri_config" / "sklearn.json").read_text()
    )
    versions = sklearn["inference"]["versions"] | sklearn["training"]["versions"]
    assert set(versions) == set(sklearn_images.VERSIONS)
    for version, each in versions.items():
        assert each["registries"][region] == sklearn_images.ACCOUNTS[region]
        tag = f"{version}-{each['processors'][0]}-{each['py_versions'][0]}"
        assert sklearn_images.uri(region, version).endswith(f"/{each['repository']}:{tag}")
        assert sklearn_images.refusal(sklearn_images.uri(region, version), region) is None


def test_requirements_that_are_not_met_name_the_package(world: World, engine: Engine) -> None:
    files = {"code/requirements.txt": "scikit-learn\nno-such-package>=2  # needed\n"}
    reason = world.failure("endpoint", world.model("model", files=files))
    sentence = "requirements.txt asks for no-such-package>=2, which is not installed here."
    assert reason.startswith(f"{NO_PING} {sentence}")
    assert sentence in world.log(engine, world.name("endpoint"))


def test_requirements_that_are_met_let_it_start(world: World) -> None:
    model = world.model("model", files={"code/requirements.txt": "scikit-learn>=1.0\nnumpy\n"})
    assert world.invoke(world.endpoint("endpoint", model), "[[1]]") == [[2.0]]


# -- changing one --------------------------------------------------------------------------------------------------


def test_an_update_under_load_loses_no_request(world: World) -> None:
    models = [world.model(name, ORDERS, Environment={"NAME": name}) for name in ("old", "new")]
    name = world.endpoint("endpoint", {"ModelName": models[0], "InitialInstanceCount": 2})
    green = world.config("green", {"ModelName": models[1], "VariantName": "green"})
    stop, failures, seen = threading.Event(), [], []

    def load() -> None:
        while not stop.is_set():
            try:
                seen.append(world.invoke(name, {"sleep": 0.002})["name"])
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: seen)
        world.sm.update_endpoint(EndpointName=name, EndpointConfigName=green)
        world.wait(name)
        after = len(seen)
        eventually(lambda: len(seen) >= after + 40 or failures)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert not failures
    assert set(seen) == {"old", "new"}
    # Requests that were under way as the switch was told may still come from the old variant: one a thread.
    assert seen[after:].count("old") <= 4
    shown = world.sm.describe_endpoint(EndpointName=name)
    assert shown["EndpointConfigName"] == green
    assert [variant["VariantName"] for variant in shown["ProductionVariants"]] == ["green"]


def test_while_it_is_updated_the_old_variants_serve(world: World, gate: Path) -> None:
    name = world.endpoint("endpoint", world.model("model"))
    slow = world.config("slow", world.model("slow", GATED, Environment={"GATE": str(gate)}))
    world.sm.update_endpoint(EndpointName=name, EndpointConfigName=slow)

    shown = world.sm.describe_endpoint(EndpointName=name)
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("Updating", name)
    assert shown["PendingDeploymentSummary"]["EndpointConfigName"] == slow
    assert world.invoke(name, "[[1]]") == [[2.0]]
    arn = shown["EndpointArn"]
    assert refused(world.sm.delete_endpoint, EndpointName=name)[1] == f'Cannot update in-progress endpoint "{arn}".'

    gate.touch()
    shown = world.settle(name)
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", slow)
    assert "PendingDeploymentSummary" not in shown
    assert world.invoke(name, "[[1]]") == [[1.0]]


def test_an_update_that_fails_changes_nothing(world: World) -> None:
    name = world.endpoint("endpoint", world.model("model"))
    broken = world.config("broken", world.model("broken", "1 / 0"))
    world.sm.update_endpoint(EndpointName=name, EndpointConfigName=broken)

    shown = world.settle(name)
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", name)
    assert shown["FailureReason"] == NO_PING
    assert world.invoke(name, "[[1]]") == [[2.0]]

    world.sm.update_endpoint(EndpointName=name, EndpointConfigName=world.config("good", world.name("model")))
    assert "FailureReason" not in world.settle(name)


@pytest.mark.parametrize(
    ("more", "weight", "count"),
    [
        ({}, 1.0, 1),
        ({"RetainAllVariantProperties": True}, 0.5, 2),
        (
            {
                "RetainAllVariantProperties": True,
                "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredWeight"}],
            },
            1.0,
            2,
        ),
    ],
)
def test_variant_properties_are_retained_when_asked(
    world: World, more: dict[str, Any], weight: float, count: int
) -> None:
    model = world.model("model")
    name = world.endpoint("endpoint", {"ModelName": model, "InitialInstanceCount": 2, "InitialVariantWeight": 0.5})
    world.sm.update_endpoint(EndpointName=name, EndpointConfigName=world.config("next", model), **more)
    (variant,) = world.settle(name)["ProductionVariants"]
    assert (variant["DesiredWeight"], variant["DesiredInstanceCount"]) == (weight, count)


AT_ONCE = {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}}
STEP = {"Type": "CAPACITY_PERCENT", "Value": 10}


def test_the_deployment_that_is_done_is_kept(world: World) -> None:
    model, deployment = world.model("model"), {"BlueGreenUpdatePolicy": AT_ONCE}
    name = world.endpoint("endpoint", model)
    world.sm.update_endpoint(
        EndpointName=name, EndpointConfigName=world.config("b", model), DeploymentConfig=deployment
    )
    assert world.settle(name)["LastDeploymentConfig"] == deployment
    world.sm.update_endpoint(
        EndpointName=name, EndpointConfigName=world.config("c", model), RetainDeploymentConfig=True
    )
    assert world.settle(name)["LastDeploymentConfig"] == deployment


@pytest.mark.parametrize(
    ("deployment", "names"),
    [
        (
            {"RollingUpdatePolicy": {"MaximumBatchSize": STEP, "WaitIntervalInSeconds": 0}},
            "RollingUpdatePolicy",
        ),
        (
            {"BlueGreenUpdatePolicy": AT_ONCE, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}},
            "AutoRollbackConfiguration",
        ),
        (
            {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {"Type": "CANARY", "WaitIntervalInSeconds": 0, "CanarySize": STEP}
                }
            },
            "TrafficRoutingConfiguration CANARY",
        ),
        (
            {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300}
                }
            },
            "WaitIntervalInSeconds",
        ),
        ({"BlueGreenUpdatePolicy": {**AT_ONCE, "TerminationWaitInSeconds": 60}}, "TerminationWaitInSeconds"),
    ],
)
def test_deployments_that_are_not_done_refuse_by_name(world: World, deployment: dict[str, Any], names: str) -> None:
    for operation in (world.sm.update_endpoint, world.sm.create_endpoint):
        code, message = refused(operation, EndpointName="e", EndpointConfigName="c", DeploymentConfig=deployment)
        assert code == "NotImplementedException"
        assert names in message


def test_weights_are_in_force_at_once_and_instances_after_a_while(world: World, gate: Path) -> None:
    gate.touch()
    model = world.model("model", GATED, Environment={"GATE": str(gate)})
    name = world.endpoint(
        "endpoint", {"ModelName": model, "VariantName": "blue"}, {"ModelName": model, "VariantName": "green"}
    )
    change = world.sm.update_endpoint_weights_and_capacities

    change(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "blue", "DesiredWeight": 0},
            {"VariantName": "green", "DesiredWeight": 2},
        ],
    )
    shown = world.sm.describe_endpoint(EndpointName=name)
    assert shown["EndpointStatus"] == "InService"
    assert [variant["CurrentWeight"] for variant in shown["ProductionVariants"]] == [0.0, 2.0]
    answers = [world.runtime.invoke_endpoint(EndpointName=name, Body=b"[[1]]") for _ in range(50)]
    assert {answer["InvokedProductionVariant"] for answer in answers} == {"green"}

    gate.unlink()
    change(EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "green", "DesiredInstanceCount": 3}])
    assert world.sm.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Updating"
    gate.touch()
    green = world.settle(name)["ProductionVariants"][1]
    assert (green["CurrentInstanceCount"], green["DesiredInstanceCount"], green["DesiredWeight"]) == (3, 3, 2.0)

    change(EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "green", "DesiredInstanceCount": 1}])
    assert world.settle(name)["ProductionVariants"][1]["CurrentInstanceCount"] == 1


def test_capacities_that_cannot_be(world: World) -> None:
    name = world.endpoint("endpoint", world.model("model"))

    def change(**wanted: Any) -> tuple[str, str]:
        wanted = {"VariantName": "AllTraffic", **wanted}
        operation = world.sm.update_endpoint_weights_and_capacities
        return refused(operation, EndpointName=name, DesiredWeightsAndCapacities=[wanted])

    config = f"{PREFIX}:endpoint-config/{name}"
    assert change(VariantName="green") == (
        "ValidationException",
        f'The variant name(s) "green" is/are not present within endpoint configuration "{config}".',
    )
    assert "has to be 1 at least" in change(DesiredInstanceCount=0)[1]
    assert change(DesiredInstanceCount=INSTANCES_OF_A_TYPE + 1)[0] == "ResourceLimitExceeded"
    assert change(ServerlessUpdateConfig={"MaxConcurrency": 1})[0] == "NotImplementedException"
    assert world.invoke(name, "[[1]]") == [[2.0]]


# -- the end of one ------------------------------------------------------------------------------------------------


def test_a_deleted_endpoint_is_gone_with_its_processes(world: World) -> None:
    name = world.endpoint("endpoint", world.model("model", ORDERS))
    pid = world.invoke(name, {})["pid"]
    world.sm.delete_endpoint(EndpointName=name)

    assert world.sm.list_endpoints(NameContains=name)["Endpoints"] == []
    world.sm.get_waiter("endpoint_deleted").wait(EndpointName=name)
    assert refused(world.runtime.invoke_endpoint, EndpointName=name, Body=b"x") == (
        "ValidationError",
        f"Endpoint {name} of account 123456789012 not found.",
    )
    eventually(lambda: not psutil.pid_exists(pid))


def test_a_killed_replica_comes_back_by_itself(world: World) -> None:
    name = world.endpoint("endpoint", world.model("model", ORDERS))
    first = world.invoke(name, {})["pid"]
    os.kill(first, signal.SIGKILL)
    assert world.invoke(name, {})["pid"] != first
    (variant,) = world.sm.describe_endpoint(EndpointName=name)["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 1


def test_lists_know_the_status_and_the_time_of_change(world: World, engine: Engine) -> None:
    good = world.endpoint("good", world.model("model"))
    world.failure("bad", world.model("broken", "1 / 0"))

    def listed(**filters: Any) -> list[str]:
        page = world.sm.list_endpoints(NameContains=world.prefix, **filters)
        return [each["EndpointName"] for each in page["Endpoints"]]

    bad = world.name("bad")
    assert listed() == [bad, good]
    assert listed(SortBy="Status", SortOrder="Ascending") == [bad, good]
    assert listed(StatusEquals="InService") == [good]
    assert listed(StatusEquals="Failed") == [bad]
    engine.clock.advance(timedelta(hours=1))
    later = engine.clock.now()
    assert listed(LastModifiedTimeAfter=later) == []
    world.sm.update_endpoint_weights_and_capacities(
        EndpointName=good, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredWeight": 2}]
    )
    assert listed(LastModifiedTimeAfter=later) == [good]
    assert listed(CreationTimeAfter=later) == []


def test_the_inventory_names_what_there_is(world: World, cloud: AwsCloud) -> None:
    name = world.endpoint("endpoint", world.model("model"))
    inventory = cloud.inventory()
    assert world.name("model") in inventory["models"]
    assert name in inventory["endpoint configurations"]
    assert name in inventory["endpoints"]
