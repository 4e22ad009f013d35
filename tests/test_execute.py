"""``labkit exec`` as a shell sees it: exit statuses, signals, standard streams, what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labkit.cloud import client, state
from labkit.cloud.state import Lab, checkout
from tests.waiting import eventually

LABKIT = [sys.executable, "-m", "labkit"]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv(state.VARIABLE, str(tmp_path / "a lab"))
    lab = Lab(tmp_path / "a lab")
    yield lab
    client.down(lab)


def labkit(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [*LABKIT, *arguments]
    return subprocess.run(command, cwd=checkout(), capture_output=True, text=True, timeout=1000, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("fresh", [[], ["--fresh"]], ids=["shared", "fresh"])
class TestBothWays:
    def test_the_exit_status_is_the_commands(self, lab: Lab, fresh: list[str]) -> None:
        assert labkit("exec", *fresh, "--", "sh", "-c", "exit 7").returncode == 7
        assert labkit("exec", *fresh, "--", "true").returncode == 0
        assert labkit("exec", *fresh, "--", "sh", "-c", "kill -KILL $$").returncode == -signal.SIGKILL
        assert labkit("exec", *fresh, "--", "sh", "-c", "kill -SEGV $$").returncode == -signal.SIGSEGV

    def test_a_command_that_cannot_be_run_is_said(self, lab: Lab, fresh: list[str], tmp_path: Path) -> None:
        missing = labkit("exec", *fresh, "--", "no-such-command")
        assert missing.returncode == 127
        assert missing.stderr.endswith("labkit: The command no-such-command was not found; check its spelling.\n")
        folder = labkit("exec", *fresh, "--", str(tmp_path))
        assert folder.returncode == 126
        assert folder.stderr.endswith("cannot be run (Permission denied).\n")

    def test_options_and_streams_are_the_commands_own(self, lab: Lab, fresh: list[str]) -> None:
        done = labkit("exec", *fresh, "--", "sh", "-c", 'cat; echo "$1" "$2"', "-", "--fresh", "--", input="typed ")
        assert done.stdout == "typed --fresh --\n"

    def test_python_is_the_kits_own(self, lab: Lab, fresh: list[str]) -> None:
        done = labkit("exec", *fresh, "--", "python", "-c", "import sys; print(sys.prefix)")
        assert done.stdout.strip() == sys.prefix

    def test_the_clouds_are_there(self, lab: Lab, fresh: list[str]) -> None:
        script = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
        assert labkit("exec", *fresh, "--", "python", "-c", script).stdout == "arn:aws:iam::123456789012:user/learner\n"

    def test_commands_inside_act_on_the_same_clouds(self, lab: Lab, fresh: list[str]) -> None:
        labkit_inside = f"'{sys.executable}' -m labkit"
        script = f"{labkit_inside} clock advance 1d >/dev/null && {labkit_inside} status && {labkit_inside} exec -- env"
        shown = labkit("exec", *fresh, "--", "sh", "-c", script).stdout
        assert "1 day, 0:00:00 ahead" in shown
        folder = next(line for line in shown.splitlines() if line.startswith("State folder: ")).removeprefix(
            "State folder: "
        )
        assert f"{state.VARIABLE}={folder}\n" in shown

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
    def test_signals_reach_the_command(self, lab: Lab, fresh: list[str], number: signal.Signals) -> None:
        trap = f"trap 'echo caught; exit 9' {number.value}; echo ready; while :; do sleep 0.05; done"
        command = [*LABKIT, "exec", *fresh, "--", "sh", "-c", trap]
        with subprocess.Popen(
            command,
            cwd=checkout(),
            stdout=subprocess.PIPE,
            text=True,
            # The tests may run in the background of a shell, which has what it starts there ignore some signals.
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            assert process.stdout.read() == "caught\n"
        assert process.returncode == 9


def test_shared_clouds_are_started_once_and_stay(lab: Lab) -> None:
    first = labkit("exec", "--", "true")
    assert first.stderr == "Starting the local clouds ...\n"
    assert labkit("exec", "--", "true").stderr == ""
    assert client.status(lab) is not None


def test_fresh_clouds_are_empty_and_leave_the_shared_ones_alone(lab: Lab) -> None:
    make = "import boto3; boto3.client('s3').create_bucket(Bucket='left-behind')"
    for arguments in (["exec"], ["exec", "--fresh"], ["exec", "--fresh"]):
        assert labkit(*arguments, "--", "python", "-c", make).returncode == 0
    found = client.status(lab)
    assert found is not None
    assert found["clouds"]["aws"] == {"buckets": ["left-behind"]}


def sleepers_below(pid: int) -> list[psutil.Process]:
    return [each for each in psutil.Process(pid).children(recursive=True) if each.name() == "sleep"]


def test_fresh_clouds_end_with_a_killed_exec(lab: Lab) -> None:
    script = f"echo ${state.VARIABLE}; exec sleep 600"
    command = [*LABKIT, "exec", "--fresh", "--", "sh", "-c", script]
    with subprocess.Popen(command, cwd=checkout(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        # The shell says its line before it has become the sleeper.
        sleepers = eventually(lambda: sleepers_below(process.pid), despite=psutil.NoSuchProcess)
        below = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for sleeper in sleepers:
            sleeper.kill()
    servers = [each for each in below if each not in sleepers]
    assert servers
    psutil.wait_procs(servers, timeout=100)
    assert not [each for each in servers if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert not folder.exists()


def test_what_the_caller_has_set_for_real_clouds_stays_outside(lab: Lab) -> None:
    outside = os.environ | {
        "AWS_PROFILE": "real-profile",
        "AWS_SESSION_TOKEN": "real-token",
        "AWS_ENDPOINT_URL": "https://real.example",
        "https_proxy": "http://proxy.example:3128",
        "ALL_PROXY": "socks5://proxy.example",
        "NO_PROXY": "*",
        "REQUESTS_CA_BUNDLE": "/etc/ssl/other.pem",
        "MY_OWN": "kept",
    }
    shown = labkit("exec", "--fresh", "--", "env", env=outside).stdout
    for value in ("real-profile", "real-token", "real.example", "proxy.example", "other.pem", "=*"):
        assert value not in shown
    assert "MY_OWN=kept\n" in shown
