"""CloudWatch and CloudWatch Logs through the gateway: unmodified boto3, and the aws command line, errors included."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from labkit.cloud.state import Lab

AWS = Path(sys.executable).with_name("aws")


@pytest.fixture
def name(clouds: Lab) -> Iterator[str]:
    """A log group's and a namespace's name that no other test has."""
    name = f"telemetry-{uuid.uuid4().hex[:8]}"
    yield name
    logs = boto3.client("logs")
    for group in logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]:
        logs.delete_log_group(logGroupName=group["logGroupName"])


def aws(*arguments: str) -> tuple[int, Any, str]:
    """The command's exit status, what it printed (as JSON, where that was anything) and its error."""
    done = subprocess.run([str(AWS), *arguments, "--output", "json"], capture_output=True, text=True, timeout=250)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr.strip()


def test_boto3_logs(name: str) -> None:
    logs = boto3.client("logs")
    stream = {"logGroupName": name, "logStreamName": "blue"}
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(**stream)
    now = int(time.time() * 1000)
    events = [
        {"timestamp": now + number, "message": json.dumps({"row": number, "ms": number * 10})} for number in range(9)
    ]
    logs.put_log_events(**stream, logEvents=events)
    assert logs.get_log_events(**stream)["events"][-1]["message"] == events[-1]["message"]
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=name, filterPattern="{ $.ms >= 40 && $.row != 5 }", PaginationConfig={"PageSize": 2}
    )
    assert [json.loads(event["message"])["row"] for page in pages for event in page["events"]] == [4, 6, 7, 8]
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=name)
    with pytest.raises(ClientError, match="do not serve logs:StartQuery yet") as refused:
        logs.start_query(logGroupName=name, startTime=0, endTime=1, queryString="fields @message")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_boto3_cloudwatch(name: str) -> None:
    cloudwatch = boto3.client("cloudwatch")
    dimensions = [{"Name": "Step", "Value": "train"}]
    start = datetime.now(UTC) - timedelta(minutes=1)
    # Enough of them that boto3 sends them compressed.
    for begin in range(0, 1000, 250):
        data = [
            {"MetricName": "Latency", "Dimensions": dimensions, "Value": begin + number, "Unit": "Milliseconds"}
            for number in range(250)
        ]
        cloudwatch.put_metric_data(Namespace=name, MetricData=data)
    metric = {"Namespace": name, "MetricName": "Latency", "Dimensions": dimensions}
    window = {"StartTime": start, "EndTime": datetime.now(UTC) + timedelta(minutes=1)}
    (point,) = cloudwatch.get_metric_statistics(
        **metric, **window, Period=3600, ExtendedStatistics=["p50", "p90", "p99"]
    )["Datapoints"]
    assert point["ExtendedStatistics"] == pytest.approx({"p50": 499.5, "p90": 899.1, "p99": 989.01})
    queries = [
        {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": "p99"}, "ReturnData": False},
        {"Id": "seconds", "Expression": "m1 / 1000", "Label": "p99 in seconds"},
    ]
    (result,) = cloudwatch.get_metric_data(MetricDataQueries=queries, **window)["MetricDataResults"]
    assert (result["Label"], result["Values"]) == ("p99 in seconds", [pytest.approx(0.98901)])
    assert cloudwatch.list_metrics(Namespace=name)["Metrics"] == [metric]
    with pytest.raises(cloudwatch.exceptions.InvalidParameterCombinationException, match="exceeds the limit of 1440"):
        cloudwatch.get_metric_statistics(
            **metric, StartTime=start - timedelta(days=2), EndTime=start, Period=60, Statistics=["Sum"]
        )
    with pytest.raises(ClientError, match="do not serve cloudwatch:PutMetricAlarm yet"):
        cloudwatch.put_metric_alarm(AlarmName=name, EvaluationPeriods=1, ComparisonOperator="GreaterThanThreshold")


def test_the_aws_command_line_for_logs(name: str) -> None:
    of_stream = ("--log-group-name", name, "--log-stream-name", "blue")
    assert aws("logs", "create-log-group", "--log-group-name", name) == (0, None, "")
    assert aws("logs", "create-log-stream", *of_stream) == (0, None, "")
    now = int(time.time() * 1000)
    events = json.dumps([{"timestamp": now, "message": "ERROR no model"}, {"timestamp": now + 1, "message": "ready"}])
    code, _, error = aws("logs", "put-log-events", *of_stream, "--log-events", events)
    assert (code, error) == (0, "")
    _, found, _ = aws("logs", "get-log-events", *of_stream, "--query", "events[].message")
    assert found == ["ERROR no model", "ready"]
    filtered = ("filter-log-events", "--log-group-name", name, "--query", "events[].message", "--filter-pattern")
    assert aws("logs", *filtered, "ERROR")[1] == ["ERROR no model"]
    code, _, error = aws("logs", *filtered, "no: model")
    assert code != 0
    assert error.endswith(
        "(InvalidParameterException) when calling the FilterLogEvents operation: Invalid character(s) in term ':'"
    )
    code, _, error = aws("logs", "delete-log-group", "--log-group-name", f"{name}-none")
    assert code != 0
    assert error.endswith(
        "(ResourceNotFoundException) when calling the DeleteLogGroup operation: The specified log group does not exist."
    )


def test_the_aws_command_line_for_cloudwatch(name: str) -> None:
    of_metric = ("--namespace", name, "--metric-name", "Rows")
    code, _, error = aws(
        *("cloudwatch", "put-metric-data", *of_metric, "--dimensions", "Month=may", "--unit", "Count", "--value", "3")
    )
    assert (code, error) == (0, "")
    now = datetime.now(UTC)
    window = ("--start-time", (now - timedelta(hours=1)).isoformat(), "--end-time", f"{now + timedelta(minutes=1)}")
    asked = (
        "cloudwatch",
        "get-metric-statistics",
        *of_metric,
        "--dimensions",
        "Name=Month,Value=may",
        "--period",
        "7200",
    )
    code, found, error = aws(*asked, *window, "--statistics", "Sum", "Average")
    assert (code, error) == (0, "")
    assert [(each["Sum"], each["Average"], each["Unit"]) for each in found["Datapoints"]] == [(3.0, 3.0, "Count")]
    code, _, error = aws(*asked, *window, "--extended-statistics", "p200")
    assert code != 0
    assert "(InvalidParameterValue) when calling the GetMetricStatistics operation" in error
    code, found, _ = aws("cloudwatch", "list-metrics", "--namespace", name)
    assert found == {
        "Metrics": [{"Namespace": name, "MetricName": "Rows", "Dimensions": [{"Name": "Month", "Value": "may"}]}]
    }
