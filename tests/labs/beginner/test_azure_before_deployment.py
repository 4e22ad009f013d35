"""The checks of ``beginner/azure`` that need no deployment: each right, wrong and not attempted."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import joblib
import pandas
import pytest
import requests

from labkit.labs import azure_rest
from labkit.labs.beginner import azure_checks
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.labs.beginner.azure_world import PINNED, SERVER, make_endpoint, make_environment, register, write_json

CLOUD = "azure"


# score -------------------------------------------------------------------------------------------------------------


def test_score_right(work: Work) -> None:
    assert azure_checks.score(work) == "a score.py that answers 20 customers like the saved model"
    assert sorted(path.name for path in (work.folder / "build").iterdir()) == ["churn.joblib"]


def test_score_not_attempted(nothing: Work) -> None:
    with pytest.raises(NotAttempted, match=r"no file azure/serving/score\.py"):
        azure_checks.score(nothing)


def test_score_with_an_empty_run_is_not_attempted(work: Work) -> None:
    (work.folder / "serving" / "score.py").write_text("def init():\n    pass\n\ndef run(body):\n    pass\n")
    with pytest.raises(NotAttempted, match="a run that returns nothing"):
        azure_checks.score(work)


def test_score_with_a_forgotten_return_is_wrong(work: Work) -> None:
    (work.folder / "serving" / "score.py").write_text("def init():\n    pass\n\ndef run(body):\n    answer = body\n")
    with pytest.raises(Wrong, match="a run that returns nothing"):
        azure_checks.score(work)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("def run(", "def score(", "a score.py without run"),
        ("import json", "import jsno", "fails .*No module named 'jsno'"),
        ("churn.joblib", "modle.joblib", r"fails \(FileNotFoundError"),
        ("    global model\n", "", r"fails \(NameError"),
        ("[:, 1].tolist()", "[:, 0].tolist()", "0.9.* for customer 1, for whom the saved model says 0.0"),
        ("[:, 1].tolist()", "[:, 1]", r"fails \(TypeError: Object of type ndarray is not JSON serializable"),
        ('return {"predictions": ', "return {'answers': ", 'the answer \'{"answers"'),
    ],
    ids=["missing", "import", "file", "global", "class", "array", "form"],
)
def test_score_wrong(work: Work, old: str, new: str, found: str) -> None:
    file = work.folder / "serving" / "score.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(Wrong, match=found):
        azure_checks.score(work)


# register ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("empty_clouds")
class TestRegister:
    def test_right(self, work: Work) -> None:
        register(work, auc="0.925")
        assert azure_checks.register(work) == (
            "churn, version 1, byte for byte the model saved here, with its AUC as a tag"
        )

    def test_not_attempted(self, work: Work) -> None:
        with pytest.raises(NotAttempted, match="no model named churn in the workspace"):
            azure_checks.register(work)

    def test_the_newest_version_counts(self, work: Work) -> None:
        register(work)
        register(work, auc="0.925")
        assert azure_checks.register(work).startswith("churn, version 2")

    @pytest.mark.parametrize(
        ("tags", "found"),
        [
            ({}, "a version 1 without the tag auc"),
            ({"auc": "0.80"}, "the tag auc '0.80'"),
            ({"auc": "good"}, "the tag auc 'good'"),
        ],
    )
    def test_without_the_right_tag_is_wrong(self, work: Work, tags: dict[str, str], found: str) -> None:
        register(work, **tags)
        with pytest.raises(Wrong, match=found):
            azure_checks.register(work)

    def test_another_file_is_wrong(self, work: Work) -> None:
        (work.folder / "build" / "notes.txt").write_text("no model")
        register(work, "notes.txt", auc="0.925")
        with pytest.raises(Wrong, match=r"a version 1 of notes\.txt"):
            azure_checks.register(work)

    def test_an_older_model_is_wrong(self, work: Work, customers: tuple[pandas.DataFrame, pandas.Series]) -> None:
        register(work, auc="0.925")
        saved = work.folder / "build" / "churn.joblib"
        joblib.dump(joblib.load(saved).set_params(histgradientboostingclassifier__max_iter=20).fit(*customers), saved)
        with pytest.raises(Wrong, match=r"another model in version 1 than azure/build/churn\.joblib"):
            azure_checks.register(work)


# environment -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("empty_clouds")
class TestEnvironment:
    def test_right(self, work: Work) -> None:
        make_environment(SERVER, *PINNED)
        assert azure_checks.environment(work) == (
            "churn-env, version 1, with the versions of scikit-learn and pandas used here"
        )

    def test_not_attempted(self, work: Work) -> None:
        with pytest.raises(NotAttempted, match="no environment named churn-env"):
            azure_checks.environment(work)

    @pytest.mark.parametrize(
        ("packages", "found"),
        [
            ([SERVER], "a conda file without scikit-learn"),
            ([SERVER, f"scikit-learn=={version('scikit-learn')}"], "a conda file without pandas"),
            ([SERVER, "scikit-learn", "pandas"], "asks for scikit-learn in any version"),
            ([SERVER, "scikit-learn>=1.0", "pandas"], "asks for scikit-learn in any version"),
            ([SERVER, "scikit-learn==1.0.2", "pandas"], r"asks for scikit-learn 1\.0\.2"),
            (PINNED, "a conda file without the inference server"),
        ],
    )
    def test_too_little_is_wrong(self, work: Work, packages: list[str], found: str) -> None:
        make_environment(*packages)
        with pytest.raises(Wrong, match=found):
            azure_checks.environment(work)

    def test_an_image_alone_is_wrong(self, work: Work) -> None:
        make_environment(conda=False)
        with pytest.raises(Wrong, match="a version 1 without a conda file"):
            azure_checks.environment(work)


def test_packages_of_conda_and_of_pip_are_read_alike() -> None:
    conda = {"dependencies": ["python=3.11", "Scikit_Learn = 1.9.1", "pip", {"pip": ["pandas == 3.1", "joblib[a]>1"]}]}
    assert azure_checks.pins(conda) == {
        "python": "3.11",
        "scikit-learn": "1.9.1",
        "pip": "",
        "pandas": "3.1",
        "joblib": "",
    }


# endpoint ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("empty_clouds")
class TestEndpoint:
    def test_right(self, work: Work) -> None:
        make_endpoint(azure_checks.key_endpoint())
        assert azure_checks.endpoint(work).endswith("whose callers show a key")

    def test_not_attempted(self, work: Work) -> None:
        make_endpoint("somebody-elses")
        with pytest.raises(NotAttempted, match="no endpoint named churn-api-"):
            azure_checks.endpoint(work)

    @pytest.mark.parametrize("mode", ["aml_token", "aad_token"])
    def test_another_mode_is_wrong(self, work: Work, mode: str) -> None:
        make_endpoint(azure_checks.key_endpoint(), mode)
        with pytest.raises(Wrong, match=f"an endpoint whose auth_mode is {mode}"):
            azure_checks.endpoint(work)


# roles -------------------------------------------------------------------------------------------------------------

ML = azure_checks.WORKSPACES
DEPLOY = [
    *(f"{ML}/{kind}/versions/write" for kind in ("models", "environments", "codes")),
    *(f"{ML}/onlineEndpoints/{verb}" for verb in ("read", "write", "delete")),
    *(f"{ML}/onlineEndpoints/deployments/{verb}" for verb in ("read", "write", "delete")),
]


def write_roles(work: Work, deployer: Any = DEPLOY, caller: Any = (azure_checks.SCORE,), **other: Any) -> None:
    """The three files; what is None is not written."""
    scopes = other.get("scopes", [azure_checks.group_id()])
    for name, actions in (("churn-lab-deployer", deployer), ("churn-lab-caller", caller)):
        if actions is not None:
            write_json(work.folder, name, {"Name": name, "Actions": list(actions), "AssignableScopes": scopes})
    given = {"churn-lab-deployer": azure_checks.workspace_id(), "churn-lab-caller": entra_id()}
    write_json(work.folder, "assignments", given | other.get("assigned", {}))


def entra_id() -> str:
    return azure_checks.endpoint_id(azure_checks.token_endpoint())


@pytest.mark.usefixtures("lab_clouds")
class TestRoles:
    def test_right(self, work: Work) -> None:
        write_roles(work)
        assert azure_checks.roles(work) == (
            "churn-lab-deployer with 9 actions in one workspace and churn-lab-caller with 1 on one endpoint"
        )

    def test_not_attempted(self, work: Work) -> None:
        with pytest.raises(NotAttempted, match=r"no churn-lab-deployer\.json and no churn-lab-caller\.json in azure/"):
            azure_checks.roles(work)

    def test_only_one_of_them_is_wrong(self, work: Work) -> None:
        write_roles(work, caller=None)
        with pytest.raises(Wrong, match=r"no churn-lab-caller\.json in azure/build$"):
            azure_checks.roles(work)

    @pytest.mark.parametrize(
        ("caller", "found"),
        [
            ([], "that cannot call an endpoint"),
            ([f"{ML}/onlineEndpoints/read"], "that cannot call an endpoint"),
            ([f"{ML}/onlineEndpoints/*"], r"that may also do .*onlineEndpoints/\*"),
            ([azure_checks.SCORE, f"{ML}/onlineEndpoints/listKeys/action"], "that may also do .*listKeys"),
        ],
    )
    def test_a_caller_with_too_little_or_too_much_is_wrong(self, work: Work, caller: Any, found: str) -> None:
        write_roles(work, caller=caller)
        with pytest.raises(Wrong, match=f"a churn-lab-caller {found}"):
            azure_checks.roles(work)

    @pytest.mark.parametrize(
        ("deployer", "found"),
        [
            ([], "without .*models/versions/write"),
            (DEPLOY[:-1], "without .*deployments/delete"),
            (["*"], "that may also assign roles"),
            ([f"{ML}/*"], "that may also delete the workspace"),
            ([f"{ML}/*/write", *DEPLOY], "that may also make computes"),
            ([*DEPLOY, f"{ML}/onlineEndpoints/*"], "that may also read every endpoint's keys"),
        ],
    )
    def test_a_deployer_with_too_little_or_too_much_is_wrong(self, work: Work, deployer: Any, found: str) -> None:
        write_roles(work, deployer=deployer)
        with pytest.raises(Wrong, match=f"a churn-lab-deployer {found}"):
            azure_checks.roles(work)

    @pytest.mark.parametrize("scopes", [[], ["/"], ["/subscriptions/00000000-0000-0000-0000-000000000000"]])
    def test_another_assignable_scope_is_wrong(self, work: Work, scopes: list[str]) -> None:
        write_roles(work, scopes=scopes)
        with pytest.raises(Wrong, match="a churn-lab-deployer that can be assigned in"):
            azure_checks.roles(work)

    @pytest.mark.parametrize("who", ["churn-lab-deployer", "churn-lab-caller"])
    def test_an_assignment_at_a_wider_scope_is_wrong(self, work: Work, who: str) -> None:
        write_roles(work, assigned={who: azure_checks.group_id()})
        with pytest.raises(Wrong, match=f"{who} assigned at /subscriptions/[^/]+/resourceGroups/[^/]+$"):
            azure_checks.roles(work)

    def test_no_assignment_is_wrong(self, work: Work) -> None:
        write_roles(work)
        (work.folder / "build" / "assignments.json").unlink()
        with pytest.raises(Wrong, match="churn-lab-deployer assigned at no scope"):
            azure_checks.roles(work)

    @pytest.mark.parametrize(("text", "found"), [("{'a'}", "which is no JSON"), ("[]", "json with a list")])
    def test_a_file_that_is_no_json_object_is_wrong(self, work: Work, text: str, found: str) -> None:
        write_roles(work)
        (work.folder / "build" / "churn-lab-caller.json").write_text(text)
        with pytest.raises(Wrong, match=found):
            azure_checks.roles(work)


# what the card and the sentences say --------------------------------------------------------------------------------


@pytest.mark.usefixtures("lab_clouds")
def test_who_the_learner_is() -> None:
    said = azure_checks.whoami()
    assert said["Workspace"] == "mlops, in the resource group learning"
    assert said["Region"] == "eastus"
    assert said["Signed in as"].startswith("the managed identity ")


@pytest.mark.usefixtures("lab_clouds")
def test_what_azure_says_is_explained() -> None:
    from azure.core.exceptions import HttpResponseError, ServiceRequestError

    with pytest.raises(HttpResponseError) as raised:
        azure_checks.client().online_endpoints.get("none-such")
    assert "that Azure answered 404 " in (azure_checks.explain(raised.value) or "")
    with pytest.raises(requests.HTTPError) as refused:
        azure_rest.arm("GET", azure_rest.workspace_id(), "1999-01-01", "no token").raise_for_status()
    assert "that Azure answered 401 " in (azure_checks.explain(refused.value) or "")
    assert azure_checks.explain(ServiceRequestError("no route")) == "that Azure could not be asked (no route)"
    assert azure_checks.explain(json.JSONDecodeError("no", "", 0)) is None
