"""Functions, queues, topics, rules and schedules through the gateway: the ``aws`` command, and boto3 in a function."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from labkit.cloud import client
from labkit.cloud.state import Lab
from tests.cloud.aws.event_world import ACCOUNT, allow, archive, policy
from tests.days import to_the_middle_of_a_month

AWS = Path(sys.executable).with_name("aws")

FUNCTION = """
import boto3, os
def handler(event, context):
    who = boto3.client("sts").get_caller_identity()["Arn"]
    boto3.client("s3").put_object(Bucket=event["bucket"], Key="made", Body=b"by the function")
    try:
        boto3.client("s3").list_buckets()
        listed = "allowed"
    except Exception as error:
        listed = error.response["Error"]["Code"]
    return {"who": who, "listed": listed}
"""


def aws(*arguments: str) -> Any:
    """Runs the command; returns its answer."""
    done = subprocess.run([str(AWS), *arguments], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


@pytest.fixture
def name(clouds: Lab) -> str:
    """A name of the test's own on the clouds that tests share."""
    return f"t-{uuid4().hex[:12]}"


def role(name: str, service: str, *statements: Any) -> str:
    trusted = policy({"Principal": {"Service": service}, "Action": "sts:AssumeRole"})
    made = aws("iam", "create-role", "--role-name", name, "--assume-role-policy-document", trusted)["Role"]["Arn"]
    rights = ("--role-name", name, "--policy-name", "rights", "--policy-document", policy(*statements))
    aws("iam", "put-role-policy", *rights)
    return str(made)


def test_a_function_acts_as_its_role(name: str, tmp_path: Path) -> None:
    made = role(name, "lambda.amazonaws.com", allow("s3:PutObject", "logs:*"))
    boto3.client("s3").create_bucket(Bucket=name)
    file, out = tmp_path / "code.zip", tmp_path / "out.json"
    file.write_bytes(archive(FUNCTION))
    create = ("--function-name", name, "--runtime", "python3.12", "--handler", "app.handler", "--timeout", "30")
    aws("lambda", "create-function", *create, "--role", made, "--zip-file", f"fileb://{file}")
    aws("lambda", "wait", "function-active-v2", "--function-name", name)
    payload = json.dumps({"bucket": name})
    told = aws("lambda", "invoke", "--function-name", name, "--payload", payload, str(out))
    assert told == {"StatusCode": 200, "ExecutedVersion": "$LATEST"}
    assert json.loads(out.read_text()) == {
        "who": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{name}",
        "listed": "AccessDenied",
    }
    assert boto3.client("s3").get_object(Bucket=name, Key="made")["Body"].read() == b"by the function"
    lines = aws("logs", "filter-log-events", "--log-group-name", f"/aws/lambda/{name}")["events"]
    assert lines[-1]["message"].startswith("REPORT RequestId: ")


def test_rules_topics_and_queues_by_command(name: str) -> None:
    url = aws("sqs", "create-queue", "--queue-name", name)["QueueUrl"]
    target = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
    open_to_all = {"Principal": {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]}}
    attributes = {"Policy": policy({**open_to_all, "Action": "sqs:SendMessage", "Resource": target})}
    aws("sqs", "set-queue-attributes", "--queue-url", url, "--attributes", json.dumps(attributes))
    aws("events", "put-rule", "--name", name, "--event-pattern", json.dumps({"source": [name]}))
    assert aws("events", "put-targets", "--rule", name, "--targets", f"Id=q,Arn={target}")["FailedEntryCount"] == 0
    entry = {"Source": name, "DetailType": "d", "Detail": '{"n": 1}'}
    assert aws("events", "put-events", "--entries", json.dumps([entry]))["FailedEntryCount"] == 0
    topic = aws("sns", "create-topic", "--name", name)["TopicArn"]
    aws("sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs", "--notification-endpoint", target)
    aws("sns", "publish", "--topic-arn", topic, "--message", "hello")
    got = aws("sqs", "receive-message", "--queue-url", url, "--max-number-of-messages", "10")["Messages"]
    first, second = (json.loads(each["Body"]) for each in got)
    assert (first["detail"], second["Message"]) == ({"n": 1}, "hello")


def test_a_schedule_by_command_fires_when_the_clock_is_advanced(
    fresh_clouds: Callable[[], Lab],
) -> None:
    lab, name = fresh_clouds(), "daily"
    url = aws("sqs", "create-queue", "--queue-name", name)["QueueUrl"]
    target = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
    made = role(name, "scheduler.amazonaws.com", allow("sqs:SendMessage", resource=target))
    aws(
        *("scheduler", "create-schedule", "--name", name, "--schedule-expression", "cron(0 6 * * ? *)"),
        *("--flexible-time-window", "Mode=OFF", "--schedule-expression-timezone", "Europe/Berlin"),
        *("--target", json.dumps({"Arn": target, "RoleArn": made, "Input": "<aws.scheduler.scheduled-time>"})),
    )
    seconds = {"seconds": timedelta(days=2).total_seconds()}
    assert any(name in str(news) for news in client.control_lines(lab, "POST", "clock/advance", seconds))
    got = boto3.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert len(got) == 2
    assert {each["Body"][10:] for each in got} <= {"T04:00:00Z", "T05:00:00Z"}


SDK = """
import sys
from sagemaker.core.workflow.parameters import ParameterString
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.triggers import PipelineSchedule

why = ParameterString("Why", default_value="monthly")
pipeline = Pipeline("churn", parameters=[why], steps=[FailStep("End", error_message=why)])
pipeline.upsert(sys.argv[1])
schedule = PipelineSchedule(name="churn-monthly", cron="0 6 1 * ? *")
for _ in range(2):
    print(*pipeline.put_triggers([schedule], role_arn=sys.argv[1]))
print(pipeline.describe_trigger("churn-monthly")["Schedule_State"])
"""


def test_the_sdks_own_schedule(fresh_clouds: Callable[[], Lab]) -> None:
    lab = fresh_clouds()
    to_the_middle_of_a_month(lab)
    trusted = {"Service": ["sagemaker.amazonaws.com", "scheduler.amazonaws.com"]}
    trust = policy({"Principal": trusted, "Action": "sts:AssumeRole"})
    iam, sagemaker = boto3.client("iam"), boto3.client("sagemaker")
    made = iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.attach_role_policy(RoleName="pipeline", PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")
    done = subprocess.run([sys.executable, "-c", SDK, made], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    arn = f"arn:aws:scheduler:us-east-1:{ACCOUNT}:schedule/default/churn-monthly"
    assert done.stdout.split()[-3:] == [arn, arn, "ENABLED"]
    for _ in client.control_lines(lab, "POST", "clock/advance", {"seconds": timedelta(days=365).total_seconds()}):
        pass
    ran = sagemaker.list_pipeline_executions(PipelineName="churn", MaxResults=100)["PipelineExecutionSummaries"]
    assert len(ran) == 12
