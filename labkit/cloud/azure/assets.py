"""Versioned assets of a workspace - models, environments, code, data: what their collections have in common.

An asset is a name with versions. A version's files and definition never change; its description, tags, properties,
stage and whether it is archived may. https://learn.microsoft.com/rest/api/azureml/model-versions (and its siblings)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import asset_files
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.resources import Resource, parse_id
from labkit.cloud.azure.routes import MACHINE_LEARNING, WORKSPACE, Route
from labkit.cloud.azure.shapes import section
from labkit.cloud.azure.wire import json_response, page
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.errors import Conflict
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud, Call

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,254}")
_VERSION = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,254}")
_REFERENCE = re.compile(r"(?P<name>[^:@/]+)(?::(?P<version>[^:@/]+)|@(?P<label>[^:@/]+))")
_URI = re.compile(
    r"azureml://locations/[^/]+/workspaces/(?P<workspace>[^/]+)/(?P<plural>\w+)/(?P<name>[^/]+)/versions/(?P<version>[^/]+)"
)
#: What may always be changed of a version.
_CHANGEABLE = frozenset(("description", "tags", "properties", "isArchived", "stage", "autoDeleteSetting"))
_TEXTS = ("tags", "properties")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of asset. ``complete`` checks what was asked for and adds what has a default; it may raise.

    ``fixed`` are the properties that make a version what it is, ``conflict`` the error where one would change.
    """

    plural: str
    title: str
    fixed: tuple[str, ...]
    complete: Callable[[Call, dict[str, Any]], dict[str, Any]]
    conflict: Callable[[Call, Resource], AzureError]

    @property
    def type(self) -> str:
        return f"{MACHINE_LEARNING}/workspaces/{self.plural}"

    def id(self, workspace_id: str, name: str, version: str = "") -> str:
        """The id of an asset, or of a version of it."""
        return f"{workspace_id}/{self.plural}/{name}" + (f"/versions/{version}" if version else "")

    def routes(self) -> list[Route]:
        """The operations of this kind."""
        assets = f"{WORKSPACE}/{self.plural}"
        one = f"{assets}/{{name}}"
        version = f"{one}/versions/{{version}}"
        return [
            Route("GET", assets, self.list_assets),
            Route("GET", one, self.get_asset),
            Route("PUT", one, self.put_asset),
            Route("DELETE", one, self.delete),
            Route("GET", f"{one}/versions", self.list_versions),
            Route("GET", version, self.get_version),
            Route("PUT", version, self.put_version),
            Route("DELETE", version, self.delete),
        ]

    # -- names -----------------------------------------------------------------------------------------------------

    def list_assets(self, call: Call, names: dict[str, str]) -> dict[str, Any]:
        """A page of assets by name; ``listViewType`` chooses archived ones."""
        found = [
            each
            for each in call.cloud.resources.below(call.workspace_id, self.type)
            if _is_shown(call, each) and not self._is_anonymous(call.cloud, each)
        ]
        return page(call, [self._view_asset(call, each) for each in found], size=30)

    def get_asset(self, call: Call, names: dict[str, str]) -> dict[str, Any]:
        return self._view_asset(call, self._require(call, names))

    def put_asset(self, call: Call, names: dict[str, str]) -> Response:
        """Makes a name without versions, or changes what is said of it; archived, all its versions are."""
        name, asked = names["name"], dict(section(call.body(), "properties"))
        self._check_name(call, name)
        with call.cloud.resources.lock:
            existing = call.cloud.resources.get(call.resource)
            asset = existing or self._new_asset(call.workspace_id, name)
            asset.properties = asset.properties | {
                key: value for key, value in _texts(asked).items() if key in _CHANGEABLE - {"stage"}
            }
            asset.touch(call.engine.clock.now(), call.caller)
            call.cloud.resources.put(asset)
        return json_response(200 if existing else 201, self._view_asset(call, asset))

    def delete(self, call: Call, names: dict[str, str]) -> Response:
        """Deletes a version, or an asset with all its versions. The files stay where they are."""
        return Response(200 if call.cloud.resources.delete(call.resource) else 204)

    # -- versions --------------------------------------------------------------------------------------------------

    def list_versions(self, call: Call, names: dict[str, str]) -> dict[str, Any]:
        """A page of versions, the newest first; ``$orderBy``, ``$top``, ``tags``, ``stage``, ``hash`` ... choose."""
        asset = call.cloud.resources.get(call.resource)
        found = self.versions(call.cloud, asset.id) if asset else []
        archived = bool(asset and asset.properties["isArchived"])
        found = [each for each in found if _is_shown(call, each, archived=archived) and _is_wanted(call, each)]
        order = call.query.get("$orderby", "").lower()
        if "asc" not in order.split() and order not in ("createdtime", "createdat"):
            found.reverse()
        return page(call, [view(each) for each in found], size=30)

    def get_version(self, call: Call, names: dict[str, str]) -> dict[str, Any]:
        return view(self._require(call, names))

    def put_version(self, call: Call, names: dict[str, str]) -> Response:
        """Makes a version, or changes what may be changed of one."""
        name, version = names["name"], names["version"]
        self._check_name(call, name)
        if not _VERSION.fullmatch(version):
            message = f"Version '{version}' of {self.title} {name} is invalid: letters, digits, '-', '_' and '.' only."
            raise call.user_error(message, 400, "InvalidVersion")
        asked = _texts(dict(section(call.body(), "properties")))
        asked |= {name: asset_files.long(call.workspace, asked[name]) for name in self.fixed if name in asked}
        with call.cloud.resources.lock:
            existing = call.cloud.resources.get(call.resource)
            made = self._change(call, existing, asked) if existing else self._make(call, names, asked)
        return json_response(200 if existing else 201, view(made))

    def versions(self, cloud: AzureCloud, asset_id: str) -> list[Resource]:
        """An asset's versions, the oldest first."""
        return cloud.resources.below(asset_id, f"{self.type}/versions")

    def find(self, cloud: AzureCloud, workspace_id: str, reference: str) -> Resource:
        """The version that ``reference`` means to the workspace: an id, ``azureml:NAME:VERSION``, ``NAME@latest``.

        Raises :class:`AzureError` when there is none, and refuses those of registries.
        """
        text = reference.removeprefix("azureml:") if not reference.startswith("azureml://") else reference
        if text.startswith("azureml://registries/"):
            raise refusal(f"assets of registries ({reference})")
        if matched := _URI.fullmatch(text):
            found = cloud.resources.get(self.id(workspace_id, matched["name"], matched["version"]))
        elif parse_id(text):
            found = cloud.resources.get(text)
        elif matched := _REFERENCE.fullmatch(text):
            if matched["version"]:
                found = cloud.resources.get(self.id(workspace_id, matched["name"], matched["version"]))
            else:
                if matched["label"] != "latest":
                    raise refusal(f"the label {matched['label']} of {self.title} {matched['name']}")
                versions = self.versions(cloud, self.id(workspace_id, matched["name"]))
                found = versions[-1] if versions else None
        else:
            raise AzureError("UserError", f"{reference} names no {self.title}: write azureml:NAME:VERSION.", 400)
        if found is None or found.type.lower() != f"{self.type}/versions".lower():
            raise AzureError("UserError", f"The {self.title} {reference} was not found in the workspace.", 404)
        return found

    def _require(self, call: Call, names: Mapping[str, str]) -> Resource:
        found = call.cloud.resources.get(call.resource)
        if found is None:
            what = f"{self.title} {names['name']}"
            if version := names.get("version"):
                what = f"{what} with version {version}"
            message = f"The {what} was not found in workspace {call.workspace.name}."
            raise call.user_error(message, 404, "NotFound")
        return found

    def _check_name(self, call: Call, name: str) -> None:
        if not _NAME.fullmatch(name):
            message = (
                f"The name '{name}' of a {self.title} is invalid: it has to begin with a letter or a digit and can "
                "hold letters, digits, '-', '_' and '.', 255 at most."
            )
            raise call.user_error(message, 400, "InvalidName")

    def add(
        self, cloud: AzureCloud, workspace_id: str, name: str, version: str, properties: dict[str, Any], caller: Caller
    ) -> Resource:
        """Makes a version of ``properties`` that are complete, and its asset if need be."""
        now = cloud.engine.clock.now()
        made = Resource(
            self.id(workspace_id, name, version),
            {
                "description": None,
                "tags": {},
                "properties": {},
                "isArchived": False,
                "isAnonymous": False,
                **properties,
                "provisioningState": "Succeeded",
            },
        )
        made.touch(now, caller)
        self.add_asset(cloud, workspace_id, name, caller)
        cloud.resources.put(made)
        return made

    def add_asset(self, cloud: AzureCloud, workspace_id: str, name: str, caller: Caller) -> Resource:
        """The asset of this name, which is made if need be."""
        asset = cloud.resources.get(self.id(workspace_id, name)) or self._new_asset(workspace_id, name)
        asset.touch(cloud.engine.clock.now(), caller)
        cloud.resources.put(asset)
        return asset

    def add_next(
        self,
        cloud: AzureCloud,
        workspace_id: str,
        name: str,
        properties: dict[str, Any],
        caller: Caller,
        version: str = "",
    ) -> Resource:
        """As :meth:`add`, with the next number unless ``version`` says another; raises :class:`Conflict`."""
        with cloud.resources.lock:
            versions = self.versions(cloud, self.id(workspace_id, name))
            number = version or str(_next(versions))
            if any(each.name == number for each in versions):
                raise Conflict(f"{self.title.capitalize()} {name} has a version {number} already.")
            return self.add(cloud, workspace_id, name, number, properties, caller)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _new_asset(self, workspace_id: str, name: str) -> Resource:
        properties: dict[str, Any] = {"description": None, "tags": {}, "properties": {}, "isArchived": False}
        return Resource(self.id(workspace_id, name), properties)

    def _make(self, call: Call, names: Mapping[str, str], asked: dict[str, Any]) -> Resource:
        properties = self.complete(call, asked)
        return self.add(call.cloud, call.workspace_id, names["name"], names["version"], properties, call.caller)

    def _is_anonymous(self, cloud: AzureCloud, asset: Resource) -> bool:
        """Whether all versions were submitted as part of something else: no list of names shows them."""
        versions = self.versions(cloud, asset.id)
        return bool(versions) and all(each.properties["isAnonymous"] for each in versions)

    def _change(self, call: Call, version: Resource, asked: dict[str, Any]) -> Resource:
        # An anonymous version is called by the hash of its definition; only addresses in it can differ.
        for name in () if version.properties["isAnonymous"] else self.fixed:
            if name in asked and _differ(asked[name], version.properties.get(name)):
                raise self.conflict(call, version)
        changes = {key: value for key, value in asked.items() if key in _CHANGEABLE}
        with version.lock:
            version.properties = version.properties | changes
            version.touch(call.engine.clock.now(), call.caller)
        return version

    def _view_asset(self, call: Call, asset: Resource) -> dict[str, Any]:
        versions = self.versions(call.cloud, asset.id)
        shown = view(asset)
        shown["properties"] = {
            **asset.properties,
            "latestVersion": versions[-1].name if versions else None,
            "nextVersion": str(_next(versions)),
            "provisioningState": "Succeeded",
        }
        return shown


def _next(versions: Sequence[Resource]) -> int:
    """The number after the highest of versions that are numbers."""
    return 1 + max((int(each.name) for each in versions if each.name.isascii() and each.name.isdigit()), default=0)


def view(resource: Resource) -> dict[str, Any]:
    shown = resource.view()
    shown.pop("tags", None)
    return shown


def _texts(asked: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, with tags and properties that are texts; raises :class:`AzureError` for what cannot be."""
    for name in _TEXTS:
        if name in asked:
            given = section(asked, name)
            if any(isinstance(value, (dict, list)) for value in given.values()):
                raise AzureError("ValidationError", f"The {name} have to be an object of names and texts.", 400)
            asked[name] = {key: str(value) for key, value in given.items() if value is not None}
    return asked


def _differ(asked: Any, kept: Any) -> bool:
    """Whether a value is another one; a client that names none leaves it as it is."""
    return asked not in (None, {}, "") and asked != kept


def _is_shown(call: Call, resource: Resource, *, archived: bool = False) -> bool:
    archived = archived or bool(resource.properties.get("isArchived"))
    view = call.query.get("listviewtype", "ActiveOnly").lower()
    return view == "all" or archived is (view == "archivedonly")


def _is_wanted(call: Call, version: Resource) -> bool:
    """Whether a version has what the query asks for."""
    shown = version.properties
    if (hashed := call.query.get("hash")) and shown["properties"].get("hash_sha256") != hashed:
        return False
    if (number := call.query.get("version")) and version.name != number:
        return False
    if (stage := call.query.get("stage")) and str(shown.get("stage")).lower() != stage.lower():
        return False
    for name in _TEXTS:
        for part in filter(None, call.query.get(name, "").split(",")):
            key, equals, value = part.partition("=")
            if key not in shown[name] or (equals and shown[name][key] != value):
                return False
    return True
