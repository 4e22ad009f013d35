"""How ``make lab`` starts JupyterLab. That it then shows a notebook is for the browser test."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from labkit.cloud import client
from labkit.errors import LabError
from labkit.kernels.install import NAME
from tools import lab


@pytest.mark.parametrize(
    ("environ", "browser"),
    [
        ({"LABKIT_BROWSER": "none", "DISPLAY": ":0"}, "none"),
        ({"LABKIT_BROWSER": "firefox %s"}, "firefox %s"),
        ({"DISPLAY": ":0"}, None),
        ({"WAYLAND_DISPLAY": "wayland-0"}, None),
        ({}, "none"),
    ],
)
def test_a_browser_is_opened_where_there_is_a_display(
    environ: dict[str, str], browser: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert lab.browser_of(environ) == browser


def test_other_systems_have_a_browser_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert lab.browser_of({}) is None


def test_jupyterlab_listens_on_loopback_and_keeps_its_token() -> None:
    options = lab.jupyter_options(Path("/my labs/notebooks"), None)
    assert "--ServerApp.root_dir=/my labs/notebooks" in options
    assert "--ServerApp.ip=127.0.0.1" in options
    assert not [option for option in options if "token" in option or "password" in option or "browser" in option]


@pytest.mark.parametrize(("browser", "option"), [("none", "--no-browser"), ("lynx", "--ServerApp.browser=lynx")])
def test_the_browser_can_be_chosen(browser: str, option: str) -> None:
    assert option in lab.jupyter_options(Path("/labs"), browser)


@pytest.mark.parametrize(("user", "allowed"), [(0, True), (1000, False)])
def test_only_root_needs_leave_to_be_root(user: int, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert ("--allow-root" in lab.jupyter_options(Path("/labs"), None)) is allowed


def test_terminals_in_the_lab_find_its_programs_first() -> None:
    environment = lab.jupyter_environment({"PATH": "/usr/bin", "JUPYTER_CONFIG_PATH": "/mine"})
    assert environment["PATH"].split(os.pathsep) == [str(Path(sys.prefix) / "bin"), "/usr/bin"]
    assert environment["JUPYTER_CONFIG_PATH"].split(os.pathsep) == [str(lab.SETTINGS), "/mine"]


def test_the_settings_choose_the_kernel() -> None:
    settings = json.loads((lab.SETTINGS / "jupyter_server_config.json").read_text())
    assert settings["MultiKernelManager"]["default_kernel_name"] == NAME


def test_clouds_that_do_not_start_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def up(*_: Any) -> None:
        raise LabError("The port is taken; stop that program.")

    monkeypatch.setenv("LABKIT_STATE", str(tmp_path))
    monkeypatch.setattr(client, "up", up)
    assert lab.main([]) == 1
    assert capsys.readouterr().err == "The port is taken; stop that program.\n"
