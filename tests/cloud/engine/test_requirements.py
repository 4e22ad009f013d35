"""requirements.txt against what is installed: names, versions, markers, files and options."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.cloud.engine.requirements import unmet, unmet_lines


def check(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "requirements.txt"
    file.write_text(text)
    return unmet(file)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n\n   \n",
        "scikit-learn\nnumpy>=1.0  # arrays\nScikit_Learn >= 1.0\n",
        "no-such-package; python_version < '3'\n",
        "numpy>=1 \\\n  ,<99\n",
        "--extra-index-url https://example.invalid/simple\n-i https://example.invalid/simple\nnumpy\n",
        "numpy>=1 --hash=sha256:00\n",
        "numpy @ https://example.invalid/numpy.whl\n",
    ],
)
def test_what_is_met(tmp_path: Path, text: str) -> None:
    assert check(tmp_path, text) == []


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    assert check(tmp_path, "numpy\nno-such-package>=2,<3\n") == [
        "requirements.txt asks for no-such-package<3,>=2, which is not installed here."
    ]


def test_a_wrong_version_is_named_with_the_one_installed(tmp_path: Path) -> None:
    import numpy

    assert check(tmp_path, "numpy==0.1") == [
        f"requirements.txt asks for numpy==0.1, but version {numpy.__version__} is installed here."
    ]


def test_every_unmet_line_is_told(tmp_path: Path) -> None:
    assert len(check(tmp_path, "no-such-a\nno-such-b\n")) == 2


def test_an_extra_brings_its_own_requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "site" / "thing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nProvides-Extra: s3\n"
        "Requires-Dist: no-such-s3; extra == 's3'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert check(tmp_path, "thing") == []
    assert check(tmp_path, "thing[s3]") == [
        'requirements.txt (thing[s3]) asks for no-such-s3; extra == "s3", which is not installed here.'
    ]


def test_other_files_are_followed_and_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("no-such-package\n-r requirements.txt\n")
    assert check(tmp_path, "-r base.txt\n") == ["base.txt asks for no-such-package, which is not installed here."]
    assert check(tmp_path, "--requirement gone.txt\n") == [
        "requirements.txt includes gone.txt, which is not in the model package."
    ]


@pytest.mark.parametrize("line", ["git+https://example.invalid/x.git", "./wheels/x.whl", "-e .", "numpy=>1"])
def test_what_cannot_be_checked_is_refused(tmp_path: Path, line: str) -> None:
    (sentence,) = check(tmp_path, line)
    assert f"has the line {line!r}, which cannot be checked" in sentence


def test_lines_without_a_file_are_checked_the_same_way() -> None:
    lines = ["numpy>=1", "--extra-index-url https://example.invalid/simple", " no-such-package ", "-r other.txt"]
    missing, unreadable = unmet_lines(lines, "conda.yaml")
    assert missing == "conda.yaml asks for no-such-package, which is not installed here."
    assert unreadable.startswith("conda.yaml has the line '-r other.txt', which cannot be checked")
