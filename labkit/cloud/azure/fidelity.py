"""Azure's part of ``docs/fidelity.md``: how far each operation is served.

Written from the tables that decide it at run time; see :mod:`labkit.cloud.fidelity`.
"""

from __future__ import annotations

import importlib
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping

from labkit.cloud.azure import arm, blob_service
from labkit.cloud.azure.front import SERVICES
from labkit.cloud.azure.routes import Route
from labkit.cloud.azure.unserved import BLOB_OPERATIONS, TYPES

_INTRO = """\
## Azure

One subscription of one tenant is served, in every region of the global Azure. Access tokens
(`DefaultAzureCredential()` finds a managed identity), Shared Key signatures and shared access signatures are
verified. Azure RBAC decides every call of an identity: built-in and custom roles, assigned to service principals and
managed identities at subscription, group, resource and container scope; the learner is Owner and Storage Blob Data
Owner of the subscription. Refused by name are conditions of assignments and roles, eligible (just-in-time)
assignments, management groups and federated credentials. Every api-version that a resource provider has published is
taken and answered in the newest shape; any other is refused (`NoRegisteredProviderFound`). A kind of resource that is
not listed here refuses with HTTP 501 and its name, one that Azure does not have with its own error
(`InvalidResourceType`, `InvalidResourceNamespace`).

| provider or service | works | shape only |
|---|---:|---:|
{counts}

To add an operation: write a function `(call, names) -> body` in the module of its kind of resource under
`labkit/cloud/azure`, name it in the module's `ROUTES` (a limit of it as the route's note), and the module in `arm.py`;
then write this file again.
"""
#: What hosts beside Resource Manager's and Blob Storage's are, by service.
_TITLES = {
    "login": "Microsoft Entra ID (login.microsoftonline.com)",
    "graph": "Microsoft Graph (graph.microsoft.com/v1.0)",
    "scoring": "Scoring (`{endpoint}.{region}.inference.ml.azure.com`)",
    "workspace": "Services of a workspace (`{region}.api.azureml.ms`)",
    "metrics": "Azure Monitor metrics (`{region}.metrics.monitor.azure.com`)",
    "log-analytics": "Log Analytics (api.loganalytics.io)",
}


def section() -> str:
    """The part of the file on Azure."""
    providers = sorted({route.namespace for route in arm.table().routes})
    counts = [(f"`{name}`", *(len(_routes(name, level)) for level in ("works", "shape"))) for name in providers]
    blobs = _blobs()
    counts.append(("Blob Storage", len(blobs["works"]), len(blobs["shape"])))
    others = {title: _served(service) for service, title in _TITLES.items()}
    counts += [(title, len(served), 0) for title, served in others.items()]
    parts = [_INTRO.format(counts="\n".join(f"| {name} | {works} | {shape} |" for name, works, shape in counts))]
    parts += [_provider(name) for name in providers]
    parts.append(_part("Blob Storage (`{account}.blob.core.windows.net`)", blobs, BLOB_OPERATIONS))
    parts += [_part(title, {"works": served, "shape": {}}, ()) for title, served in others.items()]
    return "\n".join(parts)


def _routes(namespace: str, level: str) -> list[Route]:
    return [route for route in arm.table().routes if (route.namespace, route.level) == (namespace, level)]


def _provider(namespace: str) -> str:
    """A resource provider's part: each kind of resource, and what can be done with it."""
    levels: dict[str, dict[str, str]] = {"works": {}, "shape": {}}
    for level, kinds in levels.items():
        for route in _routes(namespace, level):
            verb = route.method if route.method != "GET" or route.segments[-1].startswith("{") else "list"
            verb += f" ({route.note})" if route.note else ""
            verbs = kinds.get(f"`{route.type}`", "").split("; ")
            kinds[f"`{route.type}`"] = "; ".join(filter(None, [*verbs, *([verb] if verb not in verbs else [])]))
    return _part(f"`{namespace}`", levels, TYPES.get(namespace.lower(), ()))


def _blobs() -> dict[str, dict[str, str]]:
    """Blob Storage's operations with their notes, by level."""
    levels: dict[str, dict[str, str]] = {"works": {}, "shape": {}}
    for operation in [*blob_service.OPERATIONS.values(), blob_service.ACCOUNT_INFORMATION]:
        levels[operation.level][operation.name] = operation.note
    return levels


def _served(service: str) -> dict[str, str]:
    """A service's operations with their notes, as its module lists them (``SERVED``)."""
    return dict(importlib.import_module(f"{__package__}.{SERVICES[service]}").SERVED)


def _part(title: str, levels: Mapping[str, Mapping[str, str]], refused: Iterable[str]) -> str:
    """One provider's or service's part: ``levels`` holds, by level, operations or kinds and what there is to say."""
    lines = [f"### {title}", ""]
    for level, heading in (("works", "Works"), ("shape", "Shape only")):
        if levels[level]:
            lines += [f"**{heading}**", "", *_bullets(levels[level]), ""]
    if names := sorted(refused):
        lines += [f"<details><summary>Refused ({len(names)})</summary>", ""]
        lines += [_filled(", ".join(names), "", ""), "", "</details>", ""]
    return "\n".join(lines)


def _bullets(operations: Mapping[str, str]) -> list[str]:
    """One bullet for what there is nothing to say of, and one for each thing to say."""
    by_note: dict[str, list[str]] = defaultdict(list)
    for name, note in operations.items():
        by_note[note].append(name)
    return [
        _filled(", ".join(names) + (f": {note}" if note else ""), "* ", "  ")
        for note, names in sorted(by_note.items(), key=lambda pair: bool(pair[0]))
    ]


def _filled(text: str, first: str, other: str) -> str:
    return textwrap.fill(
        text, 118, initial_indent=first, subsequent_indent=other, break_long_words=False, break_on_hyphens=False
    )
