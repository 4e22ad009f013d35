"""Functions in processes of their own: cold and warm, several at once, slow, greedy, failing and gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit.cloud.engine.errors import Throttled, Unavailable
from labkit.cloud.engine.functions import Function, FunctionSpec, Outcome
from labkit.cloud.engine.launcher import Launcher

Make = Callable[..., Function]


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    launcher = Launcher(preload=("labkit.cloud.engine.function_worker",))
    yield launcher
    launcher.close()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def make(launcher: Launcher, tmp_path: Path, lines: list[str]) -> Iterator[Make]:
    made: list[Function] = []
    folder = tmp_path / "code"
    folder.mkdir()

    def make(fail: str = "", **changes: Any) -> Function:
        given: dict[str, Any] = {"timeout": 60.0, "memory_mb": 512, "most": 2, **changes}
        spec = FunctionSpec(
            name="f",
            adapter="tests.cloud.engine.fake_functions:Adapter",
            options={"fail": fail},
            folder=folder,
            env=lambda _: {"WHO": "me", "PYTHONPATH": str(Path(__file__).parents[3])},
            output=lambda _, line: lines.append(line),
            **given,
        )
        function = Function(spec, launcher)
        made.append(function)
        return function

    yield make
    for each in made:
        each.close()


def test_an_instance_is_kept_warm(make: Make, lines: list[str]) -> None:
    function = make()
    begun: list[tuple[str, float | None]] = []
    first = function.invoke({}, b"a", lambda *told: begun.append(told))
    assert (first.ending, first.body) == ("succeeded", b"a 1 me code")
    assert lines == ["loading", "handling"]
    second = function.invoke({}, b"b", lambda *told: begun.append(told))
    assert second.body == b"b 2 me code"
    assert second.instance == first.instance
    assert first.init_seconds
    assert second.init_seconds is None
    assert begun == [(first.instance, first.init_seconds), (first.instance, None)]
    assert first.memory_mb > 0


def test_events_at_once_have_an_instance_each(make: Make) -> None:
    function = make()
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda name: function.invoke({"do": "meet"}, name), (b"a", b"b")))
    assert [outcome.ending for outcome in outcomes] == ["succeeded", "succeeded"]
    assert outcomes[0].instance != outcomes[1].instance
    assert function.busy == 0


def test_more_than_may_run_are_turned_away(make: Make) -> None:
    with pytest.raises(Throttled, match="All 0 instances of the function f are busy"):
        make(most=0).invoke({}, b"")


def test_a_failure_leaves_the_instance_warm(make: Make) -> None:
    function = make()
    failed = function.invoke({"do": "fail"}, b"")
    assert (failed.ending, failed.body) == ("failed", b"failed")
    assert function.invoke({}, b"").instance == failed.instance


@pytest.mark.parametrize(
    ("what", "changes", "ending", "code"),
    [
        ("sleep", {"timeout": 0.2}, "timed_out", None),
        ("grow", {"memory_mb": 100}, "out_of_memory", None),
        ("exit", {}, "exited", 3),
    ],
)
def test_what_ends_an_instance(make: Make, what: str, changes: dict[str, Any], ending: str, code: int | None) -> None:
    function = make(**changes)
    outcome = function.invoke({"do": what}, b"")
    assert (outcome.ending, outcome.exit_code, outcome.body) == (ending, code, b"")
    function.spec = replace(function.spec, timeout=60.0)
    after = function.invoke({}, b"x")
    assert (after.ending, after.body) == ("succeeded", b"x 1 me code")
    assert after.instance != outcome.instance


@pytest.mark.parametrize(
    ("fail", "changes", "ending", "code", "body"),
    [
        ("error", {}, "init_failed", None, b"no such module"),
        ("exit", {}, "exited", 7, b""),
        ("slow", {"start_timeout": 0.5}, "init_timed_out", None, b""),
    ],
)
def test_what_cannot_start(
    make: Make, fail: str, changes: dict[str, Any], ending: str, code: int | None, body: bytes
) -> None:
    outcome: Outcome = make(fail, **changes).invoke({}, b"", lambda *_: pytest.fail("nothing was begun"))
    assert (outcome.ending, outcome.exit_code, outcome.body) == (ending, code, body)


def test_a_retired_function_answers_no_more(make: Make) -> None:
    function = make()
    function.invoke({}, b"")
    function.retire()
    with pytest.raises(Unavailable, match="The function f is gone"):
        function.invoke({}, b"")
