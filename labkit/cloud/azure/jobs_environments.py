"""The environment that a job names: a registered one, one of Azure's curated ones, or an inline definition.

Nothing is built: what an environment asks for has to be installed, and a job whose environment cannot be met fails as
one does on Azure whose image cannot be built, with the log of the build.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import deployment_environment
from labkit.cloud.azure.deployment_environment import Checked
from labkit.cloud.azure.environments import ENVIRONMENTS
from labkit.cloud.azure.errors import refusal
from labkit.cloud.engine.requirements import unmet_lines

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

#: Curated environments by the beginning of their name, with packages that stand for what they hold.
#: https://learn.microsoft.com/azure/machine-learning/resource-curated-environments
_CURATED = {
    "sklearn": ("scikit-learn", "pandas", "numpy"),
    "minimal": (),
    "mldesigner": ("mldesigner",),
    "lightgbm": ("lightgbm",),
    "acpt": ("torch",),
    "pytorch": ("torch",),
    "tensorflow": ("tensorflow",),
    "responsibleai": ("responsibleai",),
    "ai-ml-automl": ("azureml-automl-core",),
    "automl": ("azureml-automl-core",),
}
_REGISTRY = re.compile(
    r"azureml://registries/(?P<registry>[^/]+)/environments/(?P<name>[^/]+)(?:/(?:versions|labels)/(?P<version>[^/]+))?"
)
_NAMED = re.compile(r"(?P<name>AzureML-[\w.-]+)(?:[:@](?P<version>[\w.-]+))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment: its name as jobs show it, and its version's properties or, of a curated one, its packages."""

    name: str
    properties: Mapping[str, Any]
    packages: tuple[str, ...] = ()

    def check(self) -> Checked:
        """What of it is not met here, and what is met in another way than on Azure."""
        if self.properties:
            return deployment_environment.check(self.properties)
        notes = [f"The local clouds run no containers: the lab's own environment stands for {self.name}."]
        return Checked(unmet_lines(self.packages, f"The curated environment {self.name}"), notes)


def find(call: Call, reference: str) -> Environment:
    """The environment that ``reference`` means: an id, ``azureml:NAME:VERSION``, a curated one's name or address."""
    if not reference:
        raise call.user_error("The job needs an environment.", 400, "BadArgument")
    text = reference.removeprefix("azureml:") if not reference.startswith("azureml://") else reference
    if matched := _REGISTRY.fullmatch(text):
        if matched["registry"].lower() != "azureml":
            raise refusal(f"environments of the registry {matched['registry']}")
        return _curated(call, matched["name"])
    if (matched := _NAMED.fullmatch(text)) and not _is_registered(call, matched["name"]):
        return _curated(call, matched["name"])
    version = ENVIRONMENTS.find(call.cloud, call.workspace_id, reference)
    if version.properties.get("build"):
        raise refusal("environments with a build context (Dockerfile) in a job")
    return Environment(f"{version.id.split('/')[-3]}:{version.name}", version.properties)


def _is_registered(call: Call, name: str) -> bool:
    return call.cloud.resources.get(ENVIRONMENTS.id(call.workspace_id, name)) is not None


def _curated(call: Call, name: str) -> Environment:
    family = name.lower().removeprefix("azureml-")
    for beginning, packages in _CURATED.items():
        if family.startswith(beginning):
            return Environment(name, {}, packages)
    raise refusal(f"the curated environment {name}")
