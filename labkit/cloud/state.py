"""The state folder: what belongs to one checkout's clouds and outlives the server.

It holds the port (open kernels survive a restart of the server), the control token, the AWS key pair, the certificate
authority, the server's lock and log, and a folder of scratch for what the clouds run. Nothing that a learner makes in
the clouds is here: that lives in the server's memory.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from labkit.errors import LabError

#: Names the state folder for every command and kernel started below it.
VARIABLE = "LABKIT_STATE"

#: Ports are picked here: above the well-known ones, below those that systems give to outgoing connections.
PORTS = range(21_000, 32_000)

_KEY_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def checkout() -> Path:
    """The folder that holds the ``labkit`` package."""
    return Path(__file__).resolve().parents[2]


def folder_of_checkout() -> Path:
    """The state folder of this checkout and this user, whether or not it exists yet."""
    import platformdirs

    root = checkout()
    mark = hashlib.sha256(os.fsencode(root)).hexdigest()[:8]
    return Path(platformdirs.user_state_path("labkit")) / f"{root.name}-{mark}"


def folder() -> Path:
    """The state folder in force: the one that ``LABKIT_STATE`` names, else the checkout's."""
    named = os.environ.get(VARIABLE)
    return Path(named).resolve() if named else folder_of_checkout()


class Lab:
    """A state folder, made and filled when it is opened.

    Raises :class:`LabError` when the folder cannot be used: another user's, read-only, on a full disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with self.usable():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.stat()
            if found.st_uid != os.getuid():
                raise LabError(
                    f"The state folder {folder} belongs to another user; set {VARIABLE} to a folder of your own."
                )
            if stat.S_IMODE(found.st_mode) != 0o700:
                folder.chmod(0o700)
            if not self.settings_file.exists():
                self._write_once(self.settings_file, _new_settings())
        settings = self._read_settings()
        #: The port on 127.0.0.1 where the clouds are.
        self.port = int(settings["port"])
        #: What the control interface asks for.
        self.token = str(settings["token"])
        #: The learner's key pair on AWS.
        self.access_key_id = str(settings["aws"]["access_key_id"])
        self.secret_access_key = str(settings["aws"]["secret_access_key"])
        #: The lab's certificate authority, PEM.
        self.ca_certificate = str(settings["ca"]["certificate"])
        self.ca_key = str(settings["ca"]["key"])
        with self.usable():
            if not self.ca_file.exists() or self.ca_file.read_text() != self.ca_certificate:
                self.write(self.ca_file, self.ca_certificate)

    @property
    def settings_file(self) -> Path:
        """The lab's settings. A person may edit ``pass_through`` in it."""
        return self.folder / "lab.json"

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def run(self) -> Path:
        """Scratch of the processes that the clouds start; emptied when the server starts."""
        return self.folder / "run"

    @property
    def lock_file(self) -> Path:
        """Locked (``flock``) by the server for as long as it lives, however it ends."""
        return self.folder / "server.lock"

    @property
    def start_lock_file(self) -> Path:
        """Locked by whoever starts or stops the server."""
        return self.folder / "start.lock"

    @property
    def server_file(self) -> Path:
        """What the running server says of itself."""
        return self.folder / "server.json"

    @property
    def inventory_file(self) -> Path:
        """What is in the clouds, so that it can be named when they were killed."""
        return self.folder / "inventory.json"

    @property
    def log_file(self) -> Path:
        return self.folder / "server.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def pass_through(self) -> Sequence[str]:
        """Hosts that clients may reach beside the clouds (``pypi.org``, ``*.python.org``); read anew each time."""
        return [str(host).lower() for host in self._read_settings().get("pass_through", [])]

    def new_port(self) -> None:
        """Picks another port, for when a stranger has taken this one."""
        self.port = _free_port()
        with self.usable():
            self.write(self.settings_file, json.dumps(self._read_settings() | {"port": self.port}, indent=2))

    def port_is_free(self) -> bool:
        """Whether no program listens on the lab's port, its own clouds included."""
        return _is_free(self.port)

    def write(self, file: Path, text: str) -> None:
        """Replaces a file of the state folder at one stroke, readable by its owner only."""
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=self.folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(text)
            os.replace(name, file)
        except BaseException:
            os.unlink(name)
            raise

    def clean_run(self) -> None:
        with self.usable():
            shutil.rmtree(self.run, ignore_errors=True)
            self.run.mkdir(mode=0o700, exist_ok=True)

    def _write_once(self, file: Path, settings: dict[str, Any]) -> None:
        """Writes a file unless another process has just done it: the first one's settings are everyone's."""
        temporary = self.folder / f".{file.name}.{secrets.token_hex(4)}"
        try:
            self.write(temporary, json.dumps(settings, indent=2))
            with contextlib.suppress(FileExistsError):
                os.link(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)

    def _read_settings(self) -> dict[str, Any]:
        try:
            settings = json.loads(self.settings_file.read_text(encoding="utf-8"))
            if not isinstance(settings, dict) or not {"port", "token", "aws", "ca"} <= settings.keys():
                raise ValueError
            return settings
        except OSError as error:
            raise LabError(f"The lab's settings {self.settings_file} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise LabError(
                f"The lab's settings {self.settings_file} are damaged; stop the clouds if they run, delete that file, "
                "and run `labkit up` again."
            ) from error

    @contextlib.contextmanager
    def usable(self) -> Iterator[None]:
        """Turns what the system says about the state folder into a :class:`LabError`."""
        try:
            yield
        except OSError as error:
            raise LabError(
                f"The state folder {self.folder} cannot be used ({error.strerror}); "
                f"make room or make it writable, or set {VARIABLE} to another folder."
            ) from error


def _new_settings() -> dict[str, Any]:
    from labkit.cloud.gateway.ca import new_authority

    certificate, key = new_authority()
    return {
        "port": _free_port(),
        "token": secrets.token_urlsafe(32),
        "pass_through": [],
        "aws": {
            "access_key_id": "AKIA" + "".join(secrets.choice(_KEY_ID_ALPHABET) for _ in range(16)),
            "secret_access_key": base64.b64encode(secrets.token_bytes(30)).decode(),
        },
        "ca": {"certificate": certificate, "key": key},
    }


def _free_port() -> int:
    for _ in range(100):
        port = secrets.choice(PORTS)
        if _is_free(port):
            return port
    raise LabError(f"No port between {PORTS.start} and {PORTS.stop - 1} is free; close some programs and try again.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
