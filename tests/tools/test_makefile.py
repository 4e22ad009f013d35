"""The one way in: what ``make`` offers is there, and is what people are told."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tools.bootstrap import ROOT

TARGETS = ["help", "setup", "lab", "test", "lint", "bench", "release", "clean"]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, env=clean, timeout=250)


def test_make_alone_lists_every_target() -> None:
    listed = [line.split()[:2] for line in make().stdout.splitlines()]
    assert listed == [["make", target] for target in TARGETS]


@pytest.mark.parametrize("target", TARGETS)
def test_every_listed_target_exists(target: str) -> None:
    rehearsal = make("--dry-run", target)
    assert rehearsal.returncode == 0, rehearsal.stderr
    assert rehearsal.stdout


def test_without_a_fitting_python_make_says_one_sentence() -> None:
    made = make("setup", "PYTHON=/nowhere/python")
    assert made.returncode != 0
    assert re.match(r"PYTHON=/nowhere/python is no Python from 3\.11 to 3\.14 that runs", made.stderr)
    assert "Traceback" not in made.stderr


def test_continuous_integration_runs_what_everyone_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text().splitlines()


def test_the_readme_names_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "make lab" in readme
    assert "make test" in readme
