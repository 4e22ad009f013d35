"""The scikit-learn container's contract: which functions have defaults, what those do, and what errors answer."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy
import pytest

from labkit.cloud.aws.sklearn_container import INTERNAL_SERVER_ERROR, Container
from labkit.cloud.aws.sklearn_encoders import UnsupportedFormatError, decode

MODEL = """
class Model:
    def predict(self, data):
        self.seen = data
        return data.sum(axis=1)

def model_fn(model_dir):
    return Model()
"""
ROWS = [[1.5, 2.0], [3.0, 4.25]]


@pytest.fixture(autouse=True)
def own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A container is made once in a process of its own: here, what it imports and sets is undone."""
    for name in ("SAGEMAKER_PROGRAM", "SAGEMAKER_SUBMIT_DIRECTORY", "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name in ("inference", "serve", "features"):
            del sys.modules[name]


def package(folder: Path, text: str = MODEL, name: str = "code/inference.py") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return folder


def loaded(folder: Path, text: str = MODEL, name: str = "code/inference.py") -> Container:
    container = Container(package(folder, text, name))
    container.load()
    return container


def npy(array: numpy.ndarray) -> bytes:
    stream = io.BytesIO()
    numpy.save(stream, array)
    return stream.getvalue()


def test_the_defaults_take_json_and_answer_json(tmp_path: Path) -> None:
    container = loaded(tmp_path)
    status, headers, body = container.handle({}, json.dumps(ROWS).encode())
    assert (status, headers, body) == (200, {"content-type": "application/json"}, b"[3.5, 7.25]")
    assert container._model.seen.dtype == numpy.float32


def test_the_defaults_take_csv_and_answer_csv(tmp_path: Path) -> None:
    container = loaded(tmp_path)
    answer = container.handle({"content-type": "text/csv", "accept": "text/csv"}, b"1.5,2.0\n3.0,4.25\n")
    assert answer == (200, {"content-type": "text/csv; charset=utf-8"}, b"3.5\n7.25\n")
    assert container._model.seen.dtype == numpy.float32


def test_the_defaults_take_npy_as_it_is_and_answer_npy(tmp_path: Path) -> None:
    container = loaded(tmp_path)
    status, headers, body = container.handle(
        {"content-type": "application/x-npy", "accept": "application/x-npy"}, npy(numpy.array(ROWS))
    )
    assert (status, headers) == (200, {"content-type": "application/x-npy"})
    assert numpy.load(io.BytesIO(body)).tolist() == [3.5, 7.25]
    assert container._model.seen.dtype == numpy.float64


@pytest.mark.parametrize("accept", [None, "*/*"])
def test_without_a_wish_the_answer_has_the_default_type(
    tmp_path: Path, accept: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv")
    headers = {} if accept is None else {"accept": accept}
    assert loaded(tmp_path).handle(headers, b"[[1, 2]]") == (200, {"content-type": "text/csv; charset=utf-8"}, b"3.0\n")


def test_model_fn_has_no_default(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="Please provide a model_fn implementation"):
        loaded(tmp_path, "def predict_fn(data, model): ...")


def test_the_functions_of_the_module_are_used(tmp_path: Path) -> None:
    container = loaded(
        tmp_path,
        """
import os, json
def model_fn(model_dir):
    return sorted(os.listdir(model_dir))
def input_fn(body, content_type):
    return type(body).__name__, content_type, body
def predict_fn(data, model):
    return [*data, model]
def output_fn(prediction, accept):
    return json.dumps([repr(prediction), accept]), "text/x-seen"
""",
    )
    status, headers, body = container.handle({"content-type": "image/png", "accept": "a/b"}, b"\x89")
    assert (status, headers) == (200, {"content-type": "text/x-seen; charset=utf-8"})
    assert json.loads(body) == ["['bytes', 'image/png', b'\\x89', ['code']]", "a/b"]
    assert "['str', 'text/csv', '1'" in container.handle({"content-type": "text/csv"}, b"1")[2].decode()
    assert "b'1'" in container.handle({"content-type": "application/json; charset=utf-8"}, b"1")[2].decode()


def test_transform_fn_takes_the_place_of_three(tmp_path: Path) -> None:
    text = "def model_fn(d): return 'M'\ndef transform_fn(*given): return repr(given), 'text/plain'\n"
    assert loaded(tmp_path, text).handle({"accept": "a/b"}, b"[]")[2] == b"('M', '[]', 'application/json', 'a/b')"


def test_transform_fn_does_not_mix_with_the_others(tmp_path: Path) -> None:
    text = MODEL + "\ndef transform_fn(*given): ...\ndef output_fn(*given): ...\n"
    with pytest.raises(ValueError, match="Cannot use transform_fn implementation with input_fn"):
        loaded(tmp_path, text)


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ("'text'", (200, {"content-type": "text/html; charset=utf-8"}, b"text")),
        ("b'bytes'", (200, {"content-type": "text/html; charset=utf-8"}, b"bytes")),
        ("{'churn': 0.5}", (200, {"content-type": "application/json"}, b'{"churn": 0.5}')),
        ("(b'raw', 'a/b')", (200, {"content-type": "a/b"}, b"raw")),
        ("Teapot()", (418, {"content-type": "text/plain"}, b"short and stout")),
    ],
)
def test_what_output_fn_may_return(tmp_path: Path, result: str, answer: tuple[int, dict[str, str], bytes]) -> None:
    text = f"""{MODEL}
class Teapot:
    status_code = 418
    headers = {{"Content-Type": "text/plain"}}
    def get_data(self):
        return b"short and stout"
def output_fn(prediction, accept):
    return {result}
"""
    assert loaded(tmp_path, text).handle({}, b"[[1]]") == answer


@pytest.mark.parametrize(
    ("headers", "body", "logged"),
    [
        ({"content-type": "application/xml"}, b"<a/>", "Content type application/xml is not supported"),
        ({"accept": "application/xml"}, b"[[1, 2]]", "Content type application/xml is not supported"),
        ({}, b'{"not": closed', "JSONDecodeError"),
        ({}, b"\xff\xfe", "JSONDecodeError"),
        ({}, b'[["a", "b"]]', "could not convert string to float"),
        ({"content-type": "text/csv"}, b"Spain,Male\n", "could not convert string to float"),
        ({"content-type": "text/csv"}, b"1,2\n1\n", "inhomogeneous shape"),
        ({"content-type": "application/x-npy"}, b"no array", "ValueError"),
        (
            {"content-type": "application/x-npy"},
            npy(numpy.array([{"an": "object"}], dtype=object)),
            "allow_pickle=False",
        ),
    ],
)
def test_what_the_defaults_cannot_read_or_write_is_an_internal_error_with_a_traceback_in_the_log(
    tmp_path: Path, headers: dict[str, str], body: bytes, logged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = loaded(tmp_path).handle(headers, body)
    assert answer == (500, {"content-type": "text/html; charset=utf-8"}, INTERNAL_SERVER_ERROR.encode())
    error = capsys.readouterr().err
    assert error.startswith("Exception on /invocations [POST]\nTraceback (most recent call last):\n")
    assert logged in error


def test_a_predict_fn_that_raises_is_an_internal_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    container = loaded(tmp_path, MODEL + "\ndef predict_fn(data, model): raise KeyError('no such column')\n")
    assert container.handle({}, b"[[1]]")[0] == 500
    assert "KeyError: 'no such column'" in capsys.readouterr().err


def test_an_array_is_no_body(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    container = loaded(tmp_path, MODEL + "\ndef output_fn(prediction, accept): return prediction, accept\n")
    assert container.handle({}, b"[[1]]")[0] == 500
    assert "the body was a ndarray" in capsys.readouterr().err


def test_a_module_that_raises_at_import_is_told(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        loaded(tmp_path, "1 / 0")


def test_a_missing_module_names_what_the_package_holds(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no code/inference\.py\. It holds: inference\.py, src/serve\.py\."):
        loaded(package(tmp_path, name="src/serve.py"), name="inference.py")


def test_a_module_missing_inside_the_learners_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_module'"):
        loaded(tmp_path, "import no_such_module")


def test_modules_beside_it_are_found(tmp_path: Path) -> None:
    package(tmp_path, "NAME = 'beside'", "code/features.py")
    container = loaded(tmp_path, MODEL + "\nimport features\ndef output_fn(p, accept): return features.NAME\n")
    assert container.handle({}, b"[[1]]")[2] == b"beside"


def test_the_program_can_have_another_name_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_PROGRAM", "serve.py")
    monkeypatch.setenv("SAGEMAKER_SUBMIT_DIRECTORY", "/opt/ml/model/source")
    assert loaded(tmp_path, name="source/serve.py").handle({}, b"[[1, 2]]")[2] == b"[3.0]"


def test_the_code_can_come_apart_from_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_SUBMIT_DIRECTORY", "s3://bucket/sourcedir.tar.gz")
    package(tmp_path / "elsewhere", name="inference.py")
    container = Container(tmp_path / "model", code=str(tmp_path / "elsewhere"))
    container.load()
    assert container.handle({}, b"[[1, 2]]")[2] == b"[3.0]"


def test_the_log_says_what_aws_needs_when_the_program_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(tmp_path)
    assert "SAGEMAKER_PROGRAM is not set: using inference.py in code/" in capsys.readouterr().out
    monkeypatch.setenv("SAGEMAKER_PROGRAM", "inference.py")
    loaded(tmp_path)
    assert capsys.readouterr().out == ""


def test_the_log_tells_when_the_images_scikit_learn_is_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_PROGRAM", "inference.py")
    here = ".".join(metadata.version("scikit-learn").split(".")[:2])
    Container(package(tmp_path), scikit_learn=here).load()
    assert capsys.readouterr().out == ""
    Container(package(tmp_path), scikit_learn="0.20.0").load()
    assert "the image on AWS has 0.20.0, and may not load a model" in capsys.readouterr().out


def test_the_log_explains_an_absolute_path_below_opt_ml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError):
        loaded(tmp_path, "import joblib\ndef model_fn(model_dir): return joblib.load('/opt/ml/model/churn.joblib')\n")
    error = capsys.readouterr().err
    assert error.startswith("/opt/ml/model/churn.joblib is a path inside SageMaker's own container")
    assert "SM_MODEL_DIR" in error


def test_the_explanation_finds_the_first_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """
def model_fn(model_dir):
    try:
        open("/opt/ml/model/a")
    except OSError as error:
        raise RuntimeError("no model") from error
"""
    with pytest.raises(RuntimeError):
        loaded(tmp_path, text)
    assert "/opt/ml/model/a is a path inside" in capsys.readouterr().err


def test_one_csv_row_has_one_dimension_as_in_the_vendors_container() -> None:
    assert decode("1,2,3\n", "text/csv").shape == (3,)
    assert decode("1,2\n3,4\n", "text/csv").tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_text_in_csv_stays_text() -> None:
    assert decode('1,"Spain, north"\n2,France\n', "text/csv").tolist() == [["1", "Spain, north"], ["2", "France"]]


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(UnsupportedFormatError, match=r"^Content type text/plain is not supported by this framework\."):
        decode("", "text/plain")
