"""What ``lab.answer`` shows runs in the notebook of a learner who did the earlier tasks in another way."""

from __future__ import annotations

import ast
import builtins
import json
from pathlib import Path

import pytest

SOLUTIONS = Path(__file__).parents[3] / "solutions" / "foundations"
#: The names that a task's text asks the learner to keep something in.
ASKED = {"azure": {"deployer", "deployer_app", "caller", "caller_app"}}


def parts(source: str) -> tuple[ast.Module, ast.Module]:
    """A cell as the learner gets it, and what its answer adds."""
    given, answer = [], []
    for piece in source.split("### BEGIN SOLUTION\n"):
        solved, _, after = piece.rpartition("### END SOLUTION")
        answer.append(solved)
        given.append(after)
    return ast.parse("\n".join(given)), ast.parse("\n".join(answer))


def bound(tree: ast.Module) -> set[str]:
    """Every name that the code binds, anywhere."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name) | ast.arg(arg=name):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found.add(other or name.partition(".")[0])
            case ast.ExceptHandler(name=str(name)):
                found.add(name)
    return found


def read(tree: ast.Module) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_no_answer_needs_another(cloud: str) -> None:
    known = set(dir(builtins)) | ASKED.get(cloud, set())
    lacking = {}
    for cell in json.loads((SOLUTIONS / f"{cloud}.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            given, answer = parts("".join(cell["source"]))
            known |= bound(given)
            lacking[cell["id"]] = (read(given) | read(answer)) - known - bound(answer)
    assert {cell: names for cell, names in lacking.items() if names} == {}
