"""Lengths of time in ISO 8601, read and written."""

from __future__ import annotations

from datetime import timedelta

import pytest

from labkit.cloud.azure import durations


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("PT5S", timedelta(seconds=5)),
        ("PT0.5S", timedelta(seconds=0.5)),
        ("PT1M30S", timedelta(seconds=90)),
        ("PT1H", timedelta(hours=1)),
        ("P1D", timedelta(days=1)),
        ("P1DT2H", timedelta(hours=26)),
        ("PT0S", timedelta(0)),
    ],
)
def test_what_azure_writes(text: str, length: timedelta) -> None:
    assert durations.parse(text) == length
    assert durations.text(length) == text


def test_other_ways_to_write_a_length() -> None:
    assert durations.parse("P2W") == timedelta(weeks=2)
    assert durations.parse("PT5000S") == timedelta(seconds=5000)
    assert durations.text(timedelta(seconds=5000)) == "PT1H23M20S"
    assert durations.text(timedelta(milliseconds=1500)) == "PT1.5S"


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "5S", "P1Y", "P1M", "PT-5S", "pt5s", "PT5", 5, None])
def test_what_is_no_length(text: object) -> None:
    assert durations.parse(text) is None
