"""Conda files against what is installed: forms of versions, names, the server's own packages, malformed files."""

from __future__ import annotations

import platform
import textwrap
from importlib.metadata import version

import pytest

from labkit.cloud.azure.deployment_environment import check

SKLEARN = version("scikit-learn")
MINOR = ".".join(SKLEARN.split(".")[:2])


def problems(text: str) -> list[str]:
    return check({"image": "mcr.microsoft.com/azureml/x", "condaFile": textwrap.dedent(text)}).problems


def dependencies(*conda: str, pip: tuple[str, ...] = ()) -> str:
    lines = ["name: env", "channels: [conda-forge]", "dependencies:", *(f"  - '{each}'" for each in conda)]
    if pip:
        lines += ["  - pip:", *(f"    - '{each}'" for each in pip)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "spec",
    [
        "scikit-learn",
        f"scikit-learn={SKLEARN}",
        f"scikit-learn={MINOR}",
        f"scikit-learn=={SKLEARN}",
        f"scikit-learn={MINOR}.*",
        f"scikit-learn {SKLEARN}",
        "scikit-learn>=1.0,<99",
        "scikit-learn >=1.0",
        "conda-forge::scikit-learn",
        f"scikit-learn={SKLEARN}=py311h123",
        "Scikit_Learn",
    ],
)
def test_what_conda_may_ask_for_and_is_there(spec: str) -> None:
    assert problems(dependencies(spec, "python=3.11", "pip=23.0", "setuptools")) == []


@pytest.mark.parametrize(
    ("spec", "asked"),
    [("scikit-learn=0.24", "scikit-learn==0.24.*"), ("scikit-learn==0.24.2", "scikit-learn==0.24.2")],
)
def test_another_version_is_named_beside_the_one_that_is_there(spec: str, asked: str) -> None:
    assert problems(dependencies(spec)) == [
        f"The conda file asks for {asked}, but version {SKLEARN} is installed here."
    ]


def test_missing_packages_of_conda_and_of_pip_are_named() -> None:
    assert problems(dependencies("pytorch", pip=("no-such-package==1", "numpy"))) == [
        "The conda file asks for torch, which is not installed here.",
        "The conda file asks for no-such-package==1, which is not installed here.",
    ]


def test_what_stands_for_something_else_is_told() -> None:
    text = dependencies("python=3.9", pip=("azureml-inference-server-http~=1.0", "azureml-defaults==1.53.0"))
    checked = check({"image": "an/image", "condaFile": text})
    assert checked.problems == []
    assert checked.notes == [
        "The local clouds run no containers: the lab's own environment stands for the image an/image.",
        f"The conda file asks for Python 3.9: the script runs with Python {platform.python_version()}, the lab's own.",
        "azureml-inference-server-http is not installed: the kit's own inference server stands for it.",
        "azureml-defaults is not installed: the kit's own inference server stands for it.",
    ]


def test_an_image_alone_has_nothing_to_check() -> None:
    assert check({"image": "an/image"}).problems == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dependencies: [", "is not YAML"),
        ("name: env", "has no list of dependencies."),
        ("[]", "has no list of dependencies."),
        ("dependencies: [{npm: [left-pad]}]", "which is neither a package nor a list for pip"),
        ("dependencies: [7]", "which is neither a package nor a list for pip"),
        ("dependencies: ['numpy[version=1]']", "cannot be checked"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(text: str, says: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith("The conda file ")
    assert says in problem
