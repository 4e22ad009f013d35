"""Azure Machine Learning's inference server, as a class that a model replica makes in its own process.

It keeps the contract of the open-source server (azureml-inference-server-http 1.5.1): routes ``/``, ``/score`` and
``/swagger.json``, what becomes of ``run``'s result, which header fields go back, and what is logged. Sources:

- https://github.com/microsoft/azureml-inference-server: ``server/routes.py``, ``aml_blueprint.py``, ``api/``
- https://learn.microsoft.com/azure/machine-learning/how-to-inference-server-http

``run``'s result is made JSON, whatever it is: text comes out in quotes. An exception of ``run`` ends as HTTP 500 with
a general message, its traceback in the log; so does a result that JSON cannot hold. An ``AMLResponse`` goes out as it
is. ``SystemExit`` ends the process, as it ends the server's worker.

Two things differ from the vendor's. ``/var/azureml-app`` is not there: ``AZUREML_MODEL_DIR`` names the model's real
folder, and the log explains a script's failure to open the absolute path. And ``AML_CORS_ORIGINS`` has no effect.
"""

from __future__ import annotations

import builtins
import json
import logging
import os
import sys
import time
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labkit.cloud.azure.inference_swagger import Swagger
from labkit.cloud.azure.scoring_script import (
    LONGEST_RUN_MS,
    BadInput,
    ScoringRequest,
    ScoringScript,
    UserScriptException,
    UserScriptTimeout,
)

#: Where everything of a deployment is in the vendor's container.
APP_ROOT = "/var/azureml-app"
SERVER_VERSION = "azmlinfsrv/1.5.1"
#: Names under which the request line comes among the headers; no client can send such names.
METHOD, TARGET = ":method", ":target"
#: Characters that an id in a request's header may have.
HEADER_LIMIT = 100
#: Lines of the model folder's listing after a failed ``init``.
LISTED = 200

JSON = "application/json"
_TEXT = "text/html; charset=utf-8"
#: Packages that the kit has in place of the vendor's.
_PACKAGES = Path(__file__).parent / "inference_packages"
#: What explains a module that is not there, by the module's first name.
_NOT_THERE = {
    "inference_schema": "The package inference-schema, which the script uses, is not installed in this environment.",
    "azureml": "Of the azureml packages of version 1 of the SDK, only azureml.contrib.services is here.",
}

Answer = tuple[int, dict[str, str], bytes]

logger = logging.getLogger("azmlinfsrv")


class InferenceServer:
    """One scoring script behind the contract above; the engine's replica loads it once and hands it requests.

    ``folder`` is the root of the deployment's code, ``entry_script`` the script's path below it.
    """

    def __init__(self, folder: Path, entry_script: str) -> None:
        self._folder = folder
        timeout = os.environ.get("SCORING_TIMEOUT_MS", "")
        self._script = ScoringScript(folder, entry_script, int(timeout) if timeout.isdigit() else LONGEST_RUN_MS)
        self._swagger = Swagger()

    def load(self) -> None:
        """Imports the script and calls its ``init``; raises :class:`UserScriptError` with what they raised."""
        _log_as_the_server()
        sys.path.insert(0, str(self._folder))
        sys.path.append(str(_PACKAGES))
        try:
            self._script.load()
        except Exception as error:
            _explain(error)
            logger.error("Current contents of AML_APP_ROOT: %s", sorted(each.name for each in self._folder.iterdir()))
            raise
        try:
            self._script.invoke_init()
        except Exception as error:
            logger.error("User's init function failed")
            _explain(error)
            _list_model_folder()
            raise
        self._swagger = Swagger.of(self._folder, self._script.run)
        logger.info("Worker with pid %d ready for serving traffic", os.getpid())

    def handle(self, headers: dict[str, str], body: bytes) -> Answer:
        """Answers one request. ``headers`` has names in lower case, the method and the target among them."""
        started = time.perf_counter()
        request = ScoringRequest(headers.pop(METHOD, "POST"), headers.pop(TARGET, "/score"), headers, body)
        path = request.target.partition("?")[0]
        ids = _Ids(headers)
        if ids.problem:
            answer = _error(431, ids.problem)
        elif path == "/score":
            answer = self._score(request)
        elif path == "/swagger.json":
            answer = self._describe(request)
        elif path == "/":
            answer = (200, {"content-type": _TEXT}, b"Healthy") if request.method == "GET" else _not_allowed()
        else:
            answer = _error(
                404,
                "The requested URL was not found on the server. If you entered the URL manually please check your "
                "spelling and try again.",
            )
        answer[1].update(ids.answered())
        if path in ("/score", "/swagger.json"):
            milliseconds = (time.perf_counter() - started) * 1e3
            logger.info("%s %s %d %.3fms %d", request.method, request.target, answer[0], milliseconds, len(answer[2]))
        return answer

    def _score(self, request: ScoringRequest) -> Answer:
        started = time.perf_counter()
        try:
            if request.method not in ("GET", "POST", "OPTIONS"):
                return _not_allowed()
            result = self._script.invoke_run(request)
            milliseconds = (time.perf_counter() - started) * 1e3
            answer = _answer(result)
        except BadInput as error:
            if request.method == "OPTIONS":
                return 200, {"content-type": _TEXT, "x-ms-run-function-failed": "False"}, b""
            return _error(error.status, str(error))
        except UserScriptTimeout as error:
            _log_exception()
            return _error(500, f"Scoring timeout after {error.timeout_ms} ms", run_function_failed=True)
        except UserScriptException as error:
            _log_exception()
            _explain(error)
            message = "An unexpected error occurred in scoring script. Check the logs for more info."
            return _error(500, message, run_function_failed=True)
        except Exception:
            # What run() returned cannot be made JSON.
            _log_exception()
            return _error(500, "An unexpected internal error occurred. Check the logs for more info.")
        answer[1]["x-ms-run-fn-exec-ms"] = f"{milliseconds:.3f}"
        return answer

    def _describe(self, request: ScoringRequest) -> Answer:
        if request.method != "GET":
            return _not_allowed()
        try:
            return _json(200, self._swagger.document(request.query))
        except LookupError as error:
            return _error(404, str(error.args[0]))


class _Ids:
    """The ids by which a request is traced: those that came, those that go back, or the problem with them.

    ``x-ms-request-id`` is the older name of ``x-ms-client-request-id``, and is still given back for it.
    """

    def __init__(self, headers: dict[str, str]) -> None:
        self.request = headers.get("x-request-id") or str(uuid.uuid4())
        legacy, client = headers.get("x-ms-request-id", ""), headers.get("x-ms-client-request-id", "")
        self.client = client or legacy
        self.legacy = legacy or client or self.request
        self.problem = ""
        if len(self.request) > HEADER_LIMIT:
            self.problem = f"x-request-id must not exceed {HEADER_LIMIT} characters"
        elif max(len(self.legacy), len(self.client)) > HEADER_LIMIT:
            self.problem = f"x-ms-request-id and x-ms-client-request-id must not exceed {HEADER_LIMIT} characters"

    def answered(self) -> dict[str, str]:
        found = {"x-ms-server-version": SERVER_VERSION}
        if not self.problem:
            found |= {"x-request-id": self.request, "x-ms-request-id": self.legacy}
            if self.client:
                found["x-ms-client-request-id"] = self.client
        return found


def _answer(result: Any) -> Answer:
    """What goes out for ``run``'s result; raises for one that JSON cannot hold."""
    flask = sys.modules.get("flask")
    if flask is not None and isinstance(result, flask.Response):
        logger.info("run() output is HTTP Response")
        headers = {name.lower(): ", ".join(result.headers.getlist(name)) for name in dict(result.headers)}
        headers.pop("content-length", None)
        if result.status_code >= 500:
            headers["x-ms-run-function-failed"] = "True"
        return result.status_code, headers, result.get_data()
    return _json(200, {} if result is None else result)


def _json(status: int, value: Any, run_function_failed: bool = False) -> Answer:
    headers = {"content-type": JSON, "x-ms-run-function-failed": str(run_function_failed)}
    return status, headers, json.dumps(value).encode()


def _error(status: int, message: str, run_function_failed: bool = False) -> Answer:
    return _json(status, {"message": message}, run_function_failed)


def _not_allowed() -> Answer:
    return _error(405, "The method is not allowed for the requested URL.")


def _log_as_the_server() -> None:
    """Logs in the server's form to standard output, what the script prints included."""
    formatter = logging.Formatter("%(asctime)s %(levelname).1s [%(process)d] %(name)s - %(message)s")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # Other loggers show warnings and worse alone, on standard error: that is what the server's debug lines bring about.
    logging.basicConfig()
    printed, plain = logging.getLogger("azmlinfsrv.print"), builtins.print

    def print_to_log(
        *values: Any, sep: str | None = " ", end: str | None = "\n", file: Any = None, **others: Any
    ) -> None:
        if file is None or file is sys.stdout:
            printed.info((" " if sep is None else sep).join(map(str, values)))
        else:
            plain(*values, sep=sep, end=end, file=file, **others)

    builtins.print = print_to_log


def _log_exception() -> None:
    logger.error("Encountered Exception: %s", traceback.format_exc())


def _list_model_folder() -> None:
    folder = os.environ.get("AZUREML_MODEL_DIR", "")
    if not folder or not Path(folder).exists():
        return
    logger.info("Model Directory Contents:")
    for number, line in enumerate(_tree(Path(folder))):
        if number == LISTED:
            logger.info("Output Truncated. First %d lines shown.", LISTED)
            break
        logger.info("%s", line)


def _tree(path: Path, depth: int = 0) -> Iterator[str]:
    indent = "    " * depth
    if not path.is_dir():
        yield f"{indent}{path.name}"
        return
    yield f"{indent}{path.name}/"
    for child in sorted(path.iterdir()):
        yield from _tree(child, depth + 1)


def _explain(error: BaseException) -> None:
    """Says in the log what a script's failure has to do with where it runs."""
    seen: BaseException | None = error
    while seen is not None:
        name = getattr(seen, "filename", None)
        if isinstance(seen, OSError) and isinstance(name, str) and name.startswith(f"{APP_ROOT}/"):
            logger.error(
                "%s is a path inside Azure's own container and is not here: os.environ['AZUREML_MODEL_DIR'] and "
                "paths relative to the script lead to the files in both places.",
                name,
            )
        if isinstance(seen, ModuleNotFoundError) and seen.name and (why := _NOT_THERE.get(seen.name.partition(".")[0])):
            logger.error("%s", why)
        seen = seen.__cause__ or seen.__context__
