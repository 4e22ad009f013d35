"""Who may do what, on Azure: service principals, roles, scopes and the Activity Log. Its tasks, points and hints."""

from __future__ import annotations

from labkit.labs.foundations import azure_checks, azure_trail
from labkit.labs.task import Definition, Task

LAB = Definition(
    name="foundations/azure",
    title="Who may do what, on Azure",
    cloud="Azure",
    whoami=azure_checks.whoami,
    explain=azure_checks.explain,
    tasks=(
        Task(
            "deployer",
            "Make the deployer's identity",
            points=10,
            check=azure_checks.deployer,
            hints=(
                "three calls of Microsoft Graph: an application, its service principal, a secret",
                'graph("POST", "/servicePrincipals", {"appId": application["appId"]}) makes the service principal',
                'graph("POST", f"/applications/{application[\'id\']}/addPassword", {}) answers with secretText',
            ),
        ),
        Task(
            "caller",
            "Make the caller's identity",
            points=10,
            check=azure_checks.caller,
            hints=(
                "the same three calls, with an endDateTime for the secret",
                '{"passwordCredential": {"endDateTime": ends}} is the body of addPassword',
            ),
        ),
        Task(
            "policy",
            "Give each just enough",
            points=25,
            check=azure_checks.policy,
            hints=(
                "a role assignment is a role, a principal and a scope; the scope is the id of the container scores",
                (
                    "Storage Blob Data Contributor reads, writes and lists blobs; Storage Blob Data Reader reads and "
                    "lists them"
                ),
                'give(caller, "Storage Blob Data Reader", container_id["scores"]) is one of the two',
            ),
        ),
        Task(
            "boundary",
            "Set a limit",
            points=15,
            check=azure_checks.boundary,
            hints=(
                "notActions and notDataActions take off what a wildcard in the same role gives",
                "roles add up: take the built-in role away, or it goes on giving what the custom one takes off",
                (
                    'resources.resources.begin_update_by_id changes the account: {"properties": '
                    '{"allowSharedKeyAccess": False}}'
                ),
            ),
        ),
        Task(
            "denial",
            "Read three denials",
            points=15,
            check=azure_trail.denial,
            hints=(
                "the message has who (the object id), the action and the scope between quotation marks",
                "compare the action with the role's actions, then the scope with the assignment's scope",
            ),
        ),
        Task(
            "audit",
            "Find them in the Activity Log",
            points=10,
            check=azure_trail.audit,
            hints=(
                "monitor.activity_logs.list takes a filter that has to begin with eventTimestamp ge '...'",
                'sub_status.value is "Forbidden" for what was denied',
            ),
        ),
        Task(
            "rotate",
            "Change a secret",
            points=10,
            check=azure_checks.rotate,
            hints=(
                "first the new one, then try it, then take the old one away",
                "removePassword takes the keyId of the old secret: the application's passwordCredentials list it",
            ),
        ),
        Task(
            "cleanup",
            "Leave nothing behind",
            points=5,
            check=azure_checks.cleanup,
            hints=(
                "an application takes its service principal with it; a role goes when nobody has it any more",
                "role_definitions.delete(scope, name) after every assignment of it is deleted",
            ),
            after_cleanup=True,
        ),
    ),
)
