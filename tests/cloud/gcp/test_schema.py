from __future__ import annotations

import gzip
import subprocess
import sys

import pytest

from labkit.cloud.gcp import generate, schema

V1 = schema.Package("google.cloud.aiplatform.v1")


def test_the_generated_files_are_those_of_the_installed_libraries() -> None:
    """Fails when a client library was updated: run `python -m labkit.cloud.gcp.generate`, and see what has changed."""
    code = (
        "import gzip; from labkit.cloud.gcp import generate as g; d, m = g.read();"
        "print(gzip.decompress(g.DESCRIPTORS.read_bytes()) == d, g.METHODS.read_text() == m)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_a_changed_descriptor_would_be_seen() -> None:
    assert gzip.decompress(generate.DESCRIPTORS.read_bytes()) != b""
    assert '"google.cloud.aiplatform.v1.ModelService/UploadModel"' in generate.METHODS.read_text()


def test_messages_are_found_by_package() -> None:
    endpoint = V1.Endpoint(display_name="churn")
    assert endpoint.DESCRIPTOR.full_name == "google.cloud.aiplatform.v1.Endpoint"
    assert V1.JobState.Value("JOB_STATE_SUCCEEDED") == 4
    with pytest.raises(KeyError):
        _ = V1.NoSuchMessage


def test_a_method_knows_its_types_bindings_and_operation() -> None:
    method = schema.find("aiplatform", "google.cloud.aiplatform.v1.EndpointService/DeployModel")
    assert method is not None
    assert method.request == "google.cloud.aiplatform.v1.DeployModelRequest"
    assert method.bindings[0] == schema.Binding(
        "POST", "/v1/{endpoint=projects/*/locations/*/endpoints/*}:deployModel", "*"
    )
    assert method.operation == (
        "google.cloud.aiplatform.v1.DeployModelResponse",
        "google.cloud.aiplatform.v1.DeployModelOperationMetadata",
    )
    assert method.dotted == "google.cloud.aiplatform.v1.EndpointService.DeployModel"


def test_every_message_of_every_method_can_be_made() -> None:
    for methods in schema.methods().values():
        for method in methods.values():
            for name in (method.request, method.response, *(method.operation or ())):
                assert schema.message(name)().SerializeToString() == b""


def test_mixed_in_methods_belong_to_each_api() -> None:
    assert {"aiplatform", "cloudfunctions"} <= set(schema.apis_of("google.longrunning.Operations/GetOperation"))
    assert list(schema.apis_of("no.such.Service/Method")) == []


def test_the_server_does_without_the_client_libraries() -> None:
    code = (
        "import sys; from labkit.cloud.gcp import schema, front, grpc_server, rest, storage, operations;"
        "schema.pool(); schema.methods(); storage.tables();"
        "print([n for n in sys.modules if n.startswith(('google.cloud.', 'google.auth', 'google.api_core', 'numpy'))])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
