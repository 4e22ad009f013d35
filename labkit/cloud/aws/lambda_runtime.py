"""Lambda's Python runtime, in the function's own process: the handler, its context, its errors as Lambda tells them.

https://docs.aws.amazon.com/lambda/latest/dg/python-handler.html; the errors are those of
https://github.com/aws/aws-lambda-python-runtime-interface-client.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Context:
    """What a handler gets beside its event: https://docs.aws.amazon.com/lambda/latest/dg/python-context.html."""

    def __init__(self, head: dict[str, Any]) -> None:
        self.aws_request_id: str = head["request_id"]
        self.invoked_function_arn: str = head["arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        self.client_context = _client_context(head.get("client_context"))
        self._deadline = time.monotonic() + head["timeout"]

    def get_remaining_time_in_millis(self) -> int:
        return max(int((self._deadline - time.monotonic()) * 1000), 0)

    def log(self, message: Any) -> None:
        sys.stdout.write(str(message))


def _client_context(given: dict[str, Any] | None) -> SimpleNamespace | None:
    if given is None:
        return None
    return SimpleNamespace(
        custom=given.get("custom"), env=given.get("env"), client=SimpleNamespace(**given.get("client", {}))
    )


class Handler:
    """The adapter of :class:`labkit.cloud.engine.functions.FunctionSpec`: ``handler`` is ``module.function``."""

    def __init__(self, folder: Path, handler: str) -> None:
        self._folder = folder
        self._name = handler
        self._function: Callable[[Any, Context], Any] | None = None
        self._request = _RequestFilter()

    def load(self) -> bytes | None:
        """Imports the handler; returns the error with which Lambda answers when that fails."""
        sys.path.insert(0, str(self._folder))
        os.chdir(self._folder)
        self._log()
        try:
            module_name, function_name = self._name.rsplit(".", 1)
        except ValueError as error:
            return self._cannot("Runtime.MalformedHandlerName", f"Bad handler '{self._name}': {error}")
        try:
            module = importlib.import_module(module_name.replace("/", "."))
        except ImportError as error:
            message = f"Unable to import module '{module_name}': {error}"
            return self._cannot("Runtime.ImportModuleError", message)
        except SyntaxError as error:
            trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
            message = f"Syntax error in module '{module_name}': {error}"
            return self._cannot("Runtime.UserCodeSyntaxError", message, trace)
        except Exception as error:
            return self._failed(error, "")
        self._function = getattr(module, function_name, None)
        if not callable(self._function):
            message = f"Handler '{function_name}' missing on module '{module_name}'"
            return self._cannot("Runtime.HandlerNotFound", message)
        return None

    def handle(self, head: dict[str, Any], body: bytes) -> tuple[bool, bytes]:
        """Answers one event."""
        assert self._function is not None
        request = self._request.id = head["request_id"]
        os.environ["_X_AMZN_TRACE_ID"] = head.get("trace", "")
        try:
            event = json.loads(body or b"{}")
        except ValueError as error:
            return False, self._cannot("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}", [], request)
        try:
            answer = self._function(event, Context(head))
        except Exception as error:
            return False, self._failed(error, request)
        try:
            return True, json.dumps(answer, ensure_ascii=False, default=_plain).encode()
        except (TypeError, ValueError) as error:
            return False, self._cannot("Runtime.MarshalError", f"Unable to marshal response: {error}", [], request)

    def _log(self) -> None:
        """Has the ``logging`` module write as it does in Lambda: warnings and worse, unless the function says more."""
        output = logging.StreamHandler(sys.stdout)
        line = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
        formatter = logging.Formatter(line, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        output.setFormatter(formatter)
        output.addFilter(self._request)
        logging.getLogger().handlers[:] = [output]

    def _failed(self, error: Exception, request: str) -> bytes:
        """An exception of the handler's, printed and as the event's answer; this file's own frames left out."""
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        while frames and "importlib" in frames[0].filename:
            frames.pop(0)
        return self._cannot(type(error).__name__, str(error), traceback.format_list(frames), request)

    def _cannot(self, kind: str, message: str, trace: list[str] | None = None, request: str = "") -> bytes:
        printed = "".join(trace or ())
        print(f"[ERROR] {kind}: {message}\nTraceback (most recent call last):\n{printed}".rstrip("\n"))
        fault = {"errorMessage": message, "errorType": kind, "requestId": request, "stackTrace": trace or []}
        return json.dumps(fault, ensure_ascii=False).encode()


class _RequestFilter(logging.Filter):
    """Tells the log's lines which event they are of."""

    id = ""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.id
        return True


def _plain(value: Any) -> Any:
    """What the runtime writes beside JSON's own types."""
    if isinstance(value, Decimal):
        return float(value) if value % 1 else int(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
