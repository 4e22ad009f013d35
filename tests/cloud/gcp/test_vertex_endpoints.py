"""Vertex AI's endpoints: made, changed, filled with deployed models, emptied and deleted, errors included."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.cloud.gcp.vertex_world import World, constant


def split(world: World, endpoint: str) -> dict[str, int]:
    return dict(world.ok("GET", endpoint).get("trafficSplit", {}))


def test_an_endpoint_is_made_and_listed(world: World) -> None:
    made = world.done(
        "POST", f"{world.parent}/endpoints?endpointId=churn-endpoint", {"displayName": "churn", "labels": {"a": "b"}}
    )
    assert made["name"] == f"projects/{world.number}/locations/us-central1/endpoints/churn-endpoint"
    other = world.endpoint()
    names = lambda query="": [  # noqa: E731
        each["name"] for each in world.ok("GET", f"{world.parent}/endpoints{query}").get("endpoints", [])
    ]
    assert names() == [other, made["name"]]
    assert names(f"?filter={quote('labels.a=b')}") == [made["name"]]
    assert names(f"?filter={quote('endpoint=churn-endpoint')}") == [made["name"]]
    again = world.error("POST", f"{world.parent}/endpoints?endpointId=churn-endpoint", {"displayName": "x"})
    assert again[0] == "ALREADY_EXISTS"


@pytest.mark.parametrize(
    ("query", "body", "code", "message"),
    [
        ("", {}, "INVALID_ARGUMENT", "Field: endpoint.display_name; Message: Required field is not set."),
        ("?endpointId=-x", {"displayName": "e"}, "INVALID_ARGUMENT", "Field: endpoint_id"),
        ("", {"displayName": "e", "dedicatedEndpointEnabled": True}, "UNIMPLEMENTED", "dedicated endpoints"),
        ("", {"displayName": "e", "network": "n"}, "UNIMPLEMENTED", "private endpoints"),
    ],
)
def test_an_endpoint_that_cannot_be_made(
    world: World, query: str, body: dict[str, Any], code: str, message: str
) -> None:
    answered = world.error("POST", f"{world.parent}/endpoints{query}", body)
    assert answered[0] == code
    assert message in answered[1]


def test_the_first_model_takes_the_traffic_that_key_0_gives_it(world: World) -> None:
    model, endpoint = world.upload(constant(1)), world.endpoint()
    first = world.deploy(endpoint, model, {"0": 100}, displayName="first")
    assert split(world, endpoint) == {first: 100}
    second = world.deploy(endpoint, model, {"0": 30, first: 70})
    assert split(world, endpoint) == {first: 70, second: 30}
    third = world.deploy(endpoint, model)
    assert split(world, endpoint) == {first: 70, second: 30}
    shown = {each["id"]: each for each in world.deployed(endpoint)}
    assert set(shown) == {first, second, third}
    assert (shown[first]["displayName"], shown[second]["displayName"]) == ("first", "churn")
    assert shown[first]["model"] == model.partition("@")[0]
    assert shown[first]["modelVersionId"] == "1"
    assert shown[first]["dedicatedResources"]["maxReplicaCount"] == 1


@pytest.mark.parametrize(
    ("traffic", "message"),
    [
        ({"0": 140}, "must add up to 100 and not be negative; these are 0: 140."),
        ({"0": 60}, "must add up to 100"),
        ({"0": 50, "12": 50}, "The following DeployedModel ID(s) [12] do not exist."),
    ],
)
def test_traffic_that_cannot_be_divided(world: World, traffic: dict[str, int], message: str) -> None:
    model, endpoint = world.upload(constant(1)), world.endpoint()
    code, said = world.error("POST", f"{endpoint}:deployModel", world.deployment(model, traffic))
    assert code == "INVALID_ARGUMENT"
    assert message in said
    assert world.deployed(endpoint) == []


@pytest.mark.parametrize(
    ("resources", "code", "message"),
    [
        ({"machineSpec": {"machineType": "n1-standard-3"}, "minReplicaCount": 1}, "INVALID_ARGUMENT",
         'Machine type "n1-standard-3" is not supported.'),
        ({"machineSpec": {"machineType": "g2-standard-4"}, "minReplicaCount": 1}, "UNIMPLEMENTED", "no accelerators"),
        ({"minReplicaCount": 0}, "INVALID_ARGUMENT", "min_replica_count; Message: The value must be greater than"),
        ({"minReplicaCount": 3, "maxReplicaCount": 2}, "INVALID_ARGUMENT", "must be at least min_replica_count"),
        ({"minReplicaCount": 17}, "RESOURCE_EXHAUSTED", "at most 16 replicas"),
    ],
)  # fmt: skip
def test_resources_that_cannot_be(world: World, resources: dict[str, Any], code: str, message: str) -> None:
    model, endpoint = world.upload(constant(1)), world.endpoint()
    body = world.deployment(model, {"0": 100}, dedicatedResources=resources)
    answered = world.error("POST", f"{endpoint}:deployModel", body)
    assert answered[0] == code
    assert message in answered[1]


def test_a_deployment_needs_resources_of_its_own_and_a_model(world: World) -> None:
    model, endpoint = world.upload(constant(1)), world.endpoint()
    bare = {"deployedModel": {"model": model}}
    assert "deployed_model.dedicated_resources" in world.error("POST", f"{endpoint}:deployModel", bare)[1]
    logged = world.deployment(model, enableAccessLogging=True)
    assert "logs of each request" in world.error("POST", f"{endpoint}:deployModel", logged)[1]
    automatic = {"deployedModel": {"model": model, "automaticResources": {"minReplicaCount": 1}}}
    assert world.error("POST", f"{endpoint}:deployModel", automatic)[0] == "UNIMPLEMENTED"
    gone = world.deployment(model.partition("@")[0] + "@7")
    assert world.error("POST", f"{endpoint}:deployModel", gone) == ("NOT_FOUND", "The Model does not exist.")


@pytest.mark.parametrize("content", [b"no model at all", b""])
def test_a_corrupt_model_ends_the_deployment_and_leaves_the_endpoint_as_it_was(world: World, content: bytes) -> None:
    endpoint = world.endpoint((world.upload(constant(1)), 100))
    before = split(world, endpoint)
    corrupt = world.upload(files={"model.joblib": content})
    code, message = world.error("POST", f"{endpoint}:deployModel", world.deployment(corrupt, {"0": 100}))
    assert code == "FAILED_PRECONDITION"
    assert message.startswith("Model server exited unexpectedly.")
    assert f"resource.labels.endpoint_id%3D%22{endpoint.rpartition('/')[2]}%22" in message
    assert split(world, endpoint) == before
    assert world.predict(endpoint, [[0, 0, 0, 0]])["predictions"] == [1]
    assert not list((world.engine.folder / "vertex-ai").glob("*/corrupt"))


def test_a_model_whose_artifacts_are_gone_cannot_be_deployed(world: World) -> None:
    model, endpoint = world.upload(constant(1)), world.endpoint()
    for name in world.cloud.buckets.names(world.bucket):
        world.cloud.buckets.delete(world.cloud.buckets.require(world.bucket, name))
    code, message = world.error("POST", f"{endpoint}:deployModel", world.deployment(model, {"0": 100}))
    assert code == "FAILED_PRECONDITION"
    assert "is expected to contain exactly one of" in message


def test_an_update_divides_the_traffic_and_changes_what_its_mask_names(world: World) -> None:
    model = world.upload(constant(1))
    endpoint = world.endpoint((model, 70), (model, 30))
    first, second = (each["id"] for each in world.deployed(endpoint))
    changed = world.ok(
        "PATCH",
        f"{endpoint}?updateMask=trafficSplit,displayName,labels",
        {"trafficSplit": {first: 0, second: 100}, "displayName": "new", "labels": {"x": "y"}, "description": "no"},
    )
    assert changed["trafficSplit"] == {first: 0, second: 100}
    assert (changed["displayName"], changed["labels"]) == ("new", {"x": "y"})
    assert "description" not in changed
    too_much = world.error("PATCH", f"{endpoint}?updateMask=trafficSplit", {"trafficSplit": {first: 70, second: 70}})
    assert too_much[0] == "INVALID_ARGUMENT"
    assert split(world, endpoint) == {first: 0, second: 100}
    logged = world.error("PATCH", f"{endpoint}?updateMask=predictRequestResponseLoggingConfig", {})
    assert logged[0] in ("UNIMPLEMENTED", "INVALID_ARGUMENT")


def test_a_model_with_traffic_stays_while_others_are_there(world: World) -> None:
    model = world.upload(constant(1))
    endpoint = world.endpoint((model, 70), (model, 30))
    first, second = (each["id"] for each in world.deployed(endpoint))
    code, message = world.error("POST", f"{endpoint}:undeployModel", {"deployedModelId": first})
    assert code == "FAILED_PRECONDITION"
    assert f"DeployedModel {first} of Endpoint {endpoint} has 70% of the traffic" in message
    world.done("POST", f"{endpoint}:undeployModel", {"deployedModelId": first, "trafficSplit": {second: 100}})
    assert split(world, endpoint) == {second: 100}
    world.done("POST", f"{endpoint}:undeployModel", {"deployedModelId": second})
    assert split(world, endpoint) == {}
    assert world.deployed(endpoint) == []
    absent = world.error("POST", f"{endpoint}:undeployModel", {"deployedModelId": second})
    assert absent[0] == "NOT_FOUND"


def test_replicas_are_changed_while_the_model_serves(world: World) -> None:
    endpoint = world.endpoint((world.upload(constant(1)), 100))
    (identifier,) = split(world, endpoint)
    body = {
        "deployedModel": {"id": identifier, "dedicatedResources": {"minReplicaCount": 2, "maxReplicaCount": 3}},
        "updateMask": "dedicatedResources.minReplicaCount,dedicatedResources.maxReplicaCount",
    }
    changed = world.done("POST", f"{endpoint}:mutateDeployedModel", body)["deployedModel"]["dedicatedResources"]
    assert (changed["minReplicaCount"], changed["maxReplicaCount"]) == (2, 3)
    assert changed["machineSpec"] == {"machineType": "n1-standard-2"}
    body["updateMask"] = "displayName"
    assert "cannot be updated" in world.error("POST", f"{endpoint}:mutateDeployedModel", body)[1]


def test_an_endpoint_is_deleted_once_nothing_is_deployed_to_it(world: World) -> None:
    endpoint = world.endpoint((world.upload(constant(1)), 100))
    (identifier,) = split(world, endpoint)
    assert world.error("DELETE", endpoint) == (
        "FAILED_PRECONDITION",
        f"Endpoint {endpoint} has deployed or being-deployed DeployedModel(s): {identifier}.",
    )
    world.done("POST", f"{endpoint}:undeployModel", {"deployedModelId": identifier})
    world.done("DELETE", endpoint)
    assert world.error("GET", endpoint) == ("NOT_FOUND", "The Endpoint does not exist.")
