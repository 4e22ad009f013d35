"""The scoring contract, in real replicas: score.py's functions, what goes in and out, failures and their logs."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.cloud.engine.errors import ModelFailed, StartFailed
from labkit.cloud.engine.launcher import Launcher
from labkit.cloud.engine.serving import Answer, Endpoint, ModelServer, VariantSpec
from tests.waiting import eventually

SERVER = "labkit.cloud.azure.inference_server:InferenceServer"


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    launcher = Launcher(preload=("flask", "labkit.cloud.azure.inference_server"))
    yield launcher
    launcher.close()


class Served:
    """A score.py behind the inference server, and what it wrote."""

    def __init__(self, endpoint: Endpoint, lines: list[str]) -> None:
        self._endpoint = endpoint
        self.lines = lines

    def call(self, body: bytes | str = b"", method: str = "POST", target: str = "/score", **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body.encode() if isinstance(body, str) else body
        return self._endpoint.invoke(
            {"content-type": "application/json", **sent, ":method": method, ":target": target}, content
        )

    def logged(self, text: str) -> str:
        """The first line with this text; output comes through a pipe, a little after the answer."""
        return eventually(lambda: next((line for line in list(self.lines) if text in line), ""))


Serve = Callable[..., Served]


@pytest.fixture
def serve(launcher: Launcher, tmp_path: Path) -> Iterator[Serve]:
    endpoint = Endpoint("ep", launcher)

    def start(script: str, env: dict[str, str] | None = None, entry: str = "score.py", **files: str) -> Served:
        code = tmp_path / "code"
        for name, text in {entry: script, **{f"{name}.py": text for name, text in files.items()}}.items():
            (code / name).parent.mkdir(parents=True, exist_ok=True)
            (code / name).write_text(textwrap.dedent(text))
        lines: list[str] = []
        server = ModelServer(
            SERVER,
            {"entry_script": entry},
            code,
            {"PATH": os.environ["PATH"], **(env or {})},
            lambda _, line: lines.append(line),
        )
        endpoint.deploy([VariantSpec("blue", server)])
        return Served(endpoint, lines)

    yield start
    endpoint.close()


ECHO = """
def init():
    global ready
    ready = True

def run(raw_data):
    assert ready
    return {"type": type(raw_data).__name__, "data": raw_data}
"""


def returns(expression: str) -> str:
    return f"def init(): pass\ndef run(data):\n    return {expression}\n"


def test_run_gets_the_body_as_text_and_its_result_is_made_json(serve: Serve) -> None:
    answer = serve(ECHO).call('{"é": 1}')
    assert answer.status == 200
    assert json.loads(answer.body) == {"type": "str", "data": '{"é": 1}'}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-ms-run-function-failed"] == "False"
    assert answer.headers["x-ms-server-version"] == "azmlinfsrv/1.5.1"
    assert float(answer.headers["x-ms-run-fn-exec-ms"]) >= 0


@pytest.mark.parametrize(
    ("expression", "body"),
    [
        ("[1, 2.5]", b"[1, 2.5]"),
        ("'[1]'", b'"[1]"'),
        ("None", b"{}"),
        ("True", b"true"),
        ("float('nan')", b"NaN"),
        ("{1: 'a'}", b'{"1": "a"}'),
    ],
)
def test_any_result_becomes_json_text_too(serve: Serve, expression: str, body: bytes) -> None:
    answer = serve(returns(expression)).call("{}")
    assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize("expression", ["b'bytes'", "__import__('numpy').zeros(2)", "object()", "{(1, 2): 3}"])
def test_a_result_that_json_cannot_hold_is_an_internal_error(serve: Serve, expression: str) -> None:
    served = serve(returns(expression))
    answer = served.call("{}")
    assert answer.status == 500
    assert json.loads(answer.body) == {
        "message": "An unexpected internal error occurred. Check the logs for more info."
    }
    assert answer.headers["x-ms-run-function-failed"] == "False"
    served.logged("TypeError")


def test_an_exception_of_run_ends_as_500_with_its_traceback_in_the_log(serve: Serve) -> None:
    served = serve("def init(): pass\ndef run(data):\n    raise ValueError('not like this')\n")
    answer = served.call("{}")
    assert answer.status == 500
    assert json.loads(answer.body) == {
        "message": "An unexpected error occurred in scoring script. Check the logs for more info."
    }
    assert answer.headers["x-ms-run-function-failed"] == "True"
    served.logged("ValueError: not like this")
    served.logged("UserScriptException: Caught an unhandled exception from the user script")
    assert served.call("{}").status == 500, "the worker goes on"


def test_a_run_that_takes_longer_than_the_server_s_limit(serve: Serve) -> None:
    served = serve("import time\ndef init(): pass\ndef run(data):\n    time.sleep(60)\n", {"SCORING_TIMEOUT_MS": "50"})
    answer = served.call("{}")
    assert (answer.status, json.loads(answer.body)) == (500, {"message": "Scoring timeout after 50 ms"})
    assert answer.headers["x-ms-run-function-failed"] == "True"


def test_leaving_in_run_ends_the_worker(serve: Serve) -> None:
    served = serve("import sys\ndef init(): pass\ndef run(data):\n    sys.exit(1) if data == 'leave' else None\n")
    with pytest.raises(ModelFailed):
        served.call("leave")
    assert served.call("stay").status == 200


def test_a_body_that_is_no_text_is_refused(serve: Serve) -> None:
    answer = serve(ECHO).call(b"\xff\xfe")
    assert answer.status == 400
    assert json.loads(answer.body)["message"].startswith("Input cannot be decoded as UTF-8")


def test_get_hands_the_query_over_as_json(serve: Serve) -> None:
    answer = serve(ECHO).call(method="GET", target="/score?a=1&b=[1,2]&c=x&d=y&d=2")
    assert json.loads(json.loads(answer.body)["data"]) == {"a": 1, "b": [1, 2], "c": "x", "d": ["y", 2]}


def test_other_routes_and_methods(serve: Serve) -> None:
    served = serve(ECHO)
    assert served.call(method="GET", target="/").body == b"Healthy"
    assert served.call(method="OPTIONS").status == 200
    assert served.call(method="PUT").status == 405
    assert served.call(target="/else").status == 404
    assert served.call(target="/").status == 405


def test_run_may_ask_for_the_headers(serve: Serve) -> None:
    served = serve("def init(): pass\ndef run(data, request_headers):\n    return request_headers['X-Customer']\n")
    assert served.call("{}", x_customer="seven").body == b'"seven"'


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ({}, {"x-request-id": "*", "x-ms-request-id": "*"}),
        ({"x-request-id": "A"}, {"x-request-id": "A", "x-ms-request-id": "A"}),
        ({"x-ms-request-id": "B"}, {"x-request-id": "*", "x-ms-request-id": "B", "x-ms-client-request-id": "B"}),
        (
            {"x-request-id": "A", "x-ms-request-id": "B", "x-ms-client-request-id": "C"},
            {"x-request-id": "A", "x-ms-request-id": "B", "x-ms-client-request-id": "C"},
        ),
        ({"x-ms-client-request-id": "C"}, {"x-request-id": "*", "x-ms-request-id": "C", "x-ms-client-request-id": "C"}),
    ],
)
def test_ids_go_back_as_the_server_documents(serve: Serve, sent: dict[str, str], answered: dict[str, str]) -> None:
    headers = serve(ECHO).call("{}", **sent).headers
    found = {name: value for name, value in headers.items() if name.endswith("request-id")}
    assert found.keys() == answered.keys()
    assert all(value in ("*", found[name]) for name, value in answered.items())


def test_an_id_that_is_too_long(serve: Serve) -> None:
    assert serve(ECHO).call("{}", x_request_id="x" * 101).status == 431


def test_a_raw_request_and_an_answer_of_the_script_s_own(serve: Serve) -> None:
    served = serve(
        """
        from azureml.contrib.services.aml_request import AMLRequest, rawhttp
        from azureml.contrib.services.aml_response import AMLResponse

        def init(): pass

        @rawhttp
        def run(request):
            if request.method == "GET":
                return AMLResponse({"query": request.full_path}, 201, json_str=True)
            if request.get_data() == b"break":
                return AMLResponse("broken", 503)
            data = request.get_data()
            return AMLResponse(data[::-1], 200, {"Content-Type": "image/png", "X-Size": str(len(data))})
        """
    )
    answer = served.call(b"\x00\xff\x01")
    assert (answer.status, answer.body) == (200, b"\x01\xff\x00")
    assert (answer.headers["content-type"], answer.headers["x-size"]) == ("image/png", "3")
    answer = served.call(method="GET", target="/score?a=1")
    assert (answer.status, json.loads(answer.body)) == (201, {"query": "/score?a=1"})
    answer = served.call(b"break")
    assert (answer.status, answer.body, answer.headers["x-ms-run-function-failed"]) == (503, b"broken", "True")


def test_the_newer_name_of_raw_requests(serve: Serve) -> None:
    script = """
        from azureml_inference_server_http.api.aml_request import rawhttp

        def init(): pass

        @rawhttp
        def run(request):
            return {"json": request.get_json(), "agent": request.headers["User-Agent"]}
        """
    answer = serve(script).call('{"a": 1}', user_agent="tests")
    assert json.loads(answer.body) == {"json": {"a": 1}, "agent": "tests"}


def test_what_is_printed_and_logged_looks_as_in_azure(serve: Serve) -> None:
    served = serve(
        """
        import logging, sys
        def init(): print("loading", "model")
        def run(data):
            print("to stderr", file=sys.stderr)
            logging.warning("careful")
            return 1
        """
    )
    served.call("{}")
    assert served.logged("loading model").split(" - ")[0].endswith("azmlinfsrv.print")
    assert served.logged("to stderr") == "to stderr"
    served.logged("careful")
    assert " I [" in served.logged("POST /score 200")


def test_code_beside_the_script_is_imported_and_is_where_it_runs(serve: Serve) -> None:
    served = serve(
        """
        import os, helper
        def init(): pass
        def run(data): return [helper.ANSWER, sorted(os.listdir())]
        """,
        helper="ANSWER = 42",
    )
    assert json.loads(served.call("{}").body) == [42, ["helper.py", "score.py"]]


def test_a_script_in_a_folder_of_its_own(serve: Serve) -> None:
    assert serve(ECHO, entry="src/score.py").call("{}").status == 200


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("def init(:", "SyntaxError"),
        ("def run(data): pass", "does not have a init() function defined."),
        ("def init(): pass", "does not have a run() function defined."),
        ("def init(): raise RuntimeError('no model')\ndef run(data): pass", "RuntimeError: no model"),
        ("def init(): exit(4)\ndef run(data): pass", "SystemExit: 4"),
        ("def init(): pass\ndef run(): pass", "run() needs to accept an argument for input data."),
        ("def init(): pass\ndef run(*data): pass", "run() cannot accept positional-only arguments"),
        ("def init(): pass\ndef run(request_headers): pass", 'an argument other than "request_headers".'),
        ("import inference_schema", "The package inference-schema, which the script uses, is not installed"),
        ("from azureml.core import Model", "only azureml.contrib.services is here"),
        (
            "def init(): open('/var/azureml-app/azureml-models/m/1/model.pkl')\ndef run(data): pass",
            "os.environ['AZUREML_MODEL_DIR'] and paths relative to the script",
        ),
    ],
)
def test_a_script_that_does_not_start_says_why(serve: Serve, script: str, says: str) -> None:
    with pytest.raises(StartFailed) as caught:
        serve(script)
    assert says in caught.value.log_tail


def test_a_failed_init_lists_the_model_s_folder(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "models" / "deep").mkdir(parents=True)
    (tmp_path / "models" / "deep" / "model.joblib").touch()
    script = "import os\ndef init(): open(os.environ['AZUREML_MODEL_DIR'] + '/model.pkl')\ndef run(data): pass"
    with pytest.raises(StartFailed) as caught:
        serve(script, {"AZUREML_MODEL_DIR": str(tmp_path / "models")})
    listing = [line.partition(" - ")[2] for line in caught.value.log_tail.splitlines() if " - " in line]
    assert listing[-4:] == ["Model Directory Contents:", "models/", "    deep/", "        model.joblib"]


class TestSwagger:
    def document(self, served: Served, query: str = "") -> Any:
        answer = served.call(method="GET", target=f"/swagger.json{query}")
        assert answer.status == 200
        return json.loads(answer.body)

    def test_of_a_plain_script(self, serve: Serve) -> None:
        served = serve(ECHO)
        assert self.document(served)["swagger"] == "2.0"
        assert self.document(served)["definitions"]["ServiceInput"] == {"type": "object", "example": {}}
        assert self.document(served, "?version=3")["openapi"] == "3.0.3"
        assert self.document(served, "?version=3.1")["openapi"] == "3.1.0"
        assert list(self.document(served, "?version=3.0")["paths"]) == ["/", "/score", "/swagger.json"]

    def test_a_version_that_is_none(self, serve: Serve) -> None:
        answer = serve(ECHO).call(method="GET", target="/swagger.json?version=9")
        assert answer.status == 404
        assert json.loads(answer.body) == {
            "message": "Swagger version [9] is not valid. Supported versions: [2, 3, 3.1]."
        }

    def test_the_deployment_s_own_comes_first(self, serve: Serve, tmp_path: Path) -> None:
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "swagger.json").write_text('{"mine": true}')
        served = serve(ECHO)
        assert self.document(served) == {"mine": True}
        assert self.document(served, "?version=3")["openapi"] == "3.0.3"
