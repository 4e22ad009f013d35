from __future__ import annotations

import importlib.metadata
import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from labkit.cloud.engine.errors import Invalid
from labkit.cloud.engine.windows_zones import WINDOWS_ZONES, zone


def test_every_zone_of_azures_sdk_is_known():
    # Read, not imported: that takes seconds.
    constants = Path(importlib.metadata.distribution("azure-ai-ml").locate_file("azure/ai/ml/constants/_common.py"))
    block = constants.read_text().partition("class TimeZone(")[2].partition("\nclass ")[0]
    names = re.findall(r' = "([^"]+)"', block)
    assert len(names) > 100
    assert set(names) - set(WINDOWS_ZONES) == set()


@pytest.mark.parametrize("name", WINDOWS_ZONES)
def test_every_zone_is_one_of_the_database(name):
    assert zone(name).utcoffset(datetime(2026, 1, 1)) is not None


@pytest.mark.parametrize(
    ("name", "hour"),
    [("W. Europe Standard Time", 14), ("eastern standard time", 8), ("UTC", 12), ("UTC-11", 1), ("UTC+12", 0)],
)
def test_a_name_has_the_hour_that_it_says(name, hour):
    assert datetime(2026, 7, 1, 12, tzinfo=UTC).astimezone(zone(name)).hour == hour


def test_the_databases_own_names_are_taken_too():
    assert zone("Europe/Berlin") == ZoneInfo("Europe/Berlin")
    with pytest.raises(Invalid) as refused:
        zone("Middle Earth Standard Time")
    assert refused.value.message == (
        "'Middle Earth Standard Time' is no time zone: write one such as W. Europe Standard Time or UTC."
    )
