"""What a notebook shows of an error: the advice, the learner's own lines, and no library's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from labkit import tracebacks


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.colors = "nocolor"
    tracebacks.shorten(shell, lambda source, _identifier, _error: "Do that first." if "advise" in source else "")
    yield shell
    InteractiveShell.clear_instance()


def shown(shell: InteractiveShell, cell: str, capsys: pytest.CaptureFixture[str]) -> str:
    result = shell.run_cell(cell, store_history=True)
    assert not result.success
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


def test_the_advice_comes_first_and_the_errors_own_words_last(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    said = shown(shell, "1 / 0  # advise", capsys)
    assert said.startswith("Do that first.\n")
    assert said.rstrip().endswith("ZeroDivisionError: division by zero")


def test_a_librarys_frames_and_the_errors_it_came_from_are_left_out(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    said = shown(shell, "import json\n\ndef read():\n    return json.loads('{')\n\nread()", capsys)
    assert "json.loads('{')" in said
    assert "decoder.py" not in said
    assert re.search(
        r"JSONDecodeError: .*\n\n\(It was raised in json, \d calls further down: %tb .* them all\.\)", said
    )
    chained = shown(shell, "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ValueError('second')", capsys)
    assert "ValueError: second" in chained
    assert "ZeroDivisionError: division" not in chained


def test_tb_shows_everything(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shown(shell, "import json\njson.loads('{')", capsys)
    shell.run_line_magic("tb", "")
    assert "decoder.py" in capsys.readouterr().out


def test_the_learners_own_files_are_shown(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "own_client.py").write_text("def ask():\n    return {}['prediction']\n")
    said = shown(shell, "import own_client\nown_client.ask()", capsys)
    assert "return {}['prediction']" in said
    assert "further down" not in said


def test_a_mistake_in_the_syntax_is_shown_as_ever(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    assert "SyntaxError" in shown(shell, "broken = (", capsys)


def test_a_second_lab_takes_the_place_of_the_first(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    tracebacks.shorten(shell, lambda _source, _identifier, _error: "The second says so.")
    said = shown(shell, "1 / 0  # advise", capsys)
    assert said.startswith("The second says so.\n")
    assert "Do that first." not in said
