"""Shows a process its files under the absolute paths that a container of the cloud has, such as ``/opt/ml``.

The process gets a mount namespace of its own (``man 7 mount_namespaces``), as a container does, and real folders are
bound into it. Nobody else sees the mounts, they end with the process, and nothing is written to the system's own
folders: one that lacks the path, or may not be written to, is covered in memory by a copy of its listing, in which
every entry is the real one.

Root needs the capability SYS_ADMIN for it, another user a user namespace, which some systems forbid.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath

from labkit.cloud.engine.errors import Unsupported

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_BIND, _MS_REC, _MS_UNBINDABLE, _MS_PRIVATE = 0x1000, 0x4000, 1 << 17, 1 << 18
_MNT_DETACH = 2


def show(mounts: Mapping[str, Path]) -> None:
    """Makes each absolute path of ``mounts`` show its real folder to this process and to those it starts.

    The process must have one thread only. A folder inside another's path is shown there, whatever their order. Raises
    :class:`Unsupported` where the system forbids it; the process should then end, for it may have a part of them.
    """
    wanted = {_clean(path): folder for path, folder in mounts.items()}
    try:
        _unshare()
        _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        covered: set[PurePosixPath] = set()
        if any(not os.path.isdir(f"/{path.parts[1]}") for path in wanted):
            _cover_root()
            covered.add(PurePosixPath("/"))
        # A folder keeps its descriptor, in case that its own path is about to show another.
        sources = {path: os.open(folder, os.O_PATH | os.O_DIRECTORY) for path, folder in wanted.items()}
        for path in sorted(wanted, key=lambda path: len(path.parts)):
            _make(path, covered, wanted)
            _mount(f"/proc/self/fd/{sources[path]}", str(path), None, _MS_BIND | _MS_REC)
            os.close(sources[path])
    except OSError as error:
        raise Unsupported(refusal(next(iter(mounts)), error)) from error


def seen(folder: Path, mounts: Mapping[str, Path]) -> Path:
    """The path under which a process with ``mounts`` sees a real folder: the mount's, or its own."""
    for path, source in mounts.items():
        if folder.is_relative_to(source):
            return Path(path) / folder.relative_to(source)
    return folder


def refusal(path: str, error: OSError) -> str:
    """What to tell a person whose system does not allow it."""
    return (
        f"This system does not let the local clouds show a job its files as {path} ({error.strerror}): "
        f"{_remedy()}, or have the script take its paths from the environment."
    )


def _remedy(read: Callable[[str], str] | None = None) -> str:
    read = read or _read
    if sys.platform != "linux":
        return "only Linux has private mounts, so use it (Windows' WSL 2 and virtual machines too)"
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "allow it with `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
    if read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "allow it with `sudo sysctl kernel.unprivileged_userns_clone=1`"
    if read("/proc/sys/user/max_user_namespaces") == "0":
        return "allow it with `sudo sysctl user.max_user_namespaces=10000`"
    return "if this is a container, start it with `--cap-add SYS_ADMIN --security-opt apparmor=unconfined`"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _clean(path: str) -> PurePosixPath:
    clean = PurePosixPath(os.path.normpath(path))
    if not clean.is_absolute() or len(clean.parts) < 2:
        raise ValueError(f"a job cannot be shown a folder as {path!r}: the path is not absolute, or the root itself")
    return clean


def _unshare() -> None:
    """Gives this process mounts of its own: as root, or else in a user namespace where it keeps its own identity."""
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare", _CLONE_NEWNS)
    except PermissionError:
        _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _make(path: PurePosixPath, covered: set[PurePosixPath], wanted: Collection[PurePosixPath]) -> None:
    """Sees that there is a folder at ``path``, without touching the system's own: they are covered first."""
    if os.path.isdir(path):
        return
    existing = next(parent for parent in path.parents if os.path.isdir(parent))
    if existing not in covered and not any(existing.is_relative_to(other) for other in wanted):
        _cover(str(existing))
        covered.add(existing)
    for parent in reversed((path, *path.parents)):
        if not os.path.isdir(parent):
            os.mkdir(parent)
            covered.add(parent)


def _cover(folder: str) -> None:
    """Covers a folder with one in memory that has the same entries, so that others can be made in it."""
    old = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    mode = stat.S_IMODE(os.stat(folder).st_mode)
    _mount("tmpfs", folder, "tmpfs", 0)
    _copy_listing(f"/proc/self/fd/{old}", folder)
    os.chmod(folder, mode)
    os.close(old)


def _cover_root() -> None:
    """As :func:`_cover`, for the root: a folder in memory becomes the root of this process's namespace."""
    stage = tempfile.mkdtemp()
    _mount("tmpfs", stage, "tmpfs", 0)
    # Left out when the folder that it stands in is shown in it.
    _mount("none", stage, None, _MS_UNBINDABLE)
    _copy_listing("/", stage)
    os.chmod(stage, 0o755)
    os.chdir(stage)
    # The old root lands on top of the new one and is taken off it: `man 2 pivot_root`, "pivot_root(".", ".")".
    _call("pivot_root", b".", b".")
    _call("umount2", b".", _MNT_DETACH)
    os.chdir("/")
    # Never emptied: were this process still to see the root in it, that would empty the system.
    os.rmdir(stage)


def _copy_listing(source: str, target: str) -> None:
    for entry in os.scandir(source):
        there = os.path.join(target, entry.name)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), there)
            continue
        if entry.is_dir():
            os.mkdir(there)
        else:
            os.close(os.open(there, os.O_CREAT | os.O_WRONLY))
        _mount(entry.path, there, None, _MS_BIND | _MS_REC)


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    _call("mount", os.fsencode(source), os.fsencode(target), kind.encode() if kind else None, flags, None)


def _call(name: str, *arguments: bytes | int | None) -> None:
    if sys.platform != "linux":
        raise OSError(0, f"{sys.platform} has no private mounts")
    plain = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*plain) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
