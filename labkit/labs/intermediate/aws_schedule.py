"""Checks the monthly schedule of ``intermediate/aws``: when it fires, what it starts and as whom."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from botocore.exceptions import ClientError

from labkit.cloud.engine import expressions
from labkit.labs.beginner.aws_checks import client, code
from labkit.labs.intermediate import aws_cloud, retraining
from labkit.labs.intermediate.aws_cloud import PIPELINE, SCHEDULE, SCHEDULE_ROLE, months, role_arn, sagemaker_arn
from labkit.labs.intermediate.retraining import HOUR, ZONE
from labkit.labs.task import NotAttempted, Work, Wrong

CRON = f"cron(0 {HOUR} 1 * ? *)"


def schedule(_: Work) -> str:
    """The schedule starts the pipeline on the first of each month, as a role that may do so."""
    expected = f"the schedule {SCHEDULE}: {CRON} in {ZONE}, with the pipeline as its target"
    try:
        found = client("scheduler").get_schedule(Name=SCHEDULE)
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        raise NotAttempted(f"no schedule named {SCHEDULE}", expected) from None
    _check_time(found, expected)
    _check_target(found["Target"])
    runs = [run for run in aws_cloud.runs() if run.parameters.get("InputData") == months()]
    if not runs and found["State"] != "ENABLED":
        raise Wrong(f"a schedule that is {found['State']} and has never started anything", "one that is ENABLED")
    fired = f"; it has started {len(runs)} run{'s' if len(runs) != 1 else ''}" if runs else ""
    return f"{found['ScheduleExpression']} in {ZONE}, which starts {PIPELINE} as {SCHEDULE_ROLE}{fired}"


def _check_time(found: dict[str, Any], expected: str) -> None:
    zone = found.get("ScheduleExpressionTimezone", "UTC")
    if zone != ZONE:
        raise Wrong(f"a schedule in the time zone {zone}", ZONE, "ScheduleExpressionTimezone; the default is UTC")
    window = found["FlexibleTimeWindow"]["Mode"]
    if window != "OFF":
        raise Wrong("a flexible time window", "none", 'FlexibleTimeWindow={"Mode": "OFF"}')
    if end := found.get("EndDate"):
        raise Wrong(f"a schedule that ends on {end:%Y-%m-%d}", "one without an end", "leave EndDate out")
    expression, place = expressions.aws(found["ScheduleExpression"], anchor=retraining.SINCE), ZoneInfo(ZONE)
    retraining.check_monthly(
        lambda at: expression.next(at, place),
        found["ScheduleExpression"],
        expected,
        "the fields are minutes, hours, day of the month, month, day of the week and year; one of the two days is a ?",
    )


def _check_target(target: dict[str, Any]) -> None:
    pipeline_arn = sagemaker_arn(f"pipeline/{PIPELINE}")
    if target["Arn"] != pipeline_arn:
        raise Wrong(f"the target {target['Arn']}", pipeline_arn)
    if target["RoleArn"] != role_arn(SCHEDULE_ROLE):
        raise Wrong(f"a target that is started as {target['RoleArn']}", role_arn(SCHEDULE_ROLE))
    given = target.get("SageMakerPipelineParameters", {}).get("PipelineParameterList", [])
    values = {each["Name"]: each["Value"] for each in given}
    if values.get("InputData") != months():
        found = f"InputData={values['InputData']}" if "InputData" in values else "no InputData"
        raise Wrong(
            f"{found} among the target's parameters",
            f"InputData={months()}",
            '"SageMakerPipelineParameters": {"PipelineParameterList": [{"Name": "InputData", "Value": months}]}',
        )
    (result,) = client("iam").simulate_principal_policy(
        PolicySourceArn=role_arn(SCHEDULE_ROLE),
        ActionNames=["sagemaker:StartPipelineExecution"],
        ResourceArns=[pipeline_arn],
    )["EvaluationResults"]
    if result["EvalDecision"] != "allowed":
        raise Wrong(
            f"a {SCHEDULE_ROLE} that IAM does not let start the pipeline ({result['EvalDecision']})",
            "allowed",
            "the task role comes first",
        )
