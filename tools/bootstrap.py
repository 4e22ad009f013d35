"""Makes ``.venv``: the kit's packages, the kit itself and the *Local clouds* kernel. Standard library only.

``make`` runs it before everything else, so it must be quick when there is nothing to do: what was installed is
written down in a stamp at the end, and an environment whose stamp is missing (an interrupted set-up) is made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: What an installation takes on disk, and what must be free for it: wheels are downloaded before they are unpacked.
SIZE_GB, NEEDED_GB = 1.9, 4.0
#: Variables that would lead the new environment's Python or pip elsewhere.
MISLEADING = {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_USER"}


class SetupFailed(Exception):
    """The environment could not be made. The message is for the person at the terminal."""


@dataclass(frozen=True)
class Stamp:
    """What an environment was made from."""

    python: str  #: version of the interpreter
    packages: str  #: hash of requirements.txt
    kit: str  #: hash of what the kit's own installation depends on
    folder: str  #: the checkout; it may be moved later
    relocatable: bool  #: whether the environment's scripts find their interpreter after such a move

    @classmethod
    def read(cls, path: Path) -> Stamp | None:
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def _digest(paths: Sequence[Path]) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


class Environment:
    """The virtual environment of one checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder / "bin" / "python"
        self.requirements = root / "requirements.txt"
        self.log = self.folder / "setup.log"
        self.stamp = self.folder / "setup.json"

    def ensure(self) -> None:
        """Brings the environment up to date; does nothing, in a few milliseconds, when it is."""
        found, wanted = Stamp.read(self.stamp), self._wanted()
        if found and not self._runs():
            say("The environment's Python is gone: making the environment anew.")
            found = None
        if found and found.python != wanted.python:
            say(f"Python was {found.python} and is now {wanted.python}: making the environment anew.")
            found = None
        if found and found.folder != wanted.folder and not found.relocatable:
            say("The folder was moved: making the environment anew.")
            found = None
        if found and (found.packages, found.kit, found.folder) == (wanted.packages, wanted.kit, wanted.folder):
            return
        self.stamp.unlink(missing_ok=True)
        if found is None:
            self._create(clear=True)
        elif found.folder != wanted.folder:
            self._create(clear=False)
        if found is None or found.packages != wanted.packages:
            relocatable = self._install_packages()
        else:
            relocatable = found.relocatable
        self._install_kit()
        self.stamp.write_text(json.dumps(asdict(wanted) | {"relocatable": relocatable}, indent=1))
        say("The environment is ready.")

    def _wanted(self) -> Stamp:
        kit = [self.root / "pyproject.toml", *sorted((self.root / "labkit" / "kernels").rglob("*.json"))]
        return Stamp(
            python=".".join(map(str, sys.version_info[:3])),
            packages=_digest([self.requirements]),
            kit=_digest(kit),
            folder=str(self.root),
            relocatable=True,
        )

    def _runs(self) -> bool:
        try:
            return subprocess.run([self.python, "-c", ""], capture_output=True, env=_environ()).returncode == 0
        except OSError:
            return False

    def _create(self, *, clear: bool) -> None:
        """Makes the empty environment, or, where it was moved, its scripts that know where it is."""
        options = ["--clear"] if clear else ["--without-pip"]
        # Inside an environment, its own interpreter would be the new one's base, and may be the one to be cleared.
        base = getattr(sys, "_base_executable", None) or sys.executable
        made = subprocess.run(
            [base, "-m", "venv", *options, str(self.folder)], capture_output=True, text=True, env=_environ()
        )
        if made.returncode:
            raise SetupFailed(f"{self.folder} could not be made: {_last_line(made.stdout + made.stderr)}")
        with (self.folder / "pyvenv.cfg").open("a") as settings:
            settings.write("relocatable = true\n")  # uv's word: it writes scripts that look for Python beside them

    def _install_packages(self) -> bool:
        """Installs and compiles every package; returns whether the environment can be moved."""
        count = len(re.findall(r"^\S+==", self.requirements.read_text(), re.MULTILINE))
        free_gb = shutil.disk_usage(self.folder).free / 1e9
        if free_gb < NEEDED_GB:
            raise SetupFailed(f"The packages need {NEEDED_GB:.0f} GB, and {self.folder} has {free_gb:.1f} GB left.")
        say(f"Installing {count} packages into .venv ({SIZE_GB} GB): a few minutes the first time.")
        relocatable = self._install_with_uv()
        if not relocatable:
            say("uv could not install them; trying pip, which takes some minutes more.")
            if not self._run("pip", "install", "--requirement", str(self.requirements)):
                raise SetupFailed(
                    f"The packages could not be installed: {_last_line(self.log.read_text())} The whole story is in "
                    f"{self.log.relative_to(self.root)}; the next make starts the installation again."
                )
        say("Compiling them, which makes notebooks start two to three times faster.")
        # compileall does it whatever PYTHONDONTWRITEBYTECODE says. Templates that are no valid Python make it fail.
        self._run("compileall", "-qq", "-j", "0", "-x", r"/tests/", str(self.folder / "lib"))
        return relocatable

    def _install_with_uv(self) -> bool:
        pin = re.search(r"^uv==\S+", self.requirements.read_text(), re.MULTILINE)
        if pin is None or not self._run("pip", "install", "--quiet", pin[0]):
            return False
        return self._run("uv", "pip", "install", "--python", str(self.python), "--requirement", str(self.requirements))

    def _install_kit(self) -> None:
        say("Installing the kit and its Local clouds kernel.")
        options = ["--no-deps", "--no-build-isolation", "--editable", str(self.root)]
        installed = self._run("pip", "install", "--quiet", *options) and self._run("labkit.kernels.install")
        if not installed:
            raise SetupFailed(f"The kit could not be installed: {_last_line(self.log.read_text())}")

    def _run(self, module: str, *arguments: str) -> bool:
        """Runs one of the environment's modules, its output in the log; whether it succeeded."""
        command = [str(self.python), "-m", module, *arguments]
        with self.log.open("a") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            log.flush()
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.root, env=_environ())
            try:
                return _wait(process) == 0
            except BaseException:
                process.terminate()
                process.wait()
                raise


def _environ() -> dict[str, str]:
    """This process's environment, as the new one's programs may see it."""
    misleading = {
        "PYTHONHOME",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_USER",
        "PIP_REQUIRE_VIRTUALENV",
    }
    return {name: value for name, value in os.environ.items() if name not in misleading}


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Waits, and on a terminal shows the seconds that have passed."""
    if not sys.stdout.isatty():
        return process.wait()
    started = time.monotonic()
    while True:
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            print(f"\r  {time.monotonic() - started:.0f} s ", end="", flush=True)
        finally:
            if process.returncode is not None:
                print("\r          \r", end="", flush=True)


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason was given."


def say(sentence: str) -> None:
    print(sentence, flush=True)


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Keeps a second set-up of the same checkout waiting until this one is done."""
    folder = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up of this folder is running: waiting for it.")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def main(root: Path = ROOT) -> int:
    try:
        with alone(root):
            Environment(root).ensure()
    except (SetupFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe set-up was interrupted: the next make starts it again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
