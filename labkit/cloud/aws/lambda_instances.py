"""A version's execution environments: processes that act as the function's role and write to its log group.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html; the lines that Lambda itself writes are in
https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.cloud.aws import roles
from labkit.cloud.aws.front import CREDENTIALS_PATH
from labkit.cloud.aws.lambda_state import CONCURRENCY, LambdaFunction, Version
from labkit.cloud.aws.place import Place
from labkit.cloud.engine.clock import iso_milliseconds
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.engine.functions import Function, FunctionSpec, Outcome

HANDLER = "labkit.cloud.aws.lambda_runtime:Handler"
#: Seconds that Lambda gives a function to initialize, before it begins again within the event's own time.
INIT_TIMEOUT = 10.0
#: Where a function's code lies, as it sees it where the system allows private mounts.
TASK_ROOT = "/var/task"
#: Bytes of the largest answer, and of the end of an event's log that its caller may ask for.
LARGEST_ANSWER = 6_291_556
TAIL = 4096
#: Variables of the local clouds' clients that are the learner's own: a function runs as its role.
_LEARNERS = frozenset(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "LABKIT_STATE"))


@dataclass(frozen=True, slots=True)
class Run:
    """How an event was answered; ``failed`` where the function, not Lambda, is at fault. ``seconds`` it took."""

    payload: bytes
    failed: bool
    version: str
    seconds: float
    log: str


@dataclass
class _Environment:
    """An instance: its log stream, its right to credentials, and the lines of the event that it answers now."""

    stream: str
    token: str
    may_log: bool
    lines: list[str] = field(default_factory=list)


class Instances:
    """The instances of one version of a function."""

    def __init__(self, place: Place, function: LambdaFunction, version: Version) -> None:
        self._place = place
        self._version = version
        self._name = function.name
        self._config: Mapping[str, Any] = version.config
        self._environments: dict[str, _Environment] = {}
        self._lock = threading.Lock()
        self._tmp = version.folder.with_name(f"{version.folder.name}-tmp")
        self._tmp.mkdir(exist_ok=True)
        shown = {} if place.engine.jobs.refuses_mounts() else {TASK_ROOT: version.folder}
        self._root = TASK_ROOT if shown else str(version.folder)
        spec = FunctionSpec(
            name=function.name,
            adapter=HANDLER,
            options={"handler": self._config["Handler"]},
            folder=version.folder,
            env=self._env,
            output=self._write,
            timeout=float(self._config["Timeout"]),
            memory_mb=int(self._config["MemorySize"]),
            most=CONCURRENCY,
            start_timeout=INIT_TIMEOUT + float(self._config["Timeout"]),
            mounts=shown,
        )
        self._function = Function(spec, place.engine.launcher)

    def invoke(self, request_id: str, arn: str, payload: bytes, client_context: Any = None) -> Run:
        """Has an instance answer an event; raises :class:`Throttled` when all that may run are busy."""
        head = {
            "request_id": request_id,
            "arn": arn,
            "timeout": self._config["Timeout"],
            "client_context": client_context,
            "trace": "",
        }
        begun: list[str] = []

        def began(instance: str, _: float | None) -> None:
            begun.append(instance)
            self._write(instance, f"START RequestId: {request_id} Version: {self._version.number}")

        outcome = self._function.invoke(head, payload, began)
        if not begun:
            self._write(outcome.instance, f"START RequestId: {request_id} Version: {self._version.number}")
        answer, problem, status = self._answer(outcome, request_id)
        if problem:
            self._write(outcome.instance, problem)
        self._write(outcome.instance, f"END RequestId: {request_id}")
        self._write(outcome.instance, self._report(outcome, request_id, status))
        with self._lock:
            environment = self._environments[outcome.instance]
            log, environment.lines = "\n".join(environment.lines) + "\n", []
            gone = outcome.ending not in ("succeeded", "failed")
            if gone:
                del self._environments[outcome.instance]
        if gone:
            self._place.cloud.identities.release(environment.token)
        return Run(answer, outcome.ending != "succeeded", self._version.number, outcome.seconds, log[-TAIL:])

    @property
    def busy(self) -> int:
        """How many events are being answered."""
        return self._function.busy

    def close(self, *, now: bool = False) -> None:
        """Ends the instances, those that answer an event after they have unless ``now``."""
        if now:
            self._function.close()
        else:
            self._function.retire()
        with self._lock:
            environments = list(self._environments.values()) if now or not self.busy else []
        for each in environments:
            self._place.cloud.identities.release(each.token)
        if now or not self.busy:
            shutil.rmtree(self._tmp, ignore_errors=True)

    def _answer(self, outcome: Outcome, request_id: str) -> tuple[bytes, str, str]:
        """What the caller gets, the line that Lambda writes about a fault, and the end of its report."""
        about = f"RequestId: {request_id} Error: "
        if outcome.ending == "succeeded" and len(outcome.body) > LARGEST_ANSWER:
            message = f"Response payload size exceeded maximum allowed payload size ({LARGEST_ANSWER} bytes)."
            return _fault("Function.ResponseSizeTooLarge", message), message, "\tStatus: error"
        if outcome.ending in ("succeeded", "failed"):
            return outcome.body, "", ""
        if outcome.ending == "init_failed":
            fault = json.loads(outcome.body) | {"requestId": request_id}
            kind = fault["errorType"]
            return json.dumps(fault).encode(), "", f"\tStatus: error\tError Type: {kind}"
        if outcome.ending in ("timed_out", "init_timed_out"):
            message = f"Task timed out after {self._config['Timeout']:.2f} seconds"
            line = f"{iso_milliseconds(self._place.engine.clock.now())} {request_id} {message}"
            return _fault("Sandbox.Timedout", about + message), line, "\tStatus: timeout"
        kind = "Runtime.ExitError"
        if outcome.ending == "out_of_memory":
            kind, message = "Runtime.OutOfMemory", "Runtime exited with error: signal: killed"
        elif outcome.exit_code == 0:
            message = "Runtime exited without providing a reason"
        elif outcome.exit_code is not None and outcome.exit_code < 0:
            message = f"Runtime exited with error: signal: {-outcome.exit_code}"
        else:
            message = f"Runtime exited with error: exit status {outcome.exit_code}"
        return _fault(kind, about + message), about + message, f"\tStatus: error\tError Type: {kind}"

    def _report(self, outcome: Outcome, request_id: str, status: str) -> str:
        duration, init = outcome.seconds * 1000, (outcome.init_seconds or 0.0) * 1000
        line = (
            f"REPORT RequestId: {request_id}\tDuration: {duration:.2f} ms\t"
            f"Billed Duration: {math.ceil(duration + init)} ms\tMemory Size: {self._config['MemorySize']} MB\t"
            f"Max Memory Used: {outcome.memory_mb} MB\t"
        )
        if outcome.init_seconds is not None:
            line += f"Init Duration: {init:.2f} ms\t"
        return line.rstrip("\t") + status

    # -- one instance ----------------------------------------------------------------------------------------------

    def _env(self, instance: str) -> dict[str, str]:
        """The environment of a new instance, whose log stream begins here."""
        place, config = self._place, self._config
        now = place.engine.clock.now()
        stream = f"{now:%Y/%m/%d}/[{self._version.number}]{instance}"
        token = place.cloud.identities.container(config["Role"], self._name)
        environment = _Environment(stream, token, self._may_log(stream))
        with self._lock:
            self._environments[instance] = environment
        self._write(instance, f"INIT_START Runtime Version: python:{platform.python_version()}")
        cloud = {name: value for name, value in place.cloud.clients().items() if name not in _LEARNERS}
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "HOME": str(self._tmp),
            "TMPDIR": str(self._tmp),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **(config.get("Environment") or {}).get("Variables", {}),
            # After the function's own variables, so that none of them leads round the gateway.
            **cloud,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{cloud.get('HTTPS_PROXY', 'http://127.0.0.1:9')}{CREDENTIALS_PATH}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
            "AWS_REGION": place.region,
            "AWS_DEFAULT_REGION": place.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{config['Runtime']}",
            "AWS_LAMBDA_FUNCTION_NAME": self._name,
            "AWS_LAMBDA_FUNCTION_VERSION": self._version.number,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config["MemorySize"]),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": self._group,
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "LAMBDA_TASK_ROOT": self._root,
            "LAMBDA_RUNTIME_DIR": str(Path(__file__).parent),
            "_HANDLER": config["Handler"],
        }

    @property
    def _group(self) -> str:
        return str(self._config["LoggingConfig"]["LogGroup"])

    def _may_log(self, stream: str) -> bool:
        """Whether the function's role may write its logs: without, Lambda drops them."""
        place = self._place
        group = place.arn("logs", f"log-group:{self._group}")
        known = any(each.name == self._group for each in place.engine.logs.groups(place.scope))
        needs = [
            ("logs:CreateLogStream", f"{group}:log-stream:"),
            ("logs:PutLogEvents", f"{group}:log-stream:{stream}"),
        ]
        if not known:
            needs.append(("logs:CreateLogGroup", f"{group}:log-stream:"))
        try:
            caller = roles.act_as(
                place.cloud, str(self._config["Role"]), "lambda.amazonaws.com", self._name, region=place.region
            )
            for action, resource in needs:
                place.engine.access.authorize(caller, action, resource)
        except CloudError:
            return False
        return True

    def _write(self, instance: str, line: str) -> None:
        with self._lock:
            environment = self._environments.get(instance)
            if environment is None:
                return
            environment.lines.append(line)
        if environment.may_log:
            self._place.engine.logs.write(self._place.scope, self._group, environment.stream, line)


def _fault(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()
