from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf import message_factory

from labkit.cloud.gcp import generate, schema

V1 = schema.Package("google.cloud.aiplatform.v1")


def test_the_generated_files_are_those_of_the_installed_libraries() -> None:
    """Fails when a client library was updated: run `python -m labkit.cloud.gcp.generate`, and see what has changed."""
    code = (
        "import gzip; from labkit.cloud.gcp import generate as g; d, m = g.read();"
        "print(gzip.decompress(g.DESCRIPTORS.read_bytes()) == d, g.METHODS.read_text() == m)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
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


def test_threads_that_ask_at_once_get_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    working: set[int] = set()
    most: list[int] = []
    make = message_factory.GetMessageClass

    def slowly(descriptor: Any) -> Any:
        if (thread := threading.get_ident()) in working:  # a message within the one that is asked for
            return make(descriptor)
        working.add(thread)
        most.append(len(working))
        threading.Event().wait(0.05)
        made = make(descriptor)
        working.remove(thread)
        return made

    monkeypatch.setattr(message_factory, "GetMessageClass", slowly)
    monkeypatch.setattr(schema, "message", schema.message.__wrapped__)
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(schema.message, ["google.cloud.aiplatform.v1.PipelineTaskDetail"] * 4))
    assert (len(found), max(most)) == (1, 1)


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


# previews --------------------------------------------------------------------------------------------------------


def test_a_preview_has_the_methods_of_the_stable_version() -> None:
    method = schema.find("aiplatform", "google.cloud.aiplatform.v1beta1.EndpointService/DeployModel")
    assert method is not None
    assert method.preview
    assert method.stable_service == "google.cloud.aiplatform.v1.EndpointService"
    assert method.dotted == "google.cloud.aiplatform.v1beta1.EndpointService.DeployModel"
    assert method.request == "google.cloud.aiplatform.v1.DeployModelRequest"
    assert [each.template.split("/")[1] for each in method.bindings] == ["v1beta1"]
    mixed_in = schema.find("aiplatform", "google.longrunning.Operations/GetOperation")
    assert mixed_in is not None
    assert not mixed_in.preview
    assert {each.template.split("/")[1] for each in mixed_in.bindings} == {"v1", "v1beta1"}


def test_messages_of_served_methods_are_the_same_in_the_preview() -> None:
    """Compares every field with the client library's, in a process of its own: the library takes long to import."""
    code = """
import google.cloud.aiplatform_v1beta1
from google.protobuf import descriptor_pool
from labkit.cloud.gcp import front, schema

stable, preview = schema.PREVIEWS["aiplatform"]
seen = set()


def compare(message):
    if message.full_name in seen or not message.full_name.startswith(stable + "."):
        return
    seen.add(message.full_name)
    other = descriptor_pool.Default().FindMessageTypeByName(message.full_name.replace(stable, preview, 1))
    for field in message.fields:
        same = other.fields_by_number.get(field.number)
        if same is None:
            # A client of the preview can neither send nor read it.
            assert field.name not in other.fields_by_name, (message.full_name, field.name)
            continue
        kinds = [(each.name, each.type, each.is_repeated) for each in (field, same)]
        assert kinds[0] == kinds[1], (message.full_name, kinds)
        if field.message_type:
            compare(field.message_type)


for method in schema.methods()["aiplatform"].values():
    service = front.service_of(method)
    if method.preview and service and method.name in service.METHODS:
        for name in (method.request, method.response, *(method.operation or ())):
            compare(schema.pool().FindMessageTypeByName(name))
print(len(seen) > 200)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert done.stdout.strip() == "True", done.stderr


def test_a_message_is_named_as_the_previews() -> None:
    metadata = V1.DeployModelOperationMetadata()
    metadata.generic_metadata.create_time.seconds = 5
    shown = schema.in_preview("aiplatform", metadata)
    assert shown.DESCRIPTOR.full_name == "google.cloud.aiplatform.v1beta1.DeployModelOperationMetadata"
    assert shown.generic_metadata.DESCRIPTOR.full_name == "google.cloud.aiplatform.v1beta1.GenericOperationMetadata"
    assert shown.generic_metadata.create_time.seconds == 5
    empty = schema.message("google.protobuf.Empty")()
    assert schema.in_preview("aiplatform", empty) is empty


def test_fields_that_a_message_does_not_have_are_found_within_it() -> None:
    unknown = b"\x9a\x06\x01x"  # field 99, a text
    assert schema.unknown_field(V1.Endpoint(name="e", labels={"a": "b"})) == ""
    assert schema.unknown_field(V1.Endpoint.FromString(unknown)) == "Endpoint: field 99"
    nested = V1.CreateEndpointRequest(endpoint=V1.Endpoint(deployed_models=[V1.DeployedModel.FromString(unknown)]))
    assert schema.unknown_field(nested) == "DeployedModel: field 99"
    assert schema.unknown_field(V1.Artifact(metadata={"a": [1, {"b": None}]})) == ""
