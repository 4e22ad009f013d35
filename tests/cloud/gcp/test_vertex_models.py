"""Vertex AI's models: uploads, versions, aliases, lists, changes and deletions, errors included."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.cloud.gcp.vertex_world import IMAGE, World, dumped, trained


def listed(world: World, **query: str) -> list[dict[str, Any]]:
    text = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    return list(world.ok("GET", f"{world.parent}/models?{text}").get("models", []))


def aliases(world: World, name: str) -> list[str]:
    return list(world.ok("GET", name).get("versionAliases", []))


def test_a_model_is_uploaded_with_what_was_said_of_it(world: World) -> None:
    name = world.upload(about={"description": "who leaves", "labels": {"team": "growth"}}, modelId="churn-model")
    assert name == f"projects/{world.number}/locations/us-central1/models/churn-model@1"
    shown = world.ok("GET", name.partition("@")[0])
    assert shown["name"] == name.partition("@")[0]
    assert shown["displayName"] == "churn"
    assert shown["description"] == "who leaves"
    assert shown["labels"] == {"team": "growth"}
    assert shown["containerSpec"] == {"imageUri": IMAGE}
    assert (shown["versionId"], shown["versionAliases"]) == ("1", ["default"])
    assert shown["supportedDeploymentResourcesTypes"] == ["DEDICATED_RESOURCES"]
    assert shown["createTime"] == shown["versionCreateTime"]


def test_versions_have_aliases_that_move(world: World) -> None:
    model = world.upload().partition("@")[0]
    second = world.upload(parentModel=model, about={"versionAliases": ["candidate"], "versionDescription": "better"})
    assert second == f"{model}@2"
    assert aliases(world, model) == ["default"]
    candidate = world.ok("GET", f"{model}@candidate")
    assert (candidate["name"], candidate["versionDescription"]) == (f"{model}@2", "better")
    moved = world.ok("POST", f"{model}@1:mergeVersionAliases", {"versionAliases": ["candidate", "stable"]})
    assert moved["versionAliases"] == ["candidate", "default", "stable"]
    assert aliases(world, f"{model}@2") == []
    world.ok("POST", f"{model}@2:mergeVersionAliases", {"versionAliases": ["default"]})
    assert world.ok("GET", model)["versionId"] == "2"
    world.ok("POST", f"{model}@1:mergeVersionAliases", {"versionAliases": ["-stable"]})
    assert aliases(world, f"{model}@1") == ["candidate"]
    names = [each["name"] for each in world.ok("GET", f"{model}:listVersions")["models"]]
    assert sorted(names) == [f"{model}@1", f"{model}@2"]


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (["-default"], "FAILED_PRECONDITION", "The alias 'default' cannot be removed from a version"),
        (["-absent"], "NOT_FOUND", "has no alias 'absent'"),
        (["7"], "INVALID_ARGUMENT", "The version alias '7' is not valid"),
        ([], "INVALID_ARGUMENT", "Required field is not set: version_aliases."),
    ],
)
def test_aliases_that_cannot_be_merged(world: World, changes: list[str], code: str, message: str) -> None:
    model = world.upload()
    answered = world.error("POST", f"{model}:mergeVersionAliases", {"versionAliases": changes})
    assert answered[0] == code
    assert message in answered[1]


def test_a_version_that_becomes_the_default_when_it_is_uploaded(world: World) -> None:
    model = world.upload().partition("@")[0]
    world.upload(parentModel=model, about={"versionAliases": ["default"]})
    assert world.ok("GET", model)["versionId"] == "2"


@pytest.mark.parametrize("files", [{}, {"other.joblib": b"x"}, {"model.pkl": b"x", "model.joblib": b"y"}])
def test_a_directory_without_one_model_file_is_no_model(world: World, files: dict[str, bytes]) -> None:
    folder = f"gs://{world.bucket}/no-model"
    for name, data in files.items():
        world.cloud.buckets.put(world.bucket, f"no-model/{name}", world.cloud.buckets.write([data]), {})
    body = {"displayName": "m", "containerSpec": {"imageUri": IMAGE}, "artifactUri": folder}
    assert world.error("POST", f"{world.parent}/models:upload", {"model": body}) == (
        "FAILED_PRECONDITION",
        f"Model directory {folder} is expected to contain exactly one of: [model.pkl, model.joblib].",
    )


@pytest.mark.parametrize(
    ("about", "code", "message"),
    [
        ({"displayName": ""}, "INVALID_ARGUMENT", "1.Field: model.display_name; Message: Required field is not set."),
        ({"artifactUri": ""}, "INVALID_ARGUMENT", "Field: model.artifact_uri; Message: Required field is not set."),
        ({"artifactUri": "/tmp/m"}, "INVALID_ARGUMENT", "The URI must begin with gs://."),
        ({"artifactUri": "gs://no-such-bucket/m"}, "FAILED_PRECONDITION", "there is no bucket gs://no-such-bucket."),
        ({"containerSpec": {}}, "INVALID_ARGUMENT", "Field: model.container_spec.image_uri"),
        ({"labels": {"Team": "x"}}, "INVALID_ARGUMENT", "The label Team=x is not valid"),
        ({"versionAliases": ["1st"]}, "INVALID_ARGUMENT", "The version alias '1st' is not valid"),
        ({"containerSpec": {"imageUri": "gcr.io/p/mine"}}, "UNIMPLEMENTED", "The image 'gcr.io/p/mine' is not served"),
        (
            {"containerSpec": {"imageUri": IMAGE, "command": ["sh"]}},
            "UNIMPLEMENTED",
            "do not serve container_spec.command yet",
        ),
        ({"explanationSpec": {"parameters": {"topK": 1}}}, "UNIMPLEMENTED", "do not serve explanations"),
    ],
)
def test_a_model_that_cannot_be_uploaded(world: World, about: dict[str, Any], code: str, message: str) -> None:
    world.cloud.buckets.put(world.bucket, "m/model.joblib", world.cloud.buckets.write([dumped(trained())]), {})
    body = {"displayName": "m", "containerSpec": {"imageUri": IMAGE}, "artifactUri": f"gs://{world.bucket}/m", **about}
    answered = world.error("POST", f"{world.parent}/models:upload", {"model": body})
    assert answered[0] == code
    assert message in answered[1]
    assert listed(world) == []


def test_an_id_is_taken_once(world: World) -> None:
    name = world.upload(modelId="mine")
    body = {"displayName": "m", "containerSpec": {"imageUri": IMAGE}, "artifactUri": f"gs://{world.bucket}/m"}
    asked = {"model": body, "modelId": "mine"}
    assert world.error("POST", f"{world.parent}/models:upload", asked)[0] == "ALREADY_EXISTS"
    asked = {"model": body, "parentModel": name.replace("mine", "other")}
    assert world.error("POST", f"{world.parent}/models:upload", asked) == ("NOT_FOUND", "The Model does not exist.")


def test_lists_filter_sort_and_page(world: World) -> None:
    for name in ("a", "b", "c"):
        world.upload(modelId=f"model-{name}", about={"displayName": name, "labels": {"team": name, name: "x"}})
    shown = lambda **query: [each["displayName"] for each in listed(world, **query)]  # noqa: E731
    assert shown() == ["c", "b", "a"]
    assert shown(orderBy="display_name") == ["a", "b", "c"]
    assert shown(orderBy="create_time desc, display_name") == ["c", "b", "a"]
    assert shown(filter='displayName="b"') == ["b"]
    assert shown(filter='display_name!="b"', orderBy="display_name") == ["a", "c"]
    assert shown(filter='model="model-a"') == ["a"]
    assert shown(filter='labels.team="c"') == ["c"]
    assert shown(filter="labels.b:*") == ["b"]
    assert shown(filter="labels:b OR labels:c") == ["c", "b"]
    first = world.ok("GET", f"{world.parent}/models?pageSize=2")
    second = world.ok("GET", f"{world.parent}/models?pageSize=2&pageToken={first['nextPageToken']}")
    assert [each["displayName"] for each in first["models"] + second["models"]] == ["c", "b", "a"]
    assert "nextPageToken" not in second
    masked = world.ok("GET", f"{world.parent}/models?readMask=displayName")["models"]
    assert masked == [{"displayName": "c"}, {"displayName": "b"}, {"displayName": "a"}]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("filter=create_time>1", "the fields to filter by are model, display_name, labels."),
        ("filter=display_name:c", "display_name : ... is no comparison of display_name."),
        ("filter=churn", "'churn' is compared with nothing"),
        ("filter=display_name=", "is not whole"),
        ("orderBy=labels", "order_by 'labels' is not served"),
        ("pageToken=xyz", "page token 'xyz'"),
        ("pageSize=-1", "page size"),
    ],
)
def test_a_list_that_cannot_be_made_says_why(world: World, query: str, message: str) -> None:
    name, _, value = query.partition("=")
    code, said = world.error("GET", f"{world.parent}/models?{name}={quote(value)}")
    assert code == "INVALID_ARGUMENT"
    assert message in said


def test_an_update_changes_what_its_mask_names(world: World) -> None:
    model = world.upload(about={"labels": {"team": "growth"}}).partition("@")[0]
    world.upload(parentModel=model)
    change = {"displayName": "leavers", "description": "new", "labels": {"stage": "test"}}
    changed = world.ok("PATCH", f"{model}?updateMask=displayName,labels", change)
    assert (changed["displayName"], changed["labels"]) == ("leavers", {"stage": "test"})
    assert "description" not in changed
    changed = world.ok("PATCH", f"{model}@2?updateMask=versionDescription", {"versionDescription": "second"})
    assert (changed["versionId"], changed["versionDescription"]) == ("2", "second")
    assert "versionDescription" not in world.ok("GET", f"{model}@1")
    assert "cannot be updated" in world.error("PATCH", f"{model}?updateMask=artifactUri", {})[1]
    assert world.error("PATCH", model, change)[1] == "Required field is not set: update_mask."


def test_versions_and_models_are_deleted(world: World) -> None:
    model = world.upload().partition("@")[0]
    only = world.error("DELETE", f"{model}@1:deleteVersion")
    assert only[0] == "FAILED_PRECONDITION"
    assert "is the only one" in only[1]
    world.upload(parentModel=model)
    assert "is the default version" in world.error("DELETE", f"{model}@default:deleteVersion")[1]
    world.done("DELETE", f"{model}@2:deleteVersion")
    assert world.error("GET", f"{model}@2") == ("NOT_FOUND", "The Model does not exist.")
    world.upload(parentModel=model)
    assert world.ok("GET", f"{model}@3")["versionId"] == "3"
    world.done("DELETE", model)
    assert world.error("GET", model) == ("NOT_FOUND", "The Model does not exist.")


def test_a_deployed_model_is_not_deleted(world: World) -> None:
    model = world.upload()
    endpoint = world.endpoint((model, 100))
    for path in (model.partition("@")[0], f"{model}:deleteVersion"):
        code, message = world.error("DELETE", path)
        assert code == "FAILED_PRECONDITION"
        assert message.endswith(f'is deployed or being deployed at the following Endpoint(s): {{"{endpoint}"}}.')
    assert world.ok("GET", model)["deployedModels"][0]["endpoint"] == endpoint


def test_a_name_of_another_place_is_not_found(world: World) -> None:
    name = world.upload().partition("@")[0]
    assert world.ok("GET", name.replace(world.number, world.project))["name"] == name
    assert "us-central1 only" in world.error("GET", name.replace("us-central1", "europe-west4"))[1]


@pytest.mark.parametrize("verb", [":export", "/evaluations/1/slices"])
def test_what_is_not_served_refuses_by_name(world: World, verb: str) -> None:
    model = world.upload().partition("@")[0]
    code, message = world.error("POST" if ":" in verb else "GET", f"{model}{verb}", {} if ":" in verb else None)
    assert code == "UNIMPLEMENTED"
    assert "google.cloud.aiplatform.v1.ModelService." in message


def test_the_inventory_names_what_was_made(world: World) -> None:
    before = world.cloud.inventory()
    world.upload(about={"displayName": "of-the-inventory"})
    world.endpoint(displayName="of-the-inventory")
    after = world.cloud.inventory()
    assert "of-the-inventory" in after["models"]
    assert "of-the-inventory" in after["endpoints"]
    assert "of-the-inventory" not in before.get("models", [])


# evaluations -----------------------------------------------------------------------------------------------------

SCHEMA = "gs://google-cloud-aiplatform/schema/modelevaluation/classification_metrics_1.0.0.yaml"


def evaluation(**about: Any) -> dict[str, Any]:
    made = {"displayName": "eval", "metricsSchemaUri": SCHEMA, "metrics": {"auPrc": 0.85}, **about}
    return {"modelEvaluation": {name: value for name, value in made.items() if value is not None}}


def test_evaluations_are_kept_with_a_version(world: World) -> None:
    first = world.upload()
    model = first.partition("@")[0]
    second = world.upload(parentModel=model)
    made = world.ok("POST", f"{first}/evaluations:import", evaluation())
    assert made["name"].startswith(f"{model}@1/evaluations/")
    assert made["createTime"]
    better = world.ok("POST", f"{second}/evaluations:import", evaluation(displayName="b", metrics={"auPrc": 0.9}))

    def listed(parent: str, condition: str = "") -> list[str]:
        found = world.ok("GET", f"{parent}/evaluations?filter={condition}").get("modelEvaluations", [])
        return [each["name"] for each in found]

    assert listed(first) == listed(model) == [made["name"]]
    assert listed(second) == [better["name"]]
    assert listed(second, 'display_name="eval"') == []
    later = world.ok("POST", f"{first}/evaluations:import", evaluation(displayName="production"))
    assert listed(first) == [made["name"], later["name"]]
    assert world.ok("GET", made["name"])["metrics"] == {"auPrc": 0.85}
    assert world.ok("GET", better["name"].replace("@2", ""))["displayName"] == "b"
    world.done("DELETE", f"{second}:deleteVersion")
    assert world.error("GET", better["name"])[0] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"metrics": None}, "model_evaluation.metrics"),
        ({"metricsSchemaUri": None}, "model_evaluation.metrics_schema_uri"),
        ({"metricsSchemaUri": "/x"}, "must begin with gs://"),
    ],
)
def test_evaluations_that_cannot_be(world: World, about: dict[str, Any], says: str) -> None:
    code, message = world.error("POST", f"{world.upload()}/evaluations:import", evaluation(**about))
    assert (code, says in message) == ("INVALID_ARGUMENT", True)
    assert world.error("GET", f"{world.parent}/models/1/evaluations/2")[0] == "NOT_FOUND"
