"""Bodies of the wrong form, of what runs: components, jobs, schedules, endpoints and deployments."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cloud.azure.in_process import Rest
from tests.cloud.azure.jobs_world import Jobs, literal
from tests.cloud.azure.test_bodies import JUNK, changed, places

ENVIRONMENT = "azureml://registries/azureml/environments/sklearn-1.5/labels/latest"
FILES = "azureml://datastores/workspaceblobstore/paths/a"
TEXTS = {"a": "b"}
SPEC = {
    "type": "command",
    "command": "echo ${{inputs.a}} $[[${{inputs.b}}]] ${{outputs.o}}",
    "environment": ENVIRONMENT,
    "inputs": {
        "a": {"type": "integer", "min": 1, "max": 9, "default": 3, "optional": False},
        "b": {"type": "string", "enum": ["x"], "optional": True},
        "d": {"type": "uri_folder", "mode": "ro_mount", "optional": True},
    },
    "outputs": {"o": {"type": "uri_folder"}},
    "resources": {"instance_count": 1},
    "limits": {"timeout": 10},
    "environment_variables": TEXTS,
}
COMMAND = {
    "jobType": "Command",
    "displayName": "d",
    "experimentName": "e",
    "command": "echo ${{inputs.a}}",
    "environmentId": ENVIRONMENT,
    "computeId": "serverless",
    "environmentVariables": TEXTS,
    "identity": {"identityType": "UserIdentity"},
    "limits": {"jobLimitsType": "Command", "timeout": "PT1H"},
    "resources": {"instanceCount": 1, "instanceType": "Standard_DS3_v2", "properties": {}, "dockerArgs": "x"},
    "queueSettings": {"jobTier": "Standard"},
    "inputs": {
        "a": {"jobInputType": "literal", "value": "1"},
        "d": {"jobInputType": "uri_folder", "uri": FILES, "mode": "ReadOnlyMount"},
    },
    "outputs": {"o": {"jobOutputType": "uri_folder", "mode": "ReadWriteMount", "uri": FILES, "assetName": "x"}},
    "services": {},
    "tags": TEXTS,
    "properties": TEXTS,
}
PIPELINE = {
    "jobType": "Pipeline",
    "inputs": {"a": {"jobInputType": "literal", "value": "1"}},
    "outputs": {"o": {"jobOutputType": "uri_folder"}},
    "settings": {"default_compute": "serverless", "default_datastore": "workspaceblobstore", "force_rerun": False},
    "identity": {"type": "user_identity"},
    "jobs": {
        "s": {
            "type": "command",
            "componentId": "azureml:fuzzed:1",
            "display_name": "x",
            "computeId": "serverless",
            "inputs": {"a": literal("${{parent.inputs.a}}")},
            "outputs": {"o": {"value": "${{parent.outputs.o}}", "type": "literal", "mode": "rw_mount"}},
            "resources": {"instance_count": 1, "instance_type": "x"},
            "limits": {"timeout": 3},
            "environment_variables": TEXTS,
            "tags": TEXTS,
            "identity": {"type": "user_identity"},
        },
        "t": {
            "type": "command",
            "componentId": "azureml:fuzzed:1",
            "inputs": {"d": literal("${{parent.jobs.s.outputs.o}}")},
        },
    },
}
WEEKLY = {
    "triggerType": "Recurrence",
    "frequency": "Week",
    "interval": 1,
    "schedule": {"hours": [1], "minutes": [0], "weekDays": ["Monday"], "monthDays": None},
    "startTime": "2030-01-01T00:00:00",
    "endTime": "2031-01-01T00:00:00",
    "timeZone": "UTC",
}
DAILY = {"triggerType": "Cron", "expression": "0 0 * * *", "timeZone": "UTC"}
PROBE = {"initialDelay": "PT1S", "period": "PT1S", "timeout": "PT1S", "failureThreshold": 1, "successThreshold": 1}
#: It never starts: its environment does not exist.
DEPLOYMENT = {
    "endpointComputeType": "Managed",
    "model": "azureml:fuzzed:1",
    "codeConfiguration": {"codeId": "azureml:fuzzed:1", "scoringScript": "s.py"},
    "environmentId": "azureml:fuzzed:1",
    "environmentVariables": TEXTS,
    "instanceType": "Standard_DS3_v2",
    "scaleSettings": {"scaleType": "Default"},
    "requestSettings": {"requestTimeout": "PT5S", "maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT1S"},
    "livenessProbe": PROBE,
    "properties": TEXTS,
    "appInsightsEnabled": False,
    "egressPublicNetworkAccess": "Enabled",
}


def scheduled(job: dict[str, Any], trigger: dict[str, Any]) -> dict[str, Any]:
    """A schedule, which reads its job as a submission does, and does not run it."""
    action = {"actionType": "CreateJob", "jobDefinition": job}
    return {"properties": {"isEnabled": False, "trigger": trigger, "action": action, "tags": TEXTS}}


ENDPOINT = {"authMode": "Key", "description": "d", "publicNetworkAccess": "Enabled", "properties": TEXTS, "traffic": {}}
CASES: dict[str, dict[str, Any]] = {
    "components/fuzzed-itself/versions/1": {"properties": {"componentSpec": SPEC, "tags": TEXTS}},
    "schedules/fuzzed-command": scheduled(COMMAND, DAILY),
    "schedules/fuzzed-pipeline": scheduled(PIPELINE, WEEKLY),
    "onlineEndpoints/fuzzed-ep": {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": ENDPOINT},
    "onlineEndpoints/fuzzed-over/deployments/blue": {
        "location": "eastus",
        "sku": {"name": "Default", "capacity": 1},
        "properties": DEPLOYMENT,
    },
}


@pytest.mark.parametrize(("path", "body"), CASES.items(), ids=CASES)
def test_every_element_of_the_wrong_form(rest: Rest, path: str, body: dict[str, Any]) -> None:
    rest("PUT", f"{rest.workspace}/components/fuzzed/versions/1", {"properties": {"componentSpec": SPEC}})
    rest("PUT", f"{rest.workspace}/onlineEndpoints/fuzzed-over", CASES["onlineEndpoints/fuzzed-ep"])
    if not path.endswith("/deployments/blue"):
        status, answer, _ = rest("PUT", f"{rest.workspace}/{path}", body)
        assert status < 300, answer
    for at in places(body):
        for value in JUNK:
            status, answer, _ = rest("PUT", f"{rest.workspace}/{path}", changed(body, at, value))
            text = json.dumps(answer)
            assert status < 500 or (status == 501 and "could not serve" not in text), (at, value, text)
            assert status < 400 or answer["error"]["message"]
            if status < 300:
                assert rest("GET", f"{rest.workspace}/{path}")[0] == 200, (at, value)


@pytest.mark.parametrize("what", ["inputs", "outputs"])
@pytest.mark.parametrize("given", [1, "x", [1]])
def test_what_a_job_reads_and_writes_are_objects(rest: Rest, name: str, what: str, given: Any) -> None:
    status, code, message = Jobs(rest, name).refused(**COMMAND | {what: {"a": given}})
    assert (status, code) == (400, "InvalidRequestContent")
    assert "'a' has to be an object" in message
