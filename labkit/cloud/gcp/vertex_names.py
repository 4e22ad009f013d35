"""Names, ids and masks of Vertex AI's resources, and how it words what is wrong with a request.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp.errors import GcpError, invalid
from labkit.cloud.gcp.schema import Package

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

#: The messages of Vertex AI.
v1 = Package("google.cloud.aiplatform.v1")

_NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)/(\w+)/([^/@]+)(?:@([^/]+))?")
_LABEL_KEY, _LABEL_VALUE = re.compile(r"[^\W\d_A-Z][\w-]{0,62}"), re.compile(r"[\w-]{0,63}")
_LABELS = (
    "keys begin with a lowercase letter, and keys and values have at most 63 lowercase letters, digits, underscores "
    "and dashes."
)
#: Labels that a resource may have.
_MOST_LABELS = 64


def new_id() -> str:
    """An id as Vertex AI gives them: 19 digits."""
    return str(random.randrange(10**18, 9 * 10**18))


def numbered(call: Call, name: str) -> str:
    """A resource's name with its project's number, as names are kept; requests may write the project's id."""
    return name.replace(f"projects/{call.project.id}/", f"projects/{call.project.number}/", 1)


def copy_of(message: Any) -> Any:
    """A message of the caller's own."""
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def take_field(target: Any, source: Any, field: str) -> None:
    """Gives ``target`` what ``source``, a message of the same kind, has in one field; nothing where it is not set."""
    only = copy_of(source)
    for each, _ in source.ListFields():
        if each.name != field:
            only.ClearField(each.name)
    target.ClearField(field)
    target.MergeFrom(only)


def split(call: Call, name: str, collection: str) -> tuple[str, str]:
    """The id and the version (or ``""``) in the name of a resource in the call's location.

    Raises :class:`GcpError` for a name of another form, another location or another project.
    """
    found = _NAME.fullmatch(name)
    if found is None or found[3] != collection:
        raise invalid(f"Invalid resource name: {name!r} is not of the form projects/*/locations/*/{collection}/*.")
    project, location, _, identifier, version = found.groups()
    if location != call.location:
        raise invalid(f"{name} is in {location}, and this request is for {call.location}.")
    if project not in (call.project.id, call.project.number):
        raise does_not_exist(collection)
    return identifier, version or ""


def does_not_exist(collection: str) -> GcpError:
    """What a name answers behind which there is nothing."""
    return GcpError("NOT_FOUND", f"The {collection[0].upper()}{collection[1:].removesuffix('s')} does not exist.")


def check_fields(found: Sequence[tuple[str, str]]) -> None:
    """Raises ``INVALID_ARGUMENT`` with every (field, message), if there is one, as Vertex AI lists them."""
    if found:
        listed = "".join(f"{at}.Field: {field}; Message: {why}\t" for at, (field, why) in enumerate(found, 1))
        raise invalid(f"List of found errors:\t{listed}", found[0][0])


def problems(resource: Any, field: str) -> list[tuple[str, str]]:
    """What is wrong with the display name and the labels of a model or an endpoint."""
    found = []
    if not resource.display_name:
        found.append((f"{field}.display_name", "Required field is not set."))
    elif len(resource.display_name.encode()) > 128:
        found.append((f"{field}.display_name", "The display name must be at most 128 bytes long."))
    if len(resource.labels) > _MOST_LABELS:
        found.append((f"{field}.labels", f"There may be no more than {_MOST_LABELS} labels."))
    for key, value in resource.labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value) or value != value.lower():
            found.append(
                (
                    f"{field}.labels",
                    f"The label {key}={value} is not valid: {_LABELS}",
                )
            )
    return found


def mask_paths(mask: Any, allowed: Collection[str], what: str) -> list[str]:
    """The paths of an update mask, in snake_case; raises :class:`GcpError` for none, or for one that cannot change."""
    paths = [snake(path) for path in mask.paths]
    if not paths:
        raise invalid("Required field is not set: update_mask.", "update_mask")
    for path in paths:
        if path.partition(".")[0] not in allowed and path not in allowed:
            raise invalid(
                f"The field {path} of {what} cannot be updated; these can: {', '.join(sorted(allowed))}.", "update_mask"
            )
    return paths


def snake(name: str) -> str:
    """A field's name in snake_case; requests may write it in camelCase."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def stamp(message: Any, **times: Any) -> None:
    """Sets timestamps of a message to datetimes."""
    for field, when in times.items():
        getattr(message, field).FromDatetime(when)


def service_agent(call: Call) -> str:
    """The account with which Vertex AI itself works in the call's project.

    https://cloud.google.com/vertex-ai/docs/general/access-control#service-agents
    """
    return f"service-{call.project.number}@gcp-sa-aiplatform.iam.gserviceaccount.com"
