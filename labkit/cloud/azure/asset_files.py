"""Where an asset's files are, from its address to the disk.

https://learn.microsoft.com/azure/machine-learning/reference-yaml-core-syntax#azure-machine-learning-data-reference-uri
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from labkit.cloud.azure import datastores, hosts, storage_accounts
from labkit.cloud.azure.blob_errors import error
from labkit.cloud.azure.blob_store import Account, Blob, Container
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.hosts import Target
from labkit.cloud.azure.resources import Resource
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.audit import Event

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud

_READ = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
_LONG = re.compile(
    r"azureml://subscriptions/(?P<subscription>[^/]+)/resourcegroups/(?P<group>[^/]+)(?:/providers/"
    r"Microsoft\.MachineLearningServices)?/workspaces/(?P<workspace>[^/]+)/datastores/(?P<store>[^/]+)/paths/(?P<path>.*)",
    re.IGNORECASE,
)
_SHORT = re.compile(r"azureml://datastores/(?P<store>[^/]+)/paths/(?P<path>.*)", re.IGNORECASE)
_WASBS = re.compile(r"wasbs?://(?P<container>[^@/]+)@(?P<host>[^/]+)/(?P<path>.*)")


@dataclass(frozen=True, slots=True)
class Place:
    """A blob, or all blobs below a path that ends in no slash."""

    account: Account
    container: str
    path: str

    def blobs(self) -> list[tuple[str, Blob]]:
        """What is there, as (path from the place's own last name on, blob); nothing, where there is nothing."""
        found = self.account.containers.get(self.container)
        if found is None:
            return []
        with self.account.lock:
            if (single := found.blobs.get(self.path)) is not None:
                return [(PurePosixPath(self.path).name, single)]
            return _below(found, self.path)


def place_of(cloud: AzureCloud, workspace_id: str, uri: str) -> Place:
    """Where ``uri`` leads, whether or not there is anything; ``workspace_id`` is whose datastores a short one means.

    Raises :class:`AzureError` for an address of another kind, and for a datastore or account that does not exist.
    """
    if matched := _LONG.fullmatch(uri):
        subscription = cloud.identities.subscription
        if matched["subscription"].lower() != subscription:
            raise AzureError("UserError", f"The subscription in {uri} is not {subscription}.", 400)
        workspace_id = (
            f"/subscriptions/{subscription}/resourceGroups/{matched['group']}/providers/"
            f"Microsoft.MachineLearningServices/workspaces/{matched['workspace']}"
        )
    matched = matched or _SHORT.fullmatch(uri)
    if matched:
        account, container = datastores.find(cloud, workspace_id, matched["store"])
        return Place(account, container, _clean(matched["path"]))
    if matched := _WASBS.fullmatch(uri):
        uri = f"https://{matched['host']}/{matched['container']}/{matched['path']}"
    parts = urlsplit(uri)
    target = hosts.resolve(parts.hostname or "") if parts.scheme == "https" else None
    if isinstance(target, Target) and target.service == "blob":
        resource = storage_accounts.find(cloud, target.name)
        if resource is None:
            message = (
                f"The storage account {target.name} of {uri} does not exist. Public accounts of the internet are out "
                "of reach for the local clouds: upload the data to a datastore."
            )
            raise AzureError("UserError", message, 400)
        container, _, path = unquote(parts.path).lstrip("/").partition("/")
        return Place(resource.state, container, _clean(path))
    if uri.startswith(("runs:", "azureml://jobs/", "azureml://registries/")):
        raise refusal(f"the address {uri}")
    raise AzureError(
        "UserError",
        f"{uri} is no address of files: write azureml://datastores/NAME/paths/PATH or the https address of a blob.",
        400,
    )


def datastore_of(cloud: AzureCloud, workspace_id: str, uri: str) -> Resource | None:
    """The datastore through which an address leads; None for one that names a storage account itself."""
    if matched := _LONG.fullmatch(uri):
        workspace_id = (
            f"/subscriptions/{matched['subscription']}/resourceGroups/{matched['group']}/providers/"
            f"Microsoft.MachineLearningServices/workspaces/{matched['workspace']}"
        )
    matched = matched or _SHORT.fullmatch(uri)
    return cloud.resources.get(f"{workspace_id}/datastores/{matched['store']}") if matched else None


def long(workspace: Resource, uri: Any) -> Any:
    """A datastore's address in full, as Azure keeps it, for one that leaves the workspace out; others as they are."""
    matched = _SHORT.fullmatch(uri) if isinstance(uri, str) else None
    if matched is None:
        return uri
    _, _, subscription, _, group, *_ = workspace.id.split("/")
    return (
        f"azureml://subscriptions/{subscription}/resourcegroups/{group}/workspaces/{workspace.name}/datastores/"
        f"{matched['store']}/paths/{matched['path']}"
    )


def lay_out(cloud: AzureCloud, place: Place, caller: Caller, folder: Path, *, inside: bool = False) -> int:
    """Copies what is at ``place`` into ``folder`` and answers how many files there were.

    A blob keeps its name; what is below a path, the path's last name too, unless ``inside`` is set. Each read is
    authorized for ``caller`` and in the audit trail; raises Storage's errors (``BlobNotFound`` where nothing is).
    """
    blobs = place.blobs()
    if not blobs:
        _read(cloud, place, place.path, caller, found=False)
        raise error("BlobNotFound")
    for relative, blob in blobs:
        _read(cloud, place, blob.name, caller, found=True)
        parts = PurePosixPath(relative).parts
        parts = parts[1:] if inside and len(parts) > 1 else parts
        if not parts or any(part in ("..", "/", ".") for part in parts):
            raise AzureError("UserError", f"The name of blob {blob.name} cannot be that of a file.", 400)
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with blob.open() as content, target.open("wb") as out:
            shutil.copyfileobj(content, out, 1 << 20)
    return len(blobs)


def _below(container: Container, path: str) -> list[tuple[str, Blob]]:
    start = f"{path}/" if path else ""
    above = len(str(PurePosixPath(path).parent)) + 1 if "/" in path else 0
    return [
        (name[above:], blob)
        for name, blob in sorted(container.blobs.items())
        # An empty blob of this mark stands for a folder.
        if name.startswith(start) and not name.endswith("/") and "hdi_isfolder" not in blob.metadata
    ]


def _read(cloud: AzureCloud, place: Place, name: str, caller: Caller, *, found: bool) -> None:
    """Authorizes the reading of one blob and writes it to the audit trail."""
    account = storage_accounts.find(cloud, place.account.name)
    resource = f"{account.id if account else ''}/blobServices/default/containers/{place.container}/blobs/{name}"
    cloud.engine.access.authorize(caller, _READ, resource)
    cloud.engine.audit.record(
        Event(
            at=cloud.engine.clock.now(),
            cloud=cloud.name,
            service="blob",
            operation="Get Blob",
            caller=caller,
            region=account.location if account else "",
            resource=resource,
            status=200 if found else 404,
            error="" if found else "BlobNotFound",
            client="Azure Machine Learning",
        )
    )


def _clean(path: str) -> str:
    return path.strip("/").removeprefix("./")
