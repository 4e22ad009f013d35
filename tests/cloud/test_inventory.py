from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from labkit.cloud import inventory
from labkit.cloud.engine.audit import Audit, Event
from labkit.cloud.inventory import Keeper, spelled, take_left_behind
from labkit.cloud.state import Lab


class Stock:
    """A dialect, as far as the inventory asks: what is in it, and when it was last looked at."""

    name = "fake"

    def __init__(self) -> None:
        self.held: dict[str, list[str]] = {}
        self.looked = threading.Semaphore(0)

    def inventory(self) -> dict[str, list[str]]:
        self.looked.release()
        if "broken" in self.held:
            raise ZeroDivisionError
        return self.held


def event(read_only: bool) -> Event:
    return Event(
        datetime.now(UTC), "fake", "service", "operation", None, "region", "resource", 200, read_only=read_only
    )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def parts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(inventory, "PAUSE", 0.001)
    stock, audit = Stock(), Audit()
    keeper = Keeper(lab, [stock], audit)  # type: ignore[list-item]
    yield stock, audit, keeper
    keeper.close()


def test_changes_are_written_and_survive_a_kill(lab: Lab, parts: Any) -> None:
    stock, audit, _ = parts
    stock.held = {"buckets": ["data"]}
    audit.record(event(read_only=False))
    assert stock.looked.acquire(timeout=60)
    audit.record(event(read_only=False))
    # The second look comes after the first was written.
    assert stock.looked.acquire(timeout=60)
    assert take_left_behind(lab) == {"fake": {"buckets": ["data"]}}


def test_reading_writes_nothing(lab: Lab, parts: Any) -> None:
    stock, audit, _ = parts
    audit.record(event(read_only=True))
    assert not stock.looked.acquire(timeout=0.05)


def test_an_orderly_end_leaves_nothing(lab: Lab, parts: Any) -> None:
    stock, audit, keeper = parts
    audit.record(event(read_only=False))
    assert stock.looked.acquire(timeout=60)
    keeper.close()
    assert take_left_behind(lab) == {}


def test_a_failing_cloud_does_not_end_the_keeping(lab: Lab, parts: Any) -> None:
    stock, audit, _ = parts
    stock.held = {"broken": []}
    audit.record(event(read_only=False))
    assert stock.looked.acquire(timeout=60)
    stock.held = {"buckets": ["data"]}
    for _ in range(2):
        audit.record(event(read_only=False))
        assert stock.looked.acquire(timeout=60)
    assert take_left_behind(lab) == {"fake": {"buckets": ["data"]}}


def test_what_was_left_behind_is_told_once(lab: Lab) -> None:
    lab.inventory_file.write_text('{"aws": {"buckets": ["data"]}}')
    assert take_left_behind(lab) == {"aws": {"buckets": ["data"]}}
    assert take_left_behind(lab) == {}


@pytest.mark.parametrize("damaged", ["", "{", "[]", "null"])
def test_a_damaged_inventory_is_none(lab: Lab, damaged: str) -> None:
    lab.inventory_file.write_text(damaged)
    assert take_left_behind(lab) == {}


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        ({}, ""),
        ({"aws": {}}, ""),
        ({"aws": {"buckets": ["a"]}}, "bucket a"),
        ({"aws": {"policies": ["p"], "buckets": ["a", "b"]}}, "policy p; buckets a, b"),
        ({"aws": {"buckets": ["a"]}, "gcp": {"buckets": ["b"]}}, "bucket a; bucket b"),
        (
            {"aws": {"endpoints": [str(number) for number in range(14)], "roles": ["r"]}},
            "endpoints 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11; and 3 more",
        ),
    ],
)
def test_an_inventory_reads_as_part_of_a_sentence(held: dict[str, dict[str, list[str]]], sentence: str) -> None:
    assert spelled(held) == sentence
