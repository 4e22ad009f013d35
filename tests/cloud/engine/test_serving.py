"""Replicas, weights, switching, death and restart, through real processes."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from labkit.cloud.engine.errors import ModelFailed, NotFound, StartFailed, TimedOut, Unavailable
from labkit.cloud.engine.launcher import Launcher
from labkit.cloud.engine.serving import Endpoint, ModelServer, VariantSpec
from tests.waiting import eventually

ECHO = "tests.cloud.engine.fake_models:Echo"


@pytest.fixture(scope="module")
def launcher():
    launcher = Launcher(preload=())
    yield launcher
    launcher.close()


@pytest.fixture
def endpoint(launcher):
    endpoint = Endpoint("ep", launcher)
    yield endpoint
    endpoint.close()


def spec(
    tmp_path: Path, name: str = "blue", *, weight: float = 1.0, replicas: int = 1, lines=None, timeout=250.0, **options
):
    output = (lambda replica, line: lines.append((replica, line))) if lines is not None else (lambda *_: None)
    options.setdefault("name", options.pop("model", name))
    server = ModelServer(ECHO, options, tmp_path, {"PATH": os.environ["PATH"], "MINE": "1"}, output, timeout)
    return VariantSpec(name, server, replicas=replicas, weight=weight)


def test_a_request_reaches_the_model_and_its_output_is_read(endpoint, tmp_path):
    lines: list = []
    endpoint.deploy([spec(tmp_path, lines=lines)])
    answer = endpoint.invoke({"content-type": "text/plain"}, b"hello")
    assert (answer.status, answer.body, answer.headers) == (200, b"hello", {"x-from": "blue"})
    assert answer.variant == "blue"
    assert 0 <= answer.model_seconds <= answer.total_seconds
    eventually(lambda: ("ep-blue-1", f"blue loads from {tmp_path.name}") in lines)


def test_a_replica_has_only_the_environment_it_was_given(endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    endpoint.deploy([spec(tmp_path)])
    names = eval(endpoint.invoke({}, b"env").body)
    assert "MINE" in names
    assert "AWS_PROFILE" not in names


@pytest.mark.parametrize(("variable", "threads"), [({}, 1), ({"OMP_NUM_THREADS": "2"}, 2)])
def test_a_models_libraries_use_one_thread_unless_its_environment_asks_for_more(endpoint, tmp_path, variable, threads):
    made = spec(tmp_path, imports=["numpy"])
    endpoint.deploy([replace(made, server=replace(made.server, env={**made.server.env, **variable}))])
    assert set(eval(endpoint.invoke({}, b"threads").body)) == {threads}


def test_traffic_follows_the_weights(endpoint, tmp_path):
    endpoint.deploy([spec(tmp_path, "blue", weight=9), spec(tmp_path, "green", weight=1)])
    seen = Counter(endpoint.invoke({}, b"x").variant for _ in range(1000))
    assert abs(seen["green"] - 100) <= 4 * math.sqrt(1000 * 0.1 * 0.9)
    drawn = Counter(endpoint.draw() for _ in range(1000))
    assert abs(drawn["green"] - 100) <= 4 * math.sqrt(1000 * 0.1 * 0.9)
    endpoint.set_weights({"blue": 0})
    assert {endpoint.invoke({}, b"x").variant for _ in range(50)} == {"green"}
    assert endpoint.invoke({}, b"x", variant="blue").variant == "blue"


def test_unknown_variants_and_no_traffic(endpoint, tmp_path):
    assert endpoint.draw() is None
    with pytest.raises(Unavailable):
        endpoint.invoke({}, b"x")
    endpoint.deploy([spec(tmp_path)])
    with pytest.raises(NotFound):
        endpoint.invoke({}, b"x", variant="purple")
    with pytest.raises(NotFound):
        endpoint.set_weights({"blue": 1, "purple": 1})
    endpoint.set_weights({"blue": 0})
    with pytest.raises(Unavailable):
        endpoint.invoke({}, b"x")


@pytest.mark.parametrize(
    ("fail", "says"),
    [("raise", "RuntimeError: no model here"), ("exit", "exit code 7"), ("hang", "was not ready within 1 s")],
)
def test_a_model_that_does_not_load_changes_nothing(endpoint, tmp_path, fail, says):
    endpoint.deploy([spec(tmp_path)])
    with pytest.raises(StartFailed, match=says) as caught:
        endpoint.deploy([spec(tmp_path, "green", fail=fail, timeout=1.0 if fail == "hang" else 30.0)])
    assert (caught.value.variant, caught.value.replica) == ("green", "ep-green-1")
    if fail != "hang":  # it may hang before it has been loaded
        assert "green loads from" in caught.value.log_tail
    if fail == "raise":
        assert "Traceback" in caught.value.log_tail
    assert endpoint.invoke({}, b"x").variant == "blue"


def test_a_switch_under_load_loses_no_request(endpoint, tmp_path):
    endpoint.deploy([spec(tmp_path, "blue", replicas=2)])
    stop, failures, seen = threading.Event(), [], Counter()

    def load() -> None:
        while not stop.is_set():
            try:
                seen[endpoint.invoke({}, b"sleep 0.002").headers["x-from"]] += 1
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: seen["blue"])
        endpoint.deploy([spec(tmp_path, "green", model="second")])
        eventually(lambda: seen["second"] > 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures


def test_a_replica_that_dies_over_a_request_is_replaced(endpoint, tmp_path):
    endpoint.deploy([spec(tmp_path)])
    with pytest.raises(ModelFailed) as caught:
        endpoint.invoke({}, b"die")
    assert caught.value.status == 502
    assert (caught.value.variant, caught.value.replica) == ("blue", "ep-blue-1")
    assert endpoint.invoke({}, b"again").body == b"again"


def test_what_a_replica_says_of_an_error_has_arrived_with_the_error(endpoint, tmp_path):
    lines: list = []
    endpoint.deploy([spec(tmp_path, lines=lines)])
    for number in range(200):
        assert endpoint.invoke({}, b"fail %d" % number).status == 500
        assert lines[-1] == ("ep-blue-1", f"fail {number}")


def test_a_replica_killed_while_idle_costs_no_request(endpoint, tmp_path):
    endpoint.deploy([spec(tmp_path)])
    for _ in range(3):
        os.kill(int(endpoint.invoke({}, b"pid").body), signal.SIGKILL)
        assert endpoint.invoke({}, b"again").body == b"again"
    assert endpoint.variants()[0].healthy == 1


def test_a_request_that_hangs_ends_at_its_limit_and_the_replica_is_replaced(endpoint, tmp_path):
    endpoint.deploy([spec(tmp_path)])
    first = int(endpoint.invoke({}, b"pid").body)
    with pytest.raises(TimedOut) as caught:
        endpoint.invoke({}, b"hang", timeout=0.2)
    assert (caught.value.variant, caught.value.replica) == ("blue", "ep-blue-1")
    assert int(endpoint.invoke({}, b"pid").body) != first
    eventually(lambda: not psutil.pid_exists(first))


def test_one_variant_comes_and_goes_while_the_others_stay(endpoint, tmp_path):
    endpoint.put(spec(tmp_path, "blue"))
    blue = endpoint.invoke({}, b"pid").body
    endpoint.put(spec(tmp_path, "green", weight=0.0))
    assert endpoint.invoke({}, b"x", variant="green").variant == "green"
    assert endpoint.invoke({}, b"pid").body == blue
    with pytest.raises(StartFailed):
        endpoint.put(spec(tmp_path, "green", fail="raise"))
    endpoint.put(spec(tmp_path, "green", model="second"))
    assert endpoint.invoke({}, b"x", variant="green").headers["x-from"] == "second"
    endpoint.remove("green")
    with pytest.raises(NotFound):
        endpoint.remove("green")
    assert [state.name for state in endpoint.variants()] == ["blue"]
    assert endpoint.invoke({}, b"pid").body == blue


def test_scaling_out_and_in(endpoint, tmp_path):
    endpoint.deploy([spec(tmp_path)])
    endpoint.scale({"blue": 3})
    assert endpoint.variants()[0].healthy == 3
    assert len({endpoint.invoke({}, b"pid").body for _ in range(9)}) == 3
    endpoint.scale({"blue": 1})
    assert len({endpoint.invoke({}, b"pid").body for _ in range(9)}) == 1
    assert endpoint.variants()[0].healthy == 1


def test_closing_leaves_no_process_behind_not_even_one_in_a_session_of_its_own(launcher, tmp_path):
    endpoint = Endpoint("gone", launcher)
    endpoint.deploy([spec(tmp_path)])
    pids = [int(endpoint.invoke({}, order).body) for order in (b"pid", b"child")]
    assert all(psutil.pid_exists(pid) for pid in pids)
    endpoint.close()
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))


@pytest.mark.parametrize("victim", ["server", "guardian"])
def test_everything_dies_with_the_server_or_its_guardian(tmp_path, victim):
    script = f"""
        import os, sys, time
        from pathlib import Path
        from labkit.cloud.engine.launcher import Launcher
        from labkit.cloud.engine.serving import Endpoint, ModelServer, VariantSpec
        server = ModelServer({ECHO!r}, {{}}, Path({str(tmp_path)!r}), dict(os.environ), lambda *_: None)
        endpoint = Endpoint("ep", Launcher(preload=()))
        endpoint.deploy([VariantSpec("blue", server)])
        print(endpoint.invoke({{}}, b"pid").body.decode(), endpoint.invoke({{}}, b"child").body.decode(), flush=True)
        time.sleep(600)
    """
    server = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    replica, child = map(int, server.stdout.readline().split())
    if victim == "server":
        server.kill()
        eventually(lambda: not psutil.pid_exists(replica) and not psutil.pid_exists(child))
    else:
        psutil.Process(replica).parent().kill()
        eventually(lambda: not psutil.pid_exists(replica))
        psutil.Process(child).kill()
    server.kill()
    server.wait()
    server.stdout.close()
