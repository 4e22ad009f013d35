"""Where jobs keep files: the workspace's artifact store, and datastores for what steps read and write.

A run's own files are below ``ExperimentRun/dcid.{run}/`` in the artifact store: ``user_logs``, ``outputs``, ``logs``.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from labkit.cloud.azure import datastores, sas
from labkit.cloud.azure.asset_files import Place
from labkit.cloud.azure.blob_store import PIECE, Blob, Container
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.front import AzureCloud

#: How long the address of a log is good for.
LOG_TIME = timedelta(hours=24)


def artifacts(cloud: AzureCloud, workspace_id: str, run: str) -> Place:
    """The folder of a run's own files."""
    account, container = datastores.find(cloud, workspace_id, datastores.ARTIFACTS)
    return Place(account, container, f"ExperimentRun/dcid.{run}")


def below(place: Place, path: str) -> Place:
    """A place further down."""
    return Place(place.account, place.container, f"{place.path}/{path}".strip("/"))


def names(place: Place) -> list[str]:
    """The paths of the files below a place, seen from it."""
    start = f"{place.path}/"
    container = place.account.containers.get(place.container)
    with place.account.lock:
        return sorted(name[len(start) :] for name in (container.blobs if container else ()) if name.startswith(start))


def put(place: Place, pieces: Iterable[bytes]) -> None:
    """Makes the blob at a place, or replaces it."""
    container = _container(place)
    file, size = place.account.save(pieces)
    now = place.account.now()
    blob = Blob(
        place.path, file, size, place.account.new_etag(), now, now, {"Content-Type": "application/octet-stream"}
    )
    place.account.put(container, blob)


def upload(folder: Path, place: Place) -> int:
    """Puts a file, or the files of a folder, at a place; answers how many there were."""
    if folder.is_file():
        put(place, _pieces(folder))
        return 1
    files = [each for each in sorted(folder.rglob("*")) if each.is_file()]
    for each in files:
        put(below(place, each.relative_to(folder).as_posix()), _pieces(each))
    return len(files)


def download(place: Place, folder: Path) -> int:
    """Copies what is below a place, or the blob at it under its own name, into a folder; answers how many files."""
    container = place.account.containers.get(place.container)
    if container is None:
        return 0
    with place.account.lock:
        single = container.blobs.get(place.path)
        start = f"{place.path}/" if place.path else ""
        found = (
            [(PurePosixPath(place.path).name, single)]
            if single is not None
            else [
                (name[len(start) :], blob)
                for name, blob in sorted(container.blobs.items())
                if name.startswith(start) and not name.endswith("/") and "hdi_isfolder" not in blob.metadata
            ]
        )
    for relative, blob in found:
        parts = PurePosixPath(relative).parts
        if not parts or any(part in ("..", "/", ".") for part in parts):
            raise AzureError("UserError", f"The name of blob {blob.name} cannot be that of a file.", 400)
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with blob.open() as content, target.open("wb") as out:
            shutil.copyfileobj(content, out, PIECE)
    return len(found)


def signed(place: Place) -> str:
    """The address of the blob at a place, with a signature that lets anyone read it for a day."""
    account = place.account
    signature = sas.blob_sas(
        account.name, account.keys[0], place.container, place.path, "r", datetime.now(UTC), LOG_TIME
    )
    return f"https://{account.name}.blob.core.windows.net/{place.container}/{quote(place.path)}?{signature}"


class Log:
    """A text that grows, kept as a blob: ``write`` is cheap, ``flush`` makes what was written visible."""

    #: Seconds after which what was written becomes visible by itself, while it is ``shown``.
    EVERY = 0.5

    def __init__(self, place: Place) -> None:
        self.place = place
        self._lines: list[str] = []
        self._shown = 0
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Makes what is written visible again and again, and all of it at the end."""
        over = threading.Event()

        def show() -> None:
            while not over.wait(self.EVERY):
                self.flush()

        threading.Thread(target=show, name="log", daemon=True).start()
        try:
            yield
        finally:
            over.set()
            self.flush()

    def flush(self) -> None:
        """Makes the lines so far visible."""
        with self._lock:
            if self._shown == len(self._lines):
                return
            self._shown = len(self._lines)
            text = "\n".join(self._lines) + "\n"
        put(self.place, [text.encode()])


def _container(place: Place) -> Container:
    with place.account.lock:
        found = place.account.containers.get(place.container)
        if found is None:
            message = f"Container {place.container} of storage account {place.account.name} does not exist any more."
            raise AzureError("UserError", message, 400)
        return found


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(PIECE):
            yield piece
