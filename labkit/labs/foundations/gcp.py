"""Who may do what on Google Cloud: accounts, policies, roles, denials and the audit trail. Tasks, points and hints."""

from __future__ import annotations

from google.auth.exceptions import RefreshError

from labkit.labs.beginner import gcp_cloud
from labkit.labs.foundations import gcp_checks, gcp_trail
from labkit.labs.task import Definition, Task


def explain(error: Exception) -> str | None:
    """What Google Cloud said, as a phrase; None when the error is not Google Cloud's."""
    if isinstance(error, RefreshError):
        return f"that Google Cloud gave no token ({error.args[0]})"
    return gcp_cloud.explain(error)


LAB = Definition(
    name="foundations/gcp",
    title="Who may do what, on Google Cloud",
    cloud="Google Cloud",
    whoami=gcp_cloud.whoami,
    explain=explain,
    tasks=(
        Task(
            "deployer",
            "Make an account that you can impersonate",
            points=10,
            check=gcp_checks.deployer,
            hints=(
                "iam.create_service_account makes it; then read the account's own policy, add a binding, write it back",
                'policy.bindings.add(role="roles/iam.serviceAccountTokenCreator", members=[f"serviceAccount:{me}"])',
                'iam.set_iam_policy(request={"resource": deployer_name, "policy": policy})',
            ),
        ),
        Task(
            "caller",
            "Make an account with a key",
            points=10,
            check=gcp_checks.caller,
            hints=(
                "iam.create_service_account_key(name=caller_name) answers the key, this once",
                "key_file.write_bytes(key.private_key_data), then key_file.chmod(0o600)",
            ),
        ),
        Task(
            "policy",
            "Give each just enough",
            points=25,
            check=gcp_checks.policy,
            hints=(
                "three bindings: two for the deployer (viewer and creator), one for the caller (viewer)",
                (
                    'a binding is {"role": ..., "members": {...}, "condition": {"title": ..., "expression": ...}}, and '
                    "policy.version has to be 3"
                ),
                "only the deployer's viewer binding has or_the_bucket; the caller is not to list",
            ),
        ),
        Task(
            "boundary",
            "Make a role that cannot grow",
            points=15,
            check=gcp_checks.boundary,
            hints=(
                'iam.create_role(request={"parent": project_name, "role_id": "whoLabScores", "role": {...}})',
                (
                    'the role is {"title": ..., "included_permissions": [...], "stage": "GA"}; its name for the '
                    "binding is role_name"
                ),
                "take the deployer's two bindings out of policy.bindings before you add the new one",
            ),
        ),
        Task(
            "denial",
            "Read three denials",
            points=15,
            check=gcp_trail.denial,
            hints=(
                "each sentence names the permission; who and on what is in the call that you made",
                "a role on the caller's account does not reach the project; the deployer's third role ended in January",
            ),
        ),
        Task(
            "audit",
            "Find them in the audit trail",
            points=10,
            check=gcp_trail.audit,
            hints=(
                "logs.list_entries(filter_=...) with three parts joined by AND: the log, the code, the address",
                'protoPayload.authenticationInfo.principalEmail:"who-lab-" means every address with that in it',
            ),
        ),
        Task(
            "rotate",
            "Change a key",
            points=10,
            check=gcp_checks.rotate,
            hints=(
                "first the new key, then the file, last delete_service_account_key",
                "the old key's name is {caller_name}/keys/ID, where ID is private_key_id in build / 'caller-old.json'",
            ),
        ),
        Task(
            "cleanup",
            "Leave nothing behind",
            points=5,
            check=gcp_checks.cleanup,
            hints=(
                "bucket.delete(force=True), iam.delete_service_account(name=...), iam.delete_role(request={...})",
                'iam.delete_role takes {"name": role_name}; a deleted role can be brought back for seven days',
            ),
            after_cleanup=True,
        ),
    ),
)
