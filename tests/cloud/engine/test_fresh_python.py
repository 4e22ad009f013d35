"""A warm program sees what it would in a new interpreter: every program here runs both ways, and both are compared."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.fresh_python import Program, plan, program
from labkit.cloud.engine.jobs import Jobs, JobSpec
from labkit.cloud.engine.launcher import Launcher

#: Makes a job run by a new interpreter.
COLD = {"PYTHONHASHSEED": "0"}


@pytest.fixture(scope="module")
def jobs():
    launcher, clock = Launcher(preload=("labkit.cloud.engine.job_worker",)), Clock()
    jobs = Jobs(clock, launcher)
    yield jobs
    jobs.close()
    launcher.close()
    clock.close()


def run(jobs: Jobs, folder: Path, command: list[str], env: dict[str, str]) -> tuple[int | None, list[str]]:
    lines: list[str] = []
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), **env}
    job = jobs.start(JobSpec("step", command, env, folder, lines.append))
    assert job.wait(60)
    return job.exit_code, lines


SEEN = """
import sys, os, threading, multiprocessing, signal, locale, random
main = sys.modules["__main__"]
print(sys.argv, sys.path, os.getcwd(), os.path.dirname(sys.executable), sys.dont_write_bytecode, sys.flags.interactive)
print(__name__, sorted(vars(main))[:12], getattr(main, "__file__", None), __spec__ and __spec__.name)
print(type(__loader__), __package__, __builtins__ is sys.modules["builtins"])
print(threading.current_thread().name, multiprocessing.current_process().name, multiprocessing.parent_process())
print(multiprocessing.get_start_method(), multiprocessing.active_children(), threading.active_count())
print(*[signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD)])
print(sys.stdout.encoding, sys.stdin.read(), sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("pkg", "helper", "__mp_main__")))
"""

PROGRAMS: dict[str, tuple[list[str], dict[str, str]]] = {
    "script": (["python", "seen.py", "a", "b c"], {}),
    "by this interpreter's path": ([sys.executable, "seen.py"], {}),
    "python3": (["python3", "./sub/seen.py", "-m", "-x"], {}),
    "through a link": (["python", "link.py"], {}),
    "module": (["python", "-m", "pkg.seen", "a"], {}),
    "package": (["python", "-m", "pkg"], {}),
    "code": (["python", "-c", SEEN, "a", "-c"], {}),
    "unbuffered": (["python", "-u", "-B", "seen.py"], {}),
    "variables": (["python", "seen.py"], {"PYTHONPATH": "sub:/no/such", "PYTHONDONTWRITEBYTECODE": "1"}),
    "path": (["python", "-c", "import helper; print(helper.WHO)"], {"PYTHONPATH": "sub"}),
    "helper": (["python", "-c", "import helper; print(helper.WHO)"], {}),
    "exit": (["python", "-c", "import sys; sys.exit()"], {}),
    "exit code": (["python", "-c", "import sys; sys.exit(300)"], {}),
    "exit with words": (["python", "-c", "import sys; sys.exit('two')"], {}),
    "error": (["python", "error.py"], {}),
    "error in a module": (["python", "-m", "pkg.error"], {}),
    "chained error": (["python", "chained.py"], {}),
    "syntax": (["python", "syntax.py"], {}),
    "encoding": (["python", "latin.py"], {}),
    "no module": (["python", "-m", "nothing_here"], {}),
    "no file": (["python", "nothing.py"], {}),
    "folder": (["python", "pkg"], {}),
    "hook": (["python", "-c", "import sys; sys.excepthook = lambda *e: print('mine', e[1]); 1/0"], {}),
    "interrupted": (["python", "-c", "import os, signal; os.kill(os.getpid(), signal.SIGINT)"], {}),
    "at exit": (["python", "-c", "import atexit; atexit.register(print, 'bye'); print('hi')"], {}),
    "threads": (
        ["python", "-c", "import threading, time; threading.Timer(0.2, lambda: print('late')).start(); print('hi')"],
        {},
    ),
    "hides": (["python", "shadow/main.py"], {}),
    "time zone": (
        ["python", "-c", "import time; print(time.tzname, time.gmtime(0), time.localtime(0))"],
        {"TZ": "Asia/Tokyo"},
    ),
    "pickled": (["python", "pickled.py"], {}),
    "option": (["python", "-W", "error", "-c", "import warnings; warnings.warn('w')"], {}),
    "no newline": (["python", "-c", "import sys; sys.stdout.write('half a line')"], {}),
}


@pytest.fixture
def folder(tmp_path):
    for place in (tmp_path, tmp_path / "sub", tmp_path / "pkg", tmp_path / "shadow"):
        place.mkdir(exist_ok=True)
        (place / "seen.py").write_text(SEEN)
        (place / "error.py").write_text("def f():\n    raise ValueError('no')\n\n\nf()\n")
        (place / "helper.py").write_text(f"WHO = {place.name!r}\n")
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "pkg" / "__main__.py").write_text("from pkg import seen\n")
    (tmp_path / "link.py").symlink_to(tmp_path / "sub" / "seen.py")
    (tmp_path / "chained.py").write_text("try:\n    1/0\nexcept ZeroDivisionError:\n    raise KeyError('k')\n")
    (tmp_path / "syntax.py").write_text("print('never')\nx = = 1\n")
    (tmp_path / "latin.py").write_bytes("# coding: latin-1\nprint('é')\n".encode("latin-1"))
    (tmp_path / "shadow" / "main.py").write_text("import queue\nprint(queue.__file__)\n")
    (tmp_path / "shadow" / "queue.py").touch()
    (tmp_path / "pickled.py").write_text(
        "import pickle\nclass Mine:\n    pass\nprint(type(pickle.loads(pickle.dumps(Mine()))) is Mine)\n"
    )
    return tmp_path


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_warm_program_is_as_in_a_new_interpreter(jobs, folder, name):
    command, env = PROGRAMS[name]
    warm = run(jobs, folder, command, env)
    cold = run(jobs, folder, command, {**env, **COLD})
    assert warm == cold


def test_what_one_program_imports_is_not_there_in_the_next(jobs, folder):
    program = "import sys; print('helper' in sys.modules); import helper; helper.WHO = 'changed'"
    assert [run(jobs, folder, ["python", "-c", program], {}) for _ in range(2)] == [(0, ["False"])] * 2


def test_the_processes_of_a_pool_are_the_programs_own(jobs, folder):
    (folder / "pool.py").write_text(
        "import multiprocessing, os\ndef who(_): return os.getppid()\n"
        "if __name__ == '__main__':\n"
        "    for method in ('fork', 'spawn', 'forkserver'):\n"
        "        with multiprocessing.get_context(method).Pool(1) as pool:\n"
        "            print(method, (pool.map(who, [0])[0] == os.getpid()))\n"
    )
    assert run(jobs, folder, ["python", "pool.py"], {}) == (0, ["fork True", "spawn True", "forkserver False"])


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["python", "x.py", "-u"], Program("script", "x.py", ("-u",))),
        (["python", "-u", "-m", "a.b", "c"], Program("module", "a.b", ("c",), unbuffered=True)),
        (["python3", "-B", "-c", "pass"], Program("code", "pass", (), no_bytecode=True)),
        (["python"], None),
        (["python", "-"], None),
        (["python", "-m"], None),
        (["python", "-O", "x.py"], None),
        (["/elsewhere/python", "x.py"], None),
        (["bash", "x.py"], None),
    ],
)
def test_which_command_lines_are_understood(command, expected):
    assert program(command) == expected


@pytest.mark.parametrize(
    ("environment", "warm"),
    [
        ({}, True),
        ({"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "random", "PYTHONIOENCODING": "UTF-8"}, True),
        ({"PYTHONHASHSEED": "1"}, False),
        ({"PYTHONWARNINGS": "error"}, False),
        ({"PYTHONWARNINGS": ""}, True),
        ({"LD_PRELOAD": "/x.so"}, False),
    ],
)
def test_a_variable_that_is_read_at_the_start_needs_a_new_interpreter(monkeypatch, tmp_path, environment, warm):
    monkeypatch.chdir(tmp_path)
    assert (plan(["python", "-c", "pass"], environment, sys.path[1:]) is not None) is warm
