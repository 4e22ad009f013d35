"""The lab ``intermediate/azure`` in as few calls as its checks need: components, runs as they end, versions, roles.

What a run leaves is put where the cloud keeps it, so that no test waits for a job.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from labkit.cloud.azure import AzureCloud, jobs_files, jobs_outputs, roles
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.runs import Made, Run, Runs
from labkit.cloud.engine import Engine
from labkit.cloud.engine.access import Caller
from tests.cloud.azure import in_process, principals
from tests.cloud.azure.in_process import Rest
from tests.cloud.azure.jobs_world import Jobs, step
from tests.cloud.azure.online_world import World as Online

STEPS = ("prepare", "train", "evaluate", "gate", "register")
GATE = """
import argparse, json, shutil
parser = argparse.ArgumentParser()
for name in ("--report", "--threshold", "--passed"):
    parser.add_argument(name)
options = parser.parse_args()
auc = json.load(open(options.report + "/metrics.json"))["auc"]
if not auc > float(options.threshold):
    raise SystemExit(f"The AUC is {auc} and has to be above {options.threshold}.")
shutil.copy(options.report + "/metrics.json", options.passed)
"""
COMMAND = "python gate.py --report ${{inputs.report}} --threshold ${{inputs.threshold}} --passed ${{outputs.passed}}"
FOLDER, LITERAL = {"type": "uri_folder"}, {"type": "string"}
MONTHS = "azureml://datastores/churn_pipeline/paths/months/"
SCORE = """
import json, os
from pathlib import Path
import joblib, pandas
def init():
    global model
    (file,) = Path(os.environ["AZUREML_MODEL_DIR"]).rglob("churn.joblib")
    model = joblib.load(file)
def run(body):
    customers = pandas.DataFrame(json.loads(body)["instances"])
    return {"predictions": model.predict_proba(customers)[:, 1].tolist()}
"""
MONTHLY = {
    "triggerType": "Recurrence",
    "frequency": "month",
    "interval": 1,
    "schedule": {"hours": [6], "minutes": [0], "monthDays": [1]},
    "timeZone": "W. Europe Standard Time",
}
REGISTRAR = [f"Microsoft.MachineLearningServices/workspaces/models/{verb}" for verb in ("versions/read", "read")]
REGISTRAR.append("Microsoft.MachineLearningServices/workspaces/models/versions/write")


@contextmanager
def opened(folder: Path) -> Iterator[World]:
    """The lab in clouds of its own, to which this process' environment leads."""
    engine = Engine(folder / "engine")
    (folder / "lab").mkdir()
    cloud = AzureCloud(engine, in_process.Lab(folder / "lab"))
    try:
        with in_process.reached(cloud):
            yield World(cloud)
    finally:
        cloud.close()
        engine.close()


class World:
    """One workspace with what learners make in it."""

    def __init__(self, cloud: AzureCloud) -> None:
        self.cloud = cloud
        self.rest = Rest(cloud)
        self.jobs = Jobs(self.rest, "lab")
        self.here = self.rest.workspace

    def put(self, path: str, properties: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Makes a resource of the workspace, or changes it."""
        path = path if path.startswith("/") else f"{self.here}/{path}"
        status, answer, _ = self.rest("PUT", path, {"properties": dict(properties)}, **more)
        assert status in (200, 201, 202), answer
        return dict(answer)

    # -- the pipeline ----------------------------------------------------------------------------------------------

    @cached_property
    def components(self) -> dict[str, str]:
        """The ids of the five components; each runs a script."""
        return {
            "prepare": self.component("python prepare.py", {"data": FOLDER}, {"train_table": FOLDER}),
            "train": self.component(
                "python train.py", {"table": FOLDER, "kind": LITERAL}, {"model": {"type": "custom_model"}}
            ),
            "evaluate": self.component("python evaluate.py", {"model": {"type": "custom_model"}}, {"report": FOLDER}),
            "gate": self.component(
                COMMAND, {"report": FOLDER, "threshold": {"type": "number"}}, {"passed": FOLDER}, gate=GATE
            ),
            "register": self.component(
                "python register.py", {"model": {"type": "custom_model"}, "passed": FOLDER, "name": LITERAL}, {}
            ),
        }

    def component(self, command: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], gate: str = "") -> str:
        scripts = {"gate": gate} if gate else {}
        code = self.jobs.code(**scripts) if scripts else ""
        return self.jobs.component(command, code, inputs=dict(inputs), outputs=dict(outputs))

    def nodes(self, **changed: Any) -> dict[str, Any]:
        """The pipeline's steps as they should be, but for those that are ``changed``; None leaves one out."""
        made = self.components
        right = {
            "prepare": step(made["prepare"], data="${{parent.inputs.data}}"),
            "train": step(
                made["train"], table="${{parent.jobs.prepare.outputs.train_table}}", kind="${{parent.inputs.kind}}"
            ),
            "evaluate": step(made["evaluate"], model="${{parent.jobs.train.outputs.model}}"),
            "gate": step(
                made["gate"],
                report="${{parent.jobs.evaluate.outputs.report}}",
                threshold="${{parent.inputs.auc_threshold}}",
            ),
            "register": step(
                made["register"],
                model="${{parent.jobs.train.outputs.model}}",
                passed="${{parent.jobs.gate.outputs.passed}}",
                name="churn-retrained",
            ),
        }
        return {name: node for name, node in (right | changed).items() if node is not None}

    def register_pipeline(self, number: int = 1, threshold: Any = 0.85, **changed: Any) -> None:
        """The pipeline as a version of the component ``churn_monthly``; ``threshold`` None: no default."""
        inputs: dict[str, Any] = {
            "data": FOLDER,
            "kind": {"type": "string", "default": "forest"},
            "auc_threshold": {"type": "number"} | ({} if threshold is None else {"default": str(threshold)}),
        }
        spec = {"type": "pipeline", "name": "churn_monthly", "inputs": inputs, "jobs": self.nodes(**changed)}
        self.put(f"components/churn_monthly/versions/{number}", {"componentSpec": spec})

    # -- runs ------------------------------------------------------------------------------------------------------

    def run(
        self,
        kind: str = "forest",
        *,
        name: str = "",
        status: str = "Completed",
        failed: str = "",
        said: str = "",
        auc: float = 0.92,
        experiment: str = "churn-monthly",
        schedule: str = "",
        component: str = "",
        nodes: Any = None,
        model: bytes = b"a model",
        **inputs: str,
    ) -> Run:
        """A run as it is when it has got as far as ``status``: ``failed`` in a step, with ``said`` in its log.

        One of a pipeline ``component``'s id names only the ``inputs`` that are given.
        """
        known = self.cloud.resources.store(Runs, self.here)
        clock, learner = self.cloud.engine.clock, self.cloud.identities.learner
        caller = Caller("azure", learner.object_id, self.cloud.identities.tenant, "")
        values = {"kind": kind, "auc_threshold": "0.85", "trees": "100"} | inputs
        made = Run(name or f"run-{uuid.uuid4().hex[:8]}", experiment, clock.now(), caller, kind="azureml.PipelineRun")
        made.properties = {"azureml.ScheduleName": schedule} if schedule else {}
        made.status = "Failed" if failed else status
        known.add(made)
        given = {key: {"jobInputType": "literal", "value": value} for key, value in values.items()}
        asked = {"jobType": "Pipeline", "experimentName": experiment, "inputs": given}
        if component:
            asked |= {"componentId": component, "inputs": {key: given[key] for key in inputs}}
        else:
            asked["jobs"] = nodes or self.nodes()
        job = Resource(f"{self.here}/jobs/{made.name}", asked, state=made)
        job.touch(made.created, caller)
        self.cloud.resources.put(job)
        for each in STEPS if made.status != "NotStarted" else ():
            child = Run(str(uuid.uuid4()), experiment, clock.now(), caller, "azureml.StepRun", made.name, made.name)
            child.node = child.display_name = each
            child.properties = {"azureml.moduleid": self.components[each]}
            child.status = "Failed" if each == failed else "Completed"
            known.add(child)
            if each == failed:
                folder = jobs_files.artifacts(self.cloud, self.here, child.name)
                jobs_files.put(jobs_files.below(folder, "user_logs/std_log.txt"), [f"It begins.\n{said}\n".encode()])
                break
            if each == "train":
                child.outputs["model"] = self.output(child, "model", "churn.joblib", model)
            if each == "evaluate":
                child.outputs["report"] = self.output(
                    child, "report", "metrics.json", json.dumps({"auc": auc}).encode()
                )
        return made

    def output(self, run: Run, name: str, file: str, content: bytes) -> Made:
        """An output of a step, with one file in it."""
        path = f"azureml/{run.name}/{name}"
        self.jobs.blob(f"{path}/{file}", content)
        workspace = self.cloud.resources.require(self.here)
        uri = jobs_outputs.in_datastore(workspace, "workspaceblobstore", f"{path}/")
        return Made("uri_folder", uri, f"azureml://locations/eastus/data/{run.name}-{name}/versions/1")

    def metrics_of(self, run: Run) -> str:
        """Where a run's report is, in the default datastore."""
        return f"azureml/{self.jobs.steps(run)['evaluate'].name}/report/metrics.json"

    def version(self, run: Run, number: int = 1, *, uri: str = "", **changed: Any) -> None:
        """A version of the model as the run's last step makes it; ``changed`` are other properties."""
        tags = {"auc": "0.9200", "run": run.name} | changed.pop("tags", {})
        made = self.jobs.steps(run)
        properties = {
            "modelUri": uri or made["train"].outputs["model"].uri.rstrip("/"),
            "modelType": "custom_model",
            "stage": "Staging",
            "tags": {name: value for name, value in tags.items() if value is not None},
            **changed,
        }
        self.put(f"models/churn-retrained/versions/{number}", properties)

    # -- identity and roles ----------------------------------------------------------------------------------------

    def identity(self) -> str:
        """The pipeline's identity; its object id."""
        path = f"{self.rest.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/churn-pipeline"
        status, answer, _ = self.rest("PUT", path, {"location": "eastus"}, version="2023-01-31")
        assert status in (200, 201), answer
        return str(answer["properties"]["principalId"])

    @cached_property
    def container(self) -> str:
        """The id of the container with the customers, which this makes."""
        _, workspace, _ = self.rest("GET", self.here)
        path = f"{workspace['properties']['storageAccount']}/blobServices/default/containers/churn-pipeline"
        self.put(path, {}, version="2023-01-01")
        return path

    def datastore(self) -> None:
        """The datastore of that container, without credentials."""
        account = self.container.split("/storageAccounts/")[1].split("/")[0]
        named = {"datastoreType": "AzureBlob", "accountName": account, "containerName": "churn-pipeline"}
        self.put("datastores/churn_pipeline", named)

    def define(self, *actions: str) -> str:
        """A custom role; its GUID."""
        guid = str(uuid.uuid5(uuid.NAMESPACE_OID, "churn-pipeline-registrar"))
        properties = {
            "roleName": "churn-pipeline-registrar",
            "type": "CustomRole",
            "assignableScopes": [self.rest.group],
            "permissions": [{"actions": list(actions or REGISTRAR)}],
        }
        path = f"{self.rest.group}/providers/Microsoft.Authorization/roleDefinitions/{guid}"
        self.put(path, properties, version="2022-04-01")
        return guid

    def give(self, role: str, scope: str) -> None:
        """Gives the identity a role: a GUID, or a built-in one's name."""
        guid = role if "-" in role and " " not in role else roles.named(role).guid
        status, answer = principals.assign(self.rest, self.identity(), guid, scope)
        assert status in (200, 201), answer

    def reads(self, role: str = "Storage Blob Data Reader", scope: str = "") -> None:
        self.give(role, scope or self.container)

    # -- schedule --------------------------------------------------------------------------------------------------

    def schedule(
        self, *, settings: Any = None, inputs: Any = None, enabled: bool = True, component: str = "", **trigger: Any
    ) -> None:
        """The schedule, right but for what is given; ``None`` in the trigger or the settings leaves a part out."""
        self.cluster()
        self.datastore()
        given = {"data": MONTHS, "kind": "forest", "auc_threshold": "0.85"} | (inputs or {})
        chosen: dict[str, Any] = {"default_compute": f"{self.here}/computes/churn-cluster", "force_rerun": True}
        definition = {
            "jobType": "Pipeline",
            "experimentName": "churn-monthly",
            **({"componentId": component} if component else {"jobs": self.nodes()}),
            "settings": {key: value for key, value in (chosen | (settings or {})).items() if value is not None},
            "inputs": {
                name: {"jobInputType": "uri_folder", "uri": value}
                if name == "data"
                else {"jobInputType": "literal", "value": value}
                for name, value in given.items()
            },
        }
        asked = {name: value for name, value in (MONTHLY | trigger).items() if value is not None}
        action = {"actionType": "CreateJob", "jobDefinition": definition}
        self.put("schedules/churn-monthly", {"trigger": asked, "action": action, "isEnabled": enabled})

    def cluster(self, name: str = "churn-cluster") -> None:
        inner = {"vmSize": "Standard_F2s_v2"}
        self.put(f"computes/{name}", {"computeType": "AmlCompute", "properties": inner})

    # -- endpoint --------------------------------------------------------------------------------------------------

    @cached_property
    def online(self) -> Online:
        """The lab's endpoint."""
        return Online(self.rest, f"churn-champion-{self.cloud.identities.subscription[:8]}")

    def deploy(self, number: int = 1, model: str = "churn-retrained") -> None:
        """Makes the endpoint if need be, and deploys a version of the model to all its traffic."""
        self.online.make()
        packages = [f"{name}=={version(name)}" for name in ("joblib", "pandas", "scikit-learn")]
        conda = {"dependencies": ["python=3.11", "pip", {"pip": [*packages, "azureml-inference-server-http"]}]}
        self.online.deploy(
            "blue",
            model=f"{self.here}/models/{model}/versions/{number}",
            environmentId=self.online.environment(json.dumps(conda)),
            codeConfiguration={"codeId": self.online.code(SCORE), "scoringScript": "score.py"},
        )
        self.online.make(traffic={"blue": 100})
