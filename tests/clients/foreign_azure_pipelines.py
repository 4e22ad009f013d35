"""A script as a stranger would write it from Azure's documentation: nothing in it knows of local clouds.

In a workspace of its own it trains through a pipeline with a gate, reuses what has not changed, cancels, schedules,
registers the model that a job made and serves it. Exits non-zero when a prediction is not the one of the same code run
here, or anything else is not as Microsoft documents it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from azure.ai.ml import Input, MLClient, Output, command, dsl, load_component, load_job
from azure.ai.ml.entities import (
    AmlCompute,
    CodeConfiguration,
    CronTrigger,
    Data,
    Environment,
    JobSchedule,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    RecurrencePattern,
    RecurrenceTrigger,
    UserIdentityConfiguration,
    Workspace,
)
from azure.ai.ml.exceptions import JobException
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.mgmt.resource.resources import ResourceManagementClient

SUBSCRIPTION, GROUP, WORKSPACE, REGION = os.environ["AZURE_SUBSCRIPTION_ID"], "rg-wine", "ws-wine", "northeurope"
ENDPOINT = "wine-ne1"
SPLIT = """
import argparse
from pathlib import Path
import pandas as pd

parser = argparse.ArgumentParser()
parser.add_argument("--table")
parser.add_argument("--share", type=float)
parser.add_argument("--fit")
parser.add_argument("--hold")
args = parser.parse_args()
table = pd.read_csv(args.table)
at = int(len(table) * args.share)
table[:at].to_csv(Path(args.fit) / "rows.csv", index=False)
table[at:].to_csv(Path(args.hold) / "rows.csv", index=False)
print("rows:", at, len(table) - at)
"""
FIT = """
import sys
from pathlib import Path
import joblib
import pandas as pd
from sklearn.linear_model import Ridge

table = pd.read_csv(Path(sys.argv[1]) / "rows.csv")
model = Ridge(alpha=float(sys.argv[2])).fit(table.drop(columns="quality"), table["quality"])
joblib.dump(model, Path(sys.argv[3]) / "model.pkl")
"""
GATE = """
import json
import sys
from pathlib import Path
import joblib
import pandas as pd

table = pd.read_csv(Path(sys.argv[1]) / "rows.csv")
score = joblib.load(Path(sys.argv[2]) / "model.pkl").score(table.drop(columns="quality"), table["quality"])
(Path(sys.argv[4]) / "score.json").write_text(json.dumps({"r2": score}))
print("R2", score)
if score < float(sys.argv[3]):
    sys.exit(f"R2 {score:.3f} is below {sys.argv[3]}")
"""
PUBLISH = """
import os
import shutil
import sys
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Model
from azure.ai.ml.identity import AzureMLOnBehalfOfCredential

names = ("SUBSCRIPTION", "RESOURCEGROUP", "WORKSPACE_NAME")
client = MLClient(AzureMLOnBehalfOfCredential(), *(os.environ["AZUREML_ARM_" + name] for name in names))
made = client.models.create_or_update(Model(name="wine-published", path=sys.argv[1], type="custom_model"))
print("published version", made.version)
"""
SCORE = """
import json
import os
import joblib
import pandas as pd

def init():
    global model
    found = [os.path.join(at, f) for at, _, files in os.walk(os.environ["AZUREML_MODEL_DIR"]) for f in files]
    model = joblib.load(found[0])

def run(raw):
    return model.predict(pd.DataFrame(json.loads(raw))).tolist()
"""
COMPONENT = """
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
type: command
name: wine_split
version: 1
display_name: Split
inputs:
  table: {type: uri_file}
  share: {type: number, default: 0.8, min: 0.1, max: 0.9}
outputs:
  fit: {type: uri_folder}
  hold: {type: uri_folder, mode: upload}
code: ./split
environment: azureml:AzureML-sklearn-1.5@latest
command: >-
  python split.py --table ${{inputs.table}} --share ${{inputs.share}} --fit ${{outputs.fit}} --hold ${{outputs.hold}}
"""
STANDALONE = """
$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json
command: |
  head -n 1 ${{inputs.table}} > ./outputs/header.txt
  echo $[[--verbose ${{inputs.level}}]] columns: ${{inputs.columns}}
inputs:
  table: {type: uri_file, path: azureml:wine@latest}
  columns: 3
environment: azureml:AzureML-sklearn-1.5@latest
environment_variables: {WHO: stranger}
experiment_name: wine-basics
"""


def workspace():
    resources = ResourceManagementClient(credential, SUBSCRIPTION)
    resources.resource_groups.create_or_update(GROUP, {"location": REGION})
    client = MLClient(credential, SUBSCRIPTION, GROUP, WORKSPACE)
    client.workspaces.begin_create(Workspace(name=WORKSPACE, location=REGION)).result()
    return client


def files(folder):
    random = np.random.default_rng(5)
    table = pd.DataFrame(random.normal(size=(300, 3)), columns=["acid", "sugar", "ash"])
    table["quality"] = table @ np.array([2.0, -1.0, 0.5]) + random.normal(scale=0.1, size=300)
    table.to_csv(folder / "wine.csv", index=False)
    sources = {"split": SPLIT, "fit": FIT, "gate": GATE, "publish": PUBLISH, "score": SCORE}
    for name, text in sources.items():
        (folder / name).mkdir()
        (folder / name / f"{name}.py").write_text(text)
    (folder / "split.yml").write_text(COMPONENT)
    (folder / "job.yml").write_text(STANDALONE)
    return table


def by_hand(folder):
    """The model that the same scripts make when they are run here."""
    for name in ("hand-fit", "hand-hold", "hand-model"):
        (folder / name).mkdir()
    run = [sys.executable, "split/split.py", "--table", "wine.csv", "--share", "0.75"]
    subprocess.run([*run, "--fit", "hand-fit", "--hold", "hand-hold"], cwd=folder, check=True, capture_output=True)
    subprocess.run([sys.executable, "fit/fit.py", "hand-fit", "0.3", "hand-model"], cwd=folder, check=True)
    return joblib.load(folder / "hand-model" / "model.pkl")


def components(client, folder):
    environment = Environment(
        image="mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
        conda_file={"dependencies": ["python", {"pip": ["scikit-learn", "pandas", "joblib"]}]},
    )
    split = client.components.create_or_update(load_component(source=folder / "split.yml"))
    fit = command(
        name="wine_fit",
        display_name="Fit",
        code=str(folder / "fit"),
        environment=environment,
        command="python fit.py ${{inputs.rows}} ${{inputs.alpha}} ${{outputs.model}}",
        inputs={"rows": Input(type="uri_folder"), "alpha": Input(type="number", default=1.0)},
        outputs={"model": Output(type="custom_model")},
    )
    gate = command(
        name="wine_gate",
        code=str(folder / "gate"),
        environment=environment,
        command="python gate.py ${{inputs.rows}} ${{inputs.model}} ${{inputs.least}} ${{outputs.report}}",
        inputs={"rows": Input(type="uri_folder"), "model": Input(type="custom_model"), "least": Input(type="number")},
        outputs={"report": Output(type="uri_folder")},
    )
    publish = command(
        name="wine_publish",
        code=str(folder / "publish"),
        environment=environment,
        command="python publish.py ${{inputs.model}} && echo gate said: && cat ${{inputs.report}}/score.json",
        inputs={"model": Input(type="custom_model"), "report": Input(type="uri_folder")},
        identity=UserIdentityConfiguration(),
        is_deterministic=False,
    )
    assert [each.name for each in client.components.list()] == ["wine_split"]
    return client.components.get("wine_split", split.version), fit, gate, publish


def pipeline(parts):
    split, fit, gate, publish = parts

    @dsl.pipeline(name="wine_training", description="fits, and publishes what is good", default_compute="wine-nodes")
    def training(table: Input(type="uri_file"), alpha: float = 0.3, least: float = 0.9):
        cut = split(table=table, share=0.75)
        fitted = fit(rows=cut.outputs.fit, alpha=alpha)
        judged = gate(rows=cut.outputs.hold, model=fitted.outputs.model, least=least)
        publish(model=fitted.outputs.model, report=judged.outputs.report)
        return {"model": fitted.outputs.model, "report": judged.outputs.report}

    return training


def raised(kind, action):
    try:
        action()
    except kind as error:
        return str(error)
    raise SystemExit(f"there was no {kind.__name__}")


def ended(client, job):
    while (found := client.jobs.get(job.name)).status not in ("Completed", "Failed", "Canceled"):
        time.sleep(0.1)
    return found


def children(client, job):
    return {each.display_name: each for each in client.jobs.list(parent_job_name=job.name)}


def good(client, training, folder, table, model):
    job = client.jobs.create_or_update(training(table=Input(type="uri_file", path="azureml:wine:1")))
    client.jobs.stream(job.name)
    assert client.jobs.get(job.name).status == "Completed"
    steps = children(client, job)
    assert {name: each.status for name, each in steps.items()} == dict.fromkeys(
        ("cut", "Fit", "judged", "wine_publish"), "Completed"
    )
    client.jobs.download(job.name, download_path=folder / "got", output_name="model")
    got = joblib.load(next((folder / "got").rglob("model.pkl")))
    assert (got.predict(table.drop(columns="quality")) == model.predict(table.drop(columns="quality"))).all()
    client.jobs.download(job.name, download_path=folder / "all", all=True)
    assert json.loads(next((folder / "all").rglob("score.json")).read_text())["r2"] > 0.9
    assert next((folder / "all").rglob("executionlogs.txt")).exists()
    assert client.models.get("wine-published", label="latest").version == "1"
    return job


def refused(client, training):
    job = training(table=Input(type="uri_file", path="azureml:wine:1"), least=0.9999)
    job = client.jobs.create_or_update(job, experiment_name="wine-gate")
    said = raised(JobException, lambda: client.jobs.stream(job.name))
    assert "Failed nodes: /judged" in said, said
    steps = children(client, job)
    # What came before the gate was used again, what comes after it did not start.
    assert {name: each.status for name, each in steps.items()} == {
        "cut": "Completed",
        "Fit": "Completed",
        "judged": "Failed",
    }, steps
    assert {name: each.properties["azureml.isreused"] for name, each in steps.items()} == {
        "cut": "true",
        "Fit": "true",
        "judged": "false",
    }
    with tempfile.TemporaryDirectory() as at:
        client.jobs.download(steps["judged"].name, download_path=at)
        log = next(Path(at).rglob("std_log.txt")).read_text()
        client.jobs.download(steps["Fit"].name, download_path=at, output_name="model")
        assert list(Path(at).rglob("model.pkl"))
    assert "is below 0.9999" in log, log
    assert client.models.get("wine-published", label="latest").version == "1"


def canceled(client):
    job = client.jobs.create_or_update(
        command(command="echo begun; sleep 900", environment="AzureML-sklearn-1.5@latest", compute="wine-nodes")
    )
    while client.jobs.get(job.name).status != "Running":
        time.sleep(0.05)
    client.jobs.begin_cancel(job.name).result()
    assert ended(client, job).status == "Canceled"
    client.jobs.archive(job.name)
    assert job.name not in [each.name for each in client.jobs.list()]
    client.jobs.restore(job.name)
    assert job.name in [each.name for each in client.jobs.list()]


def standalone(client, folder):
    job = ended(client, client.jobs.create_or_update(load_job(folder / "job.yml")))
    assert job.status == "Completed"
    client.jobs.download(job.name, download_path=folder / "standalone")
    assert next((folder / "standalone").rglob("header.txt")).read_text() == "acid,sugar,ash,quality\n"
    assert "columns: 3" in next((folder / "standalone").rglob("std_log.txt")).read_text()
    two = command(command="x", environment="AzureML-sklearn-1.5@latest", instance_count=2, compute="wine-nodes")
    assert "2 instances" in raised(HttpResponseError, lambda: client.jobs.create_or_update(two))


def schedules(client, training):
    pattern = RecurrencePattern(hours=6, minutes=30, month_days=[1])
    monthly = RecurrenceTrigger(
        frequency="month",
        interval=1,
        schedule=pattern,
        start_time="2026-01-01T00:00:00",
        time_zone="Romance Standard Time",
    )
    job = training(table=Input(type="uri_file", path="azureml:wine:1"))
    made = client.schedules.begin_create_or_update(
        JobSchedule(name="wine-monthly", trigger=monthly, create_job=job)
    ).result()
    assert made.is_enabled
    weekly = JobSchedule(name="wine-weekly", trigger=CronTrigger(expression="0 5 * * 1"), create_job=job)
    client.schedules.begin_create_or_update(weekly).result()
    client.schedules.begin_disable("wine-weekly").result()
    assert [each.name for each in client.schedules.list()] == ["wine-monthly"]
    fired = client.schedules.trigger("wine-monthly")
    assert ended(client, client.jobs.get(fired.job_name)).status == "Completed"
    for name in ("wine-monthly", "wine-weekly"):
        client.schedules.begin_disable(name).result()
        client.schedules.begin_delete(name).result()
    assert list(client.schedules.list()) == []


def serve(client, folder, job, table, model):
    registered = client.models.create_or_update(
        Model(name="wine", path=f"azureml://jobs/{job.name}/outputs/model", type="custom_model")
    )
    assert registered.job_name == job.name
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=ENDPOINT, auth_mode="key")).result()
    client.online_deployments.begin_create_or_update(
        ManagedOnlineDeployment(
            name="blue",
            endpoint_name=ENDPOINT,
            model=registered,
            environment=Environment(
                image="mcr.microsoft.com/azureml/minimal-ubuntu22.04-py39-cpu-inference",
                conda_file={"dependencies": ["python", {"pip": ["scikit-learn", "pandas", "joblib"]}]},
            ),
            code_configuration=CodeConfiguration(code=str(folder / "score"), scoring_script="score.py"),
            instance_type="Standard_DS3_v2",
            instance_count=1,
        )
    ).result()
    rows = table.drop(columns="quality")
    request = folder / "request.json"
    request.write_text(json.dumps(rows.to_dict(orient="records")))
    answer = client.online_endpoints.invoke(ENDPOINT, request_file=str(request), deployment_name="blue")
    predicted, expected = json.loads(answer), model.predict(rows).tolist()
    assert predicted == expected
    client.online_endpoints.begin_delete(ENDPOINT).result()
    return len(predicted)


credential = DefaultAzureCredential()


def main():
    client = workspace()
    nodes = AmlCompute(name="wine-nodes", size="Standard_DS3_v2", max_instances=4, tier="low_priority")
    client.compute.begin_create_or_update(nodes).result()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = files(folder)
        model = by_hand(folder)
        client.data.create_or_update(Data(name="wine", version="1", path=str(folder / "wine.csv"), type="uri_file"))
        training = pipeline(components(client, folder))
        job = good(client, training, folder, table, model)
        refused(client, training)
        canceled(client)
        standalone(client, folder)
        schedules(client, training)
        equal = serve(client, folder, job, table, model)
    print(f"{equal} predictions equal")


if __name__ == "__main__":
    main()
