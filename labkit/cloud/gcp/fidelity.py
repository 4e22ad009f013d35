"""Google Cloud's part of ``docs/fidelity.md``: how far each method is served.

Written from the tables that decide it at run time; see :mod:`labkit.cloud.fidelity`.
"""

from __future__ import annotations

import importlib
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from labkit.cloud.gcp import schema, storage
from labkit.cloud.gcp.front import SERVICES

_INTRO = """\
## Google Cloud

Every method of the listed APIs is known over gRPC and REST alike, from the client libraries' own descriptors; those
that are not served refuse with `UNIMPLEMENTED` (HTTP 501; 400 for the gcloud command, which would repeat the call for
minutes) and their name, as do methods that stream. Vertex AI's v1beta1 has the same methods; what it has beyond v1
refuses, fields by their names or numbers. Other APIs refuse with a sentence that names them. Access tokens are
verified (`google.auth.default()` finds a metadata server, as does the gcloud command), as are tokens that service
account keys sign. Every call is decided by IAM: bindings in the policies of projects, buckets, service accounts,
Vertex AI's endpoints and models add up; Google's roles have Google's permissions for the listed services. A
condition, member or setting that is not evaluated refuses by name when the policy is set; there are no deny policies,
organizations, folders or groups' members, and a token's scopes are not looked at. In buckets, access lists refuse,
and a project's owners, editors and viewers have the legacy roles. Vertex AI's resources give conditions no resource
attributes, as in Google Cloud. API keys and HMAC keys are not served. Any well-formed project id is one of the
learner's projects, in every region of Google Cloud.

| API | works | shape only | refused |
|---|---:|---:|---:|
{counts}

To add a method: write a function `(call, request) -> response` in its service's module under `labkit/cloud/gcp`, name
it in the module's `METHODS` (a limit of it in `NOTES`), and the module in `SERVICES` in `front.py`; then write this
file again.
"""
#: Each API as Google names it.
_TITLES = {
    "aiplatform": "Vertex AI",
    "monitoring": "Cloud Monitoring",
    "logging": "Cloud Logging",
    "cloudscheduler": "Cloud Scheduler",
    "cloudfunctions": "Cloud Run functions",
    "cloudresourcemanager": "Resource Manager",
    "iam": "Identity and Access Management",
    "iamcredentials": "Service Account Credentials",
}


@dataclass
class Api:
    """One API's methods by level, the served ones with their notes."""

    title: str
    works: dict[str, str] = field(default_factory=dict)
    shape: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def apis() -> list[Api]:
    """Every API that is known, as the front would serve it."""
    return [_of_methods(name) for name in schema.methods()] + [_storage()]


def _of_methods(name: str) -> Api:
    api = Api(f"{_TITLES[name]} (`{name}.googleapis.com`)")
    for method in schema.methods()[name].values():
        if method.preview:
            continue
        shown = f"{method.service.rpartition('.')[2]}.{method.name}"
        module = SERVICES.get(method.service)
        service = importlib.import_module(f"{__package__}.{module}") if module else None
        if service is None or method.name not in service.METHODS:
            api.refused.append(shown)
            continue
        level = api.shape if method.name in getattr(service, "SHAPE_ONLY", ()) else api.works
        level[shown] = getattr(service, "NOTES", {}).get(method.name, "")
    return api


def _storage() -> Api:
    """Cloud Storage's JSON API, whose methods no descriptor lists: what is not among these refuses."""
    notes: dict[str, str] = {}
    for route in storage.tables():
        notes[route.name] = notes.get(route.name) or route.note
    notes["the XML API"] = "objects are got, put and deleted, by signed URLs of versions 4 and 2 too; all else refuses"
    notes["batches"] = ""
    return Api("Cloud Storage (`storage.googleapis.com`)", dict(sorted(notes.items())))


def section() -> str:
    """The part of the file on Google Cloud."""
    found = apis()
    counts = "\n".join(
        f"| {each.title} | {len(each.works)} | {len(each.shape)} | {len(each.refused) or 'all others'} |"
        for each in found
    )
    return "\n".join([_INTRO.format(counts=counts), *(_described(each) for each in found)])


def _described(api: Api) -> str:
    lines = [f"### {api.title}", ""]
    for served, title in ((api.works, "Works"), (api.shape, "Shape only")):
        if served:
            lines += [f"**{title}**", "", *_bullets(served), ""]
    if api.refused:
        lines += [f"<details><summary>Refused ({len(api.refused)})</summary>", ""]
        lines += [textwrap.fill(", ".join(api.refused), 118, break_long_words=False), "", "</details>", ""]
    return "\n".join(lines)


def _bullets(served: Mapping[str, str]) -> Iterable[str]:
    """One bullet for the methods without a note, and one for each note."""
    by_note: dict[str, list[str]] = defaultdict(list)
    for name, note in served.items():
        by_note[note].append(name)
    for note, names in sorted(by_note.items(), key=lambda pair: bool(pair[0])):
        text = ", ".join(names) + (f": {note}" if note else "")
        yield textwrap.fill(text, 118, initial_indent="* ", subsequent_indent="  ")
