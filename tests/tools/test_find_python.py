"""The shell script that finds a Python, asked with a PATH of make-believe ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.bootstrap import ROOT

SCRIPT = ROOT / "tools" / "find_python.sh"


def find(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", SCRIPT, *arguments], capture_output=True, text=True, env={"PATH": str(path)}, timeout=250
    )


def put(folder: Path, name: str, body: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a bin"
    folder.mkdir()
    return folder


GOOD = f'exec "{sys.executable}" "$@"'
SHIM = 'echo "pyenv: version not installed" >&2; exit 127'
#: Debian's python3 without python3-venv: it runs, and importing ensurepip fails.
STRIPPED = f'case "$2" in *ensurepip*) exit 1 ;; *) exec "{sys.executable}" "$@" ;; esac'
#: Runs the version test as Python 3.9 would answer it.
OLD = "exit 1"


def test_a_shim_that_fails_is_passed_over(bin_folder: Path) -> None:
    put(bin_folder, "python3.13", SHIM)
    put(bin_folder, "python3.12", GOOD)
    assert find(bin_folder).stdout == "python3.12\n"


def test_an_old_python3_is_passed_over(bin_folder: Path) -> None:
    put(bin_folder, "python3", OLD)
    put(bin_folder, "python", GOOD)
    assert find(bin_folder).stdout == "python\n"


def test_one_without_ensurepip_is_passed_over_for_a_complete_one(bin_folder: Path) -> None:
    put(bin_folder, "python3.12", STRIPPED)
    put(bin_folder, "python3.11", GOOD)
    assert find(bin_folder).stdout == "python3.11\n"


def test_only_one_without_ensurepip_says_what_to_install(bin_folder: Path) -> None:
    put(bin_folder, "python3", STRIPPED)
    found = find(bin_folder)
    assert found.returncode == 1
    assert found.stdout == ""
    assert found.stderr.startswith("python3 cannot make an environment, for it lacks venv or ensurepip")
    assert "apt-get install python3-venv" in found.stderr
    assert found.stderr.count("\n") == 1


def test_none_at_all_is_one_sentence(bin_folder: Path) -> None:
    found = find(bin_folder)
    assert found.returncode == 1
    assert found.stderr == (
        "The kit needs Python 3.11 to 3.14 and found none: "
        "install one, or name it, as in: make lab PYTHON=/path/to/python\n"
    )


def test_a_named_one_is_taken_though_its_path_has_spaces(bin_folder: Path) -> None:
    put(bin_folder, "python3", GOOD)
    mine = put(bin_folder.parent / "my own", "interpreter", GOOD)
    assert find(bin_folder, str(mine)).stdout == f"{mine}\n"


def test_a_named_one_that_does_not_fit_is_refused_by_its_name(bin_folder: Path) -> None:
    put(bin_folder, "python3", GOOD)
    found = find(bin_folder, "/nowhere/python3.8")
    assert found.returncode == 1
    assert found.stderr.startswith("PYTHON=/nowhere/python3.8 is no Python from 3.11 to 3.14 that runs")


def test_an_empty_name_means_look_for_one(bin_folder: Path) -> None:
    put(bin_folder, "python3", GOOD)
    assert find(bin_folder, "").stdout == "python3\n"


def test_the_script_says_what_pyproject_says() -> None:
    assert 'requires-python = ">=3.11,<3.15"' in (ROOT / "pyproject.toml").read_text()
    assert "(3, 11) <= sys.version_info[:2] <= (3, 14)" in SCRIPT.read_text()
