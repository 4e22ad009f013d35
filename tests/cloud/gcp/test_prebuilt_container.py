"""Vertex AI's prebuilt scikit-learn container: what it loads, what it answers, what it says when it cannot."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LinearRegression, LogisticRegression

from labkit.cloud.gcp import prebuilt_images
from labkit.cloud.gcp.prebuilt_container import Container

X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 5.0]])


@pytest.fixture
def model() -> Any:
    return LogisticRegression().fit(X, [0, 0, 1, 1])


@pytest.fixture
def container(tmp_path: Path, model: Any) -> Container:
    joblib.dump(model, tmp_path / "model.joblib")
    made = Container(tmp_path)
    made.load()
    return made


def ask(container: Container, body: Any) -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, headers, answer = container.handle({"content-type": "application/json"}, raw)
    assert headers == {"content-type": "application/json"}
    return status, json.loads(answer)


def test_it_calls_predict_not_predict_proba(container: Container, model: Any) -> None:
    assert ask(container, {"instances": X.tolist()}) == (200, {"predictions": model.predict(X).tolist()})


def test_a_pickled_model_serves_too(tmp_path: Path) -> None:
    model = LinearRegression().fit(X, [0.5, 1.5, 2.5, 9.0])
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    container = Container(tmp_path)
    container.load()
    assert ask(container, {"instances": X.tolist()})[1]["predictions"] == pytest.approx(model.predict(X))


def test_a_wrong_number_of_features_is_told_in_the_model_s_words(
    container: Container, capsys: pytest.CaptureFixture[str]
) -> None:
    status, message = ask(container, {"instances": [[1.0, 2.0, 3.0]]})
    assert status == 400
    assert message == (
        "Prediction failed: Exception during sklearn prediction: X has 3 features, but LogisticRegression is expecting "
        "2 features as input."
    )
    entry = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert entry["severity"] == "ERROR"
    assert "Traceback" in entry["message"]


def test_ragged_instances_fail(container: Container) -> None:
    status, message = ask(container, {"instances": [[1.0, 2.0], [3.0]]})
    assert status == 400
    assert message.startswith("Prediction failed: Exception during sklearn prediction: setting an array element")


def test_parameters_become_a_keyword_that_predict_does_not_know(container: Container) -> None:
    status, message = ask(container, {"instances": [[1.0, 2.0]], "parameters": {}})
    assert status == 400
    assert message.endswith("predict() got an unexpected keyword argument 'parameters'")


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", {"rows": []}, {"instances": 3}, b"3"])
def test_a_body_without_instances_is_refused(container: Container, body: Any) -> None:
    status, message = ask(container, body)
    assert (status, message[:36]) == (400, "Prediction failed: Invalid request: ")


def test_what_is_no_model_does_not_load(tmp_path: Path) -> None:
    joblib.dump({"a": 1}, tmp_path / "model.joblib")
    with pytest.raises(ValueError, match=r"Invalid model type detected: builtins\.dict"):
        Container(tmp_path).load()


def test_a_corrupt_file_does_not_load_and_the_log_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.joblib").write_bytes(b"no model at all")
    with pytest.raises(Exception, match=r"."):
        Container(tmp_path).load()
    entry = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert entry["message"].startswith("Could not load the model: ")


def test_a_folder_without_a_model_file_does_not_load(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Could not find either model\.joblib or model\.pkl"):
        Container(tmp_path).load()


def test_the_log_tells_another_version_of_scikit_learn(
    tmp_path: Path, model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    joblib.dump(model, tmp_path / "model.joblib")
    Container(tmp_path, scikit_learn="0.20").load()
    assert f"runs scikit-learn {sklearn.__version__}; the image on Google Cloud has 0.20" in capsys.readouterr().out
    Container(tmp_path, scikit_learn=sklearn.__version__).load()
    assert "the image on Google Cloud" not in capsys.readouterr().out


def test_the_images_are_the_sdk_s() -> None:
    from google.cloud.aiplatform.constants import prediction

    ours = {prebuilt_images.uri(v, m) for v in prebuilt_images.VERSIONS for m in prebuilt_images.MULTI_REGIONS}
    assert ours == set(prediction.SKLEARN_CONTAINER_URIS)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-5:latest", "1.5"),
        ("europe-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.0-24:latest", "0.24"),
        ("us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.9-9:latest", None),
        ("us-docker.pkg.dev/vertex-ai/prediction/xgboost-cpu.1-7:latest", None),
        ("us-central1-docker.pkg.dev/p/r/mine:latest", None),
    ],
)
def test_an_image_tells_its_version(image: str, version: str | None) -> None:
    assert prebuilt_images.scikit_learn_of(image) == version
    refused = prebuilt_images.refusal(image)
    assert (refused is None) is (version is not None)
    assert refused is None or (image in refused and "sklearn-cpu.1-6:latest" in refused)
