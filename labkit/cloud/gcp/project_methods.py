"""Resource Manager's methods for projects.

https://cloud.google.com/resource-manager/reference/rest/v3/projects
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import iam_policy_service, schema

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call


def get_project(call: Call, request: Any) -> Any:
    """A project, by its id or number."""
    project = schema.Package("google.cloud.resourcemanager.v3").Project
    return project(
        name=f"projects/{call.project.number}",
        project_id=call.project.id,
        display_name=call.project.id,
        state=project.State.Value("ACTIVE"),
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


METHODS = {"GetProject": get_project, **iam_policy_service.METHODS}
#: What older versions of the API answer, whose messages are others: (version, method) -> the answer's JSON.
OLDER = {("v1", "GetProject"): first_version}
PERMISSIONS = {
    "GetIamPolicy": "resourcemanager.projects.getIamPolicy",
    "SetIamPolicy": "resourcemanager.projects.setIamPolicy",
    "TestIamPermissions": "",
}
NOTES = {
    "GetProject": "any well-formed id is a project of the learner's",
    "SetIamPolicy": iam_policy_service.NOTE,
}
