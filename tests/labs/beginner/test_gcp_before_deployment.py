"""The checks of ``beginner/gcp`` that need no endpoint: each right, wrong and not attempted."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy
import pandas
import pytest
from google.cloud import storage
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from labkit.labs.beginner import churn, gcp_checks, gcp_cloud
from labkit.labs.task import NotAttempted, Work, Wrong

CLOUD = "gcp"
BUCKET = "mlops-lab-churn-lab"
OBJECT = "models/churn/model.joblib"
ACCOUNTS = {
    name: f"serviceAccount:churn-lab-{name}@mlops-lab.iam.gserviceaccount.com"
    for name in ("endpoint", "deployer", "caller")
}
Customers = tuple[pandas.DataFrame, pandas.Series]


@pytest.fixture(autouse=True)
def _clouds(empty_clouds: Any) -> None:
    """Every test has empty clouds of the module's own."""


# container ---------------------------------------------------------------------------------------------------------


def save(work: Work, model: Any) -> None:
    joblib.dump(model, work.folder / "build" / "model.joblib")


def rows(customers: Customers) -> numpy.ndarray:
    return numpy.array(customers[0].to_numpy().tolist())


def numeric(final: Any, customers: Customers) -> Any:
    """A pipeline over two of the numbers, day minutes and service calls, that ends in ``final``."""
    numbers = FunctionTransformer(numpy.asarray, kw_args={"dtype": float})
    return make_pipeline(make_column_transformer((numbers, [6, 18])), final).fit(rows(customers), customers[1])


def test_container_right(served: Work) -> None:
    assert gcp_checks.container(served) == (
        "a model that answers rows with probabilities, with an AUC of 0.918 on 1,250 held-out customers"
    )


def test_container_not_attempted(work: Work) -> None:
    with pytest.raises(NotAttempted, match=r"no file gcp/build/model\.joblib"):
        gcp_checks.container(work)


def test_the_model_with_names_of_columns_is_wrong(work: Work) -> None:
    shutil.copy(churn.model_file(work), work.folder / "build" / "model.joblib")
    with pytest.raises(Wrong, match=r"cannot use .*Specifying the columns using strings is only supported") as wrong:
        gcp_checks.container(work)
    assert "numbers arrive as text" in wrong.value.hint


def test_a_function_of_the_notebooks_is_wrong(
    work: Work, customers: Customers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_column(table: Any) -> Any:
        return table[:, :1]

    first_column.__module__, first_column.__qualname__ = "__main__", "first_column"
    monkeypatch.setattr(sys.modules["__main__"], "first_column", first_column, raising=False)
    save(work, make_pipeline(FunctionTransformer(first_column), DummyRegressor()).fit(rows(customers), customers[1]))
    with pytest.raises(Wrong, match="AttributeError: Can't get attribute 'first_column'"):
        gcp_checks.container(work)


def test_a_classifiers_yes_and_no_are_wrong(work: Work, customers: Customers) -> None:
    save(work, numeric(RandomForestClassifier(10, random_state=0), customers))
    with pytest.raises(Wrong, match=r"answers such as \[false, ") as wrong:
        gcp_checks.container(work)
    assert wrong.value.expected == "one probability a customer"


def test_a_classifiers_0_and_1_are_wrong(work: Work, customers: Customers) -> None:
    features, left = customers
    save(work, numeric(RandomForestClassifier(10, random_state=0), (features, left.astype(int))))
    with pytest.raises(Wrong, match=r"answers such as \[0, "):
        gcp_checks.container(work)


def test_two_answers_a_customer_are_wrong(work: Work, customers: Customers) -> None:
    features, left = customers
    save(work, numeric(LinearRegression(), (features, pandas.DataFrame({"stayed": ~left, "left": left}).astype(int))))
    with pytest.raises(Wrong, match=r"answers such as \[\[0\."):
        gcp_checks.container(work)


def test_probabilities_out_of_range_are_wrong(work: Work, customers: Customers) -> None:
    save(work, numeric(LinearRegression(), customers))
    with pytest.raises(Wrong, match=r"probabilities from -0\.\d\d to 0\.\d\d") as wrong:
        gcp_checks.container(work)
    assert "forest" in wrong.value.hint


def test_a_model_below_the_gate_is_wrong(work: Work, customers: Customers) -> None:
    save(work, numeric(DummyRegressor(), customers))
    with pytest.raises(Wrong, match=r"an AUC of 0\.500") as wrong:
        gcp_checks.container(work)
    assert wrong.value.expected == "more than 0.85"


# upload ------------------------------------------------------------------------------------------------------------


def make_bucket(prevention: str = "enforced", uniform: bool = True) -> storage.Bucket:
    bucket = storage.Client().bucket(BUCKET)
    bucket.iam_configuration.public_access_prevention = prevention
    bucket.iam_configuration.uniform_bucket_level_access_enabled = uniform
    bucket.create(location="us-central1")
    return bucket


def test_upload_right(served: Work) -> None:
    make_bucket().blob(OBJECT).upload_from_filename(served.folder / "build" / "model.joblib")
    assert gcp_checks.upload(served) == f"gs://{BUCKET}/{OBJECT}, private and byte for byte the file made here"


def test_upload_not_attempted(served: Work) -> None:
    with pytest.raises(NotAttempted, match=f"no bucket named {BUCKET}"):
        gcp_checks.upload(served)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"prevention": "inherited"}, "public access prevention inherited"),
        ({"uniform": False}, "a bucket whose objects can have access lists"),
    ],
    ids=["prevention", "uniform"],
)
def test_an_open_bucket_is_wrong(served: Work, settings: dict[str, Any], found: str) -> None:
    make_bucket(**settings).blob(OBJECT).upload_from_filename(served.folder / "build" / "model.joblib")
    with pytest.raises(Wrong, match=found):
        gcp_checks.upload(served)


def test_a_bucket_without_the_file_is_wrong(served: Work) -> None:
    make_bucket().blob("models/churn/churn.joblib").upload_from_filename(served.folder / "build" / "model.joblib")
    with pytest.raises(Wrong, match=f"no object {OBJECT}"):
        gcp_checks.upload(served)


def test_another_file_is_wrong(served: Work) -> None:
    make_bucket().blob(OBJECT).upload_from_string("an older model")
    with pytest.raises(Wrong, match=f"another file under {OBJECT} than gcp/build/model.joblib"):
        gcp_checks.upload(served)


# access ------------------------------------------------------------------------------------------------------------

GRANTS = {
    "bucket": {"roles/storage.objectViewer": "endpoint", "roles/storage.objectAdmin": "deployer"},
    "project": {"roles/aiplatform.user": "deployer"},
    "account": {"roles/iam.serviceAccountUser": "deployer"},
    "endpoint": {"projects/mlops-lab/roles/churnCaller": "caller"},
}


def write(file: Path, document: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))


def write_access(work: Work, **more: dict[str, str]) -> None:
    """Writes the right policies and role; ``more`` are further grants on a resource, ``{role: member}``."""
    for name, roles in GRANTS.items():
        bindings = [{"role": role, "members": [ACCOUNTS[who]]} for role, who in roles.items()]
        bindings += [{"role": role, "members": [who]} for role, who in more.get(name, {}).items()]
        write(work.folder / "build" / "iam" / f"{name}.json", {"bindings": bindings})
    write(work.folder / "build" / "iam" / "role.json", {"includedPermissions": ["aiplatform.endpoints.predict"]})


def test_access_right(work: Work) -> None:
    write_access(work)
    assert gcp_checks.access(work) == "5 grants on 4 resources, and a role with one permission for the caller"


def test_access_not_attempted(work: Work) -> None:
    with pytest.raises(NotAttempted, match=r"no file gcp/build/iam/bucket\.json"):
        gcp_checks.access(work)


@pytest.mark.parametrize("name", list(GRANTS))
def test_a_missing_policy_is_wrong(work: Work, name: str) -> None:
    write_access(work)
    (work.folder / "build" / "iam" / f"{name}.json").unlink()
    with pytest.raises(Wrong, match=rf"no file gcp/build/iam/{name}\.json"):
        gcp_checks.access(work)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("project", "nothing on the project that lets churn-lab-deployer register and deploy models"),
        ("account", "nothing on the endpoint's service account that lets churn-lab-deployer hand that account over"),
        ("endpoint", "nothing on the endpoint that lets churn-lab-caller call the endpoint"),
    ],
)
@pytest.mark.parametrize("policy", [{"bindings": []}, {"bindings": {"role": "viewer"}}, {}], ids=["none", "form", "no"])
def test_a_policy_without_its_grant_is_wrong(work: Work, name: str, found: str, policy: Any) -> None:
    write_access(work)
    write(work.folder / "build" / "iam" / f"{name}.json", policy)
    with pytest.raises(Wrong, match=found):
        gcp_checks.access(work)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"bucket": {"roles/storage.objectViewer": "allUsers"}}, "objectViewer on the bucket for allUsers"),
        ({"project": {"roles/editor": ACCOUNTS["deployer"]}}, "roles/editor on the project"),
        ({"project": {"roles/iam.serviceAccountUser": ACCOUNTS["deployer"]}}, "serviceAccountUser on the project for"),
        ({"project": {"roles/aiplatform.user": ACCOUNTS["caller"]}}, "aiplatform.user on the project for churn"),
    ],
    ids=["public", "basic", "any account", "caller"],
)
def test_a_grant_too_many_is_wrong(work: Work, more: dict[str, dict[str, str]], found: str) -> None:
    write_access(work, **more)
    with pytest.raises(Wrong, match=found):
        gcp_checks.access(work)


@pytest.mark.parametrize(
    "permissions", [None, [], ["aiplatform.endpoints.predict", "aiplatform.endpoints.delete"], ["aiplatform.*"]]
)
def test_another_role_for_the_caller_is_wrong(work: Work, permissions: Any) -> None:
    write_access(work)
    write(work.folder / "build" / "iam" / "role.json", {"includedPermissions": permissions})
    with pytest.raises(Wrong, match="a role of the caller's with the permissions"):
        gcp_checks.access(work)


@pytest.mark.parametrize(("content", "found"), [("{", "that is no JSON"), ("[]", "that holds no object")])
def test_a_file_that_is_no_policy_is_wrong(work: Work, content: str, found: str) -> None:
    write_access(work)
    (work.folder / "build" / "iam" / "endpoint.json").write_text(content)
    with pytest.raises(Wrong, match=found):
        gcp_checks.access(work)


# who and why -------------------------------------------------------------------------------------------------------


def test_the_card_says_who_the_learner_is() -> None:
    assert gcp_cloud.whoami() == {
        "Project": "mlops-lab",
        "Region": "us-central1",
        "Signed in as": "learner@mlops-lab.iam.gserviceaccount.com",
    }


def test_what_google_cloud_answers_is_quoted() -> None:
    with pytest.raises(gcp_cloud.Refused) as refused:
        gcp_cloud.Cloud().vertex("GET", "projects/mlops-lab/locations/us-central1/models/1")
    said = gcp_cloud.explain(refused.value)
    assert said is not None
    assert said.startswith("that https://us-central1-aiplatform.googleapis.com/v1/projects/mlops-lab/locations/us-cen")
    assert " answered 404 NOT_FOUND: " in said
    assert gcp_cloud.explain(ValueError("mine")) is None
