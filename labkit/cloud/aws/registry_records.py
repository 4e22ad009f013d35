"""What the model registry keeps: groups of model packages, and the packages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass
class PackageGroup:
    """A model package group; ``latest`` is the number of the last version that was registered in it."""

    name: str
    arn: str
    created: datetime
    created_by: Mapping[str, Any]
    request: Mapping[str, Any]
    tags: dict[str, str]
    latest: int = 0
    policy: str = ""


@dataclass
class ModelPackage:
    """A model package: a version of a group, or one with a name of its own (``group`` is then ``""``).

    ``described`` are the members of its description that requests give and change.
    """

    name: str
    arn: str
    created: datetime
    modified: datetime
    created_by: Mapping[str, Any]
    described: dict[str, Any]
    tags: dict[str, str]
    group: str = ""
    version: int | None = None
    token: str = ""
    modified_by: Mapping[str, Any] | None = None

    @property
    def approval(self) -> str:
        """``Approved``, ``Rejected``, ``PendingManualApproval``, or ``""`` for a package without a version."""
        return str(self.described.get("ModelApprovalStatus", ""))

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        return list(self.described.get("InferenceSpecification", {}).get("Containers", []))
