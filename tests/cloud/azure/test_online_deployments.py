"""Managed online deployments over plain REST: made, changed, scaled, failed, deleted; their settings and their logs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.azure.online_world import ORDERS, World
from tests.waiting import eventually

CRASHED = "User container has crashed or terminated: Liveness probe failed: HTTP probe failed with statuscode: 502"
GUIDE = "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-"
#: A script that loads a pickled number and multiplies by it.
TIMES = """
import json, os, pickle
def init():
    global factor
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], PATH), "rb") as file:
        factor = pickle.load(file)
def run(raw):
    return [factor * value for value in json.loads(raw)["data"]]
"""


def test_a_deployment_shows_what_azure_shows(world: World) -> None:
    world.make()
    model = world.model({"model/number.pkl": pickle.dumps(3)})
    code, environment = world.code(TIMES.replace("PATH", "'model/number.pkl'")), world.environment()
    body = world.deployment(
        tags={"a": "b"},
        model=model,
        codeConfiguration={"codeId": code, "scoringScript": "score.py"},
        environmentId=environment,
        environmentVariables={"X": "1"},
        description="three times",
        appInsightsEnabled=True,
    )
    path = f"{world.path}/deployments/blue"
    status, shown, headers = world.rest("PUT", path, body)
    assert (status, shown["properties"]["provisioningState"]) == (201, "Creating")
    assert headers["azure-asyncoperation"] == shown["properties"]["properties"]["AzureAsyncOperationUri"]
    assert world.wait(headers["azure-asyncoperation"])["status"] == "Succeeded"
    _, shown, _ = world.rest("GET", path)
    properties = shown["properties"]
    assert shown["id"] == path
    assert shown["type"] == "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments"
    assert (shown["kind"], shown["location"], shown["tags"]) == ("Managed", "eastus", {"a": "b"})
    assert shown["sku"] == {"name": "Default", "capacity": 1}
    properties.pop("properties")
    assert properties == {
        "endpointComputeType": "Managed",
        "description": "three times",
        "model": model,
        "codeConfiguration": {"codeId": code, "scoringScript": "score.py"},
        "environmentId": environment,
        "environmentVariables": {"X": "1"},
        "instanceType": "Standard_DS3_v2",
        "scaleSettings": {"scaleType": "Default"},
        "requestSettings": {
            "maxConcurrentRequestsPerInstance": 1,
            "requestTimeout": "PT5S",
            "maxQueueWait": "PT0.5S",
        },
        "livenessProbe": {
            "initialDelay": "PT10S",
            "period": "PT10S",
            "timeout": "PT2S",
            "successThreshold": 1,
            "failureThreshold": 30,
        },
        "readinessProbe": {
            "initialDelay": "PT10S",
            "period": "PT10S",
            "timeout": "PT2S",
            "successThreshold": 1,
            "failureThreshold": 30,
        },
        "appInsightsEnabled": True,
        "egressPublicNetworkAccess": "Enabled",
        "provisioningState": "Succeeded",
    }
    assert world.rest("GET", f"{world.path}/deployments")[1]["value"][0]["name"] == "blue"
    world.make(traffic={"blue": 100})
    assert world.score({"data": [1, 2]}).json == [3, 6]


@pytest.mark.parametrize(
    ("files", "at", "inside"),
    [
        ({"model/number.pkl": pickle.dumps(3), "model/more/text": b""}, "model", "model/number.pkl"),
        ({"number.pkl": pickle.dumps(3)}, "number.pkl", "number.pkl"),
    ],
    ids=["folder", "file"],
)
def test_the_model_lies_where_azure_puts_it(world: World, files: dict[str, bytes], at: str, inside: str) -> None:
    world.make()
    script = """
        import json, os, pathlib
        def init(): pass
        def run(raw):
            folder = pathlib.Path(os.environ["AZUREML_MODEL_DIR"])
            files = sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())
            here = sorted(each.name for each in pathlib.Path(".").iterdir())
            return {"dir": "/".join(folder.parts[-3:]), "files": files, "here": here, "app": os.environ["AML_APP_ROOT"]}
    """
    model = world.model(files, at)
    world.deploy(script=script, model=model)
    answer = world.score({}, "blue").json
    assert answer["dir"] == f"azureml-models/{model.split('/')[-3]}/1"
    assert inside in answer["files"]
    assert len(answer["files"]) == len(files)
    assert answer["here"] == ["score.py"]
    assert answer["app"].endswith("/azureml-app/src")


def test_a_script_imports_its_neighbours_and_knows_its_variables(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.make()
    script = "from helpers import double\ndef init(): pass\ndef run(raw): return double(int(raw))"
    code = world.code(script, helpers="def double(x): return 2 * x")
    world.deploy(codeConfiguration={"codeId": code, "scoringScript": "score.py"})
    assert world.score(b"21", "blue").json == 42
    monkeypatch.setattr(world.cloud, "clients", lambda: {"HTTPS_PROXY": "http://gateway:1"})
    variables = {"PLAIN": "text", "HTTPS_PROXY": "http://elsewhere:1", "AZUREML_MODEL_DIR": "/elsewhere"}
    world.deploy("green", environmentVariables=variables)
    names = ["PLAIN", "HTTPS_PROXY", "AZUREML_MODEL_DIR", "AZUREML_ENTRY_SCRIPT", "IDENTITY_ENDPOINT", "LABKIT_STATE"]
    found = world.score({"env": names}, "green").json
    assert found["PLAIN"] == "text"
    assert found["HTTPS_PROXY"] == "http://gateway:1"
    assert found["AZUREML_MODEL_DIR"] == "/elsewhere"  # Azure sets none without a model
    assert (found["AZUREML_ENTRY_SCRIPT"], found["LABKIT_STATE"]) == ("score.py", None)
    assert found["IDENTITY_ENDPOINT"].startswith("http://127.0.0.1")


def test_an_init_that_raises(world: World) -> None:
    world.make()
    script = """
        def init():
            print("about to divide")
            1 / 0
        def run(raw): pass
    """
    path = f"{world.path}/deployments/blue"
    code, message = world.fails("PUT", path, world.deployment(script))
    assert code == "ResourceNotReady"
    assert message.startswith(f"{CRASHED}. {GUIDE}resourcenotready")
    assert "ZeroDivisionError: division by zero" in message
    assert "about to divide" in message
    assert "User's init function failed" in message
    assert 'score.py", line 4, in init' in message
    _, shown, _ = world.rest("GET", path)
    assert shown["properties"]["provisioningState"] == "Failed"
    logs = world.logs()
    assert "ZeroDivisionError: division by zero" in logs
    assert "UserContainerStart: Failed" in logs
    assert "Message: Liveness probe failed: HTTP probe failed with statuscode: 502" in logs
    status, reason = world.refused("PUT", path, world.deployment())
    assert status == 400
    assert reason == (
        "Specified deployment [blue] failed during initial provisioning and is in an unrecoverable state. Delete and "
        "re-create."
    )
    assert world.score({}, "blue").status == 404
    world.done("DELETE", path)
    world.deploy()
    assert world.score({"x": 1}, "blue").json["x"] == 1


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("def init(:", "SyntaxError"),
        ("import a_module_that_is_not_there", "No module named 'a_module_that_is_not_there'"),
        ("def init(): pass", "run"),
        ("import os\ndef init(): os._exit(3)\ndef run(raw): pass", "3"),
    ],
    ids=["syntax", "import", "no run", "exit"],
)
def test_a_script_that_does_not_start(world: World, script: str, reason: str) -> None:
    world.make()
    code, message = world.fails("PUT", f"{world.path}/deployments/blue", world.deployment(script))
    assert (code, message.startswith(CRASHED), reason in message) == ("ResourceNotReady", True, True), message


def test_a_script_that_does_not_start_in_time(world: World) -> None:
    world.make()
    script = "import time\ndef init(): time.sleep(60)\ndef run(raw): pass"
    probe = {"initialDelay": "PT0.1S", "period": "PT0.1S", "failureThreshold": 2}
    code, message = world.fails("PUT", f"{world.path}/deployments/blue", world.deployment(script, readinessProbe=probe))
    assert code == "ResourceNotReady"
    assert message.startswith("User container has crashed or terminated: Readiness probe failed")


def test_a_model_file_that_is_not_there(world: World) -> None:
    world.make()
    model = world.model({"model/number.pkl": pickle.dumps(3)})
    script = TIMES.replace("PATH", "'model/other.pkl'")
    code, message = world.fails("PUT", f"{world.path}/deployments/blue", world.deployment(script, model=model))
    assert code == "ResourceNotReady"
    assert "FileNotFoundError" in message
    assert "model/other.pkl" in message
    assert "number.pkl" in message  # the listing of the model's folder


def test_a_model_whose_files_are_gone(world: World) -> None:
    world.make()
    model = world.model({"model/number.pkl": pickle.dumps(3)})
    _, shown, _ = world.rest("GET", model)
    version = f"{model.rpartition('/')[0]}/2"
    gone = {"modelUri": f"{shown['properties']['modelUri']}-gone", "modelType": "custom_model"}
    assert world.rest("PUT", version, {"properties": gone})[0] in (200, 201)
    code, message = world.fails("PUT", f"{world.path}/deployments/blue", world.deployment(model=version))
    assert code == "BadArgument"
    assert message.startswith("Unable to download user model from ")
    assert "https://aka.ms/oe-tsg#unable-to-download-user-model" in message
    assert "Failed to download the model" in world.logs(containerType="StorageInitializer")
    assert "ModelDownload: Failed" in world.logs()


def test_a_package_that_is_not_installed(world: World) -> None:
    world.make()
    conda = "dependencies: [python=3.10, pip, {pip: [a-package-that-nobody-has==1.0, pyyaml]}]"
    body = world.deployment(environmentId=world.environment(conda))
    code, message = world.fails("PUT", f"{world.path}/deployments/blue", body)
    assert code == "ImageBuildFailure"
    assert "a-package-that-nobody-has" in message
    assert "https://aka.ms/oe-tsg#error-imagebuildfailure" in message
    assert "UserContainerImagePull: Failed" in world.logs()


def test_a_change_that_fails_leaves_what_answered(world: World) -> None:
    world.serve()
    path = f"{world.path}/deployments/blue"
    broken = world.deployment("def init(): raise ValueError('new')\ndef run(raw): pass")
    code, message = world.fails("PUT", path, broken)
    assert (code, "ValueError: new" in message) == ("ResourceNotReady", True)
    assert world.rest("GET", path)[1]["properties"]["provisioningState"] == "Failed"
    assert world.score({"a": 1}).json["name"] == "blue"
    world.deploy(environmentVariables={"NAME": "better"})
    assert world.score({}).json["name"] == "better"


def test_a_change_answers_all_the_while(world: World) -> None:
    world.serve()
    before = world.score({}).json["pid"]
    path = f"{world.path}/deployments/blue"
    _, _, headers = world.rest("PUT", path, world.deployment(environmentVariables={"NAME": "new"}))
    names = []
    while not names or names[-1] != "new":
        answer = world.score({})
        assert answer.status == 200
        names.append(answer.json["name"])
    assert world.wait(headers["azure-asyncoperation"])["status"] == "Succeeded"
    assert set(names) <= {"blue", "new"}
    assert world.score({}).json["pid"] != before


def test_a_deployment_is_scaled_without_a_new_start(world: World) -> None:
    world.serve()
    pid = world.score({}).json["pid"]
    path = f"{world.path}/deployments/blue"

    def pids() -> set[int]:
        return {world.score({}).json["pid"] for _ in range(40)}

    body = world.rest("GET", path)[1]
    body["sku"]["capacity"] = 2
    shown = world.done("PUT", path, body)
    assert shown["sku"]["capacity"] == 2
    assert len(pids()) == 2
    assert pid in pids()
    assert world.done("PATCH", path, {"sku": {"name": "Default", "capacity": 1}})["sku"]["capacity"] == 1
    assert len(pids()) == 1
    capacity = {"default": 1, "minimum": 1, "maximum": 50, "scaleType": "Manual"}
    assert world.rest("GET", f"{path}/skus")[1]["value"][0]["capacity"] == capacity


def test_workers_answer_at_the_same_time_as_far_as_requests_are_let_in(world: World) -> None:
    requests = {"maxConcurrentRequestsPerInstance": 3}
    world.serve(environmentVariables={"WORKER_COUNT": "2"}, requestSettings=requests)
    assert len({world.score({}).json["pid"] for _ in range(40)}) == 2


def test_a_deployment_with_traffic_is_not_deleted(world: World) -> None:
    world.serve("blue", "green")
    blue, green = (f"{world.path}/deployments/{name}" for name in ("blue", "green"))
    status, reason = world.refused("DELETE", blue)
    assert (status, reason.startswith("You can't delete a deployment that has live traffic")) == (400, True)
    world.make(traffic={"blue": 100}, mirrorTraffic={"green": 10})
    assert "10% of the endpoint's mirrorTraffic" in world.refused("DELETE", green)[1]
    world.make(traffic={"green": 100})
    pid = world.score({}, "blue").json["pid"]
    world.done("DELETE", blue)
    assert world.rest("GET", blue)[0] == 404
    assert world.rest("DELETE", blue)[0] == 204
    assert world.score({}, "blue").status == 404
    assert world.rest("GET", world.path)[1]["properties"]["traffic"] == {"green": 100}
    assert world.score({}).json["name"] == "green"
    eventually(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])


def test_one_change_at_a_time(world: World, tmp_path: Path) -> None:
    world.make()
    flag = tmp_path / "go"
    script = f"import os, time\ndef init():\n while not os.path.exists({str(flag)!r}): time.sleep(0.005)\n"
    body = world.deployment(f"{script}def run(raw): return 1")
    path = f"{world.path}/deployments/blue"
    _, _, headers = world.rest("PUT", path, body)
    try:
        assert world.rest("GET", path)[1]["properties"]["provisioningState"] == "Creating"
        for method, changed in (("PUT", body), ("PATCH", {"tags": {}}), ("DELETE", None)):
            status, code, message = world.rest.error(method, path, changed)
            assert (status, code, "blue is creating" in message) == (409, "Conflict", True), message
        assert (
            "has no deployment blue"
            in world.refused("PUT", world.path, {"location": "eastus", "properties": {"traffic": {"blue": 100}}})[1]
        )
        assert world.score({}, "blue").status == 404
    finally:
        flag.touch()
    assert world.wait(headers["azure-asyncoperation"])["status"] == "Succeeded"
    assert world.score({}, "blue").json == 1


def test_an_endpoint_deleted_while_a_deployment_starts(world: World, tmp_path: Path) -> None:
    world.make()
    flag, pids = tmp_path / "go", tmp_path / "pids"
    script = f"""
        import os, time
        def init():
            open({str(pids)!r}, "w").write(str(os.getpid()))
            while not os.path.exists({str(flag)!r}):
                time.sleep(0.005)
        def run(raw): return 1
    """
    _, _, headers = world.rest("PUT", f"{world.path}/deployments/blue", world.deployment(script))
    pid = eventually(lambda: pids.exists() and pids.read_text())
    _, _, deleted = world.rest("DELETE", world.path)
    assert world.wait(deleted["azure-asyncoperation"])["status"] == "Succeeded"
    flag.touch()
    world.wait(headers["azure-asyncoperation"])
    assert world.rest("GET", f"{world.path}/deployments/blue")[0] == 404
    assert world.score({}, "blue", credential="any").status == 404
    eventually(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])


def test_logs_by_container_and_number_of_lines(world: World) -> None:
    model = world.model({"model/number.pkl": pickle.dumps(3)})
    world.serve(model=model)
    world.score({"print": "hello from run"})
    text = world.logged("hello from run")
    assert text.startswith("Instance status:\nSystemSetup: Succeeded\nUserContainerImagePull: Succeeded\n")
    assert "ModelDownload: Succeeded\nUserContainerStart: Succeeded\n" in text
    assert "Kind: Pod, Name: ContainerReady, Type: Normal, Time: " in text
    assert "azmlinfsrv.print - hello from run" in text
    assert "init of blue" in text
    eventually(lambda: "POST /score 200" in world.logs(tail=1))
    assert len(world.logs(tail=1).partition("Container logs:\n")[2].splitlines()) == 1
    assert world.logs(tail=0).endswith("Container logs:")
    initializer = world.logs(containerType="StorageInitializer")
    assert "Downloaded the model, 1 files, from " in initializer
    assert "hello from run" not in initializer
    path = f"{world.path}/deployments/blue/getLogs"
    assert "neither InferenceServer nor StorageInitializer" in world.refused("POST", path, {"containerType": "X"})[1]
    assert "whole number" in world.refused("POST", path, {"tail": "all"})[1]
    assert world.rest("POST", f"{world.path}/deployments/red/getLogs", {})[0] == 404


def test_logs_are_of_the_generation_that_answers(world: World) -> None:
    world.serve()
    world.logged("init of blue")
    world.deploy(environmentVariables={"NAME": "second"})
    assert "init of blue" not in world.logged("init of second")


def _with(**properties: Any) -> dict[str, Any]:
    return properties


@pytest.mark.parametrize(
    ("properties", "status", "reason"),
    [
        (_with(instanceType=None), 400, "VmSize field is required"),
        (_with(instanceType="Standard_Huge"), 400, "Standard_Huge"),
        (_with(instanceType="Standard_NC24s_v3"), 501, "graphics processors"),
        (_with(endpointComputeType="Kubernetes"), 501, "Kubernetes"),
        (_with(dataCollector={"collections": {"model_inputs": {}}}), 501, "data collection (dataCollector)"),
        (_with(modelMountPath="/models"), 501, "custom containers (modelMountPath)"),
        (_with(scaleSettings={"scaleType": "TargetUtilization"}), 501, "TargetUtilization"),
        (_with(requestSettings={"maxConcurrentRequestsPerInstance": 0}), 400, "1 or more"),
        (_with(requestSettings={"requestTimeout": "PT181S"}), 400, "at most 180000 milliseconds"),
        (_with(requestSettings={"requestTimeout": "5000"}), 400, "no length of time"),
        (_with(livenessProbe={"successThreshold": 2}), 400, "successThreshold of livenessProbe has to be 1"),
        (_with(readinessProbe={"period": "never"}), 400, "no length of time"),
        (_with(environmentVariables={"A": "${{azureml://secrets/x}}"}), 501, "secret injection"),
        (_with(environmentVariables={"A=B": "1"}), 400, "cannot be an environment variable's name"),
        (_with(environmentVariables={"WORKER_COUNT": "many"}), 400, "from 1 to 16"),
        (_with(egressPublicNetworkAccess="Disabled"), 501, "egressPublicNetworkAccess"),
    ],
)
def test_settings_that_are_refused(world: World, properties: dict[str, Any], status: int, reason: str) -> None:
    world.make()
    found = world.refused("PUT", f"{world.path}/deployments/blue", world.deployment(**properties))
    assert (found[0], reason in found[1]) == (status, True), found
    assert world.rest("GET", f"{world.path}/deployments/blue")[0] == 404


def test_what_a_deployment_needs(world: World) -> None:
    path = f"{world.path}/deployments/blue"
    body = world.deployment()
    assert world.rest.error("PUT", path, body)[:2] == (404, "ParentResourceNotFound")
    world.make()
    assert "deployment name" in world.refused("PUT", f"{world.path}/deployments/b_", body)[1]
    script = body["properties"]["codeConfiguration"]

    def refused(**properties: Any) -> tuple[int, str]:
        changed = {**body["properties"], **properties}
        return world.refused("PUT", path, {**body, "properties": {k: v for k, v in changed.items() if v is not None}})

    status, reason = refused(codeConfiguration=None, model=world.model({"model/MLmodel": b""}))
    assert (status, "MLflow" in reason) == (501, True)
    assert "codeId field is required" in refused(codeConfiguration={"scoringScript": "score.py"})[1]
    assert "scoringScript field is required" in refused(codeConfiguration={"codeId": script["codeId"]})[1]
    assert "in the code's folder" in refused(codeConfiguration={**script, "scoringScript": "../score.py"})[1]
    assert "environmentId field is required" in refused(environmentId=None)[1]
    missing = f"{world.rest.workspace}/models/nobody/versions/1"
    assert refused(model=missing)[0] in (400, 404)
    assert "instance" in world.refused("PUT", path, {**body, "sku": {"name": "Default", "capacity": 51}})[1].lower()
    assert "instance" in world.refused("PUT", path, {**body, "sku": {"name": "Default", "capacity": 0}})[1].lower()
    large = {**body["properties"], "instanceType": "Standard_DS5_v2"}
    status, reason = world.refused("PUT", path, {**body, "properties": large, "sku": {"capacity": 50}})
    assert (status, reason.startswith("Not enough quota available for Standard_DS5_v2")) == (400, True)
    assert "oe-tsg#error-outofquota" in reason
    assert world.rest("GET", path)[0] == 404


def test_environments_that_would_be_built_are_refused(world: World) -> None:
    world.make()
    for number, (properties, what) in enumerate(
        (
            ({"image": "x", "inferenceConfig": {"livenessRoute": {"port": 1, "path": "/"}}}, "inferenceConfig"),
            ({"build": {"contextUri": "azureml://datastores/workspaceblobstore/paths/x"}}, "Dockerfile"),
        )
    ):
        path = f"{world.rest.workspace}/environments/{world.name}-{number}/versions/1"
        status, answer, _ = world.rest("PUT", path, {"properties": properties})
        reason = str(answer)
        if status < 400:
            body = world.deployment(environmentId=path)
            status, reason = world.refused("PUT", f"{world.path}/deployments/blue", body)
        assert status == 501, reason
        assert what in reason or "build" in reason


def test_what_cannot_be_patched(world: World) -> None:
    world.serve()
    path = f"{world.path}/deployments/blue"
    assert world.done("PATCH", path, {"tags": {"a": "1"}})["tags"] == {"a": "1"}
    status, reason = world.refused("PATCH", path, {"properties": {"instanceType": "Standard_DS4_v2"}})
    assert (status, "PATCH of properties" in reason) == (501, True)


def test_a_script_that_is_not_in_the_code(world: World) -> None:
    world.make()
    code = {"codeId": world.code(ORDERS), "scoringScript": "other.py"}
    error = world.fails("PUT", f"{world.path}/deployments/blue", world.deployment(codeConfiguration=code))
    assert error[0] == "ResourceNotReady"
    assert "other.py" in error[1]
