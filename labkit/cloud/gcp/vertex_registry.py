"""Models, their versions and aliases, as the Model Registry keeps them.

https://cloud.google.com/vertex-ai/docs/model-registry/versioning and ``.../model-alias``
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labkit.cloud.gcp.errors import GcpError, invalid
from labkit.cloud.gcp.vertex_names import does_not_exist, stamp, v1

DEFAULT = "default"
_ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")
#: What Vertex AI says of a model in a container of its own (custom-trained, as it calls it).
_INPUTS = ("jsonl", "bigquery", "csv", "tf-record", "tf-record-gzip", "file-list")
_OUTPUTS = ("jsonl", "bigquery")


@dataclass
class Version:
    """One version. ``uploaded`` is the message with which it was uploaded: container, artifacts, schemata, metadata.

    ``evaluations`` are its ``ModelEvaluation`` messages by id.
    """

    id: str
    uploaded: Any
    created: datetime
    updated: datetime
    display_name: str
    description: str
    labels: dict[str, str]
    evaluations: dict[str, Any] = field(default_factory=dict)

    @property
    def image(self) -> str:
        return str(self.uploaded.container_spec.image_uri)

    @property
    def artifact_uri(self) -> str:
        return str(self.uploaded.artifact_uri)


@dataclass
class Model:
    """A model. ``aliases`` lead to ids of versions; ``default`` is always one of them. Not safe to use on its own:
    :class:`labkit.cloud.gcp.vertex_state.State` has the lock."""

    name: str
    created: datetime
    updated: datetime
    description: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    _last: int = 0

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def default(self) -> Version:
        return self.versions[self.aliases[DEFAULT]]

    def add(self, uploaded: Any, now: datetime) -> Version:
        """Adds a version with the aliases it asks for. The first one is the default; raises :class:`GcpError`."""
        aliases = list(uploaded.version_aliases)
        check_aliases(aliases)
        self._last += 1
        version = Version(
            str(self._last),
            uploaded,
            now,
            now,
            uploaded.display_name,
            uploaded.version_description,
            dict(uploaded.labels),
        )
        self.versions[version.id] = version
        if DEFAULT not in self.aliases:
            aliases.append(DEFAULT)
        self.aliases.update(dict.fromkeys(aliases, version.id))
        self.updated = now
        return version

    def find(self, version: str) -> Version:
        """The version of an id or an alias (``""``: the default one); raises ``NOT_FOUND``."""
        found = self.versions.get(self.aliases.get(version or DEFAULT, version))
        if found is None:
            raise does_not_exist("models")
        return found

    def merge_aliases(self, version: Version, changes: Iterable[str], now: datetime) -> None:
        """Gives aliases to a version, whichever has them now, and takes from it those written with a ``-`` before."""
        wanted = list(changes)
        check_aliases(each.removeprefix("-") for each in wanted)
        added = {each for each in wanted if not each.startswith("-")}
        removed = {each[1:] for each in wanted if each.startswith("-")}
        for alias in removed - added:
            if alias == DEFAULT:
                raise GcpError(
                    "FAILED_PRECONDITION",
                    "The alias 'default' cannot be removed from a version: give it to another version instead.",
                )
            if self.aliases.get(alias) != version.id:
                raise GcpError("NOT_FOUND", f"Version {version.id} of {self.name} has no alias {alias!r}.")
        for alias in removed - added:
            del self.aliases[alias]
        self.aliases.update(dict.fromkeys(added - removed, version.id))
        version.updated = self.updated = now

    def remove(self, version: Version) -> None:
        """Deletes a version with its aliases; raises ``FAILED_PRECONDITION`` for the only and for the default one."""
        if len(self.versions) == 1:
            raise GcpError(
                "FAILED_PRECONDITION",
                f"Version {version.id} is the only one of {self.name}: delete the model with DeleteModel instead.",
            )
        if self.aliases[DEFAULT] == version.id:
            raise GcpError(
                "FAILED_PRECONDITION",
                f"Version {version.id} is the default version of {self.name}: make another version the default first.",
            )
        del self.versions[version.id]
        self.aliases = {alias: held for alias, held in self.aliases.items() if held != version.id}

    def view(self, version: Version, deployed: Iterable[Any] = (), *, versioned: bool = False) -> Any:
        """The model at a version, as a message; ``versioned`` writes the version into its name."""
        message = v1.Model()
        message.CopyFrom(version.uploaded)
        message.name = f"{self.name}@{version.id}" if versioned else self.name
        message.version_id = version.id
        message.ClearField("version_aliases")
        message.version_aliases.extend(sorted(alias for alias, held in self.aliases.items() if held == version.id))
        message.display_name = version.display_name
        message.description = self.description
        message.version_description = version.description
        message.ClearField("labels")
        message.labels.update({**self.labels, **version.labels})
        message.supported_deployment_resources_types.append(v1.Model.DEDICATED_RESOURCES)
        message.supported_input_storage_formats.extend(_INPUTS)
        message.supported_output_storage_formats.extend(_OUTPUTS)
        exported = message.supported_export_formats.add(id="custom-trained")
        exported.exportable_contents.append(v1.Model.ExportFormat.ARTIFACT)
        message.deployed_models.extend(deployed)
        message.model_source_info.source_type = v1.ModelSourceInfo.CUSTOM
        message.etag = f"{abs(hash((self.updated, version.updated))):x}"
        stamp(message, create_time=self.created, update_time=max(self.updated, version.updated))
        stamp(message, version_create_time=version.created, version_update_time=version.updated)
        return message


def check_aliases(aliases: Iterable[str]) -> None:
    for alias in aliases:
        if not _ALIAS.fullmatch(alias):
            raise invalid(
                f"The version alias {alias!r} is not valid: it begins with a lowercase letter, ends with one or a "
                "digit, and has 2 to 128 letters, digits and dashes.",
                "version_aliases",
            )
