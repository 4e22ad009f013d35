"""Kernels that are forked from the warm process: its life and theirs, seen from Jupyter's side."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.kernels import warm
from labkit.kernels.threads import settings
from tests.kernels.warm_kernels import Kernel, alive, lean, nursery, start_warm, warm_pid
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(not warm.wanted({}), reason="kernels are forked on Linux only")

PID = "import os; print(os.getppid(), end='')"


def test_the_first_kernel_does_not_wait_and_the_next_is_forked(
    kernels: Callable[..., Kernel], environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = kernels()
    assert not first.forked
    assert "without a fork: the warm process is being started" in caplog.text
    pid = start_warm(environ)
    second = kernels()
    assert second.forked
    assert second.run(PID).endswith(str(pid))


def test_sockets_and_log_are_the_owners_alone(environ: dict[str, str], kernels: Callable[..., Kernel]) -> None:
    start_warm(environ)
    path, _, log = warm.files(warm.mark({**environ, **settings(environ)}, sys.executable))
    assert path.stat().st_mode & 0o777 == 0o600
    assert log.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_kernel_is_interrupted_restarted_and_shut_down(
    kernels: Callable[..., Kernel], environ: dict[str, str], tmp_path: Path
) -> None:
    start_warm(environ)
    kernel = kernels()
    before = kernel.process.pid
    begun = tmp_path / "begun"
    interrupter = threading.Thread(
        target=lambda: (eventually(begun.exists), kernel.manager.interrupt_kernel())  # type: ignore[func-returns-value]
    )
    interrupter.start()
    assert "KeyboardInterrupt" in kernel.run(f"import time; x = 7; open({str(begun)!r}, 'w'); time.sleep(60)")
    interrupter.join()
    assert kernel.run("print(x)").endswith("7\n")
    kernel.client.stop_channels()
    kernel.manager.restart_kernel()
    kernel.connect()
    assert kernel.forked
    assert kernel.process.pid != before
    assert "NameError" in kernel.run("x")
    assert not alive(before)
    kernel.manager.shutdown_kernel()
    assert not kernel.manager.is_alive()
    assert not alive(kernel.manager.provisioner.pid)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        ("import os; os._exit(3)", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import signal; signal.raise_signal(signal.SIGSEGV)", -signal.SIGSEGV),
    ],
)
def test_how_a_kernel_died_is_known(
    kernels: Callable[..., Kernel], environ: dict[str, str], code: str, ended: int
) -> None:
    start_warm(environ)
    kernel = kernels()
    kernel.client.execute(code)
    process = kernel.process
    eventually(lambda: process.poll() is not None)
    assert process.poll() == ended
    assert not kernel.manager.is_alive()


def test_killing_the_warm_process_leaves_kernels_and_the_next_start_as_they_were(
    kernels: Callable[..., Kernel], environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pid = start_warm(environ)
    running = kernels()
    assert running.forked
    running.run("x = 41")
    os.kill(pid, signal.SIGKILL)
    assert running.run("print(x + 1)").endswith("42\n")
    assert running.manager.is_alive()
    after = kernels()
    assert not after.forked
    assert "without a fork" in caplog.text
    assert after.run("print('here')").endswith("here\n")
    assert start_warm(environ) != pid
    assert kernels().forked
    process = running.process
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(60) == 1, "nobody was left to say how it ended"


def test_a_warm_process_that_dies_over_a_request_is_done_without(
    kernels: Callable[..., Kernel], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_warm(environ)
    dying = "import os; from labkit.kernels import warm_process; " + lean()[1].replace(
        "warm_process.main()", "warm_process.WarmProcess._answer = lambda self, line: os._exit(1); warm_process.main()"
    )
    monkeypatch.setattr(warm, "PROGRAM", ("-c", dying))
    os.kill(start_warm(environ), signal.SIGKILL)
    eventually(lambda: warm_pid(environ) is None)
    warm.start(environ)
    kernel = kernels()
    assert not kernel.forked
    assert kernel.run("print(1)").endswith("1\n")


def test_an_upgrade_replaces_the_warm_process_and_leaves_its_kernels(
    kernels: Callable[..., Kernel], environ: dict[str, str], tmp_path: Path
) -> None:
    packages = tmp_path / "packages"
    (packages / "thing-1.0.dist-info").mkdir()
    before = start_warm(environ)
    running = kernels()
    running.run("x = 1")
    (packages / "thing-1.0.dist-info").rmdir()
    (packages / "thing-1.1.dist-info").mkdir()
    after = start_warm(environ)
    assert after != before
    assert kernels().run(PID).endswith(str(after))
    assert alive(before), "it has a kernel to wait for"
    assert running.run("print(x)").endswith("1\n")
    running.close()
    eventually(lambda: not alive(before))


def test_ten_kernels_at_once(kernels: Callable[..., Kernel], environ: dict[str, str]) -> None:
    pid = start_warm(environ)
    started: list[Kernel] = []
    threads = [threading.Thread(target=lambda: started.append(kernels())) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 10
    assert all(kernel.forked for kernel in started)
    said = [
        kernel.run("import numpy, random, os; print(os.getppid(), random.random(), numpy.random.rand())").split()[-3:]
        for kernel in started
    ]
    assert {parent for parent, _, _ in said} == {str(pid)}
    assert len({first for _, first, _ in said}) == len({second for _, _, second in said}) == 10


def test_it_ends_when_nobody_uses_it(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    impatient, looks = tmp_path / "impatient", tmp_path / "looks"
    watched = f"""
import os
from labkit.kernels import warm_process
over = warm_process.WarmProcess._over
def noted(self):
    if os.path.exists({str(impatient)!r}):
        warm_process.IDLE = 0.1
        open({str(looks)!r}, "a").write(".")
    return over(self)
warm_process.WarmProcess._over = noted
"""
    monkeypatch.setattr(warm, "PROGRAM", ("-c", watched + lean()[1]))
    with nursery(tmp_path, environ) as start:
        pid = start_warm(environ)
        kernel = start()
        assert kernel.forked
        kernel.run("1")
        impatient.touch()
        eventually(lambda: looks.exists() and looks.stat().st_size > 10)
        assert alive(pid), "it has a kernel"
        kernel.close()
        eventually(lambda: not alive(pid))
    assert not [each for each in (warm.files("x")[0].parent).iterdir() if each.suffix != ".log"]


def test_a_kernel_ends_with_the_jupyter_that_started_it(
    environ: dict[str, str], kernels: Callable[..., Kernel], tmp_path: Path
) -> None:
    start_warm(environ)
    kernels()  # installs nothing new; the specification is there
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom tests.kernels.warm_kernels import Kernel\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "kernel = Kernel(folder / 'prefix', folder / 'work', folder / 'kernel.log', dict(os.environ))\n"
        "print(kernel.forked, kernel.process.pid, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", program], cwd=root, env=environ, capture_output=True, text=True)
    forked, pid = done.stdout.split()
    assert forked == "True"
    eventually(lambda: not alive(int(pid)))


def test_another_environment_of_the_libraries_is_another_warm_process(environ: dict[str, str]) -> None:
    marks = {
        warm.mark({**environ, **variables}, sys.executable)
        for variables in ({}, {"OMP_NUM_THREADS": "7"}, {"TZ": "Asia/Tokyo"}, {"PYTHONHASHSEED": "1"})
    }
    assert len(marks) == 4
    assert len({warm.mark({**environ, "AWS_PROFILE": value}, sys.executable) for value in ("a", "b")}) == 1


def test_it_can_be_turned_off(kernels: Callable[..., Kernel], environ: dict[str, str]) -> None:
    start_warm(environ)
    kernel = kernels(LABKIT_WARM="0")
    assert not kernel.forked
    assert kernel.run("print(1)").endswith("1\n")
