"""The pins and what pyproject.toml asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools import lock


def test_the_pins_agree_with_pyproject() -> None:
    direct = lock.direct_dependencies(lock.ROOT / "pyproject.toml")
    assert lock.disagreements(direct, lock.pins(lock.ROOT / "requirements.txt")) == []


def test_every_line_is_pinned_and_names_no_index() -> None:
    pinned = lock.pins(lock.ROOT / "requirements.txt")
    assert len(pinned) > 300
    assert [str(pin) for pin in pinned if pin.url or not str(pin.specifier).startswith("==")] == []
    assert "://" not in (lock.ROOT / "requirements.txt").read_text()


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ("sagemaker>=3.20", None),
        ("SageMaker[all]>=3", None),
        ("sagemaker>=4", "sagemaker is pinned at 3.27.0, which sagemaker>=4 in pyproject.toml does not allow."),
        ("torch", "torch is in pyproject.toml and not pinned in requirements.txt."),
        ("numpy>=2.5", "numpy is pinned at 2.4.6, which numpy>=2.5 in pyproject.toml does not allow."),
    ],
)
def test_a_disagreement_is_named(tmp_path: Path, wanted: str, complaint: str | None) -> None:
    pinned = tmp_path / "requirements.txt"
    pinned.write_text(
        "# all of it\nsagemaker==3.27.0\n    # via labkit\n"
        "numpy==2.4.6 ; python_full_version < '3.12'\nnumpy==2.5.5 ; python_full_version >= '3.12'\n"
    )
    assert lock.disagreements([Requirement(wanted)], lock.pins(pinned)) == ([complaint] if complaint else [])


def test_direct_dependencies_include_the_groups(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\ndependencies = ["boto3>=1.44"]\n[dependency-groups]\ntest = ["pytest>=9"]\n')
    assert [str(each) for each in lock.direct_dependencies(pyproject)] == ["boto3>=1.44", "pytest>=9"]
