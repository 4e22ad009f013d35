"""The times that expressions name, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from labkit.cloud.aws.schedule_expressions import InvalidExpression, parse

START = datetime(2026, 11, 24, 15, 0, 30, tzinfo=UTC)


def times(expression: str, count: int, after: datetime = START, zone: str = "UTC") -> list[str]:
    parsed, found = parse(expression), []
    while len(found) < count and (when := parsed.next(after, ZoneInfo(zone), START)) is not None:
        found.append(f"{when:%Y-%m-%d %H:%M}")
        after = when
    return found


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("rate(1 minute)", ["2026-11-24 15:01", "2026-11-24 15:02"]),
        ("rate(12 hours)", ["2026-11-25 03:00", "2026-11-25 15:00"]),
        ("rate(2 days)", ["2026-11-26 15:00", "2026-11-28 15:00"]),
        ("cron(0 6 1 * ? *)", ["2026-12-01 06:00", "2027-01-01 06:00"]),
        ("cron(15 10 ? * MON-FRI *)", ["2026-11-25 10:15", "2026-11-26 10:15", "2026-11-27 10:15", "2026-11-30 10:15"]),
        ("cron(0/20 15,16 * * ? *)", ["2026-11-24 15:20", "2026-11-24 15:40", "2026-11-24 16:00"]),
        ("cron(0 8 ? * 2#1 *)", ["2026-12-07 08:00", "2027-01-04 08:00"]),
        ("cron(0 8 ? * 6L *)", ["2026-11-27 08:00", "2026-12-25 08:00"]),
        ("cron(0 8 ? * L *)", ["2026-11-28 08:00"]),
        ("cron(0 8 L * ? *)", ["2026-11-30 08:00", "2026-12-31 08:00"]),
        ("cron(0 8 LW JAN,FEB ? *)", ["2027-01-29 08:00", "2027-02-26 08:00"]),
        ("cron(0 8 1W * ? *)", ["2026-12-01 08:00", "2027-01-01 08:00", "2027-02-01 08:00", "2027-03-01 08:00"]),
        ("cron(0 8 2W 5 ? 2027)", ["2027-05-03 08:00"]),
        ("cron(0 0 29 2 ? *)", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("cron(0 0 31 * ? 2027-2028)", ["2027-01-31 00:00", "2027-03-31 00:00"]),
        ("at(2026-12-24T18:00:00)", ["2026-12-24 18:00"]),
        ("at(2026-11-24T15:00:00)", []),
    ],
)
def test_the_next_times(expression: str, wanted: list[str]) -> None:
    assert times(expression, len(wanted) or 1) == wanted


def test_daylight_saving() -> None:
    before_spring = datetime(2027, 3, 26, 12, tzinfo=UTC)
    # In Berlin 02:30 does not exist on 2027-03-28, and exists twice on 2027-10-31.
    assert times("cron(30 2 * * ? *)", 3, before_spring, "Europe/Berlin") == [
        "2027-03-27 01:30",
        "2027-03-29 00:30",
        "2027-03-30 00:30",
    ]
    before_autumn = datetime(2027, 10, 30, 12, tzinfo=UTC)
    assert times("cron(30 2 * * ? *)", 2, before_autumn, "Europe/Berlin") == ["2027-10-31 00:30", "2027-11-01 01:30"]
    assert times("at(2027-03-28T02:30:00)", 1, START, "Europe/Berlin") == []


def test_a_rate_counts_from_its_anchor() -> None:
    late = START + timedelta(hours=5, minutes=1)
    assert parse("rate(1 hour)").next(late, ZoneInfo("UTC"), START) == START + timedelta(hours=6)
    assert parse("rate(1 hour)").next(START - timedelta(days=1), ZoneInfo("UTC"), START) == START


@pytest.mark.parametrize(
    "text",
    [
        "",
        "every day",
        "rate(1 hours)",
        "rate(2 hour)",
        "rate(0 minutes)",
        "rate(1.5 hours)",
        "rate(1 week)",
        "cron(0 6 1 * *)",
        "cron(0 6 1 * * *)",
        "cron(0 6 ? * ? *)",
        "cron(60 6 1 * ? *)",
        "cron(0 6 0 * ? *)",
        "cron(0 6 ? * 8 *)",
        "cron(0 6 ? * MON-SUN *)",
        "cron(0/0 6 1 * ? *)",
        "cron(0 6 1 FOO ? *)",
        "at(2026-13-01T00:00:00)",
        "at(2026-12-01)",
    ],
)
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(InvalidExpression):
        parse(text)


def test_only_the_kinds_that_are_wanted() -> None:
    with pytest.raises(InvalidExpression):
        parse("at(2026-12-01T00:00:00)", "cron rate")
