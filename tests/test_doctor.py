from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from labkit import doctor
from labkit.cloud import client, state
from labkit.cloud.state import Lab
from labkit.doctor import Finding, Verdict

Look = Callable[[], Iterator[Finding]]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv(state.VARIABLE, str(tmp_path / "lab"))
    return Lab(tmp_path / "lab")


def worst(look: Look) -> Finding:
    order = list(Verdict)
    return max(look(), key=lambda finding: order.index(finding.verdict))


def test_everything_is_looked_at(lab: Lab) -> None:
    findings = list(doctor.examine())
    assert len(findings) >= len(doctor.LOOKS)
    for finding in findings:
        assert str(finding).startswith(finding.verdict.value)
        assert str(finding).endswith(".")
        if finding.stops:
            assert finding.remedy or "`" in finding.what


@pytest.mark.parametrize(("version", "verdict"), [((3, 10, 9), "missing"), ((3, 11, 0), "ok"), ((3, 15, 0), "missing")])
def test_python(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], verdict: str) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(sys, "base_prefix", "/elsewhere")
    assert worst(doctor._python).verdict.value == verdict


def test_python_of_the_system_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    assert worst(doctor._python).verdict is Verdict.LIMITS


@pytest.mark.parametrize(
    ("pins", "verdict", "named"),
    [
        ("h11>=0\nTrustMe>=1 ; python_version > '3'\n# a comment\n    # via x\n", Verdict.FINE, ""),
        ("no-such-package==1.0\n", Verdict.MISSING, "no-such-package"),
        ("no-such-package==1.0 ; sys_platform == 'nothing'\n", Verdict.FINE, ""),
        ("h11==0.0.1\n", Verdict.LIMITS, "h11"),
    ],
)
def test_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pins: str, verdict: Verdict, named: str) -> None:
    (tmp_path / "requirements.txt").write_text(pins)
    monkeypatch.setattr(state, "checkout", lambda: tmp_path)
    finding = worst(doctor._packages)
    assert finding.verdict is verdict
    assert named in finding.what


def test_packages_without_pins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(state, "checkout", lambda: tmp_path)
    assert worst(doctor._packages).verdict is Verdict.LIMITS


def test_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.cache_from_source", lambda path: f"{path}.none")
    assert worst(doctor._bytecode).verdict is Verdict.LIMITS


def test_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert worst(doctor._kernel).verdict is Verdict.MISSING
    folder = tmp_path / "share" / "jupyter" / "kernels" / "local-clouds"
    folder.mkdir(parents=True)
    (folder / "kernel.json").touch()
    assert worst(doctor._kernel).verdict is Verdict.FINE


def test_a_port_that_a_stranger_has(lab: Lab) -> None:
    assert worst(doctor._clouds).verdict is Verdict.FINE
    with socket.create_server(("127.0.0.1", lab.port)):
        finding = worst(doctor._clouds)
    assert finding.stops
    assert str(lab.port) in finding.what
    assert "--new-port" in finding.remedy


def test_clouds_of_older_code(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "status", lambda _: {"code": "older"})
    assert worst(doctor._clouds).verdict is Verdict.LIMITS


def test_a_state_folder_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(state.VARIABLE, "/proc/lab")
    assert worst(doctor._clouds).stops


def test_a_full_disk(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    assert worst(doctor._clouds).verdict is Verdict.LIMITS


def test_a_system_that_cannot_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    assert worst(doctor._processes).verdict is Verdict.LIMITS


@pytest.mark.parametrize(("available", "verdict"), [(1 << 30, Verdict.LIMITS), (8 << 30, Verdict.FINE)])
def test_memory(monkeypatch: pytest.MonkeyPatch, available: int, verdict: Verdict) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
    assert worst(doctor._memory).verdict is verdict


def test_no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert worst(doctor._browser).verdict is Verdict.LIMITS


def test_inherited_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(state.VARIABLE, raising=False)
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert "AWS_PROFILE" in worst(doctor._inherited).what


def test_jobs_that_cannot_be_shown_their_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.Jobs, "refuses_mounts", lambda _: "This system does not let them: do something.")
    (finding,) = doctor._mounts()
    assert str(finding) == "limit    This system does not let them: do something."
    monkeypatch.setattr(doctor.Jobs, "refuses_mounts", lambda _: "")
    assert worst(doctor._mounts).verdict is Verdict.FINE
