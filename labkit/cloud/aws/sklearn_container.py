"""SageMaker's scikit-learn serving container, as a class that a model replica makes in its own process.

It keeps the contract of the open-source container: the learner's module gives ``model_fn(model_dir)``, which has **no
default**, and may give ``input_fn(body, content_type)``, ``predict_fn(data, model)`` and ``output_fn(prediction,
accept)``, or ``transform_fn(model, body, content_type, accept)`` in place of those three. Sources:

- https://github.com/aws/sagemaker-scikit-learn-container/blob/master/src/sagemaker_sklearn_container/serving.py
- https://github.com/aws/sagemaker-containers/blob/master/src/sagemaker_containers/_transformer.py and ``_worker.py``
- https://sagemaker.readthedocs.io/en/stable/frameworks/sklearn/using_sklearn.html#deploy-a-scikit-learn-model

In that container every exception of these functions, the defaults included, is wrapped in a ``ClientError`` and ends
as HTTP 500 with Flask's page and the traceback in the log: an unsupported content type or accept type, too, although
``_transformer.py`` reads as if it answered 415 or 406. A function that wants another status returns a response object
(``flask.Response`` or any object with ``status_code``, ``headers`` and ``get_data()``).

Two things differ from the vendor's container. ``SAGEMAKER_PROGRAM`` may be left out: it is then ``inference.py`` in
the package's ``code/`` folder, and the log says so. And ``/opt/ml/model`` is not mounted: ``model_fn``'s argument and
``SM_MODEL_DIR`` name the real folder, and the log explains a script's failure to open the absolute path.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from labkit.cloud.aws import sklearn_encoders as encoders

#: Where a model is in the vendor's container.
MODEL_DIR = "/opt/ml/model"
DEFAULT_PROGRAM = "inference.py"

NO_MODEL_FN = """
Please provide a model_fn implementation.
See documentation for model_fn at https://github.com/aws/sagemaker-python-sdk
"""
#: Flask's answer to a request whose handling raised.
INTERNAL_SERVER_ERROR = (
    '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n'
    "<title>500 Internal Server Error</title>\n"
    "<h1>Internal Server Error</h1>\n"
    "<p>The server encountered an internal error and was unable to complete your request. "
    "Either the server is overloaded or there is an error in the application.</p>\n"
)
_HTML = "text/html; charset=utf-8"

Answer = tuple[int, dict[str, str], bytes]


class Container:
    """One model behind the contract above; the engine's replica loads it once and hands it requests one at a time.

    ``folder`` holds the unpacked model package. ``code`` is where the learner's module is when it came apart from the
    package (``SAGEMAKER_SUBMIT_DIRECTORY`` on S3); otherwise ``SAGEMAKER_SUBMIT_DIRECTORY`` below ``/opt/ml/model``,
    or the package's own ``code/``. The other variables are read from the process's environment. ``scikit_learn`` is
    the version in the image: the log says so when another one is installed here.
    """

    def __init__(self, folder: Path, code: str | None = None, scikit_learn: str = "") -> None:
        self._folder = folder
        self._scikit_learn = scikit_learn
        self._code = Path(code) if code else code_folder(folder, os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", ""))
        self._program = os.environ.get("SAGEMAKER_PROGRAM", "")
        self._accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", encoders.JSON)
        self._model: Any = None
        self._transform: Callable[[Any, str | bytes, str, str], Any] = _not_loaded

    def load(self) -> None:
        """Imports the learner's module and calls its ``model_fn``; what that raises is raised."""
        self._compare_versions()
        try:
            module = self._import()
            self._transform = _transform_of(module)
            self._model = getattr(module, "model_fn", _default_model_fn)(str(self._folder))
        except Exception as error:
            _explain(error)
            raise

    def handle(self, headers: dict[str, str], body: bytes) -> Answer:
        """Answers ``POST /invocations``: status, headers and body. Header names are in lower case."""
        content_type = headers.get("content-type") or encoders.JSON
        accept = headers.get("accept") or "*/*"
        content = body.decode("utf-8", "replace") if content_type in encoders.TEXT_TYPES else body
        try:
            result = self._transform(self._model, content, content_type, self._accept if accept == "*/*" else accept)
            return _answer(result)
        except Exception as error:
            print("Exception on /invocations [POST]", file=sys.stderr)
            traceback.print_exc()
            _explain(error)
            return 500, {"content-type": _HTML}, INTERNAL_SERVER_ERROR.encode()

    def _compare_versions(self) -> None:
        here = metadata.version("scikit-learn")
        if self._scikit_learn and not f"{here}.".startswith(f"{self._scikit_learn}."):
            print(
                f"This container runs scikit-learn {here}; the image on AWS has {self._scikit_learn}, and may not load "
                "a model that was saved with another version."
            )

    def _import(self) -> ModuleType:
        if not self._program:
            print(
                f"SAGEMAKER_PROGRAM is not set: using {DEFAULT_PROGRAM} in {self._code.name}/. On AWS this image needs "
                f"SAGEMAKER_PROGRAM={DEFAULT_PROGRAM} and SAGEMAKER_SUBMIT_DIRECTORY={MODEL_DIR}/code in the model's "
                "Environment."
            )
        name = (self._program or DEFAULT_PROGRAM).removesuffix(".py")
        sys.path.insert(0, str(self._code))
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            found = ", ".join(sorted(_listing(self._folder))) or "nothing"
            raise ModuleNotFoundError(
                f"The model package has no {self._code.name}/{name}.py. It holds: {found}.", name=name
            ) from None


def code_folder(folder: Path, submitted: str) -> Path:
    """The folder of the learner's module; ``submitted`` is ``SAGEMAKER_SUBMIT_DIRECTORY``, or ``""`` for none."""
    if not submitted:
        return folder / "code"
    if submitted == MODEL_DIR or submitted.startswith(f"{MODEL_DIR}/"):
        return folder / submitted.removeprefix(MODEL_DIR).strip("/")
    return Path(submitted)


def _listing(folder: Path, limit: int = 20) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file():
            limit -= 1
            if limit < 0:
                yield "..."
                return
            yield path.relative_to(folder).as_posix()


def _transform_of(module: ModuleType) -> Callable[[Any, str | bytes, str, str], Any]:
    input_fn, predict_fn, output_fn, transform_fn = (
        getattr(module, name, None) for name in ("input_fn", "predict_fn", "output_fn", "transform_fn")
    )
    if transform_fn is not None:
        if input_fn or predict_fn or output_fn:
            raise ValueError("Cannot use transform_fn implementation with input_fn, predict_fn, and/or output_fn")
        return transform_fn
    read, predict, write = input_fn or _default_input_fn, predict_fn or _default_predict_fn, output_fn or _output_fn

    def transform(model: Any, body: str | bytes, content_type: str, accept: str) -> Any:
        return write(predict(read(body, content_type), model), accept)

    return transform


def _default_model_fn(model_dir: str) -> Any:
    raise NotImplementedError(NO_MODEL_FN)


def _default_input_fn(body: str | bytes, content_type: str) -> Any:
    array = encoders.decode(body, content_type)
    return array.astype("float32") if content_type in encoders.TEXT_TYPES else array


def _default_predict_fn(data: Any, model: Any) -> Any:
    return model.predict(data)


def _output_fn(prediction: Any, accept: str) -> tuple[str | bytes, str]:
    return encoders.encode(prediction, accept), accept


def _not_loaded(model: Any, body: str | bytes, content_type: str, accept: str) -> Any:
    raise RuntimeError("The model is not loaded.")


def _answer(result: Any) -> Answer:
    """What Flask makes of a view's result: a (body, content type) pair, a response object, text or a dict."""
    if isinstance(result, tuple):
        body, content_type = result
        return 200, {"content-type": _with_charset(content_type)}, _bytes(body)
    if hasattr(result, "get_data") and hasattr(result, "status_code"):
        headers = {str(name).lower(): str(value) for name, value in dict(result.headers).items()}
        return int(result.status_code), headers, _bytes(result.get_data())
    if isinstance(result, dict | list):
        return 200, {"content-type": encoders.JSON}, json.dumps(result).encode()
    return 200, {"content-type": _HTML}, _bytes(result)


def _with_charset(mimetype: str) -> str:
    return f"{mimetype}; charset=utf-8" if mimetype.startswith("text/") and "charset" not in mimetype else mimetype


def _bytes(body: Any) -> bytes:
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    raise TypeError(
        "The view function did not return a valid response: output_fn or transform_fn has to return "
        f"(text or bytes, content type), but the body was a {type(body).__name__}."
    )


def _explain(error: BaseException) -> None:
    """Says in the log why an absolute path below /opt/ml was not there."""
    seen: BaseException | None = error
    while seen is not None:
        name = getattr(seen, "filename", None)
        if isinstance(seen, OSError) and isinstance(name, str) and name.startswith("/opt/ml/"):
            print(
                f"{name} is a path inside SageMaker's own container and does not exist here: use the model_dir "
                "argument of model_fn, or os.environ['SM_MODEL_DIR'], which name the model's folder in both places.",
                file=sys.stderr,
            )
            return
        seen = seen.__cause__ or seen.__context__
