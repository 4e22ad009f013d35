"""The kernel's environment, what it tells its learner, and a real one that Jupyter starts."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.events import EventManager
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from labkit.cloud import client
from labkit.cloud.client import Started
from labkit.cloud.state import VARIABLE, Lab
from labkit.errors import LabError
from labkit.kernels import kernel
from labkit.kernels.install import NAME, install

OWNERS = {
    "AWS_PROFILE": "work",
    "AWS_SESSION_TOKEN": "secret",
    "HTTPS_PROXY": "http://proxy.work:8080",
    "GOOGLE_APPLICATION_CREDENTIALS": "/home/me/key.json",
    "AZURE_CLIENT_SECRET": "secret",
    "PATH": "/usr/bin",
    "JPY_PARENT_PID": "17",
}


@pytest.fixture
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "the state"
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


def starts(started: Started | LabError) -> Any:
    def up(lab: Lab, progress: client.Progress) -> Started:
        progress("Starting the local clouds ...")
        if isinstance(started, LabError):
            raise started
        return started

    return up


def test_the_owners_environment_is_replaced(state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "up", starts(Started(1, new=True)))
    environ, log = dict(OWNERS), io.StringIO()
    entered = kernel.enter(environ, log)
    assert entered.lab is not None
    assert (entered.failure, entered.notice) == ("", "")
    assert environ["HTTPS_PROXY"] == entered.lab.url
    assert environ[VARIABLE] == str(state_folder)
    assert environ["JPY_PARENT_PID"] == "17"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET"} & environ.keys()
    assert "GOOGLE_APPLICATION_CREDENTIALS" not in environ
    assert log.getvalue() == "Starting the local clouds ...\n"


def test_clouds_that_do_not_start_still_keep_everything_in(state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "up", starts(LabError("The port is taken; stop that program.")))
    environ = dict(OWNERS)
    entered = kernel.enter(environ, io.StringIO())
    assert entered.failure == "The port is taken; stop that program."
    assert environ["HTTPS_PROXY"].startswith("http://127.0.0.1:")
    assert "AWS_PROFILE" not in environ


def test_a_state_folder_that_cannot_be_made_still_keeps_everything_in(state_folder: Path) -> None:
    state_folder.write_text("a file where the folder would be")
    environ = dict(OWNERS)
    entered = kernel.enter(environ, io.StringIO())
    assert entered.lab is None
    assert str(state_folder) in entered.failure
    assert {environ[name] for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")} == {kernel.NOWHERE}
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET"} & environ.keys()


def test_what_a_killed_server_lost_is_named(state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {"aws": {"endpoints": ["churn"]}}
    monkeypatch.setattr(client, "up", starts(Started(1, new=True, lost=lost)))  # type: ignore[arg-type]
    entered = kernel.enter({}, io.StringIO())
    assert entered.notice.startswith("The local clouds were killed when last they ran. Gone with them: ")
    assert "churn" in entered.notice


@pytest.mark.parametrize(("always", "times"), [(True, 3), (False, 1)])
def test_a_sentence_stands_before_the_next_cell_or_every_one(
    always: bool, times: int, capsys: pytest.CaptureFixture[str]
) -> None:
    shell: Any = SimpleNamespace(events=None)
    shell.events = EventManager(shell, {"pre_run_cell": lambda info: None})
    kernel.announce(shell, "The clouds are down.", always=always)
    assert capsys.readouterr().err == ""
    for _ in range(3):
        shell.events.trigger("pre_run_cell", None)
    assert capsys.readouterr().err == "The clouds are down.\n" * times


def test_each_refusal_is_logged_once(state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals: list[dict[str, Any]] = [{"why": "Before the kernel began.", "at": 0.0}]
    monkeypatch.setattr(client, "status", lambda lab: {"refusals": refusals})
    log = io.StringIO()
    written = kernel.RefusalLog(Lab(state_folder), log)
    written.write_new()
    assert log.getvalue() == ""
    refusals.append({"why": "example.com is no cloud.", "at": 4e9})
    written.write_new()
    written.write_new()
    assert log.getvalue() == "Refused: example.com is no cloud.\n"


def test_no_clouds_means_nothing_to_log(state_folder: Path) -> None:
    log = io.StringIO()
    kernel.RefusalLog(Lab(state_folder), log).write_new()
    assert log.getvalue() == ""


class Running:
    """A kernel that Jupyter started, with its log."""

    def __init__(self, manager: KernelManager, log: Path) -> None:
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=250)
        self.log = log

    def execute(self, code: str) -> tuple[str, str]:
        """What a cell wrote to standard output and to standard error; an exception counts as the latter."""
        out: dict[str, list[str]] = {"stdout": [], "stderr": []}

        def note(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                out[content["name"]].append(content["text"])
            elif message["msg_type"] == "error":
                out["stderr"].append(f"{content['ename']}: {content['evalue']}")

        self.client.execute_interactive(code, output_hook=note, timeout=250)
        return "".join(out["stdout"]), "".join(out["stderr"])


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    """Starts the kernel as Jupyter would, its notebook in a folder whose name has a space."""
    prefix, notebooks, log = tmp_path / "prefix", tmp_path / "my notebooks", tmp_path / "kernel.log"
    notebooks.mkdir()
    install(str(prefix))
    specs = KernelSpecManager(kernel_dirs=[str(prefix / "share" / "jupyter" / "kernels")])
    manager = KernelManager(kernel_name=NAME, kernel_spec_manager=specs)
    running: list[Running] = []

    def start() -> Running:
        with log.open("w") as stderr:
            manager.start_kernel(cwd=str(notebooks), stderr=stderr)
        running.append(Running(manager, log))
        return running[-1]

    start.notebooks = notebooks  # type: ignore[attr-defined]
    yield start
    for each in running:
        each.client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_cell_reaches_the_local_clouds(clouds: Lab, started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    (started.notebooks / "json.py").write_text("raise SystemExit('a learner file stood in for a module')")
    (started.notebooks / "mine.py").write_text("ANSWER = 42")
    running = started()
    assert running.execute(
        "import boto3, mine; print(mine.ANSWER, boto3.client('sts').get_caller_identity()['Arn'])"
    ) == (
        "42 arn:aws:iam::123456789012:user/learner\n",
        "",
    )
    refused, _ = running.execute(
        "import requests\ntry:\n    requests.get('https://example.com')\nexcept OSError as error:\n    print(error)"
    )
    assert "example.com is no cloud that the local clouds serve" in refused


def test_a_kernel_without_clouds_starts_and_says_why(
    tmp_path: Path, started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder would be")
    monkeypatch.setenv(VARIABLE, str(blocked))
    running = started()
    out, err = running.execute("print(1 + 1)")
    assert out == "2\n"
    assert str(blocked) in err
    assert err.endswith("Then restart the kernel.\n")
    assert err.count("\n") == 1
    assert str(blocked) in running.log.read_text()


def test_the_specification_is_installed_under_its_name(tmp_path: Path) -> None:
    folder = Path(install(str(tmp_path)))
    assert folder == tmp_path / "share" / "jupyter" / "kernels" / NAME
    specification = json.loads((folder / "kernel.json").read_text())
    assert specification["display_name"] == "Local clouds"
    assert specification["argv"] == ["python", "-m", "labkit.kernels.launch", "-f", "{connection_file}"]
    assert os.listdir(folder).count("logo-svg.svg") == 1
