"""Resource Manager's methods for projects.

https://cloud.google.com/resource-manager/reference/rest/v3/projects
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import filters, iam_policy_service, iam_resources, paging, schema
from labkit.cloud.gcp.errors import invalid, refusal
from labkit.cloud.gcp.filters import Comparison, FilterError, Leaf
from labkit.cloud.gcp.projects import Project

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call


v3 = schema.Package("google.cloud.resourcemanager.v3")

#: Fields that a query may name -> what they are of a project.
_FIELDS = {"id": "project_id", "projectId": "project_id", "name": "display_name", "displayName": "display_name"}


def get_project(call: Call, request: Any) -> Any:
    """A project, by its id or number."""
    return _message(call.project)


def search_projects(call: Call, request: Any) -> Any:
    """Those of the projects named so far that the caller may see and the query means.

    https://cloud.google.com/resource-manager/reference/rest/v3/projects/search
    """
    try:
        tree = filters.parse(request.query)
    except FilterError as error:
        raise invalid(str(error), "query") from None
    for leaf in filters.leaves(tree):
        if not isinstance(leaf, Comparison) or leaf.operator not in (":", "=") or not isinstance(leaf.value, str):
            raise refusal(f"the query {request.query!r}")
        if leaf.name not in (*_FIELDS, "state"):
            raise refusal(f"queries of projects by {leaf.name}")
    found = []
    for each in call.cloud.projects.known():
        place = iam_resources.project_place(each.id, each.number)
        if call.cloud.iam.allowed(call.caller.principal, "resourcemanager.projects.get", place):
            project = _message(each)
            if filters.matches(tree, lambda leaf, project=project: _holds(leaf, project)):  # type: ignore[misc]
                found.append(project)
    page, token = paging.page(found, request.page_size, request.page_token, usual=500, largest=500)
    return v3.SearchProjectsResponse(projects=page, next_page_token=token)


def _holds(leaf: Leaf, project: Any) -> bool:
    assert isinstance(leaf, Comparison)
    wanted = str(leaf.value).lower()
    held = "active" if leaf.name == "state" else getattr(project, _FIELDS[leaf.name]).lower()
    return held.startswith(wanted[:-1]) if wanted.endswith("*") else bool(held == wanted)


def _message(project: Project) -> Any:
    return v3.Project(
        name=f"projects/{project.number}",
        project_id=project.id,
        display_name=project.id,
        state=v3.Project.State.Value("ACTIVE"),
    )


def first_version(project: Any) -> dict[str, Any]:
    """A project as the API's first version has it, which the gcloud command asks.

    https://cloud.google.com/resource-manager/reference/rest/v1/projects#Project
    """
    return {
        "projectNumber": project.name.removeprefix("projects/"),
        "projectId": project.project_id,
        "lifecycleState": "ACTIVE",
        "name": project.display_name,
    }


METHODS = {"GetProject": get_project, "SearchProjects": search_projects, **iam_policy_service.METHODS}
#: What older versions of the API answer, whose messages are others: (version, method) -> the answer's JSON.
OLDER = {("v1", "GetProject"): first_version}
PERMISSIONS = {
    "SearchProjects": "",
    "GetIamPolicy": "resourcemanager.projects.getIamPolicy",
    "SetIamPolicy": "resourcemanager.projects.setIamPolicy",
    "TestIamPermissions": "",
}
NOTES = {
    "SearchProjects": "the projects that were named so far, by id, name and state",
    "GetProject": "any well-formed id is a project of the learner's",
    "SetIamPolicy": iam_policy_service.NOTE,
}
