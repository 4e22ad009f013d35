"""Runs a Python command line in a process that was forked with its imports done, as a new interpreter would run it.

What the program sees is what https://docs.python.org/3/using/cmdline.html says: ``sys.argv``, ``sys.path``,
``__main__``, the exit status, a traceback without any frame of ours. A command line that cannot be honored here - an
option or variable that an interpreter reads as it starts, a module of the program's that would hide one that is
imported already - is not run at all: :func:`plan` returns None, and a new interpreter has to run it.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import BuiltinImporter, SourceFileLoader, all_suffixes
from multiprocessing import forkserver, process, resource_tracker
from pathlib import Path
from typing import Any, Literal, NoReturn

#: Variables of the interpreter that can still be honored once it runs, and the values with which they can.
_HONORED = {"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER"}
_HONORED_VALUES = {("PYTHONHASHSEED", "random"), ("PYTHONIOENCODING", "UTF-8"), ("PYTHONIOENCODING", "utf-8")}
#: What else is read only as a process starts.
_READ_AT_START = ("LD_", "DYLD_", "MALLOC_", "GLIBC_")


@dataclass(frozen=True)
class Program:
    """A Python command line: what kind of thing it runs, which, and ``sys.argv[1:]``."""

    kind: Literal["script", "module", "code"]
    what: str
    arguments: tuple[str, ...]
    unbuffered: bool = False
    no_bytecode: bool = False


def program(command: Sequence[str]) -> Program | None:
    """The program that a command has this interpreter run; None when it is another command, or has other options."""
    if not is_this_python(command[0]):
        return None
    flags = set()
    rest = list(command[1:])
    while rest and rest[0] in ("-u", "-B"):
        flags.add(rest.pop(0))
    if not rest:
        return None
    options = {"unbuffered": "-u" in flags, "no_bytecode": "-B" in flags}
    if rest[0] in ("-m", "-c"):
        if len(rest) < 2:
            return None
        return Program("module" if rest[0] == "-m" else "code", rest[1], tuple(rest[2:]), **options)
    if rest[0].startswith("-"):
        return None
    return Program("script", rest[0], tuple(rest[1:]), **options)


def is_this_python(name: str) -> bool:
    """Whether a command's first word means this interpreter: by its name alone, or by a path to it."""
    names = ("python", "python3", f"python3.{sys.version_info.minor}")
    return name in names or name == sys.executable or name in (os.path.join(sys.prefix, "bin", each) for each in names)


def plan(command: Sequence[str], environment: Mapping[str, str], path: Sequence[str]) -> Program | None:
    """The program, if this process can run it as a new interpreter would, in the working directory as it is.

    ``path`` is a new interpreter's ``sys.path`` without its first entry.
    """
    found = program(command)
    if found is None or not all(_honored(name, value) for name, value in environment.items()):
        return None
    if found.kind == "script" and (not os.path.isfile(found.what) or found.what.endswith((".pyc", ".zip", ".pyz"))):
        return None
    before = [_first_of_path(found), *_python_path(environment)]
    return None if _hides_an_import(before, path) else found


def run(found: Program, environment: Mapping[str, str], path: Sequence[str]) -> NoReturn:
    """Runs the program and ends the process as an interpreter would."""
    _forget_the_fork()
    time.tzset()
    sys.dont_write_bytecode = found.no_bytecode or bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    if environment.get("PYTHONFAULTHANDLER"):
        import faulthandler

        faulthandler.enable()
    if found.unbuffered or environment.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]  # the launcher's, a TextIOWrapper
    sys.path[:] = [_first_of_path(found), *dict.fromkeys((*_python_path(environment), *path))]
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
    _limit_threads(environment)
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=sys.modules["builtins"], __annotations__={}, __loader__=BuiltinImporter)
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    code = 1
    try:
        _start(found, main)
        code = 0
    except SystemExit as leaving:
        code = _status(leaving)
    except BaseException as error:
        _show(error)
        if isinstance(error, KeyboardInterrupt):
            _end()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    _end()
    os._exit(code & 0xFF)


def _start(found: Program, main: types.ModuleType) -> None:
    if found.kind == "module":
        sys.argv[:] = ["-m", *found.arguments]
        runpy._run_module_as_main(found.what)  # type: ignore[attr-defined]  # what `python -m` itself calls
        return
    sys.argv[:] = ["-c" if found.kind == "code" else found.what, *found.arguments]
    if found.kind == "code":
        exec(compile(found.what, "<string>", "exec", dont_inherit=True), main.__dict__)
        return
    file = os.path.join(os.getcwd(), found.what)
    main.__dict__.update(__file__=file, __cached__=None, __loader__=SourceFileLoader("__main__", file))
    exec(compile(Path(file).read_bytes(), file, "exec", dont_inherit=True), main.__dict__)


def _status(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code
    print(leaving.code, file=sys.stderr)
    return 1


def _show(error: BaseException) -> None:
    """Prints an uncaught error as the interpreter does."""
    below = error.__traceback__
    while below is not None and below.tb_frame.f_code.co_filename == __file__:
        below = below.tb_next
    try:
        sys.excepthook(type(error), error.with_traceback(below), below)
    except BaseException:
        traceback.print_exc()


def _end() -> None:
    """What an interpreter does at its end: waits for threads, calls the exit handlers, writes what is left."""
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]  # no public name; `multiprocessing` calls it too
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()


def _honored(name: str, value: str) -> bool:
    if name.startswith("PYTHON") and value:
        return name in _HONORED or (name, value) in _HONORED_VALUES
    return not (name.startswith(_READ_AT_START) and value)


def _first_of_path(found: Program) -> str:
    if found.kind == "script":
        return os.path.dirname(os.path.realpath(found.what))
    return os.getcwd() if found.kind == "module" else ""


def _python_path(environment: Mapping[str, str]) -> list[str]:
    return [os.path.abspath(each) for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each]


def _hides_an_import(before: Sequence[str], path: Sequence[str]) -> bool:
    """Whether a module that is imported already would have come from one of the folders that go before ``path``."""
    imported = {name.partition(".")[0] for name in sys.modules} - {"__main__", "__mp_main__"}
    for folder in before:
        if os.path.abspath(folder) in path:
            continue
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder or os.curdir):
                name = entry.name.partition(".")[0]
                if name in imported and (entry.is_dir() or entry.name.endswith(tuple(all_suffixes()))):
                    return True
    return False


def _forget_the_fork() -> None:
    """Undoes what being a child of `multiprocessing`'s fork server has left in the process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc, assignment]
    # A program that uses `multiprocessing` is its main process, and starts helpers of its own.
    inside: Any = process
    inside._current_process = _MainProcess()
    inside._parent_process = None
    inside._children = set()
    default: Any = multiprocessing.context._default_context
    default._actual_context = None
    server: Any = forkserver._forkserver
    server.__init__()
    tracker: Any = resource_tracker._resource_tracker
    tracker.__init__()


class _MainProcess(process.BaseProcess):
    """What `multiprocessing` calls the process that nothing of it has started; it hides its own class of that name."""

    def __init__(self) -> None:
        self._identity = ()
        self._name = "MainProcess"
        self._parent_pid = None
        self._popen = None
        self._closed = False
        inside: Any = process
        self._config = {"authkey": inside.AuthenticationString(os.urandom(32)), "semprefix": "/mp"}

    def close(self) -> None:
        pass


def _limit_threads(environment: Mapping[str, str]) -> None:
    """Honors the numbers of threads that numerical libraries read when they are loaded, which some have been."""
    wanted = {
        api: environment[name]
        for api, names in {"openmp": ("OMP_NUM_THREADS",), "blas": ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}.items()
        for name in reversed(names)
        if environment.get(name, "").isdecimal()
    }
    if wanted and "threadpoolctl" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits({api: int(number) for api, number in wanted.items()})
