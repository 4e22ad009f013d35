"""Callback steps: they wait for whoever reads the queue, and end as they are told."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.handlers import generate_idempotent_uuid

from labkit.cloud.aws import pipeline_callbacks
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.sagemaker_executions import find_execution
from tests.cloud.aws.event_world import EventWorld, allow
from tests.cloud.aws.in_process import error
from tests.cloud.aws.pipeline_world import Pipelines
from tests.waiting import eventually


def callback(name: str, url: Any, **more: Any) -> dict[str, Any]:
    outputs = [{"OutputName": "rows", "OutputType": "Integer"}, {"OutputName": "where", "OutputType": "String"}]
    return {"Name": name, "Type": "Callback", "SqsQueueUrl": url, "OutputParameters": outputs, **more}


def fail(name: str, message: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


@pytest.fixture
def queue(events: EventWorld) -> str:
    return events.queue()


def message(events: EventWorld, url: str) -> dict[str, Any]:
    (found,) = events.received(url, wait=20)
    return dict(json.loads(found["Body"]))


def test_an_answer_with_outputs(pipelines: Pipelines, events: EventWorld, queue: str) -> None:
    where = {"Get": "Steps.Ask.OutputParameters['where']"}
    test = {"Type": "GreaterThan", "LeftValue": {"Get": "Steps.Ask.OutputParameters['rows']"}, "RightValue": 10}
    many = {"Conditions": [test], "IfSteps": [fail("Many", where)], "ElseSteps": []}
    ask = callback("Ask", queue, Arguments={"month": {"Get": "Parameters.Month"}, "number": 5})
    pipeline = pipelines.pipeline(
        "asked",
        [ask, {"Name": "Enough", "Type": "Condition", "Arguments": many}],
        [{"Name": "Month", "Type": "String"}],
    )
    execution = pipelines.start(pipeline, {"Month": "2026-11"})
    asked = message(events, queue)
    token = asked.pop("token")
    assert asked == {
        "pipelineExecutionArn": execution,
        "arguments": {"month": "2026-11", "number": 5},
        "status": "Executing",
    }
    eventually(lambda: pipelines.statuses(execution) == {"Ask": "Executing"})
    assert pipelines.steps(execution)["Ask"]["Metadata"]["Callback"] == {"CallbackToken": token, "SqsQueueUrl": queue}
    send = pipelines.sm.send_pipeline_execution_step_success
    outputs = [{"Name": "rows", "Value": "11"}, {"Name": "where", "Value": "s3://there"}]
    assert error(send, CallbackToken=token, OutputParameters=[{"Name": "other", "Value": "1"}])[1] == (
        "ValidationException"
    )
    assert error(send, CallbackToken=token, OutputParameters=[{"Name": "rows", "Value": "many"}])[2] == (
        "Output parameter [rows] value is not of type Integer."
    )
    told = send(CallbackToken=token, OutputParameters=outputs)
    assert told["PipelineExecutionArn"] == execution
    pipelines.settled(execution)
    assert pipelines.statuses(execution) == {"Ask": "Succeeded", "Enough": "Succeeded", "Many": "Failed"}
    steps = pipelines.steps(execution)
    assert steps["Many"]["FailureReason"] == "s3://there"
    assert steps["Ask"]["Metadata"]["Callback"]["OutputParameters"] == outputs
    assert error(send, CallbackToken=token)[1] == "ConflictException"


def test_an_answer_that_is_wrong_leaves_nothing(pipelines: Pipelines, events: EventWorld, queue: str) -> None:
    execution = pipelines.start(pipelines.pipeline("asked", [callback("Ask", queue)]))
    token, send = message(events, queue)["token"], pipelines.sm.send_pipeline_execution_step_success
    wrong = [{"Name": "rows", "Value": "11"}, {"Name": "other", "Value": "1"}]
    assert error(send, CallbackToken=token, OutputParameters=wrong)[1] == "ValidationException"
    found = pipeline_callbacks.find(Place(events.cloud, "us-east-1"), token)
    assert found is not None
    assert (found.values, found.answered.is_set()) == ({}, False)
    send(CallbackToken=token)
    pipelines.settled(execution)


def test_a_client_need_not_name_its_request(pipelines: Pipelines, events: EventWorld, queue: str) -> None:
    execution = pipelines.start(pipelines.pipeline("asked", [callback("Ask", queue)]))
    token = message(events, queue)["token"]
    client = events.user("sagemaker", allow("sagemaker:SendPipelineExecutionStepSuccess"), name="plain")
    client.meta.events.unregister("before-parameter-build", generate_idempotent_uuid)
    send = client.send_pipeline_execution_step_success
    assert send(CallbackToken=token)["PipelineExecutionArn"] == execution
    assert error(send, CallbackToken=token)[1] == "ConflictException"
    pipelines.settled(execution)


def test_a_failure(pipelines: Pipelines, events: EventWorld, queue: str) -> None:
    execution = pipelines.start(pipelines.pipeline("asked", [callback("Ask", queue)]))
    token = message(events, queue)["token"]
    pipelines.sm.send_pipeline_execution_step_failure(CallbackToken=token, FailureReason="no data this month")
    assert pipelines.settled(execution)["PipelineExecutionStatus"] == "Failed"
    assert pipelines.steps(execution)["Ask"]["FailureReason"] == "no data this month"


def test_stopping_asks_the_queue_and_waits_for_the_answer(pipelines: Pipelines, events: EventWorld, queue: str) -> None:
    after = fail("After", "it must not run") | {"DependsOn": ["Ask"]}
    execution = pipelines.start(pipelines.pipeline("asked", [callback("Ask", queue), after]))
    token = message(events, queue)["token"]
    pipelines.sm.stop_pipeline_execution(PipelineExecutionArn=execution)
    stopping = message(events, queue)
    assert (stopping["status"], stopping["token"]) == ("Stopping", token)
    described = pipelines.sm.describe_pipeline_execution(PipelineExecutionArn=execution)
    assert described["PipelineExecutionStatus"] == "Stopping"
    pipelines.sm.send_pipeline_execution_step_success(CallbackToken=token)
    assert pipelines.settled(execution)["PipelineExecutionStatus"] == "Stopped"
    assert set(pipelines.steps(execution)) == {"Ask"}


def test_nobody_answers_for_a_week(pipelines: Pipelines, events: EventWorld, queue: str) -> None:
    execution = pipelines.start(pipelines.pipeline("asked", [callback("Ask", queue)]))
    message(events, queue)
    pipelines.sm.describe_pipeline_execution(PipelineExecutionArn=execution)
    events.cloud.engine.clock.advance(timedelta(days=7, seconds=1))
    assert pipelines.settled(execution)["PipelineExecutionStatus"] == "Failed"
    assert "timed out" in pipelines.steps(execution)["Ask"]["FailureReason"]


def test_a_schedule_does_not_wait_for_an_answer(pipelines: Pipelines, events: EventWorld, queue: str) -> None:
    execution = pipelines.start(pipelines.pipeline("asked", [callback("Ask", queue)]))
    token = message(events, queue)["token"]

    work = find_execution(Place(events.cloud, "us-east-1"), execution)
    assert work.wait(20)
    assert not work.settled.is_set()
    pipelines.sm.send_pipeline_execution_step_success(CallbackToken=token)
    pipelines.settled(execution)


def test_a_role_that_may_not_send(pipelines: Pipelines, events: EventWorld, queue: str) -> None:
    role = events.role("sagemaker.amazonaws.com", allow("sagemaker:*"))
    pipeline = pipelines.pipeline("asked", [callback("Ask", queue)])
    pipelines.sm.update_pipeline(PipelineName=pipeline, RoleArn=role)
    execution = pipelines.execute(pipeline)
    reason = pipelines.steps(execution)["Ask"]["FailureReason"]
    assert "is not authorized to perform: sqs:SendMessage on resource" in reason


def test_tokens_and_permissions(pipelines: Pipelines, events: EventWorld, queue: str) -> None:
    unknown = error(pipelines.sm.send_pipeline_execution_step_success, CallbackToken="a123456789")
    assert unknown == (400, "ResourceNotFound", "Callback token 'a123456789' does not exist.")
    execution = pipelines.start(pipelines.pipeline("asked", [callback("Ask", queue)]))
    token = message(events, queue)["token"]
    other = events.user("sagemaker", allow("sagemaker:SendPipelineExecutionStepSuccess", resource=f"{execution}x"))
    assert error(other.send_pipeline_execution_step_success, CallbackToken=token)[1] == "AccessDeniedException"
    mine = events.user("sagemaker", allow("sagemaker:SendPipelineExecutionStep*", resource=execution), name="mine")
    mine.send_pipeline_execution_step_success(CallbackToken=token)
    pipelines.settled(execution)


def test_a_definition_without_a_queue(pipelines: Pipelines) -> None:
    given = {"Version": "2020-12-01", "Steps": [{"Name": "Ask", "Type": "Callback"}]}
    refused = error(
        pipelines.sm.create_pipeline,
        PipelineName=pipelines.name("none"),
        PipelineDefinition=json.dumps(given),
        RoleArn=pipelines.role,
    )
    assert refused[1:] == (
        "ValidationException",
        "Unable to parse pipeline definition. The Callback step 'Ask' has no SqsQueueUrl.",
    )
