"""Data assets: names, with versions, for files and folders.

https://learn.microsoft.com/rest/api/azureml/data-versions
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import asset_files, jobs_outputs
from labkit.cloud.azure.assets import Kind
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.shapes import text

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call
    from labkit.cloud.azure.resources import Resource

_TYPES = ("uri_file", "uri_folder", "mltable")


def _complete(call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    uri, kind = text(asked, "dataUri"), text(asked, "dataType")
    if not uri:
        raise call.user_error("A data version needs a dataUri: where the data is.", 400, "BadArgument")
    if kind not in _TYPES:
        raise call.user_error(f"dataType '{kind}' is not one of {', '.join(_TYPES)}.", 400, "BadArgument")
    if asked.get("autoDeleteSetting"):
        raise refusal("the property autoDeleteSetting of a data asset")
    if jobs_outputs.is_jobs(uri):
        uri = jobs_outputs.resolve(call.cloud, call.workspace, uri)
    if not uri.startswith(("http://", "https://")) or ".blob.core.windows.net" in uri:
        asset_files.place_of(call.cloud, call.workspace_id, uri)
    return {name: value for name, value in {**asked, "dataUri": uri}.items() if value is not None}


def _conflict(call: Call, version: Resource) -> AzureError:
    message = (
        "A data version with this name and version already exists. If you are trying to create a new data version, use "
        "a different name or version. If you are trying to update an existing data version, the existing asset's data "
        "uri cannot be changed. Only tags, description, and isArchived can be updated."
    )
    return call.user_error(message, 409, "Conflict")


DATA = Kind("data", "data asset", ("dataUri", "dataType"), _complete, _conflict)

ROUTES = DATA.routes()
