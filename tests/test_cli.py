from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import cli
from labkit.cloud import client, state
from labkit.cloud.state import Lab, checkout

DOCUMENTATION = (checkout() / "docs" / "cli.md").read_text()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab in force, whose clouds do not run."""
    monkeypatch.setenv(state.VARIABLE, str(tmp_path / "lab"))
    return Lab(tmp_path / "lab")


def parsers() -> dict[str, argparse.ArgumentParser]:
    actions = cli.parser()._actions
    (commands,) = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    return dict(commands.choices)


def documented(command: str) -> str:
    """The command's part of docs/cli.md."""
    found = re.search(rf"^## labkit {command}\n(.*?)(?=^## |\Z)", DOCUMENTATION, re.MULTILINE | re.DOTALL)
    assert found, f"docs/cli.md does not describe labkit {command}"
    return found[1]


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)
def test_every_command_is_documented(command: cli.Command) -> None:
    text = documented(command.name)
    assert f"[`labkit {command.name}`](#labkit-{command.name})" in DOCUMENTATION
    options = {option for action in parsers()[command.name]._actions for option in action.option_strings}
    for option in options - {"-h", "--help"}:
        assert f"`{option}" in text or f"labkit {command.name} {option}" in text, f"{option} is not described"
    for example in command.examples:
        assert f"    {example}\n" in text


def test_nothing_is_documented_that_is_not_there() -> None:
    assert set(re.findall(r"^## labkit (\w+)", DOCUMENTATION, re.MULTILINE)) == set(parsers())
    for command in parsers():
        for option in re.findall(r"`(--[a-z-]+)", documented(command)):
            assert option in parsers()[command]._option_string_actions


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help_with_an_example(command: cli.Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command.name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert command.examples
    for example in command.examples:
        assert f"  {example}\n" in shown


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)
def test_every_example_can_be_parsed(command: cli.Command) -> None:
    for example in command.examples:
        arguments = re.sub(r'^eval "\$\((.*)\)"$', r"\1", example).split()
        assert arguments[0] == "labkit"
        assert cli.parser().parse_args(arguments[1:]).run is command.run


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["up", "--fast"], "unrecognized arguments: --fast"),
        (["exec"], "name a command to run, after `--`"),
        (["exec", "--fresh"], "name a command to run, after `--`"),
        (["exec", "--"], "name a command to run, after `--`"),
        (["clock", "advance"], "say by how much, such as 31d, 12h or 90s"),
        (["clock", "advance", "soon"], "'soon' is not a duration: write one like 31d, 90s or 2h30m"),
        (["clock", "advance", "0s"], "write a duration of more than 0 s"),
        (["clock", "advance", "-1d"], "arguments"),
        (["clock", "advance", "99999999999d"], "is too long a duration"),
        (["clock", "back"], "invalid choice"),
        (["check"], "required: LAB"),
        (["release", "--check", "--nbgrader", "x"], "not allowed with"),
        (["submit", "beginner/aws"], "invalid choice"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], lab: Lab
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["clock"], ["clock", "advance", "1d"], ["reset"], ["check", "beginner/aws"], ["check", "none/such"]]
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str], lab: Lab
) -> None:
    assert cli.main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"labkit: [^\n]+\.\n", captured.err)


def test_a_defect_is_one_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lab: Lab, tmp_path: Path
) -> None:
    def fail(_: Lab) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(client, "status", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.main(["status"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("labkit: Something failed that should not (ZeroDivisionError: division by zero)")
    (report,) = re.findall(r"in (\S+)\.\n", said)
    assert "in fail\n    raise ZeroDivisionError" in Path(report).read_text()


def test_a_life_on_the_command_line(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    def labkit(*arguments: str) -> tuple[int, str]:
        status = cli.main(arguments)
        return status, capsys.readouterr().out

    try:
        assert labkit("status") == (
            1,
            f"The local clouds do not run; start them with `labkit up`. Their state folder is {lab.folder}.\n",
        )
        assert labkit("status", "--json") == (1, "null\n")
        assert labkit("up") == (0, f"The local clouds are ready on {lab.url}.\n")
        assert labkit("up") == (0, f"The local clouds run already on {lab.url}.\n")
        status, shown = labkit("status")
        assert status == 0
        assert shown.startswith(f"The local clouds run on {lab.url} (process ")
        assert json.loads(labkit("status", "--json")[1])["port"] == lab.port
        status, shown = labkit("clock", "advance", "31d")
        assert status == 0
        assert shown.startswith("Nothing fell due.\nIn the lab it is ")
        assert shown.endswith("31 days, 0:00:00 ahead of this machine.\n")
        assert labkit("clock")[1] in shown
        assert labkit("reset") == (0, "The local clouds are empty; nothing was in them.\n")
        assert cli.main(["up", "--new-port"]) == 1
        assert "`labkit down` first" in capsys.readouterr().err
    finally:
        assert labkit("down") == (0, "The local clouds have stopped; nothing was in them.\n")
    assert labkit("down") == (0, "The local clouds did not run.\n")


def test_the_printed_environment_is_what_a_shell_takes(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    cli.main(["env"])
    script = capsys.readouterr().out
    shell = ["sh", "-c", f'{script}\n"{sys.executable}" -c "import json, os; print(json.dumps(dict(os.environ)))"']
    inside = json.loads(subprocess.run(shell, capture_output=True, text=True, check=True).stdout)
    assert inside["AWS_ACCESS_KEY_ID"] == lab.access_key_id
    assert "AWS_PROFILE" not in inside
    cli.main(["env", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["set"].items() <= inside.items()
    assert "AWS_PROFILE" in printed["unset"]
    assert not printed["set"].keys() & set(printed["unset"])


def test_refusals_are_shown(lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"pid": 1, "started": 0, "time": "2026-01-01T00:00:00+00:00", "offset": 0, "clouds": {}, "calls": 0}
    refusals = [{"host": "a.example", "why": "a.example is no cloud.", "at": 0, "times": 3}]
    monkeypatch.setattr(client, "status", lambda _: {**found, "pass_through": ["pypi.org"], "refusals": refusals})
    cli.main(["status"])
    shown = capsys.readouterr().out
    assert re.search(r"\(3 times\)  a\.example is no cloud\.", shown)
    assert f'pypi.org ("pass_through" in {lab.settings_file} lists them)' in shown


def test_a_reader_that_stops_early_is_no_error(lab: Lab) -> None:
    command = f"'{sys.executable}' -m labkit env | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=checkout(), capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_release_says_what_is_wrong_with_a_notebook(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> list[str]:
        raise RuntimeError("No end tag found in cell x.")

    monkeypatch.setattr("labkit.release.release", broken)
    assert cli.main(["release"]) == 1
    assert capsys.readouterr().err == "labkit: No end tag found in cell x.\n"


def test_a_lab_error_may_have_a_status_of_its_own(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["exec", "--fresh", "--", "no-such-command"]) == 127
    assert capsys.readouterr().err == "labkit: The command no-such-command was not found; check its spelling.\n"


def test_the_state_folder_of_another_user_is_one_sentence(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert cli.main(["up"]) == 1
    assert "belongs to another user" in capsys.readouterr().err
