"""CloudWatch through boto3: putting, listing and querying metrics, in lab time, errors included."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from labkit.cloud.aws import AwsCloud
from labkit.cloud.aws import cloudwatch as cloudwatch_module
from labkit.cloud.engine import Engine
from tests.cloud.aws.current_cloud import client
from tests.cloud.aws.in_process import Keys

SCOPE = "aws:123456789012:us-east-1"
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

Metric = dict[str, Any]
#: A metric as queries name it, and the platform's own that an endpoint's variant has.
ROWS: Metric = {"Namespace": "Churn", "MetricName": "Rows"}
LATENCY: Metric = {
    "Namespace": "AWS/SageMaker",
    "MetricName": "ModelLatency",
    "Dimensions": [{"Name": "EndpointName", "Value": "churn"}, {"Name": "VariantName", "Value": "blue"}],
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path)
    yield engine
    engine.close()


@pytest.fixture
def cloud(engine: Engine) -> AwsCloud:
    return AwsCloud(engine, Keys())


@pytest.fixture
def cloudwatch(cloud: AwsCloud) -> Any:
    return client(cloud, "cloudwatch")


@pytest.fixture
def hour() -> datetime:
    """The whole hour that began between two and three hours ago."""
    return (datetime.now(UTC) - 2 * HOUR).replace(minute=0, second=0, microsecond=0)


def put(cloudwatch: Any, at: datetime | None = None, namespace: str = "Churn", **datum: Any) -> None:
    when = {} if at is None else {"Timestamp": at}
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "Rows", **when, **datum}])


def statistics(cloudwatch: Any, start: datetime, end: datetime, metric: Metric = ROWS, **wanted: Any) -> list[Any]:
    wanted = {"Period": 60} | ({} if "ExtendedStatistics" in wanted else {"Statistics": ["Sum"]}) | wanted
    found = cloudwatch.get_metric_statistics(**metric, StartTime=start, EndTime=end, **wanted)
    assert found["Label"] == metric["MetricName"]
    return found["Datapoints"]


def stat(name: str = "m1", statistic: str = "Sum", metric: Metric = ROWS, period: int = 60, **more: Any) -> Any:
    return {"Id": name, "MetricStat": {"Metric": metric, "Period": period, "Stat": statistic}} | more


def data(cloudwatch: Any, start: datetime, end: datetime, *queries: Any, **more: Any) -> Any:
    return cloudwatch.get_metric_data(MetricDataQueries=list(queries), StartTime=start, EndTime=end, **more)


def values(cloudwatch: Any, start: datetime, end: datetime, *queries: Any) -> dict[str, list[float]]:
    answer = data(cloudwatch, start, end, *queries, ScanBy="TimestampAscending")
    return {each["Id"]: each["Values"] for each in answer["MetricDataResults"]}


def refused(code: str, message: str) -> Any:
    return pytest.raises(ClientError, match=rf"\({code}\).*{message}")


class TestPut:
    def test_a_value_now(self, cloudwatch: Any) -> None:
        put(cloudwatch, Value=3)
        now = datetime.now(UTC)
        (point,) = statistics(cloudwatch, now - HOUR, now + MINUTE, Period=3600 * 2)
        assert (point["Sum"], point["Unit"]) == (3.0, "None")

    def test_values_and_counts(self, cloudwatch: Any, hour: datetime) -> None:
        put(cloudwatch, hour, Values=[1.0, 10.0], Counts=[99.0, 1.0], Unit="Count")
        put(cloudwatch, hour, Values=[5.0])
        (count,) = statistics(cloudwatch, hour, hour + MINUTE, Unit="Count", Statistics=["SampleCount", "Sum"])
        assert (count["SampleCount"], count["Sum"]) == (100.0, 109.0)
        (percentile,) = statistics(cloudwatch, hour, hour + MINUTE, Unit="Count", ExtendedStatistics=["p50", "p99.9"])
        assert percentile["ExtendedStatistics"]["p50"] == 1.0
        assert percentile["ExtendedStatistics"]["p99.9"] == pytest.approx(9.109)
        assert len(statistics(cloudwatch, hour, hour + MINUTE)) == 2

    def test_a_statistic_set_has_no_percentiles(self, cloudwatch: Any, hour: datetime) -> None:
        values = {"SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 4}
        put(cloudwatch, hour, StatisticValues=values)
        every = ["SampleCount", "Sum", "Average", "Minimum", "Maximum"]
        (point,) = statistics(cloudwatch, hour, hour + MINUTE, Statistics=every)
        assert {name: point[name] for name in every} == {
            "SampleCount": 4.0,
            "Sum": 10.0,
            "Average": 2.5,
            "Minimum": 1.0,
            "Maximum": 4.0,
        }
        assert statistics(cloudwatch, hour, hour + MINUTE, ExtendedStatistics=["p50"]) == []
        assert values_of_p50(cloudwatch, hour) == []

    def test_a_statistic_set_of_equal_values_has_them(self, cloudwatch: Any, hour: datetime) -> None:
        put(cloudwatch, hour, StatisticValues={"SampleCount": 4, "Sum": 12, "Minimum": 3, "Maximum": 3})
        assert values_of_p50(cloudwatch, hour) == [3.0]

    def test_negative_values_have_no_percentiles(self, cloudwatch: Any, hour: datetime) -> None:
        put(cloudwatch, hour, Values=[-1.0, 5.0])
        assert statistics(cloudwatch, hour, hour + MINUTE, ExtendedStatistics=["p50"]) == []
        assert values_of_p50(cloudwatch, hour) == []

    def test_a_large_request_is_sent_compressed_and_read(self, cloudwatch: Any, hour: datetime) -> None:
        metrics = [{"MetricName": f"Rows{number}", "Timestamp": hour, "Value": number} for number in range(1_000)]
        cloudwatch.put_metric_data(Namespace="Churn", MetricData=metrics)
        (point,) = statistics(cloudwatch, hour, hour + MINUTE, {"Namespace": "Churn", "MetricName": "Rows999"})
        assert point["Sum"] == 999.0

    @pytest.mark.parametrize(
        ("code", "message", "datum"),
        [
            ("MissingParameter", "At least one of the parameters", {}),
            (
                "InvalidParameterCombination",
                "MetricData.member.1.Value and MetricData.member.1.StatisticValues are mutually exclusive",
                {"Value": 1, "StatisticValues": {"SampleCount": 1, "Sum": 1, "Minimum": 1, "Maximum": 1}},
            ),
            ("InvalidParameterCombination", "Value and MetricData.member.1.Values are", {"Value": 1, "Values": [1]}),
            ("InvalidParameterValue", "value 1e.200 for parameter MetricData.member.1.Value", {"Value": 1e200}),
            ("InvalidParameterValue", "must be of the same size", {"Values": [1, 2], "Counts": [1]}),
            (
                "InvalidParameterValue",
                "value 0 for parameter MetricData.member.1.Counts",
                {"Values": [1], "Counts": [0]},
            ),
            ("InvalidParameterValue", "must not have a size greater than 150", {"Values": [1] * 151}),
            ("MissingParameter", "MetricData.member.1.Values is required", {"Values": []}),
            ("InvalidParameterValue", "StorageResolution is invalid", {"Value": 1, "StorageResolution": 10}),
            (
                "InvalidParameterValue",
                "SampleCount is invalid",
                {"StatisticValues": {"SampleCount": 0, "Sum": 1, "Minimum": 1, "Maximum": 1}},
            ),
            (
                "InvalidParameterValue",
                "Maximum must be greater than Minimum",
                {"StatisticValues": {"SampleCount": 1, "Sum": 1, "Minimum": 2, "Maximum": 1}},
            ),
        ],
    )
    def test_bad_data(self, cloudwatch: Any, code: str, message: str, datum: dict[str, Any]) -> None:
        with refused(code, message):
            put(cloudwatch, **datum)

    def test_errors_have_the_model_s_classes(self, cloudwatch: Any) -> None:
        with pytest.raises(cloudwatch.exceptions.InvalidParameterValueException):
            put(cloudwatch, Value=1, StorageResolution=10)

    def test_timestamps_are_within_two_weeks_and_two_hours(self, cloudwatch: Any) -> None:
        now = datetime.now(UTC)
        message = r"The parameter MetricData.member.1.Timestamp must specify a time within the past two weeks\."
        with refused("InvalidParameterValue", message):
            put(cloudwatch, now - 15 * DAY, Value=1)
        with refused("InvalidParameterValue", "no more than two hours in the future"):
            put(cloudwatch, now + 3 * HOUR, Value=1)
        put(cloudwatch, now - 13 * DAY, Value=1)
        put(cloudwatch, now + 1.9 * HOUR, Value=1)

    def test_nothing_is_stored_of_a_request_with_bad_data(self, cloudwatch: Any) -> None:
        bad = [{"MetricName": "Rows", "Value": 1}, {"MetricName": "Rows", "Values": []}]
        with refused("MissingParameter", "MetricData.member.2.Values"):
            cloudwatch.put_metric_data(Namespace="Churn", MetricData=bad)
        assert cloudwatch.list_metrics()["Metrics"] == []

    def test_bad_requests(self, cloudwatch: Any) -> None:
        with refused("InvalidParameterValue", r"The value AWS/ for parameter Namespace is invalid\."):
            put(cloudwatch, namespace="AWS/SageMaker", Value=1)
        with refused("MissingParameter", "The parameter MetricData is required."):
            cloudwatch.put_metric_data(Namespace="Churn", MetricData=[])
        with refused("InvalidParameterValue", "MetricData must not have a size greater than 1000"):
            cloudwatch.put_metric_data(Namespace="Churn", MetricData=[{"MetricName": "m", "Value": 1}] * 1001)
        with refused("NotImplementedException", "do not serve entities in cloudwatch:PutMetricData"):
            cloudwatch.put_metric_data(Namespace="Churn", EntityMetricData=[{"MetricData": []}])


def values_of_p50(cloudwatch: Any, hour: datetime) -> list[float]:
    return values(cloudwatch, hour, hour + MINUTE, stat(statistic="p50"))["m1"]


class TestStatistics:
    def test_the_platform_s_latencies(self, engine: Engine, cloudwatch: Any, hour: datetime) -> None:
        dimensions = {"EndpointName": "churn", "VariantName": "blue"}
        for number in range(1, 101):
            engine.metrics.put(
                SCOPE, "AWS/SageMaker", "ModelLatency", dimensions, 1000.0 * number, at=hour, unit="Microseconds"
            )
        wanted = {"Period": 3600, "ExtendedStatistics": ["p50", "p90", "p99", "p0.0", "p100"]}
        (point,) = statistics(cloudwatch, hour, hour + HOUR, LATENCY, **wanted)
        assert point["Unit"] == "Microseconds"
        assert point["ExtendedStatistics"] == pytest.approx(
            {"p50": 50_500, "p90": 90_100, "p99": 99_010, "p0.0": 1_000, "p100": 100_000}
        )
        assert point["Timestamp"] == hour
        assert statistics(cloudwatch, hour, hour + HOUR, LATENCY | {"Dimensions": LATENCY["Dimensions"][:1]}) == []

    def test_periods_begin_at_the_start_s_minute(self, cloudwatch: Any, hour: datetime) -> None:
        for minute in range(0, 20, 5):
            put(cloudwatch, hour + minute * MINUTE, Value=1)
        points = statistics(cloudwatch, hour + timedelta(seconds=42), hour + 20 * MINUTE, Period=600)
        assert [(point["Timestamp"], point["Sum"]) for point in points] == [(hour, 2.0), (hour + 10 * MINUTE, 2.0)]

    def test_high_resolution(self, cloudwatch: Any) -> None:
        start = (datetime.now(UTC) - 30 * MINUTE).replace(second=0, microsecond=0)
        for second in range(20):
            put(cloudwatch, start + timedelta(seconds=second), Value=1, StorageResolution=1)
        points = statistics(cloudwatch, start, start + MINUTE, Period=10)
        assert [point["Sum"] for point in points] == [10.0, 10.0]

    @pytest.mark.parametrize(
        ("code", "message", "wanted"),
        [
            (
                "InvalidParameterCombination",
                "Must specify either",
                {"Statistics": ["Sum"], "ExtendedStatistics": ["p5"]},
            ),
            ("InvalidParameterValue", "The parameter Period must be", {"Period": 61}),
            ("InvalidParameterValue", "The parameter Period must be", {"Period": 7}),
            ("InvalidParameterValue", "The value p101 for parameter Ext", {"ExtendedStatistics": ["p101"]}),
            ("InvalidParameterValue", "The value Sum for parameter Ext", {"ExtendedStatistics": ["Sum"]}),
            ("ValidationError", "Value '.Median.' at 'statistics'", {"Statistics": ["Median"]}),
            ("NotImplementedException", "do not serve the statistic tm90 in", {"ExtendedStatistics": ["tm90"]}),
            ("NotImplementedException", r"the statistic PR\(:300\) in", {"ExtendedStatistics": ["PR(:300)"]}),
        ],
    )
    def test_errors(self, cloudwatch: Any, hour: datetime, code: str, message: str, wanted: dict[str, Any]) -> None:
        with refused(code, message):
            statistics(cloudwatch, hour, hour + HOUR, **wanted)

    def test_windows_that_are_not(self, cloudwatch: Any, hour: datetime) -> None:
        with refused("InvalidParameterValue", "StartTime must be less than the parameter EndTime"):
            statistics(cloudwatch, hour, hour - HOUR)
        with refused("InvalidParameterValue", "StartTime must not equal parameter EndTime"):
            statistics(cloudwatch, hour, hour)

    def test_at_most_1440_points(self, cloudwatch: Any, hour: datetime) -> None:
        assert statistics(cloudwatch, hour - DAY, hour) == []
        message = (
            "You have requested up to 1441 datapoints, which exceeds the limit of 1440. You may reduce the datapoints "
            "requested by increasing Period, or decreasing the time range."
        )
        with refused("InvalidParameterCombination", message):
            statistics(cloudwatch, hour - DAY - MINUTE, hour)

    def test_old_data_only_comes_in_long_periods(self, engine: Engine, cloudwatch: Any, hour: datetime) -> None:
        put(cloudwatch, hour, Value=1)
        engine.clock.advance(16 * DAY)
        assert statistics(cloudwatch, hour, hour + HOUR, Period=60) == []
        assert len(statistics(cloudwatch, hour, hour + HOUR, Period=300)) == 1
        engine.clock.advance(50 * DAY)
        assert statistics(cloudwatch, hour, hour + HOUR, Period=300) == []
        (point,) = statistics(cloudwatch, hour + 7 * MINUTE, hour + HOUR, Period=3600)
        assert point["Timestamp"] == hour


class TestData:
    @pytest.fixture(autouse=True)
    def rows(self, cloudwatch: Any, hour: datetime) -> None:
        """Rows 1 to 5 in the hour's first five minutes, errors in two of them."""
        for minute in range(5):
            put(cloudwatch, hour + minute * MINUTE, Value=minute + 1)
        for minute in (1, 4):
            put(cloudwatch, hour + minute * MINUTE, Value=1, MetricName="Errors")

    errors = stat("errors", metric={"Namespace": "Churn", "MetricName": "Errors"})

    def test_the_newest_come_first_unless_asked_otherwise(self, cloudwatch: Any, hour: datetime) -> None:
        (result,) = data(cloudwatch, hour, hour + HOUR, stat())["MetricDataResults"]
        assert result["Values"] == [5.0, 4.0, 3.0, 2.0, 1.0]
        assert result["Timestamps"] == [hour + minute * MINUTE for minute in (4, 3, 2, 1, 0)]
        assert (result["Id"], result["Label"], result["StatusCode"]) == ("m1", "Rows", "Complete")
        assert values(cloudwatch, hour, hour + HOUR, stat()) == {"m1": [1.0, 2.0, 3.0, 4.0, 5.0]}

    def test_statistics_and_percentiles(self, cloudwatch: Any, hour: datetime) -> None:
        wanted = {"Average": 3.0, "SampleCount": 5.0, "Minimum": 1.0, "Maximum": 5.0, "p50": 3.0, "p90": 4.6}
        queries = [stat(f"m{number}", name, period=3600) for number, name in enumerate(wanted)]
        found = values(cloudwatch, hour, hour + HOUR, *queries)
        assert found == {f"m{number}": [pytest.approx(each)] for number, each in enumerate(wanted.values())}

    def test_math(self, cloudwatch: Any, hour: datetime) -> None:
        rate = {"Id": "rate", "Expression": "100 * FILL(errors, 0) / m1", "Label": "Error rate"}
        both = {"Id": "both", "Expression": "METRICS() * half", "Label": "Both"}
        half = {"Id": "half", "Expression": "rate / rate * 0.5", "ReturnData": False}
        answer = data(
            cloudwatch, hour, hour + 5 * MINUTE, stat(), self.errors | {"ReturnData": False}, rate, half, both
        )
        labels = [(each["Id"], each["Label"]) for each in answer["MetricDataResults"]]
        assert labels == [("m1", "Rows"), ("rate", "Error rate"), ("both", "Both Rows"), ("both", "Both Errors")]
        assert answer["MetricDataResults"][1]["Values"] == [20.0, 0.0, 0.0, 50.0, 0.0]
        assert answer["MetricDataResults"][3]["Values"] == [0.5, 0.5]

    def test_an_expression_s_default_label_is_its_id(self, cloudwatch: Any, hour: datetime) -> None:
        answer = data(cloudwatch, hour, hour + HOUR, stat(), {"Id": "e1", "Expression": "m1 * 2"})
        assert answer["MetricDataResults"][1]["Label"] == "e1"

    def test_pages(self, cloudwatch: Any, hour: datetime) -> None:
        queries = [stat("empty", metric=ROWS | {"MetricName": "None"}), stat(), self.errors]
        pages = []
        token: dict[str, str] = {}
        while True:
            answer = data(cloudwatch, hour, hour + HOUR, *queries, MaxDatapoints=3, **token)
            pages.append([(each["Id"], each["Values"], each["StatusCode"]) for each in answer["MetricDataResults"]])
            if "NextToken" not in answer:
                break
            token = {"NextToken": answer["NextToken"]}
        assert pages == [
            [("empty", [], "Complete"), ("m1", [5.0, 4.0, 3.0], "PartialData")],
            [("m1", [2.0, 1.0], "Complete"), ("errors", [1.0], "PartialData")],
            [("errors", [1.0], "Complete")],
        ]
        with refused("InvalidNextToken", "next token"):
            data(cloudwatch, hour, hour + HOUR, stat(), NextToken="x")

    def test_units(self, cloudwatch: Any, hour: datetime) -> None:
        put(cloudwatch, hour, Value=100, Unit="Count")
        in_counts = stat()
        in_counts["MetricStat"]["Unit"] = "Count"
        assert values(cloudwatch, hour, hour + HOUR, in_counts) == {"m1": [100.0]}
        assert len(values(cloudwatch, hour, hour + HOUR, stat())["m1"]) == 6
        with refused("ValidationError", "Error in expression 'e1': m1 has data in several units"):
            data(cloudwatch, hour, hour + HOUR, stat(), {"Id": "e1", "Expression": "m1 * 2"})

    @pytest.mark.parametrize(
        ("message", "query"),
        [
            ("The values for parameter id in MetricDataQueries are not unique", stat()),
            (r"The value M2 .*member.2.Id is not matching the expected pattern \^\[a-z\]", stat("M2")),
            ("The value Median for .*member.2.MetricStat.Stat is not a valid statistic", stat("m2", "Median")),
            ("member.2.MetricStat.Period must be", stat("m2", period=90)),
            ("member.2.MetricStat is required", {"Id": "m2"}),
            ("Expression and MetricStat are mutually exclusive", stat("m2") | {"Expression": "m1"}),
            ("member.2.MetricStat.Metric.MetricName is required", stat("m2", metric={"Namespace": "Churn"})),
            ("Error in expression 'e1': Function 'MEDIAN' not found", {"Id": "e1", "Expression": "MEDIAN(m1)"}),
            ("Error in expression 'e1': Invalid syntax", {"Id": "e1", "Expression": "m1 +"}),
            ("Error in expression 'e1': m9 is no Id", {"Id": "e1", "Expression": "m9"}),
            ("Error in expression 'e1': e1 depends on itself", {"Id": "e1", "Expression": "e1 + m1"}),
            ("Error in expression 'e1': The result is a number", {"Id": "e1", "Expression": "5", "ReturnData": False}),
            ("its Period is not that of its metrics, 60 s", {"Id": "e1", "Expression": "m1", "Period": 300}),
        ],
    )
    def test_queries_that_are_not_valid(self, cloudwatch: Any, hour: datetime, message: str, query: Any) -> None:
        with refused("ValidationError", message):
            data(cloudwatch, hour, hour + HOUR, stat(), query)

    @pytest.mark.parametrize(
        ("what", "query"),
        [
            ("the function SEARCH", {"Id": "e1", "Expression": "SEARCH('{Churn} Rows', 'Sum')"}),
            (r"Metrics Insights queries \(SELECT", {"Id": "e1", "Expression": 'SELECT SUM(Rows) FROM "Churn"'}),
            ("the statistic WM", stat("m2", "WM(10%:90%)")),
            ("dynamic labels", stat("m2", Label="${MAX}")),
            ("the metrics of other accounts", stat("m2", AccountId="999999999999")),
        ],
    )
    def test_what_is_not_served_refuses_by_name(self, cloudwatch: Any, hour: datetime, what: str, query: Any) -> None:
        with refused("NotImplementedException", f"do not serve {what}.* in cloudwatch:GetMetricData"):
            data(cloudwatch, hour, hour + HOUR, stat(), query)

    def test_bad_requests(self, cloudwatch: Any, hour: datetime) -> None:
        with refused("MissingParameter", "MetricDataQueries is required"):
            data(cloudwatch, hour, hour + HOUR)
        with refused("ValidationError", "size greater than 500"):
            data(cloudwatch, hour, hour + HOUR, *[stat(f"m{number}") for number in range(501)])
        with refused("ValidationError", "must be greater than StartTime"):
            data(cloudwatch, hour, hour - HOUR, stat())
        with refused("ValidationError", "must not equal"):
            data(cloudwatch, hour, hour, stat())
        with refused("ValidationError", "MaxDatapoints must be between 1 and 100800"):
            data(cloudwatch, hour, hour + HOUR, stat(), MaxDatapoints=0)
        with refused("ValidationError", "LabelOptions.Timezone is invalid"):
            data(cloudwatch, hour, hour + HOUR, stat(), LabelOptions={"Timezone": "CET"})
        assert data(cloudwatch, hour, hour + HOUR, stat(), LabelOptions={"Timezone": "+0130"})["MetricDataResults"]


class TestList:
    def test_filters(self, engine: Engine, cloudwatch: Any) -> None:
        for variant in ("blue", "green"):
            dimensions = {"EndpointName": "churn", "VariantName": variant}
            engine.metrics.put(SCOPE, "AWS/SageMaker", "ModelLatency", dimensions, 1.0)
        put(cloudwatch, Value=1)

        def names(**filters: Any) -> list[str]:
            return [
                "/".join([each["MetricName"], *[dimension["Value"] for dimension in each["Dimensions"]]])
                for each in cloudwatch.list_metrics(**filters)["Metrics"]
            ]

        both = ["ModelLatency/churn/blue", "ModelLatency/churn/green"]
        assert names() == [*both, "Rows"]
        assert names(Namespace="AWS/SageMaker") == both
        assert names(MetricName="Rows") == ["Rows"]
        assert names(Dimensions=[{"Name": "VariantName"}]) == both
        assert names(Dimensions=[{"Name": "VariantName", "Value": "green"}]) == both[1:]
        assert names(Namespace="None") == []

    def test_it_shows_two_weeks_or_the_recently_active(self, engine: Engine, cloudwatch: Any) -> None:
        put(cloudwatch, Value=1)
        assert len(cloudwatch.list_metrics(RecentlyActive="PT3H")["Metrics"]) == 1
        engine.clock.advance(4 * HOUR)
        assert cloudwatch.list_metrics(RecentlyActive="PT3H")["Metrics"] == []
        assert len(cloudwatch.list_metrics()["Metrics"]) == 1
        engine.clock.advance(14 * DAY)
        assert cloudwatch.list_metrics()["Metrics"] == []

    def test_pages(self, cloudwatch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cloudwatch_module, "PAGE", 2)
        for number in range(5):
            put(cloudwatch, MetricName=f"m{number}", Value=1, Dimensions=[{"Name": "d", "Value": "v"}])
        pages = [
            [each["MetricName"] for each in page["Metrics"]]
            for page in cloudwatch.get_paginator("list_metrics").paginate()
        ]
        assert pages == [["m0", "m1"], ["m2", "m3"], ["m4"]]
        with refused("InvalidParameterValue", "NextToken is invalid"):
            cloudwatch.list_metrics(NextToken="x")

    def test_regions_do_not_meet(self, cloud: AwsCloud, cloudwatch: Any) -> None:
        put(cloudwatch, Value=1)
        assert client(cloud, "cloudwatch", "eu-west-1").list_metrics()["Metrics"] == []

    def test_linked_accounts_are_refused(self, cloudwatch: Any) -> None:
        with refused("NotImplementedException", "do not serve linked accounts in cloudwatch:ListMetrics"):
            cloudwatch.list_metrics(IncludeLinkedAccounts=True)


class TestLabTime:
    """A month ahead, a client's clock still shows the machine's time."""

    @pytest.fixture(autouse=True)
    def ahead(self, engine: Engine) -> None:
        engine.clock.advance(31 * DAY)

    def test_what_is_put_now_is_the_lab_s_now(self, engine: Engine, cloudwatch: Any) -> None:
        now = datetime.now(UTC)
        put(cloudwatch, Value=1)
        put(cloudwatch, now, Value=2)
        put(cloudwatch, now.replace(tzinfo=None), Value=4)
        points = statistics(cloudwatch, now - HOUR, datetime.now(UTC) + MINUTE)
        assert sum(point["Sum"] for point in points) == 7.0
        for point in points:
            assert abs(point["Timestamp"] - engine.clock.now()) < 3 * MINUTE

    def test_a_request_s_data_move_together(self, engine: Engine, cloudwatch: Any) -> None:
        now = datetime.now(UTC)
        times = [now - 10 * MINUTE, now]
        cloudwatch.put_metric_data(
            Namespace="Churn", MetricData=[{"MetricName": "Rows", "Timestamp": each, "Value": 1} for each in times]
        )
        first, second = (point["Timestamp"] for point in statistics(cloudwatch, now - HOUR, now + MINUTE))
        assert second - first == 10 * MINUTE

    def test_a_window_that_ends_now_does_so_in_the_lab(self, cloudwatch: Any) -> None:
        put(cloudwatch, Value=1)
        now = datetime.now(UTC)
        assert values(cloudwatch, now - HOUR, now + MINUTE, stat(period=3600 * 2)) == {"m1": [1.0]}
        assert values(cloudwatch, now - 3 * HOUR, now - 2 * HOUR, stat()) == {"m1": []}

    def test_a_window_in_lab_time_is_taken_as_it_is(self, engine: Engine, cloudwatch: Any) -> None:
        put(cloudwatch, Value=1)
        lab = engine.clock.now()
        assert values(cloudwatch, lab - HOUR, lab + MINUTE, stat(period=3600 * 2)) == {"m1": [1.0]}

    def test_two_weeks_are_the_lab_s(self, engine: Engine, cloudwatch: Any) -> None:
        with refused("InvalidParameterValue", "within the past two weeks"):
            put(cloudwatch, datetime.now(UTC) - DAY, Value=1)
        put(cloudwatch, engine.clock.now() - 13 * DAY, Value=1)


@pytest.mark.parametrize("call", ["describe_alarms", "list_dashboards", "describe_anomaly_detectors"])
def test_what_is_not_served_refuses_by_name(cloudwatch: Any, call: str) -> None:
    name = "".join(part.capitalize() for part in call.split("_"))
    with refused("NotImplementedException", f"do not serve cloudwatch:{name} yet"):
        getattr(cloudwatch, call)()
