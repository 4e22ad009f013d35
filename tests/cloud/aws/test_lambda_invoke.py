"""Functions that run: what they get, answer, print and break with, as boto3 and CloudWatch show it."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from labkit.cloud.engine import Engine
from tests.cloud.aws.event_world import EventWorld, allow
from tests.cloud.aws.in_process import error


def invoke(events: EventWorld, function: str, event: Any = None, **arguments: Any) -> dict[str, Any]:
    answer = events.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event or {}), **arguments)
    return {**answer, "Payload": answer["Payload"].read()}


ECHO = """
import os
print("imported")
def handler(event, context):
    print("got", event)
    return {
        "event": event,
        "name": context.function_name,
        "id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "left": context.get_remaining_time_in_millis(),
        "region": os.environ["AWS_REGION"],
        "mine": os.environ["MINE"],
        "version": context.function_version,
        "key": os.environ.get("AWS_ACCESS_KEY_ID"),
        "folder": os.getcwd() == os.environ["LAMBDA_TASK_ROOT"],
        "context": context.client_context and context.client_context.custom,
    }
"""


def test_a_function_runs(events: EventWorld) -> None:
    function = events.function(ECHO, Environment={"Variables": {"MINE": "yes"}})
    answer = invoke(events, function, {"a": [1, "ü"]}, LogType="Tail")
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    told = json.loads(answer["Payload"])
    assert told["event"] == {"a": [1, "ü"]}
    assert told["name"] == f"{events.name}-fn"
    assert told["arn"] == function
    assert told["id"] == answer["ResponseMetadata"]["RequestId"]
    assert 10_000 < told["left"] <= 30_000
    assert (told["region"], told["mine"], told["version"], told["key"]) == ("us-east-1", "yes", "$LATEST", None)
    assert told["folder"]
    tail = b64decode(answer["LogResult"]).decode()
    lines = events.log_lines(function)
    assert tail.splitlines() == lines
    assert lines[0].startswith("INIT_START Runtime Version: python:3.")
    assert lines[1:5] == [
        "imported",
        f"START RequestId: {told['id']} Version: $LATEST",
        "got {'a': [1, 'ü']}",
        f"END RequestId: {told['id']}",
    ]
    report = (
        rf"REPORT RequestId: {told['id']}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: \d+ MB\tInit Duration: [\d.]+ ms"
    )
    assert re.fullmatch(report, lines[5])


def test_a_process_is_reused(events: EventWorld) -> None:
    function = events.function(
        "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n    return count"
    )
    answers = [invoke(events, function, LogType="Tail") for _ in range(3)]
    assert [json.loads(answer["Payload"]) for answer in answers] == [1, 2, 3]
    assert ["Init Duration" in b64decode(answer["LogResult"]).decode() for answer in answers] == [True, False, False]
    lambdas = events.client("lambda")
    lambdas.update_function_configuration(FunctionName=function, Timeout=30)
    assert json.loads(invoke(events, function)["Payload"]) == 1


FAULTS = {
    "raises": (
        "def inner():\n    raise ValueError('too few rows')\ndef handler(event, context):\n    inner()",
        {"errorMessage": "too few rows", "errorType": "ValueError"},
    ),
    "imports": (
        "import not_there\ndef handler(event, context): pass",
        {
            "errorMessage": "Unable to import module 'app': No module named 'not_there'",
            "errorType": "Runtime.ImportModuleError",
        },
    ),
    "syntax": (
        "def handler(event, context) return 1",
        {"errorType": "Runtime.UserCodeSyntaxError"},
    ),
    "no handler": (
        "x = 1",
        {"errorMessage": "Handler 'handler' missing on module 'app'", "errorType": "Runtime.HandlerNotFound"},
    ),
    "no json": (
        "def handler(event, context): return {1, 2}",
        {
            "errorMessage": "Unable to marshal response: Object of type set is not JSON serializable",
            "errorType": "Runtime.MarshalError",
        },
    ),
    "exits": (
        "import sys\ndef handler(event, context): sys.exit(4)",
        {
            "errorMessage": "RequestId: {id} Error: Runtime exited with error: exit status 4",
            "errorType": "Runtime.ExitError",
        },
    ),
    "slow": (
        "import time\ndef handler(event, context): time.sleep(600)",
        {"errorMessage": "RequestId: {id} Error: Task timed out after 1.00 seconds", "errorType": "Sandbox.Timedout"},
    ),
    "greedy": (
        "import os, time\ndef handler(event, context):\n    kept = os.urandom(300 * 1024**2)\n    time.sleep(600)",
        {
            "errorMessage": "RequestId: {id} Error: Runtime exited with error: signal: killed",
            "errorType": "Runtime.OutOfMemory",
        },
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_how_a_function_breaks(events: EventWorld, fault: str) -> None:
    code, wanted = FAULTS[fault]
    function = events.function(code, Timeout=1 if fault == "slow" else 60)
    answer = invoke(events, function)
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    told = json.loads(answer["Payload"])
    request = answer["ResponseMetadata"]["RequestId"]
    expected = {name: value.replace("{id}", request) for name, value in wanted.items()}
    assert {name: told[name] for name in expected} == expected
    lines = events.log_lines(function)
    assert lines[-2] == f"END RequestId: {request}"
    if fault == "raises":
        assert told["requestId"] == request
        assert told["stackTrace"][-1].endswith("in inner\n    raise ValueError('too few rows')\n")
        assert len(told["stackTrace"]) == 2
        assert "[ERROR] ValueError: too few rows" in lines


def test_logging_as_lambda_writes_it(events: EventWorld) -> None:
    code = (
        "import logging\nlogger = logging.getLogger()\nlogger.setLevel('INFO')\n"
        "def handler(event, context):\n    logger.info('hello')\n    logger.debug('not shown')"
    )
    function = events.function(code)
    request = invoke(events, function)["ResponseMetadata"]["RequestId"]
    (line,) = [line for line in events.log_lines(function) if "hello" in line or "not shown" in line]
    assert re.fullmatch(rf"\[INFO\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{request}\thello", line)


def test_nobody_waits_for_an_event(events: EventWorld, tmp_path: Any) -> None:
    function = events.function("import os\ndef handler(event, context): open(event['file'], 'x').close()")
    answer = invoke(events, function, {"file": str(tmp_path / "done")}, InvocationType="Event")
    assert (answer["StatusCode"], answer["Payload"]) == (202, b"")
    events.eventually((tmp_path / "done").exists)


def test_more_at_once_than_reserved(events: EventWorld, tmp_path: Any) -> None:
    code = (
        "import os, time\ndef handler(event, context):\n    open(event['begun'], 'w').close()\n"
        "    while not os.path.exists(event['go']): time.sleep(0.01)"
    )
    function = events.function(code)
    lambdas = events.client("lambda")
    lambdas.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=1)
    assert lambdas.get_function(FunctionName=function)["Concurrency"] == {"ReservedConcurrentExecutions": 1}
    event = {"begun": str(tmp_path / "begun"), "go": str(tmp_path / "go")}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(invoke, events, function, event)
        events.eventually((tmp_path / "begun").exists)
        status, code, message = error(lambdas.invoke, FunctionName=function)
        (tmp_path / "go").touch()
        assert "FunctionError" not in first.result()
    assert (status, code, message) == (429, "TooManyRequestsException", "Rate Exceeded.")


def test_what_invoke_refuses(events: EventWorld) -> None:
    function = events.function("def handler(event, context): pass")
    lambdas = events.client("lambda")
    missing = f"Function not found: arn:aws:lambda:us-east-1:123456789012:function:{events.name}-no"
    assert error(lambdas.invoke, FunctionName=f"{events.name}-no") == (404, "ResourceNotFoundException", missing)
    assert error(lambdas.invoke, FunctionName=function, Qualifier="7")[2] == f"Function not found: {function}:7"
    status, code, message = error(lambdas.invoke, FunctionName=function, Payload=b"{no")
    assert (status, code) == (400, "InvalidRequestContentException")
    assert message.startswith("Could not parse request body into json")


def test_metrics(events: EventWorld, engine: Engine, client: Callable[[str], Any]) -> None:
    function = events.function("def handler(event, context): return 1 / event['by']")
    for by in (1, 0, 2):
        invoke(events, function, {"by": by})
    now = engine.clock.now()
    for metric, total in (("Invocations", 3), ("Errors", 1), ("Throttles", 0)):
        points = client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": "FunctionName", "Value": f"{events.name}-fn"}],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(hours=1),
            Period=7200,
            Statistics=["Sum"],
        )["Datapoints"]
        assert sum(point["Sum"] for point in points) == total


def test_a_client_context(events: EventWorld) -> None:
    function = events.function(ECHO, Environment={"Variables": {"MINE": "1"}})
    given = b64encode(json.dumps({"custom": {"a": "b"}}).encode()).decode()
    assert json.loads(invoke(events, function, ClientContext=given)["Payload"])["context"] == {"a": "b"}


def test_a_role_that_may_not_log_leaves_no_logs(events: EventWorld) -> None:
    role = events.role("lambda.amazonaws.com")
    function = events.function("def handler(event, context): print('x')", Role=role)
    answer = invoke(events, function, LogType="Tail")
    assert "x\n" in b64decode(answer["LogResult"]).decode()
    assert error(events.log_lines, function=function)[1] == "ResourceNotFoundException"


def test_an_event_that_fails_is_tried_again_then_buried(events: EventWorld, engine: Engine) -> None:
    queue = events.queue()
    role = events.role(
        "lambda.amazonaws.com", allow("logs:*"), allow("sqs:SendMessage", resource=events.queue_arn(queue))
    )
    function = events.function(
        "def handler(event, context): raise RuntimeError('always')",
        Role=role,
        DeadLetterConfig={"TargetArn": events.queue_arn(queue)},
    )
    invoke(events, function, {"n": 1}, InvocationType="Event")
    due = f"event of Lambda function {events.name}-fn"
    events.eventually(lambda: any(each.name == due for each in engine.clock._due))
    fired = [each for each in engine.clock.advance(timedelta(minutes=5)) if each.name == due]
    assert len(fired) == 2
    assert fired[1].at - fired[0].at >= timedelta(minutes=2)
    (letter,) = events.received(queue)
    assert json.loads(letter["Body"]) == {"n": 1}
    told = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert (told["ErrorCode"], told["ErrorMessage"]) == ("200", "always")
    assert len([line for line in events.log_lines(function) if line.startswith("START")]) == 3


def test_who_may_invoke(events: EventWorld) -> None:
    function = events.function("def handler(event, context): return 'ran'")
    stranger = events.user("lambda", name="stranger")
    status, code, message = error(stranger.invoke, FunctionName=function)
    assert (status, code) == (403, "AccessDeniedException")
    assert f"is not authorized to perform: lambda:InvokeFunction on resource: {function}" in message
    friend = events.user("lambda", allow("lambda:InvokeFunction", resource=function), name="friend")
    assert friend.invoke(FunctionName=function)["Payload"].read() == b'"ran"'


def test_the_code_lies_where_lambda_puts_it(events: EventWorld, engine: Engine) -> None:
    function = events.function("def handler(event, context): return __file__")
    told = json.loads(invoke(events, function)["Payload"])
    assert engine.jobs.refuses_mounts() or told == "/var/task/app.py"


def test_how_often_an_event_is_tried_again(events: EventWorld, engine: Engine) -> None:
    lambdas = events.client("lambda")
    function = events.function("def handler(event, context): raise RuntimeError('always')")
    assert error(lambdas.get_function_event_invoke_config, FunctionName=function)[:2] == (
        404,
        "ResourceNotFoundException",
    )
    made = lambdas.put_function_event_invoke_config(FunctionName=function, MaximumRetryAttempts=1)
    assert (made["FunctionArn"], made["MaximumRetryAttempts"]) == (f"{function}:$LATEST", 1)
    lambdas.update_function_event_invoke_config(FunctionName=function, MaximumEventAgeInSeconds=3600)
    assert lambdas.get_function_event_invoke_config(FunctionName=function)["MaximumRetryAttempts"] == 1
    invoke(events, function, InvocationType="Event")
    due = f"event of Lambda function {events.name}-fn"
    events.eventually(lambda: any(each.name == due for each in engine.clock._due))
    assert [each.name for each in engine.clock.advance(timedelta(hours=1))].count(due) == 1
    where = {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:q"}}
    told = error(lambdas.put_function_event_invoke_config, FunctionName=function, DestinationConfig=where)
    assert told[:2] == (501, "NotImplementedException")
