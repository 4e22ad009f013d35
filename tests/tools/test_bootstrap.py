"""What the set-up does in which case. Only what installs packages is replaced: it needs the network and minutes."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tools import bootstrap
from tools.bootstrap import Environment, SetupFailed, Stamp

PACKAGES = ["pip install uv==0.13.9", "uv pip install", "compileall"]
KIT = ["pip install --editable", "labkit.kernels.install"]


class Recorded(Environment):
    """An environment whose installations are noted instead of done. ``failing`` names those that fail."""

    def __init__(self, root: Path, failing: tuple[str, ...] = ()) -> None:
        super().__init__(root)
        self.failing = failing
        self.done: list[str] = []

    def _create(self, *, clear: bool) -> None:
        self.done.append("create anew" if clear else "create in place")
        self.python.parent.mkdir(parents=True, exist_ok=True)
        if not self.python.exists():
            self.python.symlink_to(sys.executable)

    def _run(self, module: str, *arguments: str) -> bool:
        words = [word for word in arguments if word in ("pip", "install", "--editable") or word.startswith("uv==")]
        command = " ".join([module, *words])
        self.done.append(command)
        self.log.write_text(f"$ {command}\nNo route to the index.\n")
        return command not in self.failing

    def ensure(self) -> None:
        self.done.clear()
        super().ensure()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "lab kit"
    (root / "labkit" / "kernels" / "local-clouds").mkdir(parents=True)
    (root / "labkit" / "kernels" / "local-clouds" / "kernel.json").write_text("{}")
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "requirements.txt").write_text("uv==0.13.9\n    # via the kit\nboto3==1.44.5\n")
    return root


@pytest.fixture
def made(root: Path) -> Recorded:
    environment = Recorded(root)
    environment.ensure()
    return environment


def test_the_first_set_up_installs_everything(made: Recorded) -> None:
    assert made.done == ["create anew", *PACKAGES, *KIT]


def test_the_second_does_nothing_and_says_nothing(made: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    made.ensure()
    assert made.done == []
    assert capsys.readouterr().out == ""


def test_other_pins_are_installed_into_the_same_environment(made: Recorded) -> None:
    made.requirements.write_text("uv==0.13.9\nboto3==1.45.0\n")
    made.ensure()
    assert made.done == [*PACKAGES, *KIT]


@pytest.mark.parametrize("file", ["pyproject.toml", "labkit/kernels/local-clouds/kernel.json"])
def test_a_change_of_the_kit_installs_only_the_kit(made: Recorded, file: str) -> None:
    (made.root / file).write_text("changed")
    made.ensure()
    assert made.done == KIT


def test_another_python_makes_it_anew(made: Recorded) -> None:
    stamp = Stamp.read(made.stamp)
    assert stamp is not None
    made.stamp.write_text(json.dumps(dataclasses.asdict(stamp) | {"python": "3.11.0"}))
    made.ensure()
    assert made.done == ["create anew", *PACKAGES, *KIT]


def test_an_environment_whose_python_is_gone_is_made_anew(made: Recorded) -> None:
    made.python.unlink()
    made.ensure()
    assert made.done == ["create anew", *PACKAGES, *KIT]


@pytest.mark.parametrize("step", ["uv pip install", "pip install --editable"])
def test_an_interrupted_set_up_is_done_again(root: Path, step: str) -> None:
    class Interrupted(Recorded):
        def _run(self, module: str, *arguments: str) -> bool:
            succeeded = super()._run(module, *arguments)
            if self.done[-1] == step:
                raise KeyboardInterrupt
            return succeeded

    with pytest.raises(KeyboardInterrupt):
        Interrupted(root).ensure()
    again = Recorded(root)
    again.ensure()
    assert again.done == ["create anew", *PACKAGES, *KIT]


def test_an_interrupted_change_of_pins_is_done_again(made: Recorded) -> None:
    made.requirements.write_text("uv==0.13.9\nboto3==1.45.0\n")
    broken = Recorded(made.root, failing=("uv pip install", "pip install"))
    with pytest.raises(SetupFailed):
        broken.ensure()
    made.requirements.write_text("uv==0.13.9\n    # via the kit\nboto3==1.44.5\n")
    made.ensure()
    assert made.done == ["create anew", *PACKAGES, *KIT]


def test_after_a_move_only_what_knows_the_folder_is_done(made: Recorded, tmp_path: Path) -> None:
    moved = Recorded(made.root.rename(tmp_path / "elsewhere"))
    moved.ensure()
    assert moved.done == ["create in place", *KIT]


@pytest.mark.parametrize("failing", ["pip install uv==0.13.9", "uv pip install"])
def test_pip_takes_over_where_uv_fails_and_a_move_makes_it_anew(root: Path, tmp_path: Path, failing: str) -> None:
    environment = Recorded(root, failing=(failing,))
    environment.ensure()
    assert "pip install" in environment.done
    moved = Recorded(root.rename(tmp_path / "elsewhere"))
    moved.ensure()
    assert moved.done[0] == "create anew"


def test_a_failed_installation_is_one_sentence_with_the_reason(root: Path) -> None:
    with pytest.raises(SetupFailed) as failed:
        Recorded(root, failing=("uv pip install", "pip install")).ensure()
    assert str(failed.value) == (
        "The packages could not be installed: No route to the index. The whole story is in .venv/setup.log; "
        "the next make starts the installation again."
    )


def test_a_full_disk_is_said_before_the_download(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "NEEDED_GB", 1e9)
    with pytest.raises(SetupFailed, match=r"The packages need 1000000000 GB, and .* has .* GB left"):
        Recorded(root).ensure()


def test_a_folder_that_cannot_be_written_is_one_sentence(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / ".venv").write_text("a file where the environment would be")
    assert bootstrap.main(root) == 1
    complaint = capsys.readouterr().err
    assert str(root / ".venv") in complaint
    assert complaint.count("\n") == 1


def test_a_second_set_up_waits_for_the_first(root: Path) -> None:
    entered = threading.Event()

    def second() -> None:
        with bootstrap.alone(root):
            entered.set()

    with bootstrap.alone(root):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not entered.wait(0.2)
    assert entered.wait(60)
    waiting.join()


def test_a_real_environment_can_be_moved(root: Path, tmp_path: Path) -> None:
    environment = Environment(root)
    environment._create(clear=True)
    left = environment.folder / "left.txt"
    left.write_text("what was installed")
    moved = Environment(root.rename(tmp_path / "moved kit"))
    moved._create(clear=False)
    assert (moved.folder / "left.txt").exists()
    where = [moved.python, "-c", "import sys; print(sys.prefix)"]
    assert subprocess.run(where, capture_output=True, text=True).stdout == f"{moved.folder}\n"
    activate = f'. "{moved.folder}/bin/activate" && echo "$VIRTUAL_ENV"'
    assert subprocess.run(["/bin/sh", "-c", activate], capture_output=True, text=True).stdout == f"{moved.folder}\n"
    assert "relocatable = true" in (moved.folder / "pyvenv.cfg").read_text()


def test_what_misleads_the_new_python_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somebody/elses")
    monkeypatch.setenv("PIP_TARGET", "/somebody/elses")
    assert bootstrap._environ().keys() == os.environ.keys() - bootstrap.MISLEADING
