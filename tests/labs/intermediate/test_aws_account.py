"""The checks of roles, schedule and clean-up: right, not attempted, and wrong one thing at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from labkit.cloud.state import Lab
from labkit.labs.intermediate import aws_account, aws_checks, aws_schedule
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.labs.intermediate import account
from tests.labs.intermediate.account import PASS, PERMISSIONS, START, allow

SAGEMAKER, SCHEDULER = "sagemaker.amazonaws.com", "scheduler.amazonaws.com"


def test_nothing_is_not_attempted(empty_clouds: Lab, work: Work) -> None:
    for check in (
        aws_account.role,
        aws_checks.gate,
        aws_checks.refused,
        aws_checks.registered,
        aws_checks.trigger,
        aws_schedule.schedule,
        aws_checks.approve,
        aws_checks.failure,
        aws_account.cleanup,
    ):
        with pytest.raises(NotAttempted):
            check(work)


def test_the_condition_may_be_written_in_another_way(empty_clouds: Lab, work: Work) -> None:
    account.roles()
    in_list = {"StringLike": {"iam:PassedToService": ["sagemaker.amazonaws.com"]}}
    account.role("churn-pipeline", SAGEMAKER, *PERMISSIONS, {**PASS, "Condition": in_list})
    assert "can pass itself to SageMaker alone" in aws_account.role(work)


def test_two_roles_with_just_enough_are_right(empty_clouds: Lab, work: Work) -> None:
    account.roles()
    assert "can pass itself to SageMaker alone" in aws_account.role(work)


NO_CONDITION = {key: value for key, value in PASS.items() if key != "Condition"}
TO_OTHERS = {**PASS, "Condition": {"StringNotEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}}
TO_LAMBDA = {**PASS, "Condition": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}}


@pytest.mark.parametrize(
    ("pipeline", "schedule", "found"),
    [
        ((SAGEMAKER, *PERMISSIONS, PASS), None, "no role named churn-pipeline-schedule"),
        ((SAGEMAKER, *PERMISSIONS), (SCHEDULER, START), "may not pass itself on to SageMaker"),
        ((SAGEMAKER, *PERMISSIONS, NO_CONDITION), (SCHEDULER, START), "may pass itself to lambda"),
        ((SAGEMAKER, *PERMISSIONS, TO_LAMBDA), (SCHEDULER, START), "may not pass itself on to SageMaker"),
        ((SAGEMAKER, *PERMISSIONS, PASS, TO_LAMBDA), (SCHEDULER, START), "may pass itself to lambda"),
        ((SAGEMAKER, *PERMISSIONS, TO_OTHERS), (SCHEDULER, START), "may not pass itself on to SageMaker"),
        ((SAGEMAKER, *PERMISSIONS, {**PASS, "Resource": "*"}), (SCHEDULER, START), "may pass on any role"),
        ((SAGEMAKER, *PERMISSIONS[1:], PASS), (SCHEDULER, START), "without sagemaker:CreateTrainingJob"),
        ((SAGEMAKER, *PERMISSIONS, PASS, allow("s3:*", "*")), (SCHEDULER, START), "may also do s3:GetObject"),
        ((SCHEDULER, *PERMISSIONS, PASS), (SCHEDULER, START), "a trust policy of churn-pipeline for scheduler"),
        ((SAGEMAKER, *PERMISSIONS, PASS), (SAGEMAKER, START), "a trust policy of churn-pipeline-schedule for sage"),
        ((SAGEMAKER, *PERMISSIONS, PASS), (SCHEDULER, {**START, "Resource": "*"}), "may also do sagemaker:Start.* on"),
        ((SAGEMAKER, *PERMISSIONS, PASS), (SCHEDULER, allow("s3:GetObject", "*")), "cannot start the pipeline"),
        ((SAGEMAKER, *PERMISSIONS, PASS), (SCHEDULER, allow("sagemaker:*", "*")), r"may also do sagemaker:\* on \*"),
    ],
    ids=[
        "one",
        "no-pass",
        "any-service",
        "other-service",
        "further-service",
        "not-equals",
        "any-role",
        "no-jobs",
        "wide",
        "trust",
        "schedule-trust",
        "any-pipeline",
        "no-start",
        "any-action",
    ],
)
def test_roles_wrong(empty_clouds: Lab, work: Work, pipeline: Any, schedule: Any, found: str) -> None:
    account.role("churn-pipeline", *pipeline)
    if schedule:
        account.role("churn-pipeline-schedule", *schedule)
    with pytest.raises(Wrong, match=found):
        aws_account.role(work)


@pytest.fixture
def scheduled(empty_clouds: Lab) -> Lab:
    """The roles and the pipeline, which a schedule may start."""
    account.roles()
    account.pipeline(account.definition(account.put("model.tar.gz", b"")))
    return empty_clouds


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"ScheduleExpressionTimezone": None}, "in the time zone UTC"),
        ({"ScheduleExpression": "cron(0 6 * * ? *)"}, "fires Thursday 15 January 2026 at 06:00"),
        ({"ScheduleExpression": "cron(6 0 1 * ? *)"}, "fires Sunday 01 February 2026 at 00:06"),
        ({"ScheduleExpression": "rate(30 days)"}, "fires Saturday 14 February 2026"),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}}, "a flexible time window"),
        ({"target": {"SageMakerPipelineParameters": None}}, "no InputData among"),
        ({"EndDate": datetime(2027, 6, 1, tzinfo=UTC)}, "ends on 2027-06-01"),
        ({"State": "DISABLED"}, "DISABLED and has never started anything"),
    ],
    ids=["zone", "daily", "swapped", "rate", "window", "parameters", "end", "disabled"],
)
def test_schedules_wrong(scheduled: Lab, work: Work, other: dict[str, Any], found: str) -> None:
    account.schedule(**other)
    with pytest.raises(Wrong, match=found):
        aws_schedule.schedule(work)


def test_a_schedule_whose_role_may_not_is_wrong_and_a_right_one_is_right(scheduled: Lab, work: Work) -> None:
    account.schedule()
    assert "cron(0 6 1 * ? *) in Europe/Berlin" in aws_schedule.schedule(work)
    account.role("churn-pipeline-schedule", SCHEDULER, allow("s3:GetObject", "*"))
    with pytest.raises(Wrong, match="IAM does not let start the pipeline"):
        aws_schedule.schedule(work)


def test_what_is_left_is_listed(scheduled: Lab, work: Work) -> None:
    account.schedule()
    with pytest.raises(NotAttempted, match=r"the schedule churn-monthly; the pipeline churn-monthly; 2 roles .*bucket"):
        aws_account.cleanup(work)
    boto3.client("scheduler").delete_schedule(Name="churn-monthly")
    boto3.client("sagemaker").delete_pipeline(PipelineName="churn-monthly")
    assert sorted(aws_account.leftovers()) == ["bucket", "role"]
