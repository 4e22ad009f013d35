"""Cases of Azure RBAC, each with the page that says how it is decided.

A case is: what it is about, the roles given (role, scope), the action, the resource, whether it is allowed. ``SUB``,
``RG`` and the like are short for ids; a custom role is given as its permissions.
"""

from __future__ import annotations

from typing import Any

SUB = "/subscriptions/{subscription}"
RG, OTHER = f"{SUB}/resourceGroups/learning", f"{SUB}/resourceGroups/learning2"
WS = f"{RG}/providers/Microsoft.MachineLearningServices/workspaces/mlops"
EP = f"{WS}/onlineEndpoints/churn"
SA = f"{RG}/providers/Microsoft.Storage/storageAccounts/data"
SCORES = f"{SA}/blobServices/default/containers/scores"
PEOPLE = f"{SA}/blobServices/default/containers/people"
UAMI = f"{RG}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/deployer"
ML, BLOBS = "Microsoft.MachineLearningServices", "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
READ_RG = "Microsoft.Resources/subscriptions/resourceGroups/read"

LEARN = "https://learn.microsoft.com/azure/role-based-access-control"
ACTIONS = f"{LEARN}/role-definitions#actions"
NOT_ACTIONS = f"{LEARN}/role-definitions#notactions"
DATA_ACTIONS = f"{LEARN}/role-definitions#dataactions"
NOT_DATA = f"{LEARN}/role-definitions#notdataactions"
WILDCARDS = f"{LEARN}/role-definitions#actions-format"
INHERITANCE = f"{LEARN}/scope-overview"
SEVERAL = f"{LEARN}/overview#multiple-role-assignments"
BUILT_IN = f"{LEARN}/built-in-roles"
DENIED = f"{LEARN}/overview#how-azure-rbac-determines-if-a-user-has-access-to-a-resource"
IDENTITY = f"{LEARN}/built-in-roles/identity#managed-identity-operator"
ML_ROLES = "https://learn.microsoft.com/azure/machine-learning/how-to-assign-roles"
SCORING = "https://learn.microsoft.com/azure/machine-learning/how-to-authenticate-online-endpoint"


def role(**permission: list[str]) -> dict[str, list[str]]:
    """A custom role's permission."""
    return permission


Case = tuple[str, list[tuple[Any, str]], str, str, bool]
#: By page.
CASES: dict[str, list[Case]] = {
    DENIED: [
        ("no role at all", [], READ_RG, RG, False),
        ("no role, own data", [], f"{BLOBS}/read", f"{SCORES}/blobs/a", False),
        ("a role on another group", [("Owner", OTHER)], READ_RG, RG, False),
        ("a role on a resource says nothing of its group", [("Owner", SA)], READ_RG, RG, False),
    ],
    ACTIONS: [
        ("reader reads", [("Reader", SUB)], f"{ML}/workspaces/read", WS, True),
        ("reader writes", [("Reader", SUB)], f"{ML}/workspaces/write", WS, False),
        (
            "reader lists keys, an action",
            [("Reader", SUB)],
            f"{ML}/workspaces/onlineEndpoints/listKeys/action",
            EP,
            False,
        ),
        ("owner does all there is", [("Owner", SUB)], "Microsoft.Authorization/roleAssignments/write", SUB, True),
        ("one action, granted", [(role(actions=[f"{ML}/workspaces/read"]), RG)], f"{ML}/workspaces/read", WS, True),
        (
            "one action, another asked",
            [(role(actions=[f"{ML}/workspaces/read"]), RG)],
            f"{ML}/workspaces/delete",
            WS,
            False,
        ),
        (
            "case does not matter",
            [(role(actions=[f"{ML.upper()}/WORKSPACES/READ"]), RG)],
            f"{ML}/workspaces/read",
            WS,
            True,
        ),
        (
            "a child is another type",
            [(role(actions=[f"{ML}/workspaces/read"]), RG)],
            f"{ML}/workspaces/jobs/read",
            WS,
            False,
        ),
    ],
    NOT_ACTIONS: [
        ("contributor writes", [("Contributor", SUB)], f"{ML}/workspaces/write", WS, True),
        (
            "contributor gives no roles",
            [("Contributor", SUB)],
            "Microsoft.Authorization/roleAssignments/write",
            RG,
            False,
        ),
        ("contributor takes none", [("Contributor", SUB)], "Microsoft.Authorization/roleAssignments/delete", RG, False),
        (
            "contributor defines none",
            [("Contributor", SUB)],
            "Microsoft.Authorization/roleDefinitions/write",
            RG,
            False,
        ),
        ("contributor reads roles", [("Contributor", SUB)], "Microsoft.Authorization/roleAssignments/read", RG, True),
        (
            "notActions of one role is no deny",
            [("Contributor", RG), ("User Access Administrator", RG)],
            "Microsoft.Authorization/roleAssignments/write",
            RG,
            True,
        ),
        (
            "notActions with a wildcard",
            [(role(actions=["*"], notActions=["*/delete"]), RG)],
            "Microsoft.Storage/storageAccounts/delete",
            SA,
            False,
        ),
        (
            "what is not taken off stays",
            [(role(actions=["*"], notActions=["*/delete"]), RG)],
            "Microsoft.Storage/storageAccounts/write",
            SA,
            True,
        ),
    ],
    DATA_ACTIONS: [
        ("owner reads no blob", [("Owner", SUB)], f"{BLOBS}/read", f"{SCORES}/blobs/a", False),
        ("contributor writes no blob", [("Contributor", SUB)], f"{BLOBS}/write", f"{SCORES}/blobs/a", False),
        ("* in actions is no data", [(role(actions=["*"]), SUB)], f"{BLOBS}/read", f"{SCORES}/blobs/a", False),
        ("data reader reads", [("Storage Blob Data Reader", SA)], f"{BLOBS}/read", f"{SCORES}/blobs/a", True),
        ("data reader writes", [("Storage Blob Data Reader", SA)], f"{BLOBS}/write", f"{SCORES}/blobs/a", False),
        ("data reader deletes", [("Storage Blob Data Reader", SA)], f"{BLOBS}/delete", f"{SCORES}/blobs/a", False),
        (
            "data contributor writes",
            [("Storage Blob Data Contributor", SA)],
            f"{BLOBS}/write",
            f"{SCORES}/blobs/a",
            True,
        ),
        (
            "data contributor makes containers",
            [("Storage Blob Data Contributor", SA)],
            f"{CONTAINERS}/write",
            SCORES,
            True,
        ),
        ("data reader makes none", [("Storage Blob Data Reader", SA)], f"{CONTAINERS}/write", SCORES, False),
        (
            "data contributor deletes no account",
            [("Storage Blob Data Contributor", SA)],
            "Microsoft.Storage/storageAccounts/delete",
            SA,
            False,
        ),
        (
            "a data action in actions grants none",
            [(role(actions=[f"{BLOBS}/read"]), SA)],
            f"{BLOBS}/read",
            f"{SCORES}/blobs/a",
            False,
        ),
    ],
    NOT_DATA: [
        (
            "taken off",
            [(role(dataActions=[f"{BLOBS}/*"], notDataActions=[f"{BLOBS}/delete"]), SA)],
            f"{BLOBS}/delete",
            f"{SCORES}/blobs/a",
            False,
        ),
        (
            "not taken off",
            [(role(dataActions=[f"{BLOBS}/*"], notDataActions=[f"{BLOBS}/delete"]), SA)],
            f"{BLOBS}/write",
            f"{SCORES}/blobs/a",
            True,
        ),
        (
            "granted by another role",
            [
                (role(dataActions=[f"{BLOBS}/*"], notDataActions=[f"{BLOBS}/delete"]), SA),
                ("Storage Blob Data Contributor", SCORES),
            ],
            f"{BLOBS}/delete",
            f"{SCORES}/blobs/a",
            True,
        ),
    ],
    WILDCARDS: [
        ("*/read", [(role(actions=["*/read"]), RG)], f"{ML}/workspaces/models/versions/read", WS, True),
        ("*/read is no write", [(role(actions=["*/read"]), RG)], f"{ML}/workspaces/models/versions/write", WS, False),
        ("a provider's all", [(role(actions=[f"{ML}/*"]), RG)], f"{ML}/workspaces/onlineEndpoints/write", EP, True),
        (
            "a provider's all is no other's",
            [(role(actions=[f"{ML}/*"]), RG)],
            "Microsoft.Storage/storageAccounts/read",
            SA,
            False,
        ),
        ("in the middle", [(role(actions=[f"{ML}/workspaces/*/read"]), RG)], f"{ML}/workspaces/jobs/read", WS, True),
        (
            "in the middle, nothing",
            [(role(actions=[f"{ML}/workspaces/*/read"]), RG)],
            f"{ML}/workspaces/read",
            WS,
            True,
        ),
        (
            "a part of a name",
            [(role(actions=[f"{ML}/workspaces/online*"]), RG)],
            f"{ML}/workspaces/onlineEndpoints/read",
            EP,
            True,
        ),
        (
            "a dot is a dot",
            [(role(actions=["MicrosoftXStorage/*"]), RG)],
            "Microsoft.Storage/storageAccounts/read",
            SA,
            False,
        ),
        ("data, all", [(role(dataActions=["*"]), SA)], f"{BLOBS}/read", f"{SCORES}/blobs/a", True),
        (
            "data, all, is no action",
            [(role(dataActions=["*"]), SA)],
            "Microsoft.Storage/storageAccounts/read",
            SA,
            False,
        ),
    ],
    INHERITANCE: [
        ("subscription to group", [("Reader", SUB)], READ_RG, RG, True),
        ("subscription to resource", [("Reader", SUB)], f"{ML}/workspaces/onlineEndpoints/read", EP, True),
        ("group to resource", [("Reader", RG)], f"{ML}/workspaces/onlineEndpoints/read", EP, True),
        ("group to another group of a longer name", [("Reader", RG)], READ_RG, OTHER, False),
        (
            "resource to its children",
            [("Reader", WS)],
            f"{ML}/workspaces/onlineEndpoints/deployments/read",
            f"{EP}/deployments/b",
            True,
        ),
        ("resource to its neighbor", [("Reader", WS)], "Microsoft.Storage/storageAccounts/read", SA, False),
        ("account to blob", [("Storage Blob Data Reader", SA)], f"{BLOBS}/read", f"{PEOPLE}/blobs/x", True),
        ("container to its blobs", [("Storage Blob Data Reader", SCORES)], f"{BLOBS}/read", f"{SCORES}/blobs/x", True),
        (
            "container to another's blobs",
            [("Storage Blob Data Reader", SCORES)],
            f"{BLOBS}/read",
            f"{PEOPLE}/blobs/x",
            False,
        ),
        ("container to its account", [("Storage Blob Data Reader", SCORES)], f"{BLOBS}/read", SA, False),
        (
            "scopes without regard to case",
            [("Reader", RG.replace("resourceGroups", "RESOURCEGROUPS"))],
            READ_RG,
            RG,
            True,
        ),
        (
            "another subscription",
            [("Owner", "/subscriptions/00000000-0000-0000-0000-000000000000")],
            READ_RG,
            RG,
            False,
        ),
    ],
    SEVERAL: [
        (
            "each adds",
            [("Reader", SUB), ("Storage Blob Data Reader", SCORES)],
            f"{BLOBS}/read",
            f"{SCORES}/blobs/a",
            True,
        ),
        ("the wider one counts", [("Contributor", SUB), ("Reader", RG)], f"{ML}/workspaces/write", WS, True),
        ("none of them grants it", [("Reader", SUB), ("AcrPull", RG)], f"{ML}/workspaces/write", WS, False),
    ],
    ML_ROLES: [
        (
            "data scientist deploys",
            [("AzureML Data Scientist", WS)],
            f"{ML}/workspaces/onlineEndpoints/deployments/write",
            EP,
            True,
        ),
        ("data scientist reads the workspace", [("AzureML Data Scientist", WS)], f"{ML}/workspaces/read", WS, True),
        ("data scientist deletes no workspace", [("AzureML Data Scientist", WS)], f"{ML}/workspaces/delete", WS, False),
        (
            "data scientist makes no compute",
            [("AzureML Data Scientist", WS)],
            f"{ML}/workspaces/computes/write",
            WS,
            False,
        ),
        (
            "data scientist lists no workspace keys",
            [("AzureML Data Scientist", WS)],
            f"{ML}/workspaces/listKeys/action",
            WS,
            False,
        ),
        (
            "data scientist lists an endpoint's",
            [("AzureML Data Scientist", WS)],
            f"{ML}/workspaces/onlineEndpoints/listKeys/action",
            EP,
            True,
        ),
        (
            "compute operator makes a compute",
            [("AzureML Compute Operator", WS)],
            f"{ML}/workspaces/computes/write",
            WS,
            True,
        ),
        (
            "compute operator registers no model",
            [("AzureML Compute Operator", WS)],
            f"{ML}/workspaces/models/versions/write",
            WS,
            False,
        ),
    ],
    SCORING: [
        ("reader scores", [("Reader", WS)], f"{ML}/workspaces/onlineEndpoints/score/action", EP, False),
        (
            "data scientist scores",
            [("AzureML Data Scientist", WS)],
            f"{ML}/workspaces/onlineEndpoints/score/action",
            EP,
            True,
        ),
        (
            "a role of nothing but scoring",
            [(role(actions=[f"{ML}/workspaces/onlineEndpoints/score/action"]), EP)],
            f"{ML}/workspaces/onlineEndpoints/score/action",
            EP,
            True,
        ),
        (
            "which deploys nothing",
            [(role(actions=[f"{ML}/workspaces/onlineEndpoints/score/action"]), EP)],
            f"{ML}/workspaces/onlineEndpoints/deployments/write",
            EP,
            False,
        ),
    ],
    IDENTITY: [
        (
            "operator gives an identity to a resource",
            [("Managed Identity Operator", UAMI)],
            "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
            UAMI,
            True,
        ),
        (
            "operator makes none",
            [("Managed Identity Operator", RG)],
            "Microsoft.ManagedIdentity/userAssignedIdentities/write",
            UAMI,
            False,
        ),
        (
            "contributor makes one",
            [("Managed Identity Contributor", RG)],
            "Microsoft.ManagedIdentity/userAssignedIdentities/write",
            UAMI,
            True,
        ),
        (
            "identity contributor gives none away",
            [("Managed Identity Contributor", RG)],
            "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
            UAMI,
            False,
        ),
    ],
    BUILT_IN: [
        (
            "access administrator gives roles",
            [("User Access Administrator", RG)],
            "Microsoft.Authorization/roleAssignments/write",
            RG,
            True,
        ),
        (
            "access administrator makes nothing",
            [("User Access Administrator", RG)],
            "Microsoft.Storage/storageAccounts/write",
            SA,
            False,
        ),
        (
            "RBAC administrator defines no roles",
            [("Role Based Access Control Administrator", RG)],
            "Microsoft.Authorization/roleDefinitions/write",
            RG,
            False,
        ),
        (
            "monitoring reader reads the Activity Log",
            [("Monitoring Reader", SUB)],
            "Microsoft.Insights/eventtypes/values/read",
            SUB,
            True,
        ),
        ("AI developer submits jobs", [("Azure AI Developer", WS)], f"{ML}/workspaces/jobs/write", WS, True),
        ("AI developer lists no keys", [("Azure AI Developer", WS)], f"{ML}/workspaces/listKeys/action", WS, False),
        ("AI administrator reads no blobs", [("Azure AI Administrator", RG)], f"{BLOBS}/read", SCORES, False),
        (
            "log reader queries",
            [("Log Analytics Reader", SUB)],
            "Microsoft.OperationalInsights/workspaces/query/read",
            RG,
            True,
        ),
        (
            "blob delegator signs",
            [("Storage Blob Delegator", SA)],
            "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action",
            SA,
            True,
        ),
        (
            "key operator lists keys",
            [("Storage Account Key Operator Service Role", SA)],
            "Microsoft.Storage/storageAccounts/listKeys/action",
            SA,
            True,
        ),
        (
            "key operator changes nothing else",
            [("Storage Account Key Operator Service Role", SA)],
            "Microsoft.Storage/storageAccounts/write",
            SA,
            False,
        ),
        ("anyone asks after an operation", [], f"{ML}/locations/mfeOperationsStatus/read", SUB, True),
    ],
}
