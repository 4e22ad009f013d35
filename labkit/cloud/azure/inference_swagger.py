"""The OpenAPI documents that the inference server answers at ``/swagger.json``, one for each version of OpenAPI.

A deployment's own files (``swagger.json``, ``swagger2.json``, ``swagger3.json``, ``swagger3.1.json`` beside the script)
come first; otherwise a document is made of what ``@input_schema`` and ``@output_schema`` say of ``run``.
https://learn.microsoft.com/azure/machine-learning/how-to-deploy-advanced-entry-script#automatically-generate-a-swagger-schema
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from labkit.cloud.azure.scoring_script import schema_of

#: Each version with its other names and the files that may hold it.
_VERSIONS = {
    "2": (("2.0",), ("swagger.json", "swagger2.json")),
    "3": (("3.0",), ("swagger3.json",)),
    "3.1": ((), ("swagger3.1.json",)),
}
_NAMES = {name: version for version, (others, _) in _VERSIONS.items() for name in (version, *others)}
#: What stands for the input and output of a ``run`` that is not decorated.
_ANYTHING = {"type": "object", "example": {}}
_ERROR = {"type": "object", "properties": {"message": {"type": "string"}}}


@dataclass(frozen=True)
class Swagger:
    """The documents of one deployment, by version."""

    documents: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, run: Callable[..., Any]) -> Swagger:
        """The documents for a script in ``folder`` whose function is ``run``."""
        given = inward = outward = _ANYTHING
        supported = set(_NAMES)
        if (util := schema_of(run)) is not None:
            inward, outward = util.get_input_schema(run), util.get_output_schema(run)
            supported = {str(version) for version in util.get_supported_versions(run)}
        documents = {}
        for version, (others, files) in _VERSIONS.items():
            file = next((folder / name for name in files if (folder / name).is_file()), None)
            if file is not None:
                given = json.loads(file.read_text(encoding="utf-8"))
                documents[version] = given
            elif supported & {version, *others}:
                documents[version] = _document(version, inward, outward)
        return cls(documents)

    def document(self, query: str) -> Any:
        """The document for a request's query (``version=3``; 2 without one); raises LookupError with a sentence."""
        wanted = dict(parse_qsl(query)).get("version", "2")
        version = _NAMES.get(wanted)
        supported = ", ".join(sorted(self.documents))
        if version is None:
            raise LookupError(f"Swagger version [{wanted}] is not valid. Supported versions: [{supported}].")
        if version not in self.documents:
            raise LookupError(
                f"Swagger version [{wanted}] is not supported for the scoring script. "
                f"Supported swagger versions: [{supported}]."
            )
        return self.documents[version]


def _document(version: str, inward: Any, outward: Any) -> dict[str, Any]:
    name = os.environ.get("SERVICE_NAME", "ML service")
    prefix = os.environ.get("SERVICE_PATH_PREFIX", "").strip("/")
    info = {
        "title": name,
        "description": f"API specification for the Azure Machine Learning service {name}",
        "version": os.environ.get("SERVICE_VERSION", "1.0"),
    }
    scheme = {"type": "apiKey", "name": "Authorization", "in": "header", "description": "For example: Bearer abc123"}
    schemas = {"ServiceInput": inward, "ServiceOutput": outward, "ErrorResponse": _ERROR}
    paths = _paths(version, f"/{prefix}" if prefix else "")
    if version == "2":
        return {
            "swagger": "2.0",
            "info": info,
            "schemes": ["https"],
            "consumes": ["application/json"],
            "produces": ["application/json"],
            "securityDefinitions": {"Bearer": scheme},
            "paths": paths,
            "definitions": schemas,
        }
    return {
        "openapi": "3.1.0" if version == "3.1" else "3.0.3",
        "info": info,
        "security": [{"Bearer": []}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"Bearer": scheme}},
    }


def _paths(version: str, prefix: str) -> dict[str, Any]:
    """The server's three routes."""
    old = version == "2"
    where = "#/definitions" if old else "#/components/schemas"

    def refers(name: str) -> dict[str, str]:
        return {"$ref": f"{where}/{name}"}

    def answers(description: str, schema: dict[str, Any], media: str) -> dict[str, Any]:
        if old:
            return {"description": description, "schema": schema}
        return {"description": description, "content": {media: {"schema": schema}}}

    failed = {"default": answers("The service failed.", refers("ErrorResponse"), "application/json")}
    text = {"type": "string"}
    scored = answers("What the model predicts.", refers("ServiceOutput"), "application/json")
    score: dict[str, Any] = {
        "operationId": "RunMLService",
        "description": "Gets the model's prediction for an input.",
        "responses": {"200": scored, **failed},
    }
    choice: dict[str, Any] = {"type": "integer", "enum": [2, 3]}
    asked: dict[str, Any] = {"name": "version", "in": "query", "required": False}
    if old:
        parameter = {"name": "serviceInputPayload", "in": "body", "schema": refers("ServiceInput")}
        score |= {"security": [{"Bearer": []}], "parameters": [parameter]}
        asked |= choice
    else:
        score["requestBody"] = {"content": {"application/json": {"schema": refers("ServiceInput")}}}
        asked["schema"] = choice
    health = answers("The service is up; the answer is 'Healthy'.", text, "text/plain")
    described = answers("The OpenAPI document.", text, "text/plain")
    return {
        f"{prefix}/": {"get": {"operationId": "ServiceHealthCheck", "responses": {"200": health, **failed}}},
        f"{prefix}/score": {"post": score},
        f"{prefix}/swagger.json": {
            "get": {"operationId": "GetSwaggerSpec", "parameters": [asked], "responses": {"200": described, **failed}}
        },
    }
