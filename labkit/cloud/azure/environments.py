"""Environments: an image with packages, in which code is to run. They are kept and read; none is built.

https://learn.microsoft.com/rest/api/azureml/environment-versions
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.cloud.azure.assets import Kind
from labkit.cloud.azure.errors import AzureError

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call
    from labkit.cloud.azure.resources import Resource


def _complete(call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    build = asked.get("build") or {}
    if bool(asked.get("image")) == bool(build):
        message = "An environment version needs an image or a build context (build), one of the two."
        raise call.user_error(message, 400, "BadArgument")
    if build and not build.get("contextUri"):
        raise call.user_error("The build context of an environment needs a contextUri.", 400, "BadArgument")
    if asked.get("condaFile") and not isinstance(asked["condaFile"], str):
        raise call.user_error("condaFile has to be the text of a conda file.", 400, "BadArgument")
    if build:
        build = {"dockerfilePath": "Dockerfile", **{name: value for name, value in build.items() if value}}
    return {
        **{name: value for name, value in asked.items() if value is not None},
        **({"build": build} if build else {}),
        "environmentType": "UserCreated",
        "osType": asked.get("osType") or "Linux",
    }


def _conflict(call: Call, version: Resource) -> AzureError:
    name = version.id.split("/")[-3]
    message = (
        f"Environment {name} with version {version.name} is already registered and cannot be changed. Choose another "
        "version to register a changed definition."
    )
    return call.user_error(message, 409, "Conflict")


ENVIRONMENTS = Kind(
    "environments",
    "environment",
    ("image", "condaFile", "build", "inferenceConfig", "osType"),
    _complete,
    _conflict,
)

ROUTES = ENVIRONMENTS.routes()
