"""The checks of ``beginner/azure`` that look at the deployment: each right, wrong and not attempted, on one of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import joblib
import pandas
import pytest

from labkit.cloud import client
from labkit.cloud.state import Lab
from labkit.labs.beginner import azure_checks
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.labs.beginner.azure_world import PINNED, SERVER, deploy, make_endpoint, make_environment, register
from tests.labs.beginner.conftest import DATA, SOLVED

CLOUD = "azure"


@pytest.fixture(scope="module")
def deployed(lab_clouds: Lab, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Both endpoints with the model behind them, and the lab's folder."""
    client.control(lab_clouds, "POST", "reset")
    folder = tmp_path_factory.mktemp("lab") / "azure"
    shutil.copytree(SOLVED / "azure", folder, ignore=shutil.ignore_patterns("build"))
    (folder / "build").mkdir()
    shutil.copy(model_file, folder / "build")
    work = Work(folder, DATA)
    model, environment = register(work, auc="0.925"), make_environment(SERVER, *PINNED)
    for name, mode in ((azure_checks.key_endpoint(), "key"), (azure_checks.token_endpoint(), "aad_token")):
        make_endpoint(name, mode)
        deploy(work, name, model, environment)
        make_endpoint(name, mode, blue=100)
    return work


# Not attempted comes first: the fixture above has not run yet. ------------------------------------------------------


@pytest.mark.usefixtures("empty_clouds")
def test_no_endpoint_and_no_deployment_are_not_attempted(work: Work) -> None:
    with pytest.raises(NotAttempted, match="no endpoint named churn-api-"):
        azure_checks.deployment(work)
    make_endpoint(azure_checks.key_endpoint())
    with pytest.raises(NotAttempted, match="no deployment named blue"):
        azure_checks.deployment(work)


@pytest.mark.usefixtures("empty_clouds")
def test_a_workspace_that_was_always_empty_is_no_clean_up(work: Work) -> None:
    with pytest.raises(NotAttempted, match="no trace of a model churn"):
        azure_checks.cleanup(work)
    make_endpoint(azure_checks.token_endpoint(), "aad_token")
    with pytest.raises(NotAttempted, match=r"the endpoint churn-entra-\w+ still there"):
        azure_checks.cleanup(work)


# deployment --------------------------------------------------------------------------------------------------------


def test_deployment_right(deployed: Work) -> None:
    assert azure_checks.deployment(deployed) == (
        f"blue with all traffic of {azure_checks.key_endpoint()}, and its answers for 20 customers equal to the model's"
    )


def test_a_deployment_that_serves_another_model_than_the_saved_one_is_wrong(
    deployed: Work, customers: tuple[pandas.DataFrame, pandas.Series], tmp_path: Path
) -> None:
    folder = tmp_path / "azure"
    shutil.copytree(deployed.folder, folder)
    saved = folder / "build" / "churn.joblib"
    joblib.dump(joblib.load(saved).set_params(histgradientboostingclassifier__max_iter=20).fit(*customers), saved)
    with pytest.raises(Wrong, match="for customer 1, for whom the saved model says"):
        azure_checks.deployment(Work(folder, DATA))


def test_a_deployment_without_traffic_is_wrong(deployed: Work) -> None:
    name = azure_checks.key_endpoint()
    make_endpoint(name)
    with pytest.raises(Wrong, match="an endpoint that sends 0 % of its traffic to blue"):
        azure_checks.deployment(deployed)
    make_endpoint(name, blue=100)


def test_a_deployment_of_another_model_is_wrong(deployed: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure_checks, "MODEL", "chrun")
    with pytest.raises(Wrong, match=r"a deployment whose model is .*/models/churn/versions/1"):
        azure_checks.deployment(deployed)


def test_a_deployment_that_failed_is_wrong(deployed: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from azure.core.exceptions import HttpResponseError

    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "score.py").write_text(
        "def init():\n    raise RuntimeError('no')\n\ndef run(b):\n    pass\n"
    )
    with pytest.raises(HttpResponseError, match="ResourceNotReady"):
        deploy(Work(tmp_path, DATA), azure_checks.key_endpoint(), "azureml:churn:1", "azureml:churn-env:1", "green")
    monkeypatch.setattr(azure_checks, "DEPLOYMENT", "green")
    with pytest.raises(Wrong, match="a deployment that is Failed"):
        azure_checks.deployment(deployed)


# rest --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def script(deployed: Work) -> Iterator[Path]:
    """The client script, put back after the test."""
    file = deployed.folder / "client.py"
    before = file.read_text()
    yield file
    file.write_text(before)


def test_rest_right(deployed: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "the learner's own, which is not the check's")
    assert azure_checks.rest(deployed) == "a client.py that gets in with a key and, at the other endpoint, with a token"


def test_rest_not_attempted(deployed: Work, script: Path) -> None:
    script.unlink()
    with pytest.raises(NotAttempted, match=r"no file azure/client\.py"):
        azure_checks.rest(deployed)


def test_rest_without_a_credential_is_not_attempted(deployed: Work, script: Path) -> None:
    head, _, rest = script.read_text().partition("    secret = ")
    stub = f"{head}    pass\n\n\ndef main{rest.partition('def main')[2]}"
    script.write_text(stub)
    with pytest.raises(NotAttempted, match=r"a request without a credential .*key_auth_bad_header_forbidden"):
        azure_checks.rest(deployed)


def test_rest_with_a_header_of_another_form_is_wrong(deployed: Work, script: Path) -> None:
    script.write_text(script.read_text().replace('return f"Bearer {secret}"', "return secret"))
    with pytest.raises(Wrong, match=r"no credential that the endpoint can read .*key_auth_bad_header_forbidden"):
        azure_checks.rest(deployed)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (
            "import requests",
            "import requests  # ml.online_endpoints.invoke(",
            "a client.py that calls the SDK's invoke",
        ),
        ("https://ml.azure.com/", "https://management.azure.com/", "ends with status 1 and .*denied.* for churn-entra"),
        (
            "if secret is None:\n        secret = Def",
            "if True:\n        secret = Def",
            "status 1 .*denied.* for churn-api",
        ),
        ("print(answer.text)", "print('[]')", "the answer '\\[\\]'"),
        ("print(answer.text)", "print('{\"predictions\": [0.1, 0.2, 0.3]}')", "0.1 for customer 1.*with a key"),
        ("import sys", "import syss", "a client.py that ends with status 1 and .*syss"),
    ],
    ids=["sdk", "audience", "token-for-key", "form", "made-up", "import"],
)
def test_rest_wrong(deployed: Work, script: Path, old: str, new: str, found: str) -> None:
    assert old in script.read_text()
    script.write_text(script.read_text().replace(old, new))
    with pytest.raises(Wrong, match=found):
        azure_checks.rest(deployed)


# cleanup: last, since it takes the deployment away -----------------------------------------------------------------


def test_each_thing_left_behind_is_named_until_there_is_none(deployed: Work) -> None:
    ml = azure_checks.client()
    with pytest.raises(NotAttempted, match=r"the endpoint churn-\w+-\w+, the endpoint .*, version 1 of .* still there"):
        azure_checks.cleanup(deployed)
    ml.online_endpoints.begin_delete(azure_checks.key_endpoint()).wait()
    for left, remove in (
        ("the endpoint churn-entra-", lambda: ml.online_endpoints.begin_delete(azure_checks.token_endpoint()).wait()),
        ("version 1 of the model churn", lambda: ml.models.archive("churn", "1")),
        ("version 1 of the environment churn-env", lambda: ml.environments.archive("churn-env", "1")),
    ):
        with pytest.raises(Wrong, match=left):
            azure_checks.cleanup(deployed)
        remove()
    assert azure_checks.cleanup(deployed) == "no endpoint of this lab left, and its model and environment archived"
