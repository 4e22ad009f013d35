"""Models, environments, code and data, through an unmodified azure-ai-ml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labkit.cloud.azure import AzureCloud, asset_files
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.models import MODELS
from labkit.cloud.engine.access import Caller
from tests.cloud.azure.in_process import Rest, raised


@pytest.fixture
def entities(sdk: Any) -> Any:
    return sdk.entities


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A model's file, and a folder of scripts."""
    (tmp_path / "model.joblib").write_bytes(b"a model")
    (tmp_path / "code" / "lib").mkdir(parents=True)
    (tmp_path / "code" / "score.py").write_text("def init(): ...\n")
    (tmp_path / "code" / "lib" / "helper.py").write_text("x = 1\n")
    return tmp_path


@pytest.fixture
def model(ml: Any, entities: Any, files: Path, name: str) -> Any:
    return ml.models.create_or_update(entities.Model(path=str(files / "model.joblib"), name=name, tags={"a": "1"}))


def code_of(action: Any) -> tuple[int, str, str]:
    """Status, code and message of what ``action`` raises."""
    error = raised(action)
    return error.status_code, error.error.code, error.error.message


# -- models --------------------------------------------------------------------------------------------------------


def test_a_model_is_uploaded_and_registered(ml: Any, entities: Any, files: Path, name: str, cloud: AzureCloud) -> None:
    made = ml.models.create_or_update(
        entities.Model(
            path=str(files / "model.joblib"),
            name=name,
            type="custom_model",
            description="churn",
            tags={"data": "churn.csv"},
            properties={"accuracy": 0.91},
            stage="Development",
        )
    )
    assert (made.name, made.version, made.type, made.description) == (name, "1", "custom_model", "churn")
    assert (made.tags, made.properties, made.stage) == ({"data": "churn.csv"}, {"accuracy": "0.91"}, "Development")
    assert made.creation_context.created_by == cloud.identities.learner.object_id
    assert made.path.startswith(
        f"azureml://subscriptions/{ml.subscription_id}/resourcegroups/learning/workspaces/mlops"
    )
    assert made.path.endswith("/model.joblib")
    place = asset_files.place_of(cloud, _workspace(cloud), made.path)
    assert [(relative, blob.read()) for relative, blob in place.blobs()] == [("model.joblib", b"a model")]


def test_versions_count_up_and_latest_is_the_newest(ml: Any, entities: Any, files: Path, name: str) -> None:
    path = str(files / "model.joblib")
    for version in (None, "7", None):
        ml.models.create_or_update(entities.Model(path=path, name=name, version=version))
    assert [each.version for each in ml.models.list(name)] == ["8", "7", "1"]
    assert ml.models.get(name, label="latest").version == "8"
    assert [each.latest_version for each in ml.models.list() if each.name == name] == ["8"]


def test_a_versions_files_never_change(ml: Any, entities: Any, files: Path, model: Any) -> None:
    other = entities.Model(path=str(files / "code"), name=model.name, version="1")
    assert code_of(lambda: ml.models.create_or_update(other)) == (400, "UserError", "Asset paths cannot be updated.")
    changed = entities.Model(path=model.path, name=model.name, version="1", type="triton_model")
    assert code_of(lambda: ml.models.create_or_update(changed))[:2] == (400, "UserError")
    assert ml.models.get(model.name, "1").path == model.path


def test_tags_stage_and_description_change(ml: Any, model: Any) -> None:
    model.tags["b"], model.stage, model.description = "2", "Production", "better"
    changed = ml.models.create_or_update(model)
    assert (changed.tags, changed.stage, changed.description) == ({"a": "1", "b": "2"}, "Production", "better")
    assert [each.version for each in ml.models.list(model.name, stage="Production")] == ["1"]
    assert list(ml.models.list(model.name, stage="Development")) == []
    model.tags = {}
    assert ml.models.create_or_update(model).tags == {}


def test_archive_and_restore(ml: Any, entities: Any, files: Path, model: Any, sdk: Any) -> None:
    view = sdk.constants.ListViewType
    name = model.name
    ml.models.create_or_update(entities.Model(path=str(files / "model.joblib"), name=name))
    ml.models.archive(name, version="1")
    assert [each.version for each in ml.models.list(name)] == ["2"]
    assert [each.version for each in ml.models.list(name, list_view_type=view.ARCHIVED_ONLY)] == ["1"]
    assert [each.version for each in ml.models.list(name, list_view_type=view.ALL)] == ["2", "1"]
    assert ml.models.get(name, "1").tags == {"a": "1"}
    ml.models.restore(name, version="1")
    assert [each.version for each in ml.models.list(name)] == ["2", "1"]
    ml.models.archive(name)
    assert name not in [each.name for each in ml.models.list()]
    assert list(ml.models.list(name)) == []
    ml.models.restore(name)
    assert name in [each.name for each in ml.models.list()]


def test_models_that_are_not_there(ml: Any, model: Any, name: str) -> None:
    message = f"The model {model.name} with version 9 was not found in workspace mlops."
    assert code_of(lambda: ml.models.get(model.name, "9")) == (404, "UserError", message)
    error = raised(lambda: ml.models.get(f"{name}none", "1"))
    info = {each["type"]: each["info"] for each in error.response.json()["error"]["additionalInfo"]}
    assert info["ComponentName"] == {"value": "managementfrontend"}
    assert info["InnerError"]["value"]["code"] == "NotFound"


def test_download(ml: Any, entities: Any, files: Path, model: Any, name: str, tmp_path: Path) -> None:
    ml.models.download(model.name, "1", tmp_path / "down")
    assert (tmp_path / "down" / model.name / "model.joblib").read_bytes() == b"a model"
    ml.models.create_or_update(entities.Model(path=str(files / "code"), name=f"{name}f", version="1"))
    ml.models.download(f"{name}f", "1", tmp_path / "down")
    assert (tmp_path / "down" / f"{name}f" / "code" / "lib" / "helper.py").read_text() == "x = 1\n"


@pytest.mark.parametrize(
    ("properties", "status", "message"),
    [
        ({}, 400, "needs a modelUri"),
        ({"modelUri": "azureml://datastores/none/paths/a"}, 404, "datastores/none"),
        ({"modelUri": "somewhere"}, 400, "somewhere is no address of files"),
        ({"modelUri": "https://example.com/model"}, 400, "is no address of files"),
        ({"modelUri": "https://nosuchacct.blob.core.windows.net/c/model"}, 400, "nosuchacct"),
        ({"modelUri": "azureml://jobs/j/outputs/model"}, 404, "azureml://jobs/j"),
        ({"modelUri": "azureml://datastores/workspaceblobstore/paths/a", "modelType": "x"}, 400, "modelType 'x'"),
        ({"modelUri": "azureml://datastores/workspaceblobstore/paths/a", "tags": ["x"]}, 400, "tags"),
    ],
)
def test_models_that_cannot_be_registered(
    rest: Rest, name: str, properties: dict[str, Any], status: int, message: str
) -> None:
    found = rest.error("PUT", f"{rest.workspace}/models/{name}/versions/1", {"properties": properties})
    assert found[0] == status
    assert message in found[2]
    assert rest.error("GET", f"{rest.workspace}/models/{name}")[0] == 404


@pytest.mark.parametrize("path", ["models/-x/versions/1", "models/a%20b/versions/1", "models/x/versions/a%20b"])
def test_names_that_no_asset_can_have(rest: Rest, path: str) -> None:
    uri = {"modelUri": "azureml://datastores/workspaceblobstore/paths/a"}
    status, code, message = rest.error("PUT", f"{rest.workspace}/{path}", {"properties": uri})
    assert (status, code) == (400, "UserError")
    assert "is invalid" in message


def test_plain_rest(rest: Rest, name: str) -> None:
    path = f"{rest.workspace}/models/{name}/versions"
    uri = {"modelUri": "azureml://datastores/workspaceblobstore/paths/folder/model"}
    status, made, _ = rest("PUT", f"{path}/1", {"properties": {**uri, "tags": {"k": "v"}}})
    assert (status, made["type"]) == (201, "Microsoft.MachineLearningServices/workspaces/models/versions")
    assert (made["properties"]["flavors"], made["properties"]["provisioningState"]) == ({}, "Succeeded")
    assert rest("PUT", f"{path}/1", {"properties": uri})[0] == 200
    rest("PUT", f"{path}/2", {"properties": uri})
    _, listed, _ = rest("GET", path, tags="k=v")
    assert [each["name"] for each in listed["value"]] == ["1"]
    _, listed, _ = rest("GET", path, **{"$orderBy": "createdtime%20desc", "$top": "1"})
    assert [each["name"] for each in listed["value"]] == ["2"]
    assert "%24skip=1" in listed["nextLink"].replace("$", "%24")
    assert rest("DELETE", f"{path}/1")[0] == 200
    assert rest("DELETE", f"{path}/1")[0] == 204
    _, asset, _ = rest("GET", f"{rest.workspace}/models/{name}")
    assert (asset["properties"]["latestVersion"], asset["properties"]["nextVersion"]) == ("2", "3")


# -- finding -------------------------------------------------------------------------------------------------------


def test_how_a_model_can_be_named(cloud: AzureCloud, model: Any) -> None:
    workspace = _workspace(cloud)
    for reference in (
        model.id,
        f"azureml:{model.id}",
        f"azureml:{model.name}:1",
        f"{model.name}:1",
        f"azureml:{model.name}@latest",
        f"azureml://locations/eastus/workspaces/some-id/models/{model.name}/versions/1",
    ):
        assert MODELS.find(cloud, workspace, reference).id == model.id
    for reference, status in [
        (f"azureml:{model.name}:9", 404),
        (f"azureml:{model.name}none@latest", 404),
        ("azureml:no-version", 400),
        (f"azureml:{model.name}@champion", 501),
        ("azureml://registries/azureml/models/x/versions/1", 501),
        (model.id.replace("/models/", "/environments/"), 404),
    ]:
        with pytest.raises(AzureError) as caught:
            MODELS.find(cloud, workspace, reference)
        assert caught.value.status == status


def test_files_reach_the_disk(cloud: AzureCloud, ml: Any, entities: Any, files: Path, name: str) -> None:
    folder = ml.models.create_or_update(entities.Model(path=str(files / "code"), name=name, version="1"))
    place = asset_files.place_of(cloud, _workspace(cloud), folder.path)
    caller = Caller("azure", cloud.identities.learner.object_id, cloud.identities.tenant, "eastus")
    target = files / "out"
    assert asset_files.lay_out(cloud, place, caller, target) == 2
    assert (target / "code" / "lib" / "helper.py").read_text() == "x = 1\n"
    assert asset_files.lay_out(cloud, place, caller, target / "in", inside=True) == 2
    assert (target / "in" / "score.py").exists()
    event = next(iter(cloud.engine.audit.events()))
    assert (event.operation, event.caller) == ("Get Blob", caller)
    missing = asset_files.place_of(cloud, _workspace(cloud), "azureml://datastores/workspaceblobstore/paths/none")
    with pytest.raises(AzureError) as caught:
        asset_files.lay_out(cloud, missing, caller, target)
    assert caught.value.code == "BlobNotFound"


def test_a_blob_cannot_leave_its_folder(cloud: AzureCloud, name: str, tmp_path: Path) -> None:
    account = asset_files.place_of(cloud, _workspace(cloud), "azureml://datastores/workspaceblobstore/paths/x").account
    container = account.create_container(name)
    from labkit.cloud.azure.blob_store import Blob

    file, size = account.save([b"x"])
    account.put(container, Blob("m/../../evil", file, size, '"1"', account.now(), account.now()))
    place = asset_files.Place(account, name, "m")
    caller = Caller("azure", cloud.identities.learner.object_id, "t", "")
    with pytest.raises(AzureError, match="cannot be that of a file"):
        asset_files.lay_out(cloud, place, caller, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


# -- environments, code, data --------------------------------------------------------------------------------------

CONDA = {"name": "churn", "dependencies": ["python=3.11", {"pip": ["scikit-learn"]}]}


def test_environments(ml: Any, entities: Any, name: str) -> None:
    def wanted(image: str = "mcr.microsoft.com/azureml/minimal", version: str | None = None) -> Any:
        return entities.Environment(name=name, image=image, conda_file=CONDA, version=version)

    made = ml.environments.create_or_update(wanted())
    assert (made.version, made.image, made.conda_file, made.os_type) == ("1", wanted().image, CONDA, "Linux")
    # The SDK tries the latest version first, and takes the next one when its definition differs.
    assert ml.environments.create_or_update(wanted()).version == "1"
    assert ml.environments.create_or_update(wanted("other")).version == "2"
    status, code, message = code_of(lambda: ml.environments.create_or_update(wanted("third", "1")))
    assert (status, code) == (409, "UserError")
    assert "is already registered and cannot be changed" in message
    assert ml.environments.get(name, label="latest").image == "other"
    ml.environments.archive(name, version="1")
    assert [each.version for each in ml.environments.list(name)] == ["2"]


def test_an_environment_with_a_build_context(ml: Any, entities: Any, files: Path, name: str) -> None:
    build = entities.BuildContext(path=str(files / "code"))
    made = ml.environments.create_or_update(entities.Environment(name=name, version="1", build=build))
    assert made.build.path.startswith("https://")
    assert made.build.dockerfile_path == "Dockerfile"


@pytest.mark.parametrize("properties", [{}, {"image": "x", "build": {"contextUri": "y"}}, {"build": {"x": "y"}}])
def test_environments_that_cannot_be_registered(rest: Rest, name: str, properties: dict[str, Any]) -> None:
    path = f"{rest.workspace}/environments/{name}/versions/1"
    assert rest.error("PUT", path, {"properties": properties})[:2] == (400, "UserError")


def test_code_is_uploaded_once(ml: Any, files: Path, name: str) -> None:
    from azure.ai.ml.entities._assets._artifacts.code import Code

    made = ml._code.create_or_update(Code(path=str(files / "code"), name=name, version="1"))
    assert made.path.startswith("https://")
    again = ml._code.create_or_update(Code(path=str(files / "code"), name=name, version="2"))
    assert (again.version, again.path) == ("1", made.path)
    (files / "code" / "score.py").write_text("def init(): print('other')\n")
    assert ml._code.create_or_update(Code(path=str(files / "code"), name=name, version="2")).version == "2"


def test_a_pending_upload_is_an_address_for_one_container(rest: Rest, name: str) -> None:
    path = f"{rest.workspace}/codes/{name}/versions/1/startPendingUpload"
    _, answer, _ = rest("POST", path, {"pendingUploadType": "TemporaryBlobReference"})
    reference = answer["blobReferenceForConsumption"]
    assert reference["credential"]["credentialType"] == "SAS"
    assert reference["credential"]["sasUri"].startswith(f"{reference['blobUri']}?sv=")
    assert rest.error("POST", path, {"pendingUploadType": "Other"})[0] == 501


def test_data(ml: Any, entities: Any, files: Path, name: str) -> None:
    csv = files / "model.joblib"
    made = ml.data.create_or_update(entities.Data(path=str(csv), type="uri_file", name=name, tags={"k": "v"}))
    assert (made.version, made.type, made.tags) == ("1", "uri_file", {"k": "v"})
    assert made.path.startswith(f"azureml://subscriptions/{ml.subscription_id}/")
    folder = ml.data.create_or_update(entities.Data(path=str(files / "code"), type="uri_folder", name=name))
    assert folder.version == "2"
    taken = entities.Data(path=str(files / "code"), type="uri_folder", name=name, version="1")
    status, code, message = code_of(lambda: ml.data.create_or_update(taken))
    assert (status, code) == (409, "UserError")
    assert message.startswith("A data version with this name and version already exists.")
    assert ml.data.get(name, label="latest").type == "uri_folder"
    web = entities.Data(path="https://example.com/data.csv", type="uri_file", name=f"{name}w")
    assert ml.data.create_or_update(web).path == "https://example.com/data.csv"


# -- computes ------------------------------------------------------------------------------------------------------


def test_computes_are_records(ml: Any, entities: Any, name: str) -> None:
    wanted = entities.AmlCompute(name=f"c-{name}", size="STANDARD_DS3_V2", min_instances=0, max_instances=3)
    made = ml.compute.begin_create_or_update(wanted).result()
    assert (made.size, made.max_instances, made.provisioning_state) == ("STANDARD_DS3_V2", 3, "Succeeded")
    assert made.location == "eastus"
    assert f"c-{name}" in [each.name for each in ml.compute.list()]
    assert list(ml.compute.list_nodes(f"c-{name}")) == []
    ml.compute.begin_delete(f"c-{name}").result()
    assert code_of(lambda: ml.compute.get(f"c-{name}"))[:2] == (404, "UserError")
    instance = entities.ComputeInstance(name=f"i-{name}", size="STANDARD_DS3_V2")
    assert ml.compute.begin_create_or_update(instance).result().type == "computeinstance"
    assert code_of(lambda: ml.compute.begin_start(f"i-{name}"))[:2] == (501, "NotImplemented")


@pytest.mark.parametrize(
    ("properties", "status", "message"),
    [
        ({"computeType": "Kubernetes"}, 501, "computes of type Kubernetes"),
        ({"computeType": "AmlCompute", "properties": {}}, 400, "vmSize"),
    ],
)
def test_computes_that_cannot_be_made(
    rest: Rest, name: str, properties: dict[str, Any], status: int, message: str
) -> None:
    body = {"location": "eastus", "properties": properties}
    found = rest.error("PUT", f"{rest.workspace}/computes/{name}", body)
    assert found[0] == status
    assert message in found[2]


def _workspace(cloud: AzureCloud) -> str:
    kind = "Microsoft.MachineLearningServices/workspaces"
    found = [each.id for each in cloud.resources.below("/subscriptions", kind) if each.name == "mlops"]
    return found[0]
