"""Environments: an image with packages, in which code is to run. They are kept and read; none is built.

https://learn.microsoft.com/rest/api/azureml/environment-versions
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.cloud.azure.assets import Kind
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.shapes import section, text

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call
    from labkit.cloud.azure.resources import Resource


def _complete(call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    build, image = section(asked, "build"), text(asked, "image")
    if bool(image) == bool(build):
        message = "An environment version needs an image or a build context (build), one of the two."
        raise call.user_error(message, 400, "BadArgument")
    if build and not text(build, "contextUri"):
        raise call.user_error("The build context of an environment needs a contextUri.", 400, "BadArgument")
    text(asked, "condaFile")
    section(asked, "inferenceConfig")
    if build:
        build = {"dockerfilePath": "Dockerfile", **{name: value for name, value in build.items() if value}}
    return {
        **{name: value for name, value in asked.items() if value is not None},
        **({"build": build} if build else {}),
        "environmentType": "UserCreated",
        "osType": text(asked, "osType", "Linux"),
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
