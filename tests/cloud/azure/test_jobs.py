"""Command jobs: what they run, read and write, how they end, and what Azure says when they do not end well."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from labkit.cloud.azure.jobs_execution import program
from labkit.cloud.azure.runs import Run
from tests.cloud.azure import in_process, principals
from tests.cloud.azure.jobs_world import Jobs
from tests.cloud.azure.online_world import World
from tests.waiting import eventually


@pytest.fixture
def jobs(rest: in_process.Rest, name: str) -> Jobs:
    return Jobs(rest, name)


@pytest.fixture
def own_jobs(own_world: World) -> Jobs:
    """Jobs in clouds of their own, whose clock may be advanced."""
    return Jobs(own_world.rest, "own")


def test_a_command_reads_its_inputs_and_writes_its_outputs(jobs: Jobs) -> None:
    data = jobs.blob(f"{jobs.name}/in/rows.csv", b"1,2,3")
    script = """
        import sys, os
        print("working in", os.getcwd())
        open(os.path.join(sys.argv[3], "sum.txt"), "w").write(sys.argv[1] + open(sys.argv[2]).read())
    """
    run = jobs.command(
        "python main.py ${{inputs.rows}} ${{inputs.data}} ${{outputs.out}}",
        codeId=jobs.code(main=script),
        inputs={
            "rows": {"jobInputType": "literal", "value": "7"},
            "data": {"jobInputType": "uri_file", "uri": data, "mode": "Download"},
        },
        outputs={"out": {"jobOutputType": "uri_folder"}},
    )
    jobs.ended(run)
    assert jobs.read(run.outputs["out"].uri) == {"sum.txt": b"71,2,3"}
    assert run.outputs["out"].uri.endswith(f"/datastores/workspaceblobstore/paths/azureml/{run.name}/out/")
    _, shown, _ = jobs.rest("GET", f"{jobs.rest.workspace}/jobs/{run.name}")
    properties = shown["properties"]
    assert (properties["status"], properties["jobType"]) == ("Completed", "Command")
    assert properties["outputs"]["out"]["uri"] == run.outputs["out"].uri
    assert properties["parameters"] == {"rows": "7"}
    assert "working in" in jobs.log(run)


def test_a_shell_runs_what_only_a_shell_understands(jobs: Jobs) -> None:
    run = jobs.ended(jobs.command('for n in 1 2 3; do echo "line $n"; done | tail -n 1 && python -c "print(6 * 7)"'))
    assert jobs.log(run).splitlines() == ["line 3", "42"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("python a.py --n 5", ["python", "a.py", "--n", "5"]),
        ("python a.py --name 'a b' --x=1", ["python", "a.py", "--name", "a b", "--x=1"]),
        ("  python3 -m m\t--x 1 ", ["python3", "-m", "m", "--x", "1"]),
    ],
)
def test_a_python_command_needs_no_shell(text: str, words: list[str]) -> None:
    assert program(text) == words


@pytest.mark.parametrize("text", ["python a.py | tail", "python a.py $HOME", "python a.py *", "echo x", "python a\nb"])
def test_other_commands_need_one(text: str) -> None:
    assert program(text)[1:] == ["-c", text]


def test_a_command_that_fails_says_how(jobs: Jobs) -> None:
    code = jobs.code(main="print('so far')\nraise ValueError('no good')")
    run = jobs.ended(jobs.command("python main.py", codeId=code), "Failed")
    assert run.error is not None
    assert run.error["code"] == "UserError"
    first, _, rest = run.error["message"].partition("\n")
    message = json.loads(first)["NonCompliant"]
    assert message.startswith(
        "Execution failed. User process 'python' exited with status code 1. Please check log file "
        "'user_logs/std_log.txt' for error details. Error: Traceback (most recent call last):"
    )
    assert message.endswith("ValueError: no good")
    assert json.loads(rest)["error_details"] == [{"key": "exit_codes", "value": "1"}]
    assert jobs.log(run).startswith("so far\nTraceback")


def test_a_failed_command_has_no_outputs_but_what_it_mounted(jobs: Jobs) -> None:
    outputs = {"a": {"jobOutputType": "uri_folder"}, "b": {"jobOutputType": "uri_folder", "mode": "Upload"}}
    write = "echo x > ${{outputs.a}}/x; echo x > ${{outputs.b}}/x; exit 3"
    run = jobs.ended(jobs.command(write, outputs=outputs), "Failed")
    assert run.outputs == {}
    base = f"azureml://datastores/workspaceblobstore/paths/azureml/{run.name}"
    assert jobs.read(f"{base}/a") == {"x": b"x\n"}
    assert jobs.read(f"{base}/b") == {}


def test_the_variables_of_a_job(jobs: Jobs) -> None:
    run = jobs.ended(jobs.command("env", environmentVariables={"MINE": "yes"}, experimentName="trials"))
    found = dict(line.partition("=")[::2] for line in jobs.log(run).splitlines() if "=" in line)
    assert found["MINE"] == "yes"
    assert found["AZUREML_RUN_ID"] == run.name
    assert found["AZUREML_ARM_PROJECT_NAME"] == "trials"
    assert found["AZUREML_ARM_WORKSPACE_NAME"] == "mlops"
    assert found["MLFLOW_RUN_ID"] == run.name
    assert found["PWD"].startswith("/mnt/azureml/cr/j/") or jobs.cloud.engine.jobs.refuses_mounts()


def test_what_it_writes_beside_its_code_is_kept(jobs: Jobs) -> None:
    run = jobs.ended(jobs.command("echo a > outputs/a.txt; echo b > logs/b.txt"))
    assert (jobs.log(run, "outputs/a.txt"), jobs.log(run, "logs/b.txt")) == ("a\n", "b\n")


def test_an_output_goes_where_it_is_told_and_is_registered(jobs: Jobs) -> None:
    uri = "azureml://datastores/workspaceblobstore/paths/kept/${{name}}/model"
    output = {"jobOutputType": "custom_model", "uri": uri, "assetName": f"{jobs.name}-model", "assetVersion": "4"}
    run = jobs.ended(jobs.command("echo m > ${{outputs.m}}/m.txt", outputs={"m": output}))
    assert f"/paths/kept/{run.name}/model" in run.outputs["m"].uri
    _, model, _ = jobs.rest("GET", f"{jobs.rest.workspace}/models/{jobs.name}-model/versions/4")
    assert model["properties"]["modelType"] == "custom_model"
    assert model["properties"]["jobName"] == run.name
    assert jobs.read(model["properties"]["modelUri"]) == {"m.txt": b"m\n"}
    again = jobs.ended(jobs.command("echo m > ${{outputs.m}}/m.txt", outputs={"m": output}), "Failed")
    assert again.error is not None
    assert "has a version 4 already" in again.error["message"]


def test_a_file_that_was_not_written(jobs: Jobs) -> None:
    run = jobs.ended(jobs.command("echo ${{outputs.f}}", outputs={"f": {"jobOutputType": "uri_file"}}), "Failed")
    assert run.error is not None
    assert "Output f was not written" in run.error["message"]


def test_data_that_is_not_there(jobs: Jobs) -> None:
    given = {"jobInputType": "uri_folder", "uri": "azureml://datastores/workspaceblobstore/paths/nowhere/at/all"}
    run = jobs.ended(jobs.command("ls ${{inputs.d}}", inputs={"d": given}), "Failed")
    assert run.error is not None
    assert "ScriptExecution.StreamAccess.NotFound" in run.error["message"]
    assert "ScriptExecution.StreamAccess.NotFound" in jobs.log(run, "system_logs/data_capability/data-capability.log")


def test_an_address_for_a_command_that_reads_it_itself(jobs: Jobs) -> None:
    given = {"jobInputType": "uri_file", "uri": jobs.blob(f"{jobs.name}.csv", b"x"), "mode": "Direct"}
    run = jobs.ended(jobs.command("echo ${{inputs.d}}", inputs={"d": given}))
    assert jobs.log(run).startswith("azureml://subscriptions/")


def test_data_assets_and_models_are_inputs(jobs: Jobs) -> None:
    workspace = jobs.rest.workspace
    data = {"dataType": "uri_folder", "dataUri": jobs.blob(f"{jobs.name}/d/x.txt", b"data").rpartition("/")[0]}
    model = {"modelType": "custom_model", "modelUri": jobs.blob(f"{jobs.name}/m/m.txt", b"model")}
    jobs.rest("PUT", f"{workspace}/data/{jobs.name}/versions/1", {"properties": data})
    jobs.rest("PUT", f"{workspace}/models/{jobs.name}/versions/1", {"properties": model})
    run = jobs.command(
        "cat ${{inputs.d}}/x.txt ${{inputs.m}}",
        inputs={
            "d": {"jobInputType": "uri_folder", "uri": f"azureml:{jobs.name}:1"},
            "m": {"jobInputType": "custom_model", "uri": f"{workspace}/models/{jobs.name}/versions/1"},
        },
    )
    assert jobs.log(jobs.ended(run)) == "datamodel\n"
    wrong = {"jobInputType": "uri_file", "uri": f"azureml:{jobs.name}:1"}
    status, _, message = jobs.refused(
        jobType="Command", command="ls ${{inputs.d}}", environmentId=jobs.environment(), inputs={"d": wrong}
    )
    assert (status, message) == (
        400,
        f"Input d is to be of type uri_file, but the data asset azureml:{jobs.name}:1 is of type uri_folder.",
    )


def test_what_another_job_made_is_an_input(jobs: Jobs) -> None:
    first = jobs.ended(jobs.command("echo hi > ${{outputs.o}}/x", outputs={"o": {"jobOutputType": "uri_folder"}}))
    given = {"jobInputType": "uri_folder", "uri": f"azureml://jobs/{first.name}/outputs/o"}
    assert jobs.log(jobs.ended(jobs.command("cat ${{inputs.d}}/x", inputs={"d": given}))) == "hi\n"


def test_an_environment_that_cannot_be_met(jobs: Jobs) -> None:
    environment = jobs.environment("dependencies: [python, {pip: [a-package-that-nobody-has==1.2]}]")
    run = jobs.ended(jobs.command("echo never", environmentId=environment), "Failed")
    assert run.error is not None
    assert run.error["referenceCode"] == "ImageBuildFailure"
    assert "a-package-that-nobody-has==1.2, which is not installed here." in run.error["message"]
    assert "a-package-that-nobody-has" in jobs.log(run, "azureml-logs/20_image_build_log.txt")


def test_a_curated_environment(jobs: Jobs) -> None:
    for reference in (
        "azureml:AzureML-sklearn-1.5@latest",
        "azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
    ):
        jobs.ended(jobs.command("python -c 'import sklearn'", environmentId=reference))
    run = jobs.command("echo never", environmentId="AzureML-acpt-pytorch-2.2-cuda12.1@latest")
    assert "torch" in str(jobs.ended(run, "Failed").error)


def test_a_job_that_is_canceled(jobs: Jobs) -> None:
    run = jobs.command("echo started; sleep 600; echo never")
    eventually(lambda: run.status == "Running")
    status, _, headers = jobs.rest("POST", f"{jobs.rest.workspace}/jobs/{run.name}/cancel")
    assert status == 202
    jobs.ended(run, "Canceled")
    canceling = headers["location"].split("azure.com")[1].partition("?")[0]
    eventually(lambda: jobs.rest("GET", canceling)[:2] == (200, None))
    assert run.error is None
    assert jobs.rest("POST", f"{jobs.rest.workspace}/jobs/{run.name}/cancel")[0] == 200


def test_a_job_that_takes_longer_than_it_may(jobs: Jobs) -> None:
    run = jobs.ended(jobs.command("sleep 600", limits={"jobLimitsType": "Command", "timeout": "PT0.3S"}), "Canceled")
    assert run.error is not None
    assert run.error["message"] == "The job was canceled because it ran for longer than its limits.timeout of PT0.3S."


@pytest.mark.parametrize(
    ("properties", "status", "message"),
    [
        ({"jobType": "Sweep"}, 501, "jobs of type Sweep"),
        ({"jobType": "AutoML"}, 501, "jobs of type AutoML"),
        ({"jobType": "Odd"}, 400, "The job type 'Odd' is unknown."),
        ({"jobType": "Command"}, 400, "A command job needs a command."),
        ({"command": "x", "distribution": {"distributionType": "Mpi"}}, 501, "the property distribution"),
        ({"command": "x", "resources": {"instanceCount": 4}}, 501, "jobs on 4 instances"),
        ({"command": "x", "resources": {"properties": {"IsLocal": {"IsLocal": True}}}}, 501, "the compute local"),
        ({"command": "x ${{inputs.y}}"}, 400, "The command names ${{inputs.y}}, which the job does not have."),
        ({"command": "x", "computeId": "nowhere"}, 400, "Unknown compute target 'nowhere'."),
        ({"command": "x", "services": {"j": {"jobServiceType": "JupyterLab"}}}, 501, "JupyterLab"),
        ({"command": "x", "environmentId": "azureml:nothing:1"}, 404, "azureml:nothing:1 was not found"),
        (
            {"command": "x", "inputs": {"w": {"jobInputType": "uri_file", "uri": "https://example.com/a.csv"}}},
            501,
            "the web address https://example.com/a.csv",
        ),
        (
            {"command": "x", "inputs": {"w": {"jobInputType": "mltable", "uri": "x", "mode": "EvalMount"}}},
            501,
            "the mode EvalMount of w",
        ),
    ],
)
def test_jobs_that_are_not_taken(jobs: Jobs, properties: dict[str, Any], status: int, message: str) -> None:
    properties = {"jobType": "Command", "environmentId": "AzureML-minimal-py312", **properties}
    code, _, said = jobs.refused(**properties)
    assert (code, message in said) == (status, True), said
    assert jobs.rest("GET", f"{jobs.rest.workspace}/jobs/{jobs.name}-refused")[0] == 404


def test_what_has_no_effect_is_said(jobs: Jobs) -> None:
    run = jobs.ended(jobs.command("echo hi", resources={"dockerArgs": "--ipc=host", "instanceCount": 1}))
    _, shown = jobs.services("GET", f"/history/v1.0{{ws}}/runs/{run.name}")
    assert [each["message"] for each in shown["warnings"]] == [
        "dockerArgs has no effect: the local clouds run no containers."
    ]


def test_a_job_is_changed_listed_and_deleted(jobs: Jobs) -> None:
    run = jobs.ended(jobs.command("echo x", displayName="first", tags={"a": jobs.name}))
    path = f"{jobs.rest.workspace}/jobs/{run.name}"
    status, shown, _ = jobs.rest("PUT", path, {"properties": {"tags": {"b": jobs.name}, "displayName": "second"}})
    assert (status, shown["properties"]["tags"]) == (200, {"b": jobs.name})
    error = jobs.rest.error("PUT", path, {"properties": {"jobType": "Command", "command": "echo y"}})
    assert error[:2] == (400, "UserError")
    assert "the existing job's command cannot be changed" in error[2]

    def listed(**query: str) -> list[str]:
        _, answer, _ = jobs.rest("GET", f"{jobs.rest.workspace}/jobs", tag=f"b={jobs.name}", **query)
        return [each["name"] for each in answer["value"]]

    assert listed() == [run.name]
    assert listed(jobType="Pipeline") == []
    assert listed(properties="azureml.runsource=azureml.scriptrun") == [run.name]
    assert listed(properties="azureml.runsource=other") == []
    jobs.services("PATCH", f"/history/v1.0{{ws}}/experiments/Default/runs/{run.name}", {"hidden": True})
    assert listed() == []
    assert listed(listViewType="ArchivedOnly") == [run.name]
    assert jobs.rest("DELETE", path)[0] == 202
    eventually(lambda: jobs.rest("GET", path)[0] == 404)


def test_run_history_tells_of_a_job(jobs: Jobs) -> None:
    run = jobs.ended(jobs.command("echo x", outputs={"o": {"jobOutputType": "uri_folder"}}))
    status, details = jobs.services("GET", f"/history/v1.0{{ws}}/runs/{run.name}/details")
    assert (status, details["status"], list(details["logFiles"])) == (200, "Completed", ["user_logs/std_log.txt"])
    address = details["logFiles"]["user_logs/std_log.txt"]
    assert in_process.call(jobs.cloud, "GET", address).body == b"x\n"
    _, data = jobs.services("POST", "/history/v1.0{ws}/rundata", {"runId": run.name})
    asset = data["runMetadata"]["outputs"]["o"]["assetId"]
    _, resolved = jobs.services("POST", "/data/v1.0{ws}/dataversion/batchGetResolvedUris", {"values": [asset]})
    assert resolved == {"values": {asset: {"uri": run.outputs["o"].uri, "type": "uri_folder"}}}
    status, error = jobs.services("GET", "/history/v1.0{ws}/runs/nobody")
    assert (status, error["error"]["message"]) == (404, "RunId nobody not found in the workspace.")


def test_the_workspaces_services_verify_who_calls(jobs: Jobs) -> None:
    url = f"https://eastus.api.azureml.ms/history/v1.0{jobs.rest.workspace}/runs/x"
    assert in_process.call(jobs.cloud, "GET", url).status == 401
    assert in_process.call(jobs.cloud, "GET", url, token="nonsense").status == 401
    assert in_process.call(jobs.cloud, "GET", "https://eastus.api.azureml.ms/discovery").status == 200


def test_a_cluster_has_as_many_nodes_as_jobs_need(jobs: Jobs, tmp_path: Path) -> None:
    path = f"{jobs.rest.workspace}/computes/{jobs.name}"
    body = {"properties": {"computeType": "AmlCompute", "properties": {"vmSize": "Standard_DS3_v2"}}}
    assert jobs.rest("PUT", path, body)[0] == 201
    gate = tmp_path / "gate"
    wait = f"while [ ! -e {gate} ]; do sleep 0.02; done"
    first, second = (jobs.command(wait, computeId=path) for _ in range(2))
    eventually(lambda: {first.status, second.status} == {"Running", "Queued"})

    def nodes() -> dict[str, int]:
        counts: dict[str, int] = jobs.rest("GET", path)[1]["properties"]["properties"]["nodeStateCounts"]
        return {name: count for name, count in counts.items() if count}

    assert nodes() == {"runningNodeCount": 1}
    gate.touch()
    jobs.ended(first)
    jobs.ended(second)
    eventually(lambda: nodes() == {"idleNodeCount": 1})


def test_what_a_job_acts_as(jobs: Jobs) -> None:
    code = jobs.code(
        main="import os\nprint(sorted(n for n in os.environ if n in ('OBO_ENDPOINT', 'IDENTITY_ENDPOINT')))"
    )
    user = jobs.command("python main.py", codeId=code, identity={"identityType": "UserIdentity"})
    assert "OBO_ENDPOINT" in jobs.log(jobs.ended(user))
    token = jobs.command("python main.py", codeId=code, identity={"identityType": "AMLToken"})
    assert "OBO_ENDPOINT" not in jobs.log(jobs.ended(token))
    managed = {"identityType": "Managed", "clientId": "11111111-1111-1111-1111-111111111111"}
    run = jobs.ended(jobs.command("python main.py", codeId=code, identity=managed), "Failed")
    assert "is not assigned to the job's compute" in str(run.error)


def test_a_low_priority_node_is_taken_away_and_the_job_runs_again(own_jobs: Jobs, tmp_path: Path) -> None:
    path = f"{own_jobs.rest.workspace}/computes/spot"
    size = {"vmSize": "Standard_DS3_v2", "vmPriority": "LowPriority"}
    own_jobs.rest("PUT", path, {"properties": {"computeType": "AmlCompute", "properties": size}})
    marks = tmp_path / "marks"
    marks.mkdir()
    # The first time it never ends. What it wrote to its output is there again, what was in its folder is not.
    script = f"""
        ls; touch here; echo part >> ${{{{outputs.o}}}}/parts; n=$(ls {marks} | wc -l); touch {marks}/$n
        if [ $n -ge 1 ]; then exit 0; fi; sleep 600
    """
    run = own_jobs.command(script, computeId=path, outputs={"o": {"jobOutputType": "uri_folder"}})
    eventually(lambda: (marks / "0").exists())
    eventually(lambda: own_jobs.cloud.engine.clock._due)
    own_jobs.cloud.engine.clock.advance(timedelta(days=7))
    own_jobs.ended(run)
    assert len(run.warnings) >= 1
    assert "preempted" in run.warnings[0]
    assert own_jobs.read(run.outputs["o"].uri)["parts"].startswith(b"part\npart\n")
    assert "here" not in own_jobs.log(run)


def test_data_without_credentials_is_read_as_the_job(jobs: Jobs) -> None:
    account = jobs.cloud.resources.require(f"{jobs.rest.workspace}/datastores/workspaceblobstore").properties
    jobs.blob(f"{jobs.name}/secret.txt", b"secret")
    uri = f"https://{account['accountName']}.blob.core.windows.net/{account['containerName']}/{jobs.name}/secret.txt"
    given = {"d": {"jobInputType": "uri_file", "uri": uri}}
    stranger = principals.make(jobs.cloud, jobs.name)
    stranger.give("AzureML Data Scientist", jobs.rest.workspace)
    theirs = Jobs(stranger.rest(), f"{jobs.name}-theirs")
    environment = jobs.environment()
    # On serverless compute a job acts as who submitted it.
    run = theirs.ended(theirs.command("cat ${{inputs.d}}", inputs=given, environmentId=environment), "Failed")
    assert f"the job's identity with object id '{stranger.object_id}' is not authorized" in failure(run)
    assert "ScriptExecution.StreamAccess.Authentication" in failure(run)
    assert "is not authorized" in theirs.log(run, "system_logs/data_capability/data-capability.log")
    storage = jobs.cloud.resources.require(jobs.rest.workspace).properties["storageAccount"]
    stranger.give("Storage Blob Data Reader", storage)
    run = theirs.ended(theirs.command("cat ${{inputs.d}}", inputs=given, environmentId=environment))
    assert theirs.log(run) == "secret\n"
    # A cluster without a managed identity has none.
    path = f"{jobs.rest.workspace}/computes/{jobs.name}"
    body = {"properties": {"computeType": "AmlCompute", "properties": {"vmSize": "Standard_DS3_v2"}}}
    assert jobs.rest("PUT", path, body)[0] == 201
    run = jobs.ended(jobs.command("cat ${{inputs.d}}", inputs=given, computeId=path), "Failed")
    assert "the job has no identity" in failure(run)
    # With one, that one needs the role.
    _, made, _ = jobs.rest("PUT", path, body | {"identity": {"type": "SystemAssigned"}})
    run = jobs.ended(jobs.command("cat ${{inputs.d}}", inputs=given, computeId=path), "Failed")
    assert f"the job's identity with object id '{made['identity']['principalId']}'" in failure(run)


def test_a_reader_cannot_submit_jobs(jobs: Jobs) -> None:
    reader = principals.make(jobs.cloud, jobs.name)
    reader.give("Reader", jobs.rest.workspace)
    code, error, message = reader.rest().error("PUT", f"{jobs.rest.workspace}/jobs/{jobs.name}", {"properties": {}})
    assert (code, error) == (403, "AuthorizationFailed")
    assert "Microsoft.MachineLearningServices/workspaces/jobs/write" in message


def failure(run: Run) -> str:
    """What went wrong with a run."""
    assert run.error is not None
    return str(run.error["message"])
