"""What a notebook shows of an error: first what to do, if that is known, then the learner's own lines and no library's.

``%tb`` shows the whole traceback, as ever.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import ExecutionInfo, InteractiveShell

#: From the failed cell's source, its id (None where the program that has sent it gives no ids) and the error: what to
#: do, as a sentence, or "" where nothing is known.
Advise = Callable[[str, str | None, BaseException], str]


class _Running:
    """Remembers which cell runs."""

    def __init__(self) -> None:
        self.cell: ExecutionInfo | None = None

    def begin(self, info: ExecutionInfo) -> None:
        self.cell = info


def shorten(shell: InteractiveShell, advise: Advise) -> None:
    """From the next cell on, shows errors as this module says; what an earlier call has set is replaced."""
    for each in [each for each in shell.events.callbacks["pre_run_cell"] if _is_ours(each)]:
        shell.events.unregister("pre_run_cell", each)
    running = _Running()
    shell.events.register("pre_run_cell", running.begin)

    def handle(
        shell: InteractiveShell,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType,
        tb_offset: Any = 0,
    ) -> None:
        cell = running.cell
        _show(shell, kind, error, trace, advise(cell.raw_cell or "", cell.cell_id, error) if cell else "")

    shell.set_custom_exc((Exception,), handle)


def _is_ours(callback: Any) -> bool:
    return isinstance(getattr(callback, "__self__", None), _Running)


def _show(
    shell: InteractiveShell, kind: type[BaseException], error: BaseException, trace: TracebackType, advice: str
) -> None:
    own = [each for each in _walk(trace) if _is_own(each, shell)]
    if not own or shell.call_pdb or isinstance(error, SyntaxError | UsageError) or hasattr(error, "_render_traceback_"):
        shell.showtraceback((kind, error, trace), running_compiled_code=bool(own))
        return
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace  # for %tb and %debug
    lines = [*textwrap.wrap(advice, 80, break_long_words=False, break_on_hyphens=False), ""] if advice else []
    lines += _formatted(shell, kind, error, own)
    if others := list(_walk(own[-1].tb_next)):
        where = str(others[-1].tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        lines += ["", f"(It was raised in {where}, {len(others)} calls further down: %tb in a cell shows them all.)"]
    shell._showtraceback(kind, error, lines)


def _formatted(
    shell: InteractiveShell, kind: type[BaseException], error: BaseException, own: list[TracebackType]
) -> list[str]:
    """IPython's own lines for these frames alone, without the errors that libraries raised on the way."""
    shortened: TracebackType | None = None
    for each in reversed(own):
        shortened = TracebackType(shortened, each.tb_frame, each.tb_lasti, each.tb_lineno)
    chain = error.__cause__, error.__context__, error.__suppress_context__
    error.__cause__ = error.__context__ = None
    try:
        lines: list[str] = shell.InteractiveTB.structured_traceback(kind, error, shortened, tb_offset=0)
        return lines
    finally:
        error.__cause__, error.__context__, error.__suppress_context__ = chain


def _walk(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_own(trace: TracebackType, shell: InteractiveShell) -> bool:
    """Whether the code is a cell's, or a file's in the notebook's folder."""
    code, names = trace.tb_frame.f_code, trace.tb_frame.f_globals
    if names is shell.user_ns or names is shell.user_global_ns:
        return True
    file = Path(code.co_filename)
    return file.is_file() and file.resolve().is_relative_to(Path.cwd()) and "site-packages" not in file.parts
