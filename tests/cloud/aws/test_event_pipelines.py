"""SageMaker's pipelines as targets of rules and schedules, as sources of events, and with functions as steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

import pytest

from labkit.cloud.engine import Engine
from tests.cloud.aws.event_world import EventWorld, allow
from tests.days import to_the_middle_of_a_month

STATUS = "SageMaker Model Building Pipeline Execution Status Change"


@pytest.fixture(autouse=True)
def _ordinary_day(engine: Engine) -> None:
    to_the_middle_of_a_month(engine.clock)


@pytest.fixture
def sagemaker(client: Callable[[str], Any]) -> Any:
    return client("sagemaker")


@pytest.fixture
def pipeline(events: EventWorld, sagemaker: Any) -> Any:
    """Makes a pipeline of the test's own; without steps given, it ends at once, with what its parameter says."""

    def make(*steps: dict[str, Any], rights: Any = ()) -> str:
        fail = {"Name": "End", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Parameters.Why"}}}
        document = {
            "Version": "2020-12-01",
            "Parameters": [{"Name": "Why", "Type": "String", "DefaultValue": "standard"}],
            "Steps": list(steps) or [fail],
        }
        role = events.role("sagemaker.amazonaws.com", *(rights or [allow("sagemaker:*")]), name="pipeline")
        name = f"{events.name}-pipeline"
        made = sagemaker.create_pipeline(
            PipelineName=name, PipelineDefinition=json.dumps(document), RoleArn=role, ClientRequestToken="t" * 32
        )
        return str(made["PipelineArn"])

    return make


def executions(sagemaker: Any, pipeline: str) -> list[dict[str, Any]]:
    """A pipeline's executions, the first first, each as described."""
    name = pipeline.rpartition("/")[2]
    listed = sagemaker.list_pipeline_executions(PipelineName=name, SortOrder="Ascending", MaxResults=100)
    return [
        sagemaker.describe_pipeline_execution(PipelineExecutionArn=each["PipelineExecutionArn"])
        for each in listed["PipelineExecutionSummaries"]
    ]


def why(sagemaker: Any, execution: dict[str, Any]) -> str:
    """The value of an execution's only parameter."""
    given = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution["PipelineExecutionArn"])
    return str(given["PipelineParameters"][0]["Value"])


def starter(events: EventWorld, service: str, pipeline: str) -> str:
    """A role with which a service may start the pipeline."""
    return events.role(service, allow("sagemaker:StartPipelineExecution", resource=pipeline), name="starter")


def test_twelve_monthly_executions(events: EventWorld, sagemaker: Any, pipeline: Any, engine: Engine) -> None:
    made = pipeline()
    target = {
        "Arn": made,
        "RoleArn": starter(events, "scheduler.amazonaws.com", made),
        "SageMakerPipelineParameters": {"PipelineParameterList": [{"Name": "Why", "Value": "monthly"}]},
    }
    scheduler = events.client("scheduler")
    scheduler.create_schedule(
        Name=events.name,
        ScheduleExpression="cron(0 6 1 * ? *)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
    )
    engine.clock.advance(timedelta(days=365))
    ran = executions(sagemaker, made)
    months = [each["CreationTime"].astimezone(UTC) for each in ran]
    assert len(months) == 12
    assert all((when.day, when.hour) == (1, 6) for when in months)
    assert months == sorted(months)
    assert {each["PipelineExecutionStatus"] for each in ran} == {"Failed"}
    assert {why(sagemaker, each) for each in ran} == {"monthly"}
    scheduler.delete_schedule(Name=events.name)
    engine.clock.advance(timedelta(days=62))
    assert len(executions(sagemaker, made)) == 12


def test_a_rule_starts_a_pipeline_with_parts_of_its_event(
    events: EventWorld, sagemaker: Any, pipeline: Any, engine: Engine
) -> None:
    made, bridge = pipeline(), events.client("events")
    bridge.put_rule(Name=events.name, EventPattern=json.dumps({"source": [events.name]}))
    parameters = {"PipelineParameterList": [{"Name": "Why", "Value": "$.detail.why"}]}
    role = starter(events, "events.amazonaws.com", made)
    target = {"Id": "p", "Arn": made, "RoleArn": role, "SageMakerPipelineParameters": parameters}
    bridge.put_targets(Rule=events.name, Targets=[target])
    entry = {"Source": events.name, "DetailType": "drift", "Detail": json.dumps({"why": "drifted"})}
    bridge.put_events(Entries=[entry])
    (ran,) = executions(sagemaker, made)
    assert why(sagemaker, ran) == "drifted"
    who = f"assumed-role/{events.name}-starter/{events.name}"
    (started,) = [each for each in engine.audit.events() if each.caller and each.caller.principal.endswith(who)]
    assert (started.operation, started.client) == ("StartPipelineExecution", "events.amazonaws.com")
    assert ran["PipelineExecutionArn"].startswith(f"{made}/execution/")


def test_a_role_that_may_not_start_it(events: EventWorld, sagemaker: Any, pipeline: Any, engine: Engine) -> None:
    made, dead = pipeline(), events.queue("dead")
    role = events.role("scheduler.amazonaws.com", allow("sqs:SendMessage"), name="starter")
    letters = {"Arn": events.queue_arn(dead)}
    soon = engine.clock.now() + timedelta(hours=1)
    events.client("scheduler").create_schedule(
        Name=events.name,
        ScheduleExpression=f"at({soon:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": made, "RoleArn": role, "DeadLetterConfig": letters},
    )
    engine.clock.advance(timedelta(hours=2))
    assert executions(sagemaker, made) == []
    (letter,) = events.received(dead)
    message = letter["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]
    assert f"is not authorized to perform: sagemaker:StartPipelineExecution on resource: {made}" in message


def test_any_operation_starts_it_too(events: EventWorld, sagemaker: Any, pipeline: Any, engine: Engine) -> None:
    made = pipeline()
    soon = engine.clock.now() + timedelta(hours=1)
    events.client("scheduler").create_schedule(
        Name=events.name,
        ScheduleExpression=f"at({soon:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:startPipelineExecution",
            "RoleArn": starter(events, "scheduler.amazonaws.com", made),
            "Input": json.dumps({"PipelineName": made.rpartition("/")[2]}),
        },
    )
    engine.clock.advance(timedelta(hours=2))
    assert [each["PipelineExecutionStatus"] for each in executions(sagemaker, made)] == ["Failed"]


def test_an_executions_end_is_told(events: EventWorld, sagemaker: Any, pipeline: Any) -> None:
    made, bridge, url = pipeline(), events.client("events"), events.queue()
    events.let_send(url, "events.amazonaws.com")
    detail = {"pipelineArn": [made], "currentPipelineExecutionStatus": ["Failed"]}
    pattern = {"source": ["aws.sagemaker"], "detail-type": [STATUS], "detail": detail}
    bridge.put_rule(Name=events.name, EventPattern=json.dumps(pattern))
    bridge.put_targets(Rule=events.name, Targets=[{"Id": "q", "Arn": events.queue_arn(url)}])
    sagemaker.start_pipeline_execution(PipelineName=made.rpartition("/")[2], ClientRequestToken="s" * 32)
    (message,) = events.received(url, wait=20)
    told = json.loads(message["Body"])
    assert told["detail"]["currentPipelineExecutionStatus"] == "Failed"
    assert told["detail"]["previousPipelineExecutionStatus"] == "Executing"
    assert made in told["resources"]


def test_a_step_is_a_function(events: EventWorld, sagemaker: Any, pipeline: Any) -> None:
    function = events.function("def handler(event, context): return {'twice': 2 * event['n']}")
    step = {
        "Name": "Double",
        "Type": "Lambda",
        "FunctionArn": function,
        "Arguments": {"n": 21},
        "OutputParameters": [{"OutputName": "twice", "OutputType": "Integer"}],
    }
    made = pipeline(step, rights=[allow("lambda:InvokeFunction", resource=function)])
    sagemaker.start_pipeline_execution(PipelineName=made.rpartition("/")[2], ClientRequestToken="s" * 32)
    ended = events.eventually(
        lambda: [each for each in executions(sagemaker, made) if each["PipelineExecutionStatus"] != "Executing"]
    )
    assert ended[0]["PipelineExecutionStatus"] == "Succeeded"
    (ran,) = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=ended[0]["PipelineExecutionArn"])[
        "PipelineExecutionSteps"
    ]
    assert ran["Metadata"]["Lambda"]["OutputParameters"] == [{"Name": "twice", "Value": "42"}]
