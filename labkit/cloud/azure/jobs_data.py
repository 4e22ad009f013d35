"""Data on its way to a command and from it: inputs copied from datastores, outputs put where they are to be.

A mount, a download and an upload end in the same files; ``direct`` hands the command an address.
https://learn.microsoft.com/azure/machine-learning/how-to-read-write-data-v2#modes
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from labkit.cloud.azure import (
    asset_files,
    datastores,
    jobs_bindings,
    jobs_errors,
    jobs_files,
    jobs_outputs,
    jobs_registration,
    storage_accounts,
)
from labkit.cloud.azure.asset_files import Place
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.front import AzureCloud
from labkit.cloud.azure.jobs_values import Port, Value
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.runs import Made, Run
from labkit.cloud.engine import mounts
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.audit import Event
from labkit.cloud.engine.errors import CloudError, Denied

#: What was brought and taken away, and what could not be, in the run's own files.
LOG = "system_logs/data_capability/data-capability.log"
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"


class Room:
    """The folders of one command. ``shown`` are the paths under which the command sees real ones.

    It works in ``code``, where what it puts into ``outputs`` and ``logs`` is kept.
    """

    def __init__(self, folder: Path, shown: Mapping[str, Path]) -> None:
        self.shown = shown
        self.code = folder / "exe" / "wd"
        self.data = folder / "cap" / "data-capability" / "wd"
        self.home = folder / "tmp"
        for each in (self.code / "outputs", self.code / "logs", self.data, self.home):
            each.mkdir(parents=True)

    def clear(self) -> None:
        """Empties the folder that the command works in: another machine would have nothing of it."""
        shutil.rmtree(self.code)
        for each in (self.code / "outputs", self.code / "logs"):
            each.mkdir(parents=True)

    def seen(self, path: Path) -> str:
        """A real path as the command sees it."""
        return str(mounts.seen(path, self.shown))


class Delivery:
    """The data of one run. ``caller`` is who reads and writes where a datastore has no credentials of its own.

    ``store`` is the datastore of outputs that say nothing else.
    """

    def __init__(
        self, cloud: AzureCloud, workspace: Resource, caller: Caller, run: Run, store: str, room: Room
    ) -> None:
        self.cloud = cloud
        self.workspace = workspace
        self.caller = caller
        self.run = run
        self.store = store
        self.room = room
        self._written: dict[str, Path] = {}

    def inputs(self, values: Mapping[str, Value]) -> dict[str, str]:
        """Brings the inputs; answers what the command reads in place of ``${{inputs.NAME}}``."""
        texts = {}
        for name, value in values.items():
            if value.is_literal:
                texts[f"inputs.{name}"] = value.text
                continue
            uri = asset_files.long(self.workspace, value.text)
            self.run.inputs[name] = Made(value.kind, uri, value.asset or uri, mode=value.mode)
            texts[f"inputs.{name}"] = (
                uri if value.mode == "direct" else self.room.seen(self._bring(name, value.kind, uri))
            )
        return texts

    def outputs(self, ports: Mapping[str, Port]) -> dict[str, str]:
        """Makes room for the outputs; answers what the command reads in place of ``${{outputs.NAME}}``."""
        texts = {}
        for name, port in ports.items():
            if port.mode == "direct":
                texts[f"outputs.{name}"] = self.address(name, port)
                continue
            path = self.room.data / name
            if port.kind == "uri_file":
                path.parent.mkdir(parents=True, exist_ok=True)
            else:
                path.mkdir(parents=True, exist_ok=True)
            self._written[name] = path
            texts[f"outputs.{name}"] = self.room.seen(path)
        return texts

    def take(self, ports: Mapping[str, Port], *, complete: bool) -> dict[str, Made]:
        """Puts what was written where it is to be, and registers it; of a failed command, only what was mounted."""
        made = {}
        for name, port in ports.items():
            if not complete and port.mode == "upload":
                continue
            uri = self.address(name, port)
            if (path := self._written.get(name)) is not None:
                self._put(name, port, path, uri, complete)
            if complete:
                made[name] = jobs_registration.register(self.cloud, self.workspace, self.run, name, port, uri)
        return made

    def address(self, name: str, port: Port) -> str:
        """Where an output is to be: where its port says, or in the default datastore.

        One that is called ``artifacts`` is the run's own files.
        """
        if name == jobs_outputs.ARTIFACTS and not port.uri:
            place = jobs_files.artifacts(self.cloud, self.workspace.id, self.run.name)
            return jobs_outputs.in_datastore(self.workspace, datastores.ARTIFACTS, f"{place.path}/")
        words = {"name": self.run.name, "output_name": name, "default_datastore": self.store}
        asked = port.uri or "azureml://datastores/${{default_datastore}}/paths/azureml/${{name}}/${{output_name}}"
        try:
            uri = str(asset_files.long(self.workspace, jobs_bindings.fill(asked, words)))
        except jobs_bindings.Unbound as unbound:
            message = f"The path of output {name} names ${{{{{unbound.name}}}}}, which is unknown."
            raise AzureError("UserError", message, 400) from None
        return uri if port.kind == "uri_file" or uri.endswith("/") else f"{uri}/"

    def _bring(self, name: str, kind: str, uri: str) -> Path:
        folder = self.room.data / f"INPUT_{name}"
        try:
            if jobs_outputs.is_jobs(uri):
                uri = jobs_outputs.resolve(self.cloud, self.workspace, uri)
            place = asset_files.place_of(self.cloud, self.workspace.id, uri)
            self._authorize("read", uri, place)
            folder.mkdir(parents=True)
            count = jobs_files.download(place, folder)
        except CloudError as error:
            raise self._failed(*_denied(error, f"input {name}", uri)) from None
        if not count:
            message = (
                f"Data for input {name} was not found: {uri} holds no files. ScriptExecution.StreamAccess.NotFound"
            )
            raise self._failed(message, "DataAccessError.NotFound")
        files = list(folder.iterdir())
        is_file = len(files) == 1 and files[0].is_file() and place.path.rpartition("/")[2] == files[0].name
        return files[0] if is_file and kind in ("uri_file", "custom_model") else folder

    def _put(self, name: str, port: Port, path: Path, uri: str, complete: bool) -> None:
        try:
            place = asset_files.place_of(self.cloud, self.workspace.id, uri)
            self._authorize("write", uri, place)
            if path.exists():
                jobs_files.upload(path, place)
            elif complete:
                message = f"Output {name} was not written: the command made no file at {path.name}."
                raise self._failed(message, "DataAccessError.NotFound")
        except CloudError as error:
            raise self._failed(*_denied(error, f"output {name}", uri)) from None

    def _failed(self, message: str, reference: str) -> jobs_errors.JobFailed:
        """Data that could not be brought or taken away: what the run shows, and its log."""
        log = jobs_files.Log(jobs_files.below(jobs_files.artifacts(self.cloud, self.workspace.id, self.run.name), LOG))
        log.write(message)
        log.flush()
        return jobs_errors.JobFailed(jobs_errors.data_failed(message, reference))

    def _authorize(self, verb: str, uri: str, place: Place) -> None:
        """Sees that the job may, where the datastore does not say it itself with its account's key."""
        account = storage_accounts.find(self.cloud, place.account.name)
        resource = (
            f"{account.id if account else ''}/blobServices/default/containers/{place.container}/blobs/{place.path}"
        )
        denied = "" if self._has_credentials(uri) else self._denial(f"{_BLOBS}/{verb}", resource)
        self.cloud.engine.audit.record(
            Event(
                at=self.cloud.engine.clock.now(),
                cloud=self.cloud.name,
                service="blob",
                operation="Get Blob" if verb == "read" else "Put Blob",
                caller=self.caller,
                region=account.location if account else "",
                resource=resource,
                status=403 if denied else 200 if verb == "read" else 201,
                error="AuthorizationPermissionMismatch" if denied else "",
                message=denied,
                client="Azure Machine Learning",
            )
        )
        if denied:
            raise Denied(denied)

    def _denial(self, action: str, resource: str) -> str:
        """Why the job's identity may not have a data action on blobs, or ``""``."""
        if not self.caller.principal:
            return (
                "the job has no identity: its compute has no managed identity, and the job does not act as its user "
                "(UserIdentity)."
            )
        try:
            self.cloud.engine.access.authorize(self.caller, action, resource)
        except Denied:
            return (
                f"the job's identity with object id '{self.caller.principal}' is not authorized to perform this "
                f"operation using this permission ({action})."
            )
        return ""

    def _has_credentials(self, uri: str) -> bool:
        store = asset_files.datastore_of(self.cloud, self.workspace.id, uri)
        return store is not None and store.properties["credentials"]["credentialsType"] != "None"


def _denied(error: CloudError, what: str, uri: str) -> tuple[str, str]:
    """Why a job may not, or cannot, reach its data, and the reference of that failure."""
    reason = error.message.partition("\n")[0]
    missing = getattr(error, "status", 403) == 404
    code = "ScriptExecution.StreamAccess.NotFound" if missing else "ScriptExecution.StreamAccess.Authentication"
    message = f"Failed to access the data of {what}, {uri}: {reason} Error Code: {code}"
    return message, "DataAccessError.NotFound" if missing else "DataAccessError.PermissionDenied"
