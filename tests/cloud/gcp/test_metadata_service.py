"""Vertex ML Metadata over REST: nodes, contexts, events and lineage."""

from __future__ import annotations

import itertools

import pytest

from labkit.cloud.gcp import GcpCloud
from tests.cloud.gcp.vertex_world import World

_numbers = itertools.count()


@pytest.fixture
def world(cloud: GcpCloud) -> World:
    made = World(cloud, f"mlops-metadata-{next(_numbers)}")
    made.done("POST", f"{made.parent}/metadataStores?metadataStoreId=default", {})
    return made


def store(world: World) -> str:
    return f"projects/{world.number}/locations/{world.region}/metadataStores/default"


def test_a_store_is_made_once(world: World) -> None:
    assert world.ok("GET", store(world))["name"] == store(world)
    assert world.error("POST", f"{world.parent}/metadataStores?metadataStoreId=default", {})[0] == "ALREADY_EXISTS"
    code, said = world.error("POST", f"{world.parent}/metadataStores?metadataStoreId=one", {})
    assert (code, "it has 4 to 128 characters" in said) == ("INVALID_ARGUMENT", True)
    keys = {"encryptionSpec": {"kmsKeyName": "k"}}
    code, said = world.error("POST", f"{world.parent}/metadataStores?metadataStoreId=keys", keys)
    assert (code, "metadata stores with encryption_spec" in said) == ("UNIMPLEMENTED", True)
    other = World(world.cloud, "mlops-without")
    assert world.error("GET", f"{other.parent}/metadataStores/default")[0] == "NOT_FOUND"
    assert world.error("POST", f"{other.parent}/metadataStores/default/contexts", {})[0] == "NOT_FOUND"


def test_a_store_of_its_own_is_deleted_with_what_is_in_it(world: World) -> None:
    made = world.done("POST", f"{world.parent}/metadataStores?metadataStoreId=trials-1", {"description": "mine"})
    assert made["name"] == store(world).replace("default", "trials-1")
    assert world.ok("GET", made["name"])["description"] == "mine"
    unnamed = world.done("POST", f"{world.parent}/metadataStores", {})
    assert len(unnamed["name"].rpartition("/")[2]) == 36
    listed = world.ok("GET", f"{world.parent}/metadataStores")["metadataStores"]
    assert {each["name"] for each in listed} == {store(world), made["name"], unnamed["name"]}
    artifact = world.ok("POST", f"{made['name']}/artifacts?artifactId=a1", {})["name"]
    assert artifact == f"{made['name']}/artifacts/a1"
    assert "artifacts" not in world.ok("GET", f"{store(world)}/artifacts")
    world.done("DELETE", made["name"])
    assert world.error("GET", artifact)[0] == "NOT_FOUND"
    assert world.error("DELETE", made["name"])[0] == "NOT_FOUND"


def test_an_artifact_is_made_found_changed_and_deleted(world: World) -> None:
    body = {"displayName": "rows", "schemaTitle": "system.Dataset", "uri": "gs://b/rows", "metadata": {"rows": 20}}
    made = world.ok("POST", f"{store(world)}/artifacts?artifactId=rows-1", body)
    assert made["name"] == f"{store(world)}/artifacts/rows-1"
    assert world.error("POST", f"{store(world)}/artifacts?artifactId=rows-1", body)[0] == "ALREADY_EXISTS"
    assert world.error("POST", f"{store(world)}/artifacts?artifactId=Rows_1", body)[0] == "INVALID_ARGUMENT"
    world.ok("POST", f"{store(world)}/artifacts", {"displayName": "other", "schemaTitle": "system.Model"})

    def found(condition: str) -> list[str]:
        answer = world.ok("GET", f"{store(world)}/artifacts?filter={condition}")
        return [each["displayName"] for each in answer.get("artifacts", [])]

    assert found('schema_title="system.Dataset"') == ["rows"]
    assert found('uri="gs://b/rows"') == ["rows"]
    assert found("metadata.rows.number_value>10") == ["rows"]
    assert found("metadata.rows.number_value>30") == []
    assert found('schema_title="system.Dataset" OR schema_title="system.Model"') == ["other", "rows"]
    assert found('NOT schema_title="system.Dataset"') == ["other"]
    assert world.error("GET", f"{store(world)}/artifacts?filter=size>3")[0] == "INVALID_ARGUMENT"
    assert world.error("GET", f'{store(world)}/artifacts?filter=create_time>"yesterday"')[0] == "INVALID_ARGUMENT"

    changed = world.ok("PATCH", f"{made['name']}?updateMask=metadata", {"metadata": {"rows": 40}})
    assert (changed["metadata"], changed["displayName"]) == ({"rows": 40}, "rows")
    assert world.error("PATCH", made["name"], {"displayName": "x", "etag": "1"})[0] == "ABORTED"
    world.done("DELETE", made["name"])
    assert world.error("GET", made["name"])[0] == "NOT_FOUND"


def test_contexts_hold_executions_and_their_children(world: World) -> None:
    whole = world.ok("POST", f"{store(world)}/contexts?contextId=churn", {"schemaTitle": "system.Pipeline"})["name"]
    run = world.ok("POST", f"{store(world)}/contexts?contextId=churn-1", {"schemaTitle": "system.PipelineRun"})["name"]
    world.ok("POST", f"{whole}:addContextChildren", {"childContexts": [run]})
    assert world.error("POST", f"{run}:addContextChildren", {"childContexts": [whole]})[0] == "INVALID_ARGUMENT"
    execution = world.ok("POST", f"{store(world)}/executions", {"schemaTitle": "system.Run"})["name"]
    artifact = world.ok("POST", f"{store(world)}/artifacts", {"schemaTitle": "system.Metrics"})["name"]
    world.ok("POST", f"{run}:addContextArtifactsAndExecutions", {"executions": [execution]})
    world.ok("POST", f"{execution}:addExecutionEvents", {"events": [{"artifact": artifact, "type": "OUTPUT"}]})

    condition = f'schema_title="system.Run" AND in_context("{run}")'
    answer = world.ok("GET", f"{store(world)}/executions?filter={condition}")
    assert [each["name"] for each in answer["executions"]] == [execution]
    above = world.ok("GET", f'{store(world)}/executions?filter=in_context("{whole}")')
    assert "executions" not in above
    children = world.ok("GET", f'{store(world)}/contexts?filter=parent_contexts:"{whole}"')["contexts"]
    assert [each["name"] for each in children] == [run]

    graph = world.ok("GET", f"{run}:queryContextLineageSubgraph")
    assert [each["name"] for each in graph["artifacts"]] == [artifact]
    assert graph["events"][0]["type"] == "OUTPUT"
    assert world.ok("GET", f"{execution}:queryExecutionInputsAndOutputs")["events"] == graph["events"]
    code, said = world.error("DELETE", f"{run}?etag=another")
    assert code == "FAILED_PRECONDITION"
    assert "does not match" in said
    world.done("DELETE", run)
    assert world.ok("GET", artifact)["name"] == artifact
    assert world.ok("GET", execution)["name"] == execution
    assert "executions" not in world.ok("GET", f"{store(world)}/executions?filter={condition}")


def test_lineage_follows_an_artifact_both_ways(world: World) -> None:
    def artifact() -> str:
        return str(world.ok("POST", f"{store(world)}/artifacts", {})["name"])

    def execution(taken: str, made: str) -> str:
        name = str(world.ok("POST", f"{store(world)}/executions", {})["name"])
        events = [{"artifact": taken, "type": "INPUT"}, {"artifact": made, "type": "OUTPUT"}]
        world.ok("POST", f"{name}:addExecutionEvents", {"events": events})
        return name

    raw, clean, model = artifact(), artifact(), artifact()
    prepare, train = execution(raw, clean), execution(clean, model)
    whole = world.ok("GET", f"{model}:queryArtifactLineageSubgraph")
    assert {each["name"] for each in whole["executions"]} == {prepare, train}
    assert {each["name"] for each in whole["artifacts"]} == {raw, clean, model}
    near = world.ok("GET", f"{model}:queryArtifactLineageSubgraph?maxHops=1")
    assert [each["name"] for each in near["executions"]] == [train]
