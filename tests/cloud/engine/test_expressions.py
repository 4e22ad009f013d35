"""When schedules fire, with the examples of the vendors' pages and the days on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from labkit.cloud.engine import expressions
from labkit.cloud.engine.errors import Invalid
from labkit.cloud.engine.expressions import Cron, Expression, Recurrence, aws, cron_in_zone

NEW_YORK, BERLIN, ZULU = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def firings(expression: Expression, after: str, count: int, zone: ZoneInfo = ZULU) -> list[str]:
    """The next instants, as the clocks of the zone show them."""
    found, now = [], at(after)
    for _ in range(count):
        following = expression.next(now, zone)
        if following is None:
            break
        assert following > now
        assert following.tzinfo is UTC
        found.append(following.astimezone(zone).strftime("%Y-%m-%dT%H:%M"))
        now = following
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html, its examples
        ("cron(0 10 * * ? *)", ["2026-11-24T10:00", "2026-11-25T10:00"]),
        ("cron(15 12 * * ? *)", ["2026-11-24T12:15", "2026-11-25T12:15"]),
        ("cron(0 18 ? * MON-FRI *)", ["2026-11-24T18:00", "2026-11-25T18:00", "2026-11-26T18:00", "2026-11-27T18:00"]),
        ("cron(0 8 1 * ? *)", ["2026-12-01T08:00", "2027-01-01T08:00"]),
        ("cron(0/15 * * * ? *)", ["2026-11-24T00:15", "2026-11-24T00:30", "2026-11-24T00:45", "2026-11-24T01:00"]),
        ("cron(0/10 * ? * MON-FRI *)", ["2026-11-24T00:10", "2026-11-24T00:20"]),
        ("cron(0/5 8-17 ? * MON-FRI *)", ["2026-11-24T08:00", "2026-11-24T08:05"]),
        ("cron(0 9 ? * 2#1 *)", ["2026-12-07T09:00", "2027-01-04T09:00"]),
        ("cron(30 20 ? * FRI#5 *)", ["2027-01-29T20:30", "2027-04-30T20:30"]),
        ("cron(0 0 L * ? *)", ["2026-11-30T00:00", "2026-12-31T00:00", "2027-01-31T00:00", "2027-02-28T00:00"]),
        ("cron(0 0 LW * ? *)", ["2026-11-30T00:00", "2026-12-31T00:00", "2027-01-29T00:00"]),
        ("cron(0 0 15W * ? *)", ["2026-12-15T00:00", "2027-01-15T00:00", "2027-02-15T00:00", "2027-03-15T00:00"]),
        ("cron(0 0 1W 5 ? 2027)", ["2027-05-03T00:00"]),
        ("cron(0 0 ? * L *)", ["2026-11-28T00:00", "2026-12-05T00:00"]),
        ("cron(0 0 ? * 6L *)", ["2026-11-27T00:00", "2026-12-25T00:00"]),
        ("cron(0 0 29 2 ? *)", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("cron(0 0 1 1 ? 2027-2028)", ["2027-01-01T00:00", "2028-01-01T00:00"]),
        ("cron(0 0 1 1 ? 2020)", []),
        ("cron(0 0 30 2 ? *)", []),
        ("rate(5 minutes)", ["2026-11-24T00:05", "2026-11-24T00:10"]),
        ("rate(1 hour)", ["2026-11-24T01:00", "2026-11-24T02:00"]),
        ("rate(7 days)", ["2026-12-01T00:00", "2026-12-08T00:00"]),
        ("at(2026-11-24T10:00:00)", ["2026-11-24T10:00"]),
        ("at(2020-11-24T10:00:00)", []),
    ],
)
def test_eventbridges_expressions(text, expected):
    # Enough for a list to be the whole of a finite one.
    count = len(expected) if text.startswith("rate") or len(expected) > 2 else 2
    found = firings(aws(text), "2026-11-24T00:00:00", max(count, 1))
    assert found[: len(expected)] == expected
    if len(expected) < count:
        assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cron(0 10 * * *)", "cron(0 10 * * *) has 5 fields; it takes 6."),
        (
            "cron(0 10 * * * *)",
            "cron(0 10 * * * *) takes a ? for the day of month or for the day of week, and for one only.",
        ),
        (
            "cron(0 10 ? * ? *)",
            "cron(0 10 ? * ? *) takes a ? for the day of month or for the day of week, and for one only.",
        ),
        ("cron(60 10 * * ? *)", "The cron field 60 has '60' where a value from 0 to 59 belongs."),
        ("cron(0 10 ? * 0 *)", "The cron field 0 has '0' where a value from 1 to 7 belongs."),
        ("cron(0 10 ? * SOMEDAY *)", "The cron field SOMEDAY has 'SOMEDAY' where a value from 1 to 7 belongs."),
        ("cron(0 10 32 * ? *)", "The cron field 32 has '32' where a value from 1 to 31 belongs."),
        ("cron(0 10 ? * 3#6 *)", "The cron field 3#6 has '6' where a value from 1 to 5 belongs."),
        ("cron(0 17-9 * * ? *)", "The cron field 17-9 has a range that ends before it begins."),
        ("cron(0/0 10 * * ? *)", "The cron field 0/0 has '0' where a value from 1 to 59 belongs."),
        ("cron(0 10 * * ? 1900)", "The cron field 1900 has '1900' where a value from 1970 to 2199 belongs."),
        ("rate(0 minutes)", "rate(0 minutes) has a value that is not positive, or too large."),
        (
            "rate(5 weeks)",
            "'rate(5 weeks)' is no schedule expression: write cron(...), rate(...) or at(yyyy-mm-ddThh:mm:ss).",
        ),
        ("at(2026-13-01T00:00:00)", "at(2026-13-01T00:00:00) is no date and time: month must be in 1..12."),
    ],
)
def test_what_eventbridge_cannot_read_is_refused(text, message):
    with pytest.raises(Invalid) as refused:
        aws(text)
    assert refused.value.message == message


def test_eventbridge_skips_the_hour_left_out_and_fires_once_in_the_repeated_one():
    nightly = aws("cron(30 2 * * ? *)")
    assert firings(nightly, "2026-03-07T00:00:00", 3, NEW_YORK) == [
        "2026-03-07T02:30",
        "2026-03-09T02:30",
        "2026-03-10T02:30",
    ]
    assert firings(aws("cron(30 1 * * ? *)"), "2026-10-31T00:00:00", 3, NEW_YORK) == [
        "2026-10-31T01:30",
        "2026-11-01T01:30",
        "2026-11-02T01:30",
    ]
    # From within the repeated hour: it has fired already.
    assert firings(aws("cron(30 1 * * ? *)"), "2026-11-01T06:10:00", 1, NEW_YORK) == ["2026-11-02T01:30"]
    assert aws("cron(30 1 1 11 ? 2026)").next(at("2026-10-01T00:00:00"), NEW_YORK) == at("2026-11-01T05:30:00")


def test_a_day_of_a_rate_has_24_hours_and_counts_from_its_anchor():
    rate = aws("rate(1 day)", anchor=at("2026-03-07T12:00:00"))
    assert firings(rate, "2026-03-07T11:59:59", 3, NEW_YORK) == [
        "2026-03-07T07:00",
        "2026-03-08T08:00",
        "2026-03-09T08:00",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 9 1 * *", ["2026-12-01T09:00", "2027-01-01T09:00"]),
        ("*/20 * * * *", ["2026-11-24T00:20", "2026-11-24T00:40", "2026-11-24T01:00"]),
        ("0 9 * * mon-fri", ["2026-11-24T09:00", "2026-11-25T09:00"]),
        ("0 9 * JAN,jul SUN", ["2027-01-03T09:00", "2027-01-10T09:00"]),
        ("0 9 * * 7", ["2026-11-29T09:00", "2026-12-06T09:00"]),
        ("0 0 1,15 * 3", ["2026-11-25T00:00", "2026-12-01T00:00", "2026-12-02T00:00", "2026-12-09T00:00"]),
        ("0 0 1 * SAT", ["2026-11-28T00:00", "2026-12-01T00:00", "2026-12-05T00:00"]),
    ],
)
def test_crontabs(text, expected):
    assert firings(Cron(text), "2026-11-24T00:00:00", len(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "0 9 * *", "0 9 L * *", "0 9 * * 5L", "0 9 * * 1#1", "0 0 9 1 * *", "61 * * * *", "0 9 1W * *"]
)
def test_what_no_crontab_has_is_refused(text):
    with pytest.raises(Invalid, match="is not a cron expression"):
        Cron(text)


def test_a_crontab_fires_after_the_hour_left_out_and_once_in_the_repeated_one():
    assert firings(Cron("30 2 * * *"), "2026-03-28T12:00:00", 2, BERLIN) == ["2026-03-29T03:00", "2026-03-30T02:30"]
    assert firings(Cron("30 2 * * *"), "2026-10-24T12:00:00", 2, BERLIN) == ["2026-10-25T02:30", "2026-10-26T02:30"]
    hourly = [Cron("0 * * * *").next(at(f"2026-10-25T0{hour}:30:00"), BERLIN) for hour in range(3)]
    assert hourly == [at(f"2026-10-25T0{hour}:00:00") for hour in (1, 2, 3)]


def test_a_crontab_may_name_its_zone():
    cron, zone = cron_in_zone("TZ=Europe/Berlin 0 9 1 * *")
    assert cron.next(at("2026-11-24T00:00:00"), zone) == at("2026-12-01T08:00:00")
    assert cron_in_zone("CRON_TZ=America/New_York 0 9 * * *")[1] == NEW_YORK
    assert cron_in_zone("0 9 * * *")[1] == ZULU
    with pytest.raises(Invalid, match="'Nowhere/Here' is no time zone"):
        cron_in_zone("TZ=Nowhere/Here 0 9 * * *")


START = datetime(2026, 11, 24, 9, 30)  # A Tuesday.


@pytest.mark.parametrize(
    ("recurrence", "expected"),
    [
        (Recurrence("minute", 20, START), ["2026-11-24T09:30", "2026-11-24T09:50"]),
        (Recurrence("hour", 5, START), ["2026-11-24T09:30", "2026-11-24T14:30"]),
        (Recurrence("day", 2, START), ["2026-11-24T09:30", "2026-11-26T09:30"]),
        (
            Recurrence("day", 1, START, hours=[8, 10], minutes=[0, 30]),
            ["2026-11-24T10:00", "2026-11-24T10:30", "2026-11-25T08:00", "2026-11-25T08:30"],
        ),
        (Recurrence("week", 1, START), ["2026-11-24T09:30", "2026-12-01T09:30"]),
        (
            Recurrence("week", 2, START, hours=[10], minutes=[15], week_days=[0, 4]),
            ["2026-11-27T10:15", "2026-12-07T10:15", "2026-12-11T10:15", "2026-12-21T10:15"],
        ),
        (
            Recurrence("month", 1, START, hours=[0], minutes=[0], month_days=[1]),
            ["2026-12-01T00:00", "2027-01-01T00:00"],
        ),
        (Recurrence("month", 3, START), ["2026-11-24T09:30", "2027-02-24T09:30", "2027-05-24T09:30"]),
        (
            Recurrence("month", 1, START, month_days=[30, 31]),
            [
                "2026-11-30T09:30",
                "2026-12-30T09:30",
                "2026-12-31T09:30",
                "2027-01-30T09:30",
                "2027-01-31T09:30",
                "2027-03-30T09:30",
            ],
        ),
    ],
)
def test_azures_recurrences(recurrence, expected):
    assert firings(recurrence, "2026-11-01T00:00:00", len(expected)) == expected


def test_a_recurrence_shifts_what_falls_into_the_hour_left_out():
    nightly = Recurrence("day", 1, datetime(2026, 3, 1), hours=[2], minutes=[30])
    assert firings(nightly, "2026-03-07T12:00:00", 2, NEW_YORK) == ["2026-03-08T03:30", "2026-03-09T02:30"]
    assert firings(nightly, "2026-10-31T12:00:00", 2, NEW_YORK) == ["2026-11-01T02:30", "2026-11-02T02:30"]
    early = Recurrence("day", 1, datetime(2026, 3, 1), hours=[1], minutes=[30])
    assert firings(early, "2026-10-31T12:00:00", 2, NEW_YORK) == ["2026-11-01T01:30", "2026-11-02T01:30"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hours": [24]}, "A recurrence's hours are from 0 to 23, not 24."),
        ({"minutes": [-1]}, "A recurrence's minutes are from 0 to 59, not -1."),
        ({"month_days": [0]}, "A recurrence's month days are from 1 to 31, not 0."),
        ({"interval": 0}, "A recurrence's interval is at least 1, not 0."),
    ],
)
def test_recurrences_that_cannot_be_are_refused(options, message):
    with pytest.raises(Invalid) as refused:
        Recurrence(**{"frequency": "month", "interval": 1, "start": START, **options})
    assert refused.value.message == message


@pytest.mark.parametrize("text", ["cron(0 * * * ? *)", "cron(0 9 1 * ? *)", "cron(*/7 3 ? * 2,5 *)"])
@pytest.mark.parametrize("zone", [ZULU, NEW_YORK, BERLIN])
def test_eventbridges_cron_agrees_with_looking_at_every_minute(text, zone):
    cron = expressions.AwsCron(text[5:-1])
    for begin in ("2026-03-07T00:00:00", "2026-10-24T20:00:00", "2026-10-31T20:00:00"):
        now, seen, expected = at(begin), set(), []
        while now < at(begin) + timedelta(days=3):
            now += timedelta(minutes=1)
            local = now.astimezone(zone).replace(tzinfo=None)
            fields_match = (
                local.minute in ({0} if not text.startswith("cron(*/7") else set(range(0, 60, 7)))
                and (text.startswith("cron(0 *") or local.hour == (9 if "9 1" in text else 3))
                and ("9 1" not in text or local.day == 1)
                and ("2,5" not in text or local.weekday() in (0, 3))
            )
            if fields_match and local not in seen:
                seen.add(local)
                expected.append(now)
        found, after = [], at(begin)
        while (after := cron.next(after, zone) or at("2100-01-01T00:00:00")) <= at(begin) + timedelta(days=3):
            found.append(after)
        assert found == expected
