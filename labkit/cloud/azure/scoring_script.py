"""The learner's scoring script: found, checked, and called as Azure Machine Learning's inference server calls it.

A script has ``init()``, called once, and ``run(raw_data)``, called for each request with the body as text. ``run`` may
ask for ``request_headers`` beside it; decorated with ``@rawhttp`` it gets the whole request; decorated with
``@input_schema`` it gets what the body's JSON object holds. Sources:

- https://learn.microsoft.com/azure/machine-learning/how-to-inference-server-http
- https://github.com/microsoft/azureml-inference-server (version 1.5.1): ``server/user_script.py``, ``input_parsers.py``
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any
from urllib.parse import parse_qsl

logger = logging.getLogger("azmlinfsrv.user_script")

#: Modules whose ``rawhttp`` decorator notes in ``_rawHttpRequested`` that it was used.
_RAW_HTTP = ("azureml_inference_server_http.api.aml_request", "azureml.contrib.services.aml_request")
#: Milliseconds that ``run`` may take, unless ``SCORING_TIMEOUT_MS`` says otherwise.
LONGEST_RUN_MS = 3_600_000


class UserScriptError(Exception):
    """The script breaks the contract. This name and the next ones are the vendor's: tracebacks show them."""


class UserScriptException(UserScriptError):
    """The script raised an exception: this one's cause."""

    def __init__(self, message: str = "Caught an unhandled exception from the user script") -> None:
        super().__init__(message)


class UserScriptImportException(UserScriptException):
    """The script could not be imported."""

    def __init__(self) -> None:
        super().__init__("Failed to import user script because it raised an unhandled exception")


class UserScriptTimeout(UserScriptError):
    """``run`` did not return in time."""

    def __init__(self, timeout_ms: int) -> None:
        super().__init__(f"Script failed to finish execution within the allocated time: {timeout_ms}ms")
        self.timeout_ms = timeout_ms


class BadInput(Exception):
    """The request cannot be what ``run`` takes. ``status`` is the answer's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """What came for the scoring route. Header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def shown_headers(self) -> dict[str, str]:
        """The headers with names as a Python web server shows them: ``Content-Type``."""
        return {name.title(): value for name, value in self.headers.items()}


class ScoringScript:
    """One script. ``folder`` is the root of the deployment's code, ``entry`` the script's path below it."""

    def __init__(self, folder: Path, entry: str, timeout_ms: int = LONGEST_RUN_MS) -> None:
        self._file = folder / entry
        self._timeout_ms = timeout_ms
        self._wants_headers = False
        self._read: Callable[[ScoringRequest], dict[str, Any]] = _not_loaded
        self.init: Callable[[], Any] = _not_loaded
        self.run: Callable[..., Any] = _not_loaded

    def load(self) -> None:
        """Imports the script and looks at its functions; raises :class:`UserScriptError`."""
        module = self._import()
        for name in ("init", "run"):
            if not hasattr(module, name):
                raise UserScriptError(f"User script at {self._file} does not have a {name}() function defined.")
        self.init, self.run = module.init, module.run
        logger.info("Found user script at %s", self._file)
        self._read = self._reader()

    def invoke_init(self) -> None:
        """Calls ``init()``; raises :class:`UserScriptException`."""
        logger.info("Invoking user's init function")
        try:
            self.init()
        except BaseException as error:
            raise UserScriptException from error
        logger.info("Users's init has completed successfully")

    def invoke_run(self, request: ScoringRequest) -> Any:
        """What ``run`` returns for a request.

        Raises :class:`BadInput`, :class:`UserScriptException` and :class:`UserScriptTimeout`.
        """
        arguments = self._read(request)
        if self._wants_headers:
            arguments["request_headers"] = request.shown_headers()
        try:
            with _limited_to(self._timeout_ms):
                return self.run(**arguments)
        except TimeoutError:
            raise UserScriptTimeout(self._timeout_ms) from None
        except Exception as error:
            raise UserScriptException from error

    def _import(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location("entry_module", self._file)
        if spec is None or spec.loader is None:
            raise UserScriptError(f"User script at {self._file} is no Python file.")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            raise UserScriptImportException from error
        return module

    def _reader(self) -> Callable[[ScoringRequest], dict[str, Any]]:
        """How ``run`` takes its input; raises :class:`UserScriptError` when no way is open."""
        parameters = list(inspect.signature(self.run).parameters.values())
        if any(each.kind not in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD) for each in parameters):
            raise UserScriptError("run() cannot accept positional-only arguments, *args, or **kwargs.")
        own = [each for each in parameters if each.name != "request_headers"]
        self._wants_headers = len(own) < len(parameters)
        if not own:
            other = ' other than "request_headers"' if self._wants_headers else " for input data"
            raise UserScriptError(f"run() needs to accept an argument{other}.")
        raw, decorated = _raw_http_requested(), schema_of(self.run) is not None
        if raw and decorated:
            raise UserScriptError("run() cannot be decorated with both @rawhttp and @input_schema")
        if raw:
            logger.info("run() is decorated with @rawhttp. Server will invoke it with the flask request object.")
            return lambda request: {own[0].name: _flask_request(request)}
        if decorated:
            names = ", ".join(each.name for each in own)
            logger.info(
                "run() is decorated with @input_schema. Server will invoke it with the following arguments: %s.", names
            )
            return lambda request: _object_input(request, own)
        logger.info("run() is not decorated. Server will invoke it with the input in JSON string.")
        return lambda request: {own[0].name: _text_input(request)}


def schema_of(run: Callable[..., Any]) -> ModuleType | None:
    """``inference_schema.schema_util`` when its decorators are on ``run``, else None."""
    if "inference_schema" not in sys.modules:
        return None
    util = import_module("inference_schema.schema_util")
    return util if util.is_schema_decorated(run) else None


def _not_loaded(*_: Any, **__: Any) -> Any:
    raise RuntimeError("The scoring script is not loaded.")


def _raw_http_requested() -> bool:
    return any(getattr(sys.modules.get(name), "_rawHttpRequested", False) for name in _RAW_HTTP)


def _text_input(request: ScoringRequest) -> str:
    _check_method(request)
    if request.method == "GET":
        return json.dumps(_query_input(request))
    try:
        return str(request.body, "utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"Input cannot be decoded as UTF-8: {error}") from None


def _object_input(request: ScoringRequest, parameters: list[inspect.Parameter]) -> dict[str, Any]:
    _check_method(request)
    given = _query_input(request) if request.method == "GET" else _json_object(request)
    found = {each.name: given.get(each.name, each.default) for each in parameters}
    for name, value in found.items():
        if value is inspect.Parameter.empty:
            raise BadInput(f"A value is not provided for the {name!r} parameter.")
    return found


def _json_object(request: ScoringRequest) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise BadInput("Expects Content-Type to be application/json", 415)
    try:
        given = json.loads(request.body)
    except ValueError as error:
        if not request.body:
            raise BadInput("POST body is empty. Expecting a JSON dictionary.") from None
        raise BadInput(f"POST body could not be decoded as JSON: {error}") from None
    if not isinstance(given, dict):
        raise BadInput("POST body should be a JSON dictionary.")
    return given


def _query_input(request: ScoringRequest) -> dict[str, Any]:
    """The query's parameters, each read as JSON where it is; one that is there more than once is a list."""
    read: dict[str, list[Any]] = {}
    for name, text in parse_qsl(request.query, keep_blank_values=True):
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        read.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in read.items()}


def _check_method(request: ScoringRequest) -> None:
    if request.method not in ("GET", "POST"):
        raise BadInput("Method not allowed", 405)


def _flask_request(request: ScoringRequest) -> Any:
    """The request as code for Flask sees it, which is what ``@rawhttp`` promises."""
    from flask import Request
    from werkzeug.test import EnvironBuilder

    builder = EnvironBuilder(
        path=request.target.partition("?")[0],
        query_string=request.query,
        method=request.method,
        headers=list(request.shown_headers().items()),
        data=request.body,
    )
    return Request(builder.get_environ())


@contextmanager
def _limited_to(timeout_ms: int) -> Iterator[None]:
    """Raises :class:`TimeoutError` in the block once that much time has passed."""

    def ring(_: int, __: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, timeout_ms / 1000)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
