"""Model archives: what is unpacked, and what is refused with which words."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.cloud.aws.model_package import PackageError, lay_out, unpack

MB = 1024 * 1024


def archive(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def file(name: str, content: bytes = b"x", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    return file(name, b"", type=kind, linkname=target)


def test_plain_files_and_folders_are_unpacked(tmp_path: Path) -> None:
    big = bytes(range(256)) * 8192
    data = archive(
        special("./", tarfile.DIRTYPE),
        file("./model.joblib", big, mode=0o000, uid=0),
        special("code", tarfile.DIRTYPE),
        file("code/inference.py", b"def model_fn(d): ..."),
        file("deep/er/" + "n" * 200 + ".txt", b"long name"),
        file("twice", b"first"),
        file("twice", b"second"),
    )

    unpack(io.BytesIO(data), tmp_path, 10 * MB)

    assert (tmp_path / "model.joblib").read_bytes() == big
    assert (tmp_path / "code" / "inference.py").read_bytes() == b"def model_fn(d): ..."
    assert (tmp_path / "deep" / "er" / ("n" * 200 + ".txt")).read_bytes() == b"long name"
    assert (tmp_path / "twice").read_bytes() == b"second"


def test_an_archive_with_nothing_in_it_is_an_empty_folder(tmp_path: Path) -> None:
    unpack(io.BytesIO(archive()), tmp_path, MB)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "The object is empty."),
        (b"PK\x03\x04 and so on", "not compressed with gzip: it is a zip archive"),
        (archive(file("a"), mode="w"), "not compressed with gzip: it is a tar archive as it stands"),
        (b"\x80\x04\x95pickle", "not compressed with gzip: it begins with b'\\x80\\x04\\x95pickl'"),
        (gzip.compress(b"no tar " * 500), "What is compressed in the object is not a tar archive"),
        (archive(file("a", b"y" * MB))[:500], "The gzip data ends too early"),
        (archive(file("a"))[:-8] + b"\0" * 8, "The gzip data is corrupt (CRC check failed"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0" + b"\xff" * 60, "The gzip data is corrupt"),
        (archive(file("../evil.py")), "holds '../evil.py', a path that leads out of the model's folder"),
        (archive(file("code/../../evil.py")), "a path that leads out of the model's folder"),
        (archive(file("/etc/cron.d/evil")), "holds '/etc/cron.d/evil', a path that leads out"),
        (archive(special("model.joblib", tarfile.SYMTYPE, "../../secret")), "holds a symbolic link, 'model.joblib'"),
        (archive(special("inside", tarfile.SYMTYPE, "model.joblib")), "holds a symbolic link, 'inside'"),
        (archive(file("a"), special("b", tarfile.LNKTYPE, "a")), "holds a hard link, 'b'"),
        (archive(special("null", tarfile.CHRTYPE)), "holds a device, 'null'"),
        (archive(special("pipe", tarfile.FIFOTYPE)), "holds a named pipe, 'pipe'"),
        (archive(file("name"), file("name/below")), "could not be unpacked (File exists)"),
        (archive(file("a" * 300)), "could not be unpacked (File name too long)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "archive",
)
def test_what_is_no_model_archive_is_refused_in_one_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    folder = tmp_path / "deep" / "model"
    folder.mkdir(parents=True)

    with pytest.raises(PackageError) as caught:
        unpack(io.BytesIO(data), folder, 2 * MB)

    assert words in str(caught.value)
    assert {path.name for path in tmp_path.rglob("*")} & {"evil.py", "evil", "secret"} == set()


def test_every_link_and_pipe_is_left_out_even_when_refused_late(tmp_path: Path) -> None:
    with pytest.raises(PackageError):
        unpack(io.BytesIO(archive(file("a"), special("l", tarfile.SYMTYPE, "/etc"), file("l/passwd"))), tmp_path, MB)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: archive(file("zeros", bytes(3 * MB))),
        lambda: archive(*(file(f"part-{number}", bytes(MB)) for number in range(3))),
        lambda: gzip.compress(archive(file("a"), mode="w") + bytes(3 * MB)),
    ],
    ids=["one file", "many files", "behind the end mark"],
)
def test_an_archive_that_swells_past_the_limit_is_stopped(tmp_path: Path, make: Callable[[], bytes]) -> None:
    data = make()
    assert len(data) < 64 * 1024
    with pytest.raises(PackageError, match=r"larger than the 0\.00195 GB"):
        unpack(io.BytesIO(data), tmp_path, 2 * MB)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * MB


def test_a_header_that_claims_much_is_not_believed(tmp_path: Path) -> None:
    claims_a_long_name = tarfile.TarInfo("x")
    claims_a_long_name.type = tarfile.GNUTYPE_LONGNAME
    claims_a_long_name.size = 50 * MB
    data = gzip.compress(claims_a_long_name.tobuf() + bytes(50 * MB))
    with pytest.raises(PackageError, match="The archive's headers are not those of a tar archive"):
        unpack(io.BytesIO(data), tmp_path, 100 * MB)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.cloud.aws.model_package.MOST_MEMBERS", 3)
    with pytest.raises(PackageError, match="holds more than 3 files"):
        unpack(io.BytesIO(archive(*(file(str(number)) for number in range(4)))), tmp_path, MB)


def test_objects_below_a_prefix_are_laid_out(tmp_path: Path) -> None:
    lay_out([("model.joblib", b"m"), ("code/", b""), ("code/inference.py", b"c")], tmp_path, MB)
    assert (tmp_path / "model.joblib").read_bytes() == b"m"
    assert (tmp_path / "code" / "inference.py").read_bytes() == b"c"


@pytest.mark.parametrize("key", ["../up", "a/./b", "a//b", " /x", "nul\0", "n" * 256])
def test_object_names_that_are_no_file_names_are_refused(tmp_path: Path, key: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(PackageError, match="cannot be the name of a file"):
        lay_out([(key, b"x")], folder, MB)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_name_that_is_file_and_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="clashes with another one"):
        lay_out([("weights", b"x"), ("weights/part1", b"y")], tmp_path, MB)


def test_objects_larger_than_the_volume_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="larger than"):
        lay_out([("a", bytes(600)), ("b", bytes(600))], tmp_path, 1000)
