"""Reads what the lab ``intermediate/gcp`` leaves in the project: runs with their tasks, the registry, logs.

Over REST, as :mod:`labkit.labs.beginner.gcp_cloud` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from labkit.labs.beginner.gcp_cloud import TIMEOUT, Cloud, Refused, Resource

PIPELINE = SCHEDULE = "churn-monthly"
MODEL = "churn"
ENDPOINT = "churn-champion"
SPOT_JOB = "churn-on-spot"


class Project(Cloud):
    """The learner's project, with the names of this lab."""

    @property
    def bucket(self) -> str:
        return f"{self.project}-churn-pipeline"

    @property
    def pipeline_account(self) -> str:
        """The e-mail address of the account that the pipeline acts as."""
        return f"churn-pipeline@{self.project}.iam.gserviceaccount.com"

    @property
    def months(self) -> str:
        """Where the monthly runs find their data."""
        return f"gs://{self.bucket}/months"

    def get(self, url: str) -> Resource | None:
        """A resource, None when there is none."""
        try:
            return self.call("GET", url)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def account_there(self) -> bool:
        name = f"projects/{self.project}/serviceAccounts/{self.pipeline_account}"
        return self.get(f"https://iam.googleapis.com/v1/{name}") is not None

    def project_policy(self) -> Resource:
        url = f"https://cloudresourcemanager.googleapis.com/v3/projects/{self.project}:getIamPolicy"
        return self.call("POST", url, json={"options": {"requestedPolicyVersion": 3}})

    def runs(self) -> list[Run]:
        """The pipeline's runs, the latest first."""
        return [Run(each) for each in self.named("pipelineJobs", PIPELINE)]

    def version(self, name: str) -> Resource | None:
        """The version ``projects/../models/ID@VERSION``, None when it is gone."""
        return self.get(f"https://{self.region}-aiplatform.googleapis.com/v1/{name}")

    def content(self, bucket: str, key: str) -> bytes:
        """An object's bytes."""
        url = f"https://storage.googleapis.com/storage/v1/b/{bucket}/o/{quote(key, safe='')}?alt=media"
        answer = self._session.get(url, timeout=TIMEOUT)
        if not answer.ok:
            raise Refused(answer)
        return answer.content

    def log_lines(self, job_id: str) -> list[str]:
        """What a custom job wrote, the oldest first; those of all custom jobs for ``""``."""
        wanted = 'resource.type="ml_job"' + (f' AND resource.labels.job_id="{job_id}"' if job_id else "")
        answer = self.call(
            "POST",
            "https://logging.googleapis.com/v2/entries:list",
            json={"resourceNames": [f"projects/{self.project}"], "filter": wanted, "pageSize": 1000},
        )
        entries = answer.get("entries", [])
        said = [each.get("jsonPayload", {}).get("message") or each.get("textPayload") for each in entries]
        return [str(line) for line in said if line]

    def ended(self, run: Run) -> str:
        """How a run ended, as a phrase that follows "that"; for one that failed with the failed task's last words."""
        failed = run.failed_task
        said = self.log_lines(job_of(failed)) if failed else []
        if failed and said:
            return f"is {run.state} (the task {failed['taskName']} said: {said[-1].rstrip('.')})"
        error = run.described.get("error", {}).get("message", "").rstrip(".")
        return f"is {run.state}{f' ({error})' if error else ''}"


@dataclass(frozen=True)
class Run:
    """One run of a pipeline; ``described`` is what Vertex AI says of it."""

    described: Resource

    @property
    def id(self) -> str:
        return str(self.described["name"]).rpartition("/")[2]

    @property
    def state(self) -> str:
        """``SUCCEEDED``, ``FAILED``, ``RUNNING`` ..."""
        return str(self.described.get("state", "")).removeprefix("PIPELINE_STATE_")

    @property
    def account(self) -> str:
        return str(self.described.get("serviceAccount", ""))

    @property
    def tasks(self) -> dict[str, Resource]:
        """Its tasks by name."""
        return {each["taskName"]: each for each in self.described.get("jobDetail", {}).get("taskDetails", [])}

    def parameter(self, name: str) -> Any:
        """The value with which it ran: the given one or the pipeline's default."""
        given = self.described.get("runtimeConfig", {}).get("parameterValues", {})
        defined = self.described.get("pipelineSpec", {}).get("root", {}).get("inputDefinitions", {})
        return given.get(name, defined.get("parameters", {}).get(name, {}).get("defaultValue"))

    def task_state(self, name: str) -> str:
        return str(self.tasks.get(name, {}).get("state", ""))

    def output(self, task: str) -> Any:
        """What a task returned, None when it returned nothing."""
        return self.tasks.get(task, {}).get("execution", {}).get("metadata", {}).get("output:Output")

    @property
    def failed_task(self) -> Resource | None:
        """The task that failed in a job of its own."""
        return next((each for each in self.tasks.values() if each.get("state") == "FAILED" and job_of(each)), None)


def job_of(task: Resource) -> str:
    """The id of the custom job that ran a task, "" for a task without one."""
    detail = task.get("executorDetail", {}).get("containerDetail", {})
    return str(detail.get("mainJob", "")).rpartition("/")[2]
