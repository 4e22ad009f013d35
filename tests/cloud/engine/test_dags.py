"""Graphs of steps: order, conditions, failures, retries, stops, growth. Steps meet by events, never by sleeping."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from labkit.cloud.engine import dags
from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.dags import Attempt, Dag, Done, Node, NodeState, Retry
from labkit.cloud.engine.errors import Conflict, Invalid, NotFound, Throttled
from tests.waiting import eventually


@pytest.fixture
def clock():
    clock = Clock()
    yield clock
    clock.close()


class Graph:
    """Makes nodes that write down that they ran."""

    def __init__(self, clock: Clock):
        self.clock = clock
        self.ran: list[str] = []
        self.changes: list[NodeState] = []
        self.nodes: list[Node] = []

    def node(self, name: str, *after: str, run: Callable[[Attempt], Done | None] | None = None, **options) -> None:
        def work(attempt: Attempt) -> Done | None:
            self.ran.append(name)
            return run(attempt) if run else None

        self.nodes.append(Node(name, work, after, **options))

    def start(self, **options) -> Dag:
        return Dag(self.nodes, self.clock, on_change=self.changes.append, **options).start()

    def run(self, **options) -> Dag:
        dag = self.start(**options)
        assert dag.wait(60), dag.states()
        return dag


@pytest.fixture
def graph(clock):
    return Graph(clock)


def fails(*_: Attempt) -> Done:
    raise ValueError("no such column")


def statuses(dag: Dag) -> dict[str, str]:
    return {name: state.status for name, state in dag.states().items()}


def test_steps_run_in_the_order_of_what_they_depend_on(graph):
    graph.node("register", "evaluate")
    graph.node("evaluate", "train", "process")
    graph.node("train", "process")
    graph.node("process", run=lambda _: Done(value=7, cached=True))
    dag = graph.run()
    assert graph.ran == ["process", "train", "evaluate", "register"]
    assert set(statuses(dag).values()) == {"Succeeded"}
    assert dag.status == "Succeeded"
    state = dag.state("process")
    assert (state.done.value, state.done.cached, state.attempts) == (7, True, 1)
    assert state.started_at <= state.ended_at <= dag.state("train").started_at
    told = [(change.name, change.status) for change in graph.changes if change.status != "Waiting"]
    assert told == [(name, status) for name in graph.ran for status in ("Running", "Succeeded")]


def test_an_empty_graph_has_ended_at_once(graph):
    assert graph.run().status == "Succeeded"


def test_independent_steps_run_at_once_and_no_more_than_may(graph):
    meeting, running, most = threading.Barrier(2), [0], [0]
    lock = threading.Lock()

    def meet(_: Attempt) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        meeting.wait(60)
        with lock:
            running[0] -= 1

    for name in "abcd":
        graph.node(name, run=meet)
    assert graph.run(parallelism=2).status == "Succeeded"
    assert most == [2]


def test_a_condition_skips_a_branch_and_what_depends_on_it(graph):
    graph.node("check", run=lambda _: Done(skip=["register"]))
    graph.node("register", "check")
    graph.node("deploy", "register")
    graph.node("refuse", "check")
    graph.node("join", "deploy", "refuse", trigger="none_failed")
    graph.node("clean", "deploy", trigger="all_done")
    dag = graph.run()
    assert statuses(dag) == {
        "check": "Succeeded",
        "register": "Skipped",
        "deploy": "Skipped",
        "refuse": "Succeeded",
        "join": "Succeeded",
        "clean": "Succeeded",
    }
    assert "register" not in graph.ran
    assert "deploy" not in graph.ran
    assert (dag.status, dag.state("deploy").started_at, dag.state("deploy").ended_at) == ("Succeeded", None, None)


def test_a_join_of_skipped_branches_is_skipped(graph):
    graph.node("check", run=lambda _: Done(skip=["a", "b"]))
    graph.node("a", "check")
    graph.node("b", "check")
    graph.node("join", "a", "b", trigger="none_failed")
    assert statuses(graph.run())["join"] == "Skipped"


def test_what_depends_on_a_failed_step_does_not_run_and_the_rest_does(graph):
    graph.node("train", run=fails)
    graph.node("evaluate", "train")
    graph.node("register", "evaluate", trigger="none_failed")
    graph.node("other")
    graph.node("after other", "other")
    graph.node("exit", "register", trigger="all_done")
    dag = graph.run()
    assert statuses(dag) == {
        "train": "Failed",
        "evaluate": "NotRun",
        "register": "NotRun",
        "other": "Succeeded",
        "after other": "Succeeded",
        "exit": "Succeeded",
    }
    assert dag.status == "Failed"
    assert dag.state("train").error == "ValueError: no such column"
    assert isinstance(dag.state("train").exception, ValueError)


def test_failing_fast_starts_nothing_else_but_exit_handlers(graph):
    failed, go = threading.Event(), threading.Event()
    graph.node("train", run=fails)
    graph.node("slow", run=lambda _: go.wait(60) and None)
    graph.node("after slow", "slow")
    graph.node("exit", "train", "after slow", trigger="all_done")
    dag = Dag(
        graph.nodes, graph.clock, fail_fast=True, on_change=lambda change: change.status == "Failed" and failed.set()
    ).start()
    assert failed.wait(60)
    go.set()
    assert dag.wait(60)
    assert statuses(dag) == {"train": "Failed", "slow": "Succeeded", "after slow": "NotRun", "exit": "Succeeded"}


def test_a_failed_attempt_is_made_again_while_its_policy_says_so(graph):
    waits: list[tuple[str, int]] = []

    def again(error: Exception, attempt: int) -> float | None:
        waits.append((str(error), attempt))
        return 0.0 if isinstance(error, Throttled) else None

    def flaky(attempt: Attempt) -> None:
        if attempt.number < 3:
            raise Throttled(f"busy {attempt.number}")

    def broken(attempt: Attempt) -> None:
        raise Throttled("busy") if attempt.number == 1 else ValueError("broken")

    graph.node("flaky", run=flaky, retry=Retry(again))
    dag = graph.run()
    assert (dag.state("flaky").status, dag.state("flaky").attempts, dag.state("flaky").error) == ("Succeeded", 3, "")
    assert waits == [("busy 1", 1), ("busy 2", 2)]
    assert [change.attempts for change in graph.changes if change.status == "Running"] == [1, 2, 3]

    other = Graph(graph.clock)
    other.node("broken", run=broken, retry=Retry(again))
    state = other.run().state("broken")
    assert (state.status, state.attempts, state.error) == ("Failed", 2, "ValueError: broken")


def test_no_wait_between_attempts_is_as_long_as_a_clouds(graph, monkeypatch):
    monkeypatch.setattr(dags, "LONGEST_WAIT", 0.01)
    graph.node("flaky", run=lambda attempt: fails() if attempt.number == 1 else None, retry=Retry(lambda *_: 3600.0))
    assert graph.run().status == "Succeeded"


def test_stopping_reaches_the_steps_that_work_and_starts_no_other(graph):
    working, stopped = threading.Event(), threading.Event()

    def work(attempt: Attempt) -> None:
        attempt.on_stop(stopped.set)
        working.set()
        assert stopped.wait(60)
        raise RuntimeError("the job was stopped")

    graph.node("train", run=work, retry=Retry(lambda *_: 0.0))
    graph.node("quick", run=lambda _: stopped.wait(60) and None)
    graph.node("next", "train")
    graph.node("exit", "next", trigger="all_done")
    dag = graph.start()
    assert working.wait(60)
    dag.stop()
    assert dag.wait(60)
    assert statuses(dag) == {"train": "Stopped", "quick": "Succeeded", "next": "NotRun", "exit": "NotRun"}
    assert (dag.status, dag.state("train").attempts) == ("Stopped", 1)


def test_stopping_ends_a_wait_between_attempts(graph, monkeypatch):
    monkeypatch.setattr(dags, "LONGEST_WAIT", 600.0)
    waiting = threading.Event()

    def again(*_: object) -> float:
        waiting.set()
        return 600.0

    graph.node("flaky", run=fails, retry=Retry(again))
    dag = graph.start()
    assert waiting.wait(60)
    dag.stop()
    assert dag.wait(60)
    assert dag.status == "Stopped"


def test_who_asks_to_be_stopped_too_late_is_at_once():
    attempt = Attempt(1)
    attempt.stop()
    called: list[int] = []
    attempt.on_stop(lambda: called.append(1))
    assert called == [1]


def test_a_loop_adds_its_turns_and_ends_after_them(graph, clock):
    dag: Dag

    def turn(number: int) -> Node:
        return Node(f"turn {number}", lambda _: graph.ran.append(f"turn {number}"), within="loop")

    def loop(_: Attempt) -> None:
        dag.add([turn(number) for number in range(3)])
        dag.add([Node("sum", lambda _: graph.ran.append("sum"), [f"turn {n}" for n in range(3)], within="loop")])

    graph.node("loop", run=loop)
    graph.node("after", "loop")
    dag = Dag(graph.nodes, clock, parallelism=1)
    dag.start()
    assert dag.wait(60)
    assert graph.ran == ["loop", "turn 0", "turn 1", "turn 2", "sum", "after"]
    assert set(statuses(dag).values()) == {"Succeeded"}
    assert dag.state("loop").ended_at >= dag.state("sum").ended_at


def test_as_many_turns_of_a_loop_run_as_it_allows_each_to_the_end_of_what_is_within_it(graph, clock):
    dag: Dag
    open_turns: set[int] = set()
    most = []

    def begin(number: int) -> None:
        open_turns.add(number)
        most.append(len(open_turns))
        dag.add([Node(f"work {number}", lambda _: open_turns.remove(number), within=f"turn {number}")])

    def loop(_: Attempt) -> None:
        dag.add([Node(f"turn {n}", lambda _, n=n: begin(n), within="loop") for n in range(6)])

    dag = Dag([Node("loop", loop, at_once=2)], clock)
    dag.start()
    assert dag.wait(20)
    assert dag.status == "Succeeded"
    assert len(most) == 6
    assert max(most) <= 2


def test_a_node_fails_and_is_skipped_with_what_is_within_it(graph):
    graph.node("if", run=lambda _: Done(skipped=True))
    graph.node("then", within="if")
    graph.node("else")
    graph.node("inner", run=fails, within="else")
    graph.node("deeper", "inner", within="else")
    graph.node("after", "else")
    graph.node("join", "if", "else", trigger="none_failed")
    dag = graph.run()
    assert statuses(dag) == {
        "if": "Skipped",
        "then": "Skipped",
        "else": "Failed",
        "inner": "Failed",
        "deeper": "NotRun",
        "after": "NotRun",
        "join": "NotRun",
    }
    assert dag.state("else").error == "inner failed: ValueError: no such column"


def test_what_is_within_a_node_that_fails_itself_does_not_run(graph):
    graph.node("loop", run=fails)
    graph.node("turn", within="loop")
    assert statuses(graph.run()) == {"loop": "Failed", "turn": "NotRun"}


def test_graphs_that_cannot_run_are_refused(graph, clock):
    def nodes(*given: tuple) -> list[Node]:
        return [Node(name, lambda _: None, after, within) for name, after, within in given]

    with pytest.raises(Invalid, match=r"Two steps of dag have the same name\."):
        Dag(nodes(("a", (), None), ("a", (), None)), clock)
    with pytest.raises(Invalid, match=r"The step a of mine depends on b, which there is not\."):
        Dag(nodes(("a", ("b",), None)), clock, name="mine")
    with pytest.raises(Invalid, match="in a circle"):
        Dag(nodes(("a", ("b",), None), ("b", ("a",), None)), clock)
    with pytest.raises(Invalid, match="in a circle"):
        Dag(nodes(("group", (), None), ("inner", ("group",), "group")), clock)
    dag = graph.run()
    with pytest.raises(Conflict, match="has ended"):
        dag.add(nodes(("late", (), None)))
    with pytest.raises(NotFound, match="no step nobody"):
        dag.state("nobody")


def test_a_condition_that_names_no_step_has_failed(graph):
    graph.node("check", run=lambda _: Done(skip=["nobody"]))
    assert graph.run().state("check").error == "dag has no step nobody."


def test_a_listener_that_fails_keeps_nothing_from_running(graph, clock, capsys):
    graph.node("a")
    dag = Dag(graph.nodes, clock, on_change=lambda _: 1 / 0).start()
    assert dag.wait(60)
    assert dag.status == "Succeeded"
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_end_is_told_and_the_clock_waits_for_it(graph, clock):
    go, ends = threading.Event(), []
    graph.node("a", run=lambda _: go.wait(60) and None)
    dag = graph.start()
    dag.when_ended(lambda dag: ends.append(dag.status))
    clock.after(timedelta(seconds=30), go.set, "release")
    clock.after(timedelta(minutes=1), lambda: dag, "run")
    assert [firing.error for firing in clock.advance(timedelta(hours=1))] == ["", ""]
    # The clock goes on when the run has ended; who is told of the end is told beside it.
    eventually(lambda: ends)
    assert ends == ["Succeeded"]
    dag.when_ended(lambda dag: ends.append("late"))
    assert ends[-1] == "late"


def test_a_large_graph_leaves_no_thread(graph):
    graph.node("first")
    for number in range(200):
        graph.node(f"n{number}", "first")
    graph.node("last", *(f"n{number}" for number in range(200)))
    dag = graph.run(parallelism=8, name="large")
    assert dag.status == "Succeeded"
    assert len(graph.ran) == 202
    for thread in threading.enumerate():
        if thread.name.startswith("large"):
            thread.join(60)
            assert not thread.is_alive()
