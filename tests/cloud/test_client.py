"""The life of the local clouds: started, found, killed, started again."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest

from labkit.cloud import client, environment
from labkit.cloud.inventory import spelled
from labkit.cloud.state import Lab, checkout
from labkit.errors import LabError
from tests.waiting import eventually


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path / "state with spaces")
    yield lab
    client.down(lab)


def make_bucket(lab: Lab, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in environment.of(lab).items():
        monkeypatch.setenv(variable, value)
    boto3.Session().client("s3").create_bucket(Bucket=name)


def processes_of(lab: Lab) -> list[psutil.Process]:
    """The server and everything below it."""
    server = psutil.Process(json.loads(lab.server_file.read_text())["pid"])
    return [server, *server.children(recursive=True)]


def have_ended(processes: list[psutil.Process]) -> bool:
    """Whether none runs; one that has ended may not have been collected yet by the system's first process."""
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                return False
    return True


def test_up_starts_once_and_down_stops(lab: Lab) -> None:
    assert client.status(lab) is None
    started = client.up(lab)
    eventually(lambda: len(processes_of(lab)) > 1)  # the process from which the others are forked
    running = processes_of(lab)
    assert started.new
    again = client.up(lab)
    assert (again.pid, again.new) == (started.pid, False)
    status = client.status(lab)
    assert status is not None
    assert (status["pid"], status["port"]) == (started.pid, lab.port)
    gone = client.down(lab)
    assert gone is not None
    assert spelled(gone) == ""
    assert client.status(lab) is None
    assert client.down(lab) is None
    eventually(lambda: have_ended(running))


def test_two_ups_at_once_start_one_server(lab: Lab) -> None:
    program = (
        "import sys; from pathlib import Path; from labkit.cloud import client; from labkit.cloud.state import Lab;"
        "started = client.up(Lab(Path(sys.argv[1]))); print(started.pid, started.new)"
    )
    command = [sys.executable, "-c", program, str(lab.folder)]
    started = [subprocess.Popen(command, cwd=checkout(), stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=200)[0].split() for process in started]
    assert len({pid for pid, _ in said}) == 1
    assert sorted(new for _, new in said) == ["False", "False", "True"]


def test_a_lab_keeps_port_keys_and_authority(lab: Lab) -> None:
    client.up(lab)
    client.down(lab)
    again = Lab(lab.folder)
    assert (again.port, again.secret_access_key, again.ca_key) == (lab.port, lab.secret_access_key, lab.ca_key)
    assert client.up(again).new


def test_a_killed_server_leaves_no_process_and_up_says_what_is_gone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    client.up(lab)
    make_bucket(lab, "killed-bucket", monkeypatch)
    eventually(lambda: lab.inventory_file.exists() and "killed-bucket" in lab.inventory_file.read_text())
    running = processes_of(lab)
    running[0].kill()
    eventually(lambda: have_ended(running))
    assert client.status(lab) is None
    said: list[str] = []
    started = client.up(lab, said.append)
    assert started.lost["aws"] == {"buckets": ["killed-bucket"]}
    assert "The local clouds were killed when last they ran. Gone with them: bucket killed-bucket." in said
    client.down(lab)
    assert client.up(lab).lost == {}


def test_what_was_stopped_in_order_is_told_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    client.up(lab)
    make_bucket(lab, "stopped-bucket", monkeypatch)
    gone = client.down(lab)
    assert gone is not None
    assert gone["aws"] == {"buckets": ["stopped-bucket"]}
    assert client.up(lab).lost == {}


def test_a_signal_stops_the_clouds_in_order(lab: Lab) -> None:
    started = client.up(lab)
    os.kill(started.pid, signal.SIGTERM)
    eventually(lambda: not client.runs(lab))
    assert not lab.server_file.exists()


def test_clouds_that_hang_are_killed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    started = client.up(lab)
    os.kill(started.pid, signal.SIGSTOP)
    monkeypatch.setattr(client, "STOP", 0.5)
    said: list[str] = []
    client.down(lab, said.append)
    assert said[-1] == "They do not answer: killing them."
    assert client.status(lab) is None


def test_a_stranger_on_the_port_is_named_and_never_told_the_token(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", lab.port)) as stranger:
        stranger.settimeout(0.2)
        assert client.status(lab) is None
        with pytest.raises(LabError, match=rf"Port {lab.port} .* taken by another program.*`labkit up --new-port`"):
            client.up(lab)
        with pytest.raises(LabError, match="do not run"):
            client.control(lab, "GET", "status")
        with pytest.raises(TimeoutError):
            stranger.accept()
        taken = lab.port
        lab.new_port()
        assert lab.port != taken
        assert Lab(lab.folder).port == lab.port
        assert client.up(lab).new


def test_two_labs_do_not_meet(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Lab(tmp_path / "other")
    try:
        assert client.up(lab).pid != client.up(other).pid
        make_bucket(lab, "same-name", monkeypatch)
        make_bucket(other, "same-name", monkeypatch)
        own, lab.token = lab.token, other.token
        with pytest.raises(LabError, match="token of this lab's own commands"):
            client.status(lab)
        lab.token = own
    finally:
        client.down(other)
    assert client.status(lab) is not None


def test_a_server_of_older_code_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    client.up(lab)
    monkeypatch.setattr(client, "code_version", lambda: "newer")
    said: list[str] = []
    assert not client.up(lab, said.append).new
    assert "older code" in said[0]
    assert "`labkit down` and `labkit up`" in said[0]


def test_a_server_that_cannot_start_says_its_last_words(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_server_environment", lambda: {"PYTHONHOME": "/nowhere"})
    with pytest.raises(LabError, match=r"could not be started; their last words were: .*No module named 'encodings'"):
        client.up(lab)
    assert client.status(lab) is None


def test_a_server_that_hangs_while_it_starts_is_given_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "START", 0.0)
    with pytest.raises(LabError, match="could not be started"):
        client.up(lab)
    assert not client.runs(lab)


def test_the_servers_environment_has_nothing_of_the_callers_clouds(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "HTTPS_PROXY", "SSL_CERT_FILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.setenv(name, "the caller's")
    started = client.up(lab)
    assert "the caller's" not in psutil.Process(started.pid).environ().values()


def test_the_log_is_set_aside_when_it_is_large(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LARGEST_LOG", 10)
    lab.log_file.write_text("the last time")
    client.up(lab)
    assert lab.log_file.with_suffix(".log.1").read_text() == "the last time"
    assert "the last time" not in lab.log_file.read_text()


def test_the_log_and_the_files_are_the_owners_only(lab: Lab) -> None:
    client.up(lab)
    assert lab.folder.stat().st_mode & 0o777 == 0o700
    for file in (lab.settings_file, lab.server_file):
        assert file.stat().st_mode & 0o077 == 0


def test_reset_empties_the_clouds(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    client.up(lab)
    make_bucket(lab, "a-bucket", monkeypatch)
    assert client.control(lab, "POST", "reset")["gone"]["aws"] == {"buckets": ["a-bucket"]}
    assert client.control(lab, "POST", "reset")["gone"]["aws"] == {}
    make_bucket(lab, "a-bucket", monkeypatch)


def test_the_clock_is_advanced_and_says_so(lab: Lab) -> None:
    client.up(lab)
    news = list(client.control_lines(lab, "POST", "clock/advance", {"seconds": 3600.0}))
    assert news[-1]["fired"] == []
    assert news[-1]["offset"] == pytest.approx(3600.0, abs=60.0)
    assert client.control(lab, "GET", "clock")["offset"] == pytest.approx(3600.0, abs=60.0)
    with pytest.raises(LabError, match="more than 0 s and at most"):
        client.control(lab, "POST", "clock/advance", {"seconds": -1})
    for wrong in ("soon", None, [], 1e300, float("nan")):
        with pytest.raises(LabError, match="by a number of seconds"):
            client.control(lab, "POST", "clock/advance", {"seconds": wrong})


def test_fresh_clouds_end_with_their_block() -> None:
    with client.fresh() as lab:
        assert client.status(lab) is not None
        running = processes_of(lab)
    assert not lab.folder.exists()
    eventually(lambda: have_ended(running))


def test_fresh_clouds_end_with_their_owner_even_when_it_is_killed() -> None:
    program = (
        "import sys, time; from labkit.cloud import client\n"
        "with client.fresh() as lab: print(lab.folder, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], cwd=checkout(), stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner, owner.stdout:
        folder = Path(owner.stdout.readline().strip())
        running = processes_of(Lab(folder))
        owner.kill()
    eventually(lambda: have_ended(running))
    assert not folder.exists()


def test_many_requests_at_once_are_answered(lab: Lab) -> None:
    client.up(lab)
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(client.status(lab))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 20
    assert None not in answers


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    command = [sys.executable, "-m", "labkit", "up"]
    variables = os.environ | {"LABKIT_STATE": str(tmp_path / "state"), "PYTHONDONTWRITEBYTECODE": "1"}
    read, write = os.pipe()
    with os.fdopen(read) as said:
        failed = subprocess.run(command, cwd=checkout(), env=variables, stderr=write, preexec_fn=no_room)
        os.close(write)
        sentence = said.read()
    assert failed.returncode == 1
    assert sentence.startswith(f"labkit: The state folder {tmp_path / 'state'} cannot be used (File too large)")
    assert sentence.count("\n") == 1
