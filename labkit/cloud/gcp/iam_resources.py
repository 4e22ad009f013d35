"""Where a resource's permissions come from: its own policy, those above it, and what conditions see of it.

https://cloud.google.com/iam/docs/resource-hierarchy-access-control,
https://cloud.google.com/iam/docs/conditions-resource-attributes
"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.cloud.gcp.iam_policies import BUCKET, PROJECT

_ANY = "projects/-/"


@dataclass(frozen=True, slots=True)
class Place:
    """A resource as decisions see it.

    ``project`` is its project's id. ``policies`` are the full names of what may have a policy, itself first and the
    project last. ``service``, ``kind`` and ``name`` are what conditions compare; services that give conditions none
    leave them empty.
    """

    project: str
    policies: tuple[str, ...]
    service: str = ""
    kind: str = ""
    name: str = ""


def project_place(project: str, number: str) -> Place:
    """A project itself."""
    service = "cloudresourcemanager.googleapis.com"
    return Place(project, (f"{PROJECT}{project}",), service, f"{service}/Project", f"projects/{number}")


def bucket_name(bucket: str) -> str:
    """The full name of a bucket."""
    return f"{BUCKET}{bucket}"


def bucket_place(project: str, bucket: str, name: str = "") -> Place:
    """A bucket, or an object in it."""
    service, inner = "storage.googleapis.com", f"projects/_/buckets/{bucket}"
    policies = (bucket_name(bucket), f"{PROJECT}{project}")
    if name:
        return Place(project, policies, service, f"{service}/Object", f"{inner}/objects/{name}")
    return Place(project, policies, service, f"{service}/Bucket", inner)


def account_name(project: str, email: str) -> str:
    """The full name of a service account."""
    return f"//iam.googleapis.com/projects/{project}/serviceAccounts/{email}"


def account_place(project: str, email: str, unique_id: str) -> Place:
    """A service account, or a key of one."""
    service = "iam.googleapis.com"
    name = f"projects/{project}/serviceAccounts/{unique_id}"
    return Place(
        project, (account_name(project, email), f"{PROJECT}{project}"), service, f"{service}/ServiceAccount", name
    )


def full_name(service: str, resource: str, project: str) -> str:
    """The full name of a resource whose name has its project's id or number: always with the id, without a version."""
    parts = resource.partition("@")[0].split("/")
    parts[1] = project
    return f"//{service}.googleapis.com/{'/'.join(parts)}"


def other_place(service: str, resource: str, project: str) -> Place:
    """A resource of a service whose resources conditions know nothing of, such as Vertex AI's."""
    parts = full_name(service, resource, project).split("/")
    # //service/projects/p/locations/l/endpoints/e: each whole pair below the location may have a policy.
    own = ["/".join(parts[:end]) for end in range(len(parts), 7, -2)] if len(parts) > 7 else []
    return Place(project, (*own, f"{PROJECT}{project}"))
