"""Why a cell that is right in itself may fail: a task above it is not done, or a cell above it has not run."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class CodeCell:
    """A cell of a lab's notebook, and the task that it answers; "" for a cell that is given."""

    identifier: str
    source: str
    task: str


def code_cells(notebook: Path) -> list[CodeCell]:
    """The code cells of a notebook's file, checks left out; none where there is no such notebook."""
    try:
        found: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    cells = []
    for each in found:
        grading = each.get("metadata", {}).get("nbgrader", {})
        if each.get("cell_type") == "code" and not grading.get("grade"):
            task = grading.get("grade_id", "") if grading.get("solution") else ""
            cells.append(CodeCell(each.get("id", ""), "".join(each.get("source", "")).strip(), task))
    return cells


def advice(
    cells: Sequence[CodeCell], source: str, identifier: str | None, error: BaseException, undone: Sequence[str]
) -> str:
    """What to do first, as a sentence; "" where nothing above the failed cell explains its error.

    ``source`` and ``identifier`` are the failed cell's, ``undone`` the tasks whose checks have said that they are not
    done, in the notebook's order.
    """
    here = _position(cells, source, identifier)
    if here is None:
        return ""
    above = {each.task for each in cells[:here]} - {cells[here].task}
    if missing := [task for task in undone if task in above]:
        several = len(missing) > 1
        *first, last = [*missing[:3], f"{len(missing) - 3} more"] if len(missing) > 4 else missing
        named = f"tasks {', '.join(first)} and {last}" if several else f"task {last}"
        return (
            f"The {named} above {'are' if several else 'is'} not done yet, and this cell may build on "
            f"{'them' if several else 'it'}: first see {'their checks' if several else 'its check'} pass, "
            "then run this cell again."
        )
    if isinstance(error, NameError) and any(error.name in _bound(each.source) for each in cells[:here]):
        return (
            f"{error.name} comes from a cell above, which has not run to its end since the kernel started: "
            "run the cells above from the top, then this one again."
        )
    return ""


def _position(cells: Sequence[CodeCell], source: str, identifier: str | None) -> int | None:
    for number, cell in enumerate(cells):
        if cell.identifier == identifier or cell.source == source.strip():
            return number
    return None


def _bound(source: str) -> set[str]:
    """The names that a cell gives to something, outside of its functions."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    return set(_names(tree.body))


def _names(body: Sequence[ast.AST]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                for each in names:
                    yield each.asname or each.name.partition(".")[0]
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                pass
            case _:
                yield from _names(list(ast.iter_child_nodes(node)))
