"""Components: registered, read, listed; what their definitions may not be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cloud.azure import in_process

SPEC: dict[str, Any] = {
    "type": "command",
    "command": "python a.py ${{inputs.n}} $[[${{inputs.m}}]] ${{outputs.o}}",
    "environment": "azureml:AzureML-sklearn-1.5@latest",
    "inputs": {"n": {"type": "integer", "default": "1"}, "m": {"type": "string", "optional": True}},
    "outputs": {"o": {"type": "uri_folder"}},
}


def test_a_component_is_kept_listed_and_never_changed(rest: in_process.Rest, name: str) -> None:
    path = f"{rest.workspace}/components/{name}"
    status, made, _ = rest("PUT", f"{path}/versions/1", {"properties": {"componentSpec": SPEC}})
    assert (status, made["properties"]["componentSpec"]) == (201, SPEC | {"name": name, "version": "1"})
    assert rest("PUT", f"{path}/versions/1", {"properties": {"componentSpec": SPEC}})[0] == 200
    code, _, message = rest.error(
        "PUT", f"{path}/versions/1", {"properties": {"componentSpec": SPEC | {"command": "echo"}}}
    )
    assert (code, message.partition(".")[0]) == (
        409,
        f"Component {name} with version 1 already exists and its definition cannot be changed",
    )
    archived = {"properties": made["properties"] | {"isArchived": True}}
    assert rest("PUT", f"{path}/versions/1", archived)[1]["properties"]["isArchived"] is True
    _, listed, _ = rest("GET", f"{rest.workspace}/components", **{"$top": "1000"})
    assert name in [each["name"] for each in listed["value"]]


def test_who_names_no_version_gets_the_newest_that_is_not_archived(rest: in_process.Rest, name: str) -> None:
    path = f"{rest.workspace}/components/{name}/versions"
    for version in "123":
        rest("PUT", f"{path}/{version}", {"properties": {"componentSpec": SPEC, "isArchived": version == "3"}})
    _, newest, _ = rest("GET", f"{path}/azureml_default")
    assert (newest["name"], newest["properties"]["componentSpec"]["version"]) == ("2", "2")
    status, code, _ = rest.error("GET", f"{rest.workspace}/components/{name}-none/versions/azureml_default")
    assert (status, code) == (404, "UserError")


def test_an_anonymous_component_is_in_no_list(rest: in_process.Rest, name: str) -> None:
    path = f"{rest.workspace}/components/{name}/versions/1"
    rest("PUT", path, {"properties": {"componentSpec": SPEC, "isAnonymous": True}})
    _, listed, _ = rest("GET", f"{rest.workspace}/components", **{"$top": "1000"})
    assert name not in [each["name"] for each in listed["value"]]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"type": "spark"}, 501, "components of type spark"),
        ({"type": "odd"}, 400, "The component type 'odd' is unknown."),
        ({"command": ""}, 400, "A command component needs a command."),
        ({"environment": ""}, 400, "A command component needs an environment."),
        ({"inputs": {"n": {"type": "odd"}}}, 400, "The type odd of input n is not one of"),
        ({"inputs": {"1n": {"type": "string"}}}, 400, "The input name '1n' is invalid"),
        ({"outputs": {"o": {"type": "boolean"}}}, 501, "control outputs of components"),
        ({"command": "a ${{inputs.z}}"}, 400, "names ${{inputs.z}}, which is none of its inputs and outputs"),
        ({"command": "a ${{inputs.m}}"}, 400, "names the optional input m outside $[[ ]]"),
        ({"distribution": {"type": "mpi"}}, 501, "distribution of a command component"),
        ({"resources": {"instance_count": 2}}, 501, "jobs on 2 instances"),
        ({"type": "pipeline"}, 400, "A pipeline component needs jobs."),
    ],
)
def test_definitions_that_are_not_taken(
    rest: in_process.Rest, name: str, change: dict[str, Any], status: int, message: str
) -> None:
    path = f"{rest.workspace}/components/{name}/versions/1"
    code, _, said = rest.error("PUT", path, {"properties": {"componentSpec": SPEC | change}})
    assert (code, message in said) == (status, True), said
