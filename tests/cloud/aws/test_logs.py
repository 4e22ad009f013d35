"""CloudWatch Logs through boto3: groups, streams, events, pages, time and errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from labkit.cloud.aws import AwsCloud
from labkit.cloud.aws import log_events as log_events_module
from labkit.cloud.engine import Engine
from tests.cloud.aws.current_cloud import client
from tests.cloud.aws.in_process import Keys

GROUP = "/aws/sagemaker/Endpoints/churn"
HOUR = 3_600_000
DAY = 24 * HOUR
METRIC = {"metricName": "m", "metricNamespace": "n", "metricValue": "1"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path)
    yield engine
    engine.close()


@pytest.fixture
def cloud(engine: Engine) -> AwsCloud:
    return AwsCloud(engine, Keys())


@pytest.fixture
def logs(cloud: AwsCloud) -> Any:
    return client(cloud, "logs")


@pytest.fixture
def stream(logs: Any) -> dict[str, str]:
    """An empty stream, as the parameters that name it."""
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="blue")
    return {"logGroupName": GROUP, "logStreamName": "blue"}


def now() -> int:
    return int(time.time() * 1000)


def put(logs: Any, stream: dict[str, str], *messages: str, at: int | None = None) -> Any:
    start = now() - len(messages) if at is None else at
    events = [{"timestamp": start + index, "message": message} for index, message in enumerate(messages)]
    return logs.put_log_events(**stream, logEvents=events)


def messages(answer: Any) -> list[str]:
    return [event["message"] for event in answer["events"]]


def refused(code: str, message: str) -> Any:
    return pytest.raises(ClientError, match=rf"\({code}\).*{message}")


class TestGroups:
    def test_a_group_s_life(self, logs: Any) -> None:
        logs.create_log_group(logGroupName="/lab/churn", tags={"team": "a"})
        (group,) = logs.describe_log_groups(logGroupNamePrefix="/lab")["logGroups"]
        assert abs(group.pop("creationTime") - now()) < 5_000
        arn = "arn:aws:logs:us-east-1:123456789012:log-group:/lab/churn"
        assert group == {
            "logGroupName": "/lab/churn",
            "metricFilterCount": 0,
            "arn": f"{arn}:*",
            "logGroupArn": arn,
            "storedBytes": 0,
            "logGroupClass": "STANDARD",
            "deletionProtectionEnabled": False,
        }
        logs.delete_log_group(logGroupName="/lab/churn")
        assert logs.describe_log_groups()["logGroups"] == []

    def test_it_is_made_once_and_deleted_once(self, logs: Any) -> None:
        logs.create_log_group(logGroupName="g")
        with refused("ResourceAlreadyExistsException", "The specified log group already exists"):
            logs.create_log_group(logGroupName="g")
        logs.delete_log_group(logGroupName="g")
        with pytest.raises(
            logs.exceptions.ResourceNotFoundException, match=r"The specified log group does not exist\."
        ):
            logs.delete_log_group(logGroupName="g")

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"logGroupName": "a b"}, "1 validation error detected: Value 'a b' at 'logGroupName' failed"),
            ({"logGroupName": "aws/x"}, "Log groups starting with AWS/ are reserved for AWS."),
            ({"logGroupName": "g", "kmsKeyId": "k"}, "The specified KMS key does not exist"),
        ],
    )
    def test_bad_parameters(self, logs: Any, parameters: dict[str, str], message: str) -> None:
        with refused("InvalidParameterException", message):
            logs.create_log_group(**parameters)
        assert logs.describe_log_groups()["logGroups"] == []

    @pytest.mark.parametrize("more", [{"logGroupClass": "INFREQUENT_ACCESS"}, {"deletionProtectionEnabled": True}])
    def test_what_it_cannot_do_it_refuses(self, logs: Any, more: dict[str, Any]) -> None:
        with refused("NotImplementedException", "do not serve .* in logs:CreateLogGroup"):
            logs.create_log_group(logGroupName="g", **more)
        assert logs.describe_log_groups()["logGroups"] == []

    def test_regions_do_not_meet(self, cloud: AwsCloud, logs: Any) -> None:
        logs.create_log_group(logGroupName="g")
        assert client(cloud, "logs", "eu-west-1").describe_log_groups()["logGroups"] == []

    def test_by_prefix_pattern_and_name(self, logs: Any) -> None:
        for name in ("/lab/a", "/lab/b", "/other/a"):
            logs.create_log_group(logGroupName=name)

        def names(**parameters: Any) -> list[str]:
            return [group["logGroupName"] for group in logs.describe_log_groups(**parameters)["logGroups"]]

        assert names() == ["/lab/a", "/lab/b", "/other/a"]
        assert names(logGroupNamePrefix="/lab/") == ["/lab/a", "/lab/b"]
        assert names(logGroupNamePattern="/a") == ["/lab/a", "/other/a"]
        assert names(logGroupIdentifiers=["/lab/b", "/none"]) == ["/lab/b"]
        assert names(logGroupClass="INFREQUENT_ACCESS") == []
        assert set(logs.describe_log_groups(logGroupNamePattern="/a")["logGroups"][0]) == {
            "arn",
            "creationTime",
            "logGroupName",
        }
        with refused("InvalidParameterException", "mutually exclusive"):
            names(logGroupNamePrefix="/lab", logGroupNamePattern="a")

    def test_pages(self, logs: Any) -> None:
        for number in range(53):
            logs.create_log_group(logGroupName=f"g{number:02}")
        first = logs.describe_log_groups()
        assert len(first["logGroups"]) == 50
        pages = logs.get_paginator("describe_log_groups").paginate(PaginationConfig={"PageSize": 10})
        found = [group["logGroupName"] for page in pages for group in page["logGroups"]]
        assert found == [f"g{number:02}" for number in range(53)]
        with refused("InvalidParameterException", "The specified nextToken is invalid."):
            logs.describe_log_groups(nextToken="x")
        with refused("InvalidParameterException", "Value '51' at 'limit' failed to satisfy constraint"):
            logs.describe_log_groups(limit=51)

    def test_retention(self, cloud: AwsCloud, logs: Any, stream: dict[str, str]) -> None:
        logs.put_retention_policy(logGroupName=GROUP, retentionInDays=7)
        assert logs.describe_log_groups()["logGroups"][0]["retentionInDays"] == 7
        put(logs, stream, "old")
        cloud.engine.clock.advance(timedelta(days=8))
        assert messages(logs.get_log_events(**stream)) == []
        logs.delete_retention_policy(logGroupName=GROUP)
        assert "retentionInDays" not in logs.describe_log_groups()["logGroups"][0]
        with refused("InvalidParameterException", r"Value '8' at 'retentionInDays' .*enum value set: \[1, 3, 5, 7"):
            logs.put_retention_policy(logGroupName=GROUP, retentionInDays=8)
        with refused("ResourceNotFoundException", "The specified log group does not exist."):
            logs.put_retention_policy(logGroupName="none", retentionInDays=7)

    def test_tags(self, logs: Any, stream: dict[str, str]) -> None:
        arn = logs.describe_log_groups()["logGroups"][0]["logGroupArn"]
        logs.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
        logs.tag_log_group(logGroupName=GROUP, tags={"b": "3", "c": "4"})
        logs.untag_resource(resourceArn=arn, tagKeys=["a"])
        logs.untag_log_group(logGroupName=GROUP, tags=["c"])
        assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "3"}
        assert logs.list_tags_log_group(logGroupName=GROUP)["tags"] == {"b": "3"}
        with refused("ResourceNotFoundException", "does not exist"):
            logs.list_tags_for_resource(resourceArn=f"{arn}-other")
        with refused("ResourceNotFoundException", "does not exist"):
            logs.list_tags_for_resource(resourceArn=arn.replace("us-east-1", "eu-west-1"))
        with refused("TooManyTagsException", "50 tags at most"):
            logs.tag_resource(resourceArn=arn, tags={f"k{number}": "v" for number in range(50)})


class TestStreams:
    def test_a_stream_s_life(self, logs: Any, stream: dict[str, str]) -> None:
        (described,) = logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
        assert "firstEventTimestamp" not in described
        at = now()
        put(logs, stream, "one", "two", at=at)
        (described,) = logs.describe_log_streams(logGroupIdentifier=GROUP)["logStreams"]
        assert described["logStreamName"] == "blue"
        assert (described["firstEventTimestamp"], described["lastEventTimestamp"]) == (at, at + 1)
        assert abs(described["lastIngestionTime"] - at) < 5_000
        assert described["arn"] == f"arn:aws:logs:us-east-1:123456789012:log-group:{GROUP}:log-stream:blue"
        logs.delete_log_stream(**stream)
        assert logs.describe_log_streams(logGroupName=GROUP)["logStreams"] == []

    def test_errors(self, logs: Any, stream: dict[str, str]) -> None:
        with refused("ResourceAlreadyExistsException", "The specified log stream already exists"):
            logs.create_log_stream(**stream)
        with refused("ResourceNotFoundException", "The specified log group does not exist."):
            logs.create_log_stream(logGroupName="none", logStreamName="s")
        with refused("ResourceNotFoundException", "The specified log stream does not exist."):
            logs.delete_log_stream(logGroupName=GROUP, logStreamName="s")
        with refused("InvalidParameterException", "'logStreamName' failed to satisfy constraint"):
            logs.create_log_stream(logGroupName=GROUP, logStreamName="a:b")
        with refused("InvalidParameterException", "Exactly one of logGroupName and logGroupIdentifier"):
            logs.describe_log_streams()

    def test_order_and_pages(self, logs: Any, stream: dict[str, str]) -> None:
        for name, minutes in (("green", 3), ("red", 1), ("grey", 2)):
            logs.create_log_stream(logGroupName=GROUP, logStreamName=name)
            put(logs, {"logGroupName": GROUP, "logStreamName": name}, "x", at=now() - minutes * 60_000)

        def names(size: int, **parameters: Any) -> list[str]:
            pages = logs.get_paginator("describe_log_streams").paginate(
                logGroupName=GROUP, PaginationConfig={"PageSize": size}, **parameters
            )
            return [each["logStreamName"] for page in pages for each in page["logStreams"]]

        for size in (1, 2, 50):
            assert names(size) == ["blue", "green", "grey", "red"]
            assert names(size, descending=True) == ["red", "grey", "green", "blue"]
            assert names(size, logStreamNamePrefix="gre") == ["green", "grey"]
            assert names(size, orderBy="LastEventTime", descending=True) == ["red", "grey", "green", "blue"]
        with refused("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix."):
            names(1, orderBy="LastEventTime", logStreamNamePrefix="g")


class TestPut:
    def test_what_is_put_is_got(self, logs: Any, stream: dict[str, str]) -> None:
        at = now()
        answer = put(logs, stream, "grüße", "two\nlines", at=at)
        assert "rejectedLogEventsInfo" not in answer
        first, second = logs.get_log_events(**stream)["events"]
        assert (first["message"], first["timestamp"]) == ("grüße", at)
        assert (second["message"], second["timestamp"]) == ("two\nlines", at + 1)
        assert abs(first["ingestionTime"] - at) < 5_000

    def test_too_old_and_too_new_are_left_out_and_named(self, logs: Any, stream: dict[str, str]) -> None:
        times = [now() - 20 * DAY, now() - 15 * DAY, now(), now() + 3 * HOUR]
        answer = logs.put_log_events(
            **stream, logEvents=[{"timestamp": each, "message": str(index)} for index, each in enumerate(times)]
        )
        assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 2, "tooNewLogEventStartIndex": 3}
        assert messages(logs.get_log_events(**stream)) == ["2"]
        answer = put(logs, stream, "later", at=now() + 3 * HOUR)
        assert answer["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 0}

    def test_expired_events_are_named(self, logs: Any, stream: dict[str, str]) -> None:
        logs.put_retention_policy(logGroupName=GROUP, retentionInDays=3)
        assert put(logs, stream, "x", at=now() - 5 * DAY)["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}

    def test_a_batch_is_in_order_and_within_a_day(self, logs: Any, stream: dict[str, str]) -> None:
        at = now()
        with refused("InvalidParameterException", "must be in chronological order"):
            logs.put_log_events(
                **stream, logEvents=[{"timestamp": at, "message": "a"}, {"timestamp": at - 1, "message": "b"}]
            )
        with refused("InvalidParameterException", "cannot span more than 24 hours"):
            logs.put_log_events(
                **stream, logEvents=[{"timestamp": at - 25 * HOUR, "message": "a"}, {"timestamp": at, "message": "b"}]
            )
        assert messages(logs.get_log_events(**stream)) == []

    def test_a_batch_has_a_size(self, logs: Any, stream: dict[str, str]) -> None:
        with refused("InvalidParameterException", "Upload too large: 1048577 bytes exceeds limit of 1048576"):
            put(logs, stream, "x" * (1_048_576 - 25))
        put(logs, stream, "x" * (1_048_576 - 26))
        assert len(messages(logs.get_log_events(**stream))[0]) == 1_048_550

    def test_errors(self, logs: Any, stream: dict[str, str]) -> None:
        with refused("ResourceNotFoundException", "The specified log group does not exist."):
            put(logs, {"logGroupName": "none", "logStreamName": "s"}, "x")
        with refused("ResourceNotFoundException", "The specified log stream does not exist."):
            put(logs, {"logGroupName": GROUP, "logStreamName": "s"}, "x")
        with refused("NotImplementedException", "do not serve entities in logs:PutLogEvents"):
            logs.put_log_events(
                **stream,
                entity={"keyAttributes": {"Type": "Service", "Name": "x"}},
                logEvents=[{"timestamp": now(), "message": "x"}],
            )


class TestGet:
    def test_pages_forwards_end_with_the_same_token(self, logs: Any, stream: dict[str, str]) -> None:
        put(logs, stream, *"abcde")
        answer = logs.get_log_events(**stream, startFromHead=True, limit=2)
        pages = [messages(answer)]
        while True:
            token = answer["nextForwardToken"]
            answer = logs.get_log_events(**stream, startFromHead=True, limit=2, nextToken=token)
            if answer["nextForwardToken"] == token:
                break
            pages.append(messages(answer))
        assert pages == [["a", "b"], ["c", "d"], ["e"]]
        assert messages(answer) == []
        put(logs, stream, "f")
        assert messages(logs.get_log_events(**stream, startFromHead=True, nextToken=token)) == ["f"]

    def test_pages_backwards_begin_with_the_newest(self, logs: Any, stream: dict[str, str]) -> None:
        put(logs, stream, *"abcde")
        answer = logs.get_log_events(**stream, limit=2)
        pages = [messages(answer)]
        while True:
            token = answer["nextBackwardToken"]
            answer = logs.get_log_events(**stream, limit=2, nextToken=token)
            if answer["nextBackwardToken"] == token:
                break
            pages.append(messages(answer))
        assert pages == [["d", "e"], ["b", "c"], ["a"]]

    def test_either_token_turns_round(self, logs: Any, stream: dict[str, str]) -> None:
        put(logs, stream, *"abcde")
        last = logs.get_log_events(**stream, limit=2)
        end = logs.get_log_events(**stream, nextToken=last["nextForwardToken"])
        assert messages(end) == []
        back = logs.get_log_events(**stream, limit=2, nextToken=end["nextBackwardToken"])
        assert messages(back) == ["d", "e"]
        before = logs.get_log_events(**stream, limit=2, nextToken=back["nextBackwardToken"])
        again = logs.get_log_events(**stream, limit=2, nextToken=before["nextForwardToken"])
        assert (messages(before), messages(again)) == (["b", "c"], ["d", "e"])
        head = logs.get_log_events(**stream, startFromHead=True, limit=2)
        nothing = logs.get_log_events(**stream, nextToken=head["nextBackwardToken"])
        assert messages(nothing) == []
        assert messages(logs.get_log_events(**stream, limit=1, nextToken=nothing["nextForwardToken"])) == ["a"]

    def test_an_empty_stream_has_tokens_that_lead_on(self, logs: Any, stream: dict[str, str]) -> None:
        answer = logs.get_log_events(**stream)
        assert messages(answer) == []
        put(logs, stream, "first")
        assert messages(logs.get_log_events(**stream, nextToken=answer["nextForwardToken"])) == ["first"]
        assert messages(logs.get_log_events(**stream, nextToken=answer["nextBackwardToken"])) == []

    def test_a_window_has_its_start_and_not_its_end(self, logs: Any, stream: dict[str, str]) -> None:
        at = now() - 20 * 60_000
        put(logs, stream, *"abc", at=at)
        assert messages(logs.get_log_events(**stream, startTime=at + 1, endTime=at + 2)) == ["b"]
        assert messages(logs.get_log_events(**stream, startTime=at + 1)) == ["b", "c"]
        assert messages(logs.get_log_events(**stream, endTime=2**63 - 1)) == ["a", "b", "c"]

    def test_a_page_holds_a_megabyte(self, logs: Any, stream: dict[str, str]) -> None:
        for number in range(5):
            put(logs, stream, str(number) * 300_000)
        assert len(logs.get_log_events(**stream, startFromHead=True)["events"]) == 3

    def test_errors(self, logs: Any, stream: dict[str, str]) -> None:
        with refused("ResourceNotFoundException", "The specified log group does not exist."):
            logs.get_log_events(logGroupName="none", logStreamName="s")
        with refused("ResourceNotFoundException", "The specified log stream does not exist."):
            logs.get_log_events(logGroupName=GROUP, logStreamName="s")
        for token in ("x", "f/", "f/-1", "f/1x", "a/1"):
            with refused("InvalidParameterException", "The specified nextToken is invalid."):
                logs.get_log_events(**stream, nextToken=token)


class TestFilter:
    @pytest.fixture
    def two(self, logs: Any, stream: dict[str, str]) -> int:
        """Two streams with events in turn; returns the first one's time."""
        at = now() - 20 * 60_000
        green = {"logGroupName": GROUP, "logStreamName": "green"}
        logs.create_log_stream(**green)
        for number in range(6):
            message = f'{{"number": {number}, "status": "{"ok" if number % 3 else "failed"}"}}'
            put(logs, green if number % 2 else stream, message, at=at + number)
        return at

    def numbers(self, logs: Any, size: int = 50, **parameters: Any) -> list[int]:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=GROUP, PaginationConfig={"PageSize": size}, **parameters
        )
        return [int(event["message"][11]) for page in pages for event in page["events"]]

    def test_streams_are_interleaved(self, logs: Any, two: int) -> None:
        answer = logs.filter_log_events(logGroupName=GROUP)
        assert [event["timestamp"] - two for event in answer["events"]] == [0, 1, 2, 3, 4, 5]
        assert [event["logStreamName"] for event in answer["events"]] == ["blue", "green"] * 3
        assert len({event["eventId"] for event in answer["events"]}) == 6
        assert answer["searchedLogStreams"] == []
        assert "nextToken" not in answer

    @pytest.mark.parametrize("size", [1, 2, 5, 6])
    def test_pages_both_ways(self, logs: Any, two: int, size: int) -> None:
        assert self.numbers(logs, size) == [0, 1, 2, 3, 4, 5]
        assert self.numbers(logs, size, startFromHead=False) == [5, 4, 3, 2, 1, 0]
        assert self.numbers(logs, size, filterPattern="ok") == [1, 2, 4, 5]

    def test_patterns(self, logs: Any, two: int) -> None:
        assert self.numbers(logs, filterPattern="failed") == [0, 3]
        assert self.numbers(logs, filterPattern='{ $.status = "ok" && $.number > 3 }') == [4, 5]
        assert self.numbers(logs, filterPattern="nothing") == []
        with refused("InvalidParameterException", r"Invalid character\(s\) in term ':'"):
            self.numbers(logs, filterPattern="status: ok")

    def test_streams_by_name_and_prefix(self, logs: Any, two: int) -> None:
        assert self.numbers(logs, logStreamNames=["green"]) == [1, 3, 5]
        assert self.numbers(logs, logStreamNamePrefix="bl") == [0, 2, 4]
        assert self.numbers(logs, logStreamNamePrefix="red") == []
        with refused("ResourceNotFoundException", "The specified log stream does not exist."):
            self.numbers(logs, logStreamNames=["green", "red"])
        with refused("InvalidParameterException", "mutually exclusive"):
            self.numbers(logs, logStreamNames=["green"], logStreamNamePrefix="g")

    def test_a_window_has_both_its_ends(self, logs: Any, two: int) -> None:
        assert self.numbers(logs, startTime=two + 1, endTime=two + 3) == [1, 2, 3]
        assert self.numbers(logs, startTime=two + 4) == [4, 5]

    def test_backwards_needs_a_start_since_2024(self, logs: Any, two: int) -> None:
        with refused("InvalidParameterException", "on or after Jan 1, 2024"):
            self.numbers(logs, startFromHead=False, startTime=0)
        assert self.numbers(logs, startFromHead=False, startTime=two) == [5, 4, 3, 2, 1, 0]

    def test_a_page_holds_a_megabyte(self, logs: Any, stream: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(log_events_module, "BYTES", 100)
        put(logs, stream, *[f"message {number}" for number in range(9)][:2], at=now() - 10)
        put(logs, stream, "third", at=now())
        answer = logs.filter_log_events(logGroupName=GROUP)
        assert messages(answer) == ["message 0", "message 1"]
        assert messages(logs.filter_log_events(logGroupName=GROUP, nextToken=answer["nextToken"])) == ["third"]


class TestLabTime:
    """A month ahead, a client's clock still shows the machine's time."""

    @pytest.fixture(autouse=True)
    def ahead(self, engine: Engine) -> None:
        engine.clock.advance(timedelta(days=31))

    def test_what_is_put_now_is_the_lab_s_now(self, engine: Engine, logs: Any, stream: dict[str, str]) -> None:
        answer = put(logs, stream, "a", "b")
        assert "rejectedLogEventsInfo" not in answer
        event = logs.get_log_events(**stream)["events"][0]
        assert abs(event["timestamp"] - engine.clock.time() * 1000) < 5_000
        assert abs(event["ingestionTime"] - engine.clock.time() * 1000) < 5_000

    def test_a_batch_moves_as_a_whole(self, logs: Any, stream: dict[str, str]) -> None:
        at = now()
        times = [at - 8 * 60_000, at]
        logs.put_log_events(**stream, logEvents=[{"timestamp": each, "message": "x"} for each in times])
        first, second = logs.get_log_events(**stream)["events"]
        assert second["timestamp"] - first["timestamp"] == 8 * 60_000

    def test_a_window_that_ends_now_does_so_in_the_lab(self, logs: Any, stream: dict[str, str]) -> None:
        put(logs, stream, "a")
        window = {"startTime": now() - 60_000, "endTime": now() + 1_000}
        assert messages(logs.get_log_events(**stream, **window)) == ["a"]
        assert messages(logs.filter_log_events(logGroupName=GROUP, **window)) == ["a"]
        then = {"startTime": now() - 2 * HOUR, "endTime": now() - HOUR}
        assert messages(logs.get_log_events(**stream, **then)) == []

    def test_a_window_without_an_end_takes_everything_since(self, logs: Any, stream: dict[str, str]) -> None:
        put(logs, stream, "a")
        assert messages(logs.filter_log_events(logGroupName=GROUP, startTime=now())) == ["a"]


def test_what_the_platform_writes_is_there(engine: Engine, cloud: AwsCloud, logs: Any) -> None:
    engine.logs.write("aws:123456789012:us-east-1", GROUP, "blue/1", "model loaded")
    assert messages(logs.get_log_events(logGroupName=GROUP, logStreamName="blue/1")) == ["model loaded"]
    assert cloud.inventory()["log groups"] == [GROUP]


@pytest.mark.parametrize(
    ("call", "parameters"),
    [
        ("start_query", {"logGroupName": "g", "startTime": 0, "endTime": 1, "queryString": "fields @message"}),
        (
            "put_metric_filter",
            {"logGroupName": "g", "filterName": "f", "filterPattern": "", "metricTransformations": [METRIC]},
        ),
        (
            "put_subscription_filter",
            {"logGroupName": "g", "filterName": "f", "filterPattern": "", "destinationArn": "arn:aws:lambda:x"},
        ),
        ("associate_kms_key", {"logGroupName": "g", "kmsKeyId": "k"}),
    ],
)
def test_what_is_not_served_refuses_by_name(logs: Any, call: str, parameters: dict[str, Any]) -> None:
    name = "".join(part.capitalize() for part in call.split("_"))
    with refused("NotImplementedException", f"do not serve logs:{name} yet"):
        getattr(logs, call)(**parameters)
