from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.cloud import state
from labkit.cloud.state import PORTS, Lab, checkout
from labkit.errors import LabError


def test_a_lab_is_made_once_and_found_again(tmp_path: Path) -> None:
    first, second = Lab(tmp_path / "a lab"), Lab(tmp_path / "a lab")
    for attribute in ("port", "token", "access_key_id", "secret_access_key", "ca_certificate", "ca_key"):
        assert getattr(first, attribute) == getattr(second, attribute)
    assert first.ca_file.read_text() == first.ca_certificate


def test_keys_look_like_the_clouds_own(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    assert lab.access_key_id.startswith("AKIA")
    assert len(lab.access_key_id) == 20
    assert set(lab.access_key_id[4:]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    assert len(lab.secret_access_key) == 40
    assert lab.port in PORTS


def test_two_labs_have_nothing_in_common(tmp_path: Path) -> None:
    one, two = Lab(tmp_path / "one"), Lab(tmp_path / "two")
    for attribute in ("port", "token", "access_key_id", "secret_access_key", "ca_key"):
        assert getattr(one, attribute) != getattr(two, attribute)


def test_the_folder_and_its_files_are_private(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir(mode=0o755)
    lab = Lab(tmp_path / "lab")
    assert lab.folder.stat().st_mode & 0o777 == 0o700
    assert lab.settings_file.stat().st_mode & 0o777 == 0o600


def test_processes_that_make_a_lab_at_once_agree(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from labkit.cloud.state import Lab; print(Lab(Path(sys.argv[1])).token)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "lab")]
    started = [subprocess.Popen(command, cwd=checkout(), stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate()[0] for process in started}) == 1
    assert [file.name for file in (tmp_path / "lab").iterdir() if file.name.startswith(".")] == []


def test_the_folder_is_the_checkouts_unless_the_variable_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(state.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    own = state.folder()
    assert own.name.startswith(f"{checkout().name}-")
    monkeypatch.setattr(state, "checkout", lambda: tmp_path / "elsewhere" / checkout().name)
    assert state.folder() != own
    monkeypatch.setenv(state.VARIABLE, "relative")
    assert state.folder() == Path.cwd() / "relative"
    monkeypatch.setenv(state.VARIABLE, "")
    assert state.folder().name.startswith(f"{checkout().name}-")


def test_another_users_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(LabError, match="belongs to another user; set LABKIT_STATE"):
        Lab(tmp_path)


def test_a_path_that_can_be_no_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/lab")):
        with pytest.raises(LabError, match="cannot be used"):
            Lab(path)


def test_a_read_only_folder_is_one_sentence(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(LabError, match="cannot be used"):
        Lab(tmp_path / "lab")


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"port": 1}', "null"])
def test_damaged_settings_say_what_to_do(tmp_path: Path, damage: str) -> None:
    lab = Lab(tmp_path)
    lab.settings_file.write_text(damage)
    with pytest.raises(LabError, match=r"lab\.json are damaged.*delete that file"):
        Lab(tmp_path)


def test_the_list_of_hosts_is_read_anew(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    assert lab.pass_through() == []
    settings = json.loads(lab.settings_file.read_text())
    lab.settings_file.write_text(json.dumps(settings | {"pass_through": ["PyPI.org"]}))
    assert lab.pass_through() == ["pypi.org"]


def test_a_new_port_is_kept(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    before = lab.port
    lab.new_port()
    assert lab.port != before
    again = Lab(tmp_path)
    assert (again.port, again.token) == (lab.port, lab.token)


def test_a_removed_certificate_file_is_written_again(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.ca_file.unlink()
    assert Lab(tmp_path).ca_file.read_text() == lab.ca_certificate
