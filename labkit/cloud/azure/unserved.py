"""What Azure has beside what is served: asking for it is refused, its existence not denied."""

from __future__ import annotations

_MACHINE_LEARNING = (
    "registries registries/codes registries/codes/versions registries/components registries/components/versions"
    " registries/data registries/data/versions registries/environments registries/environments/versions"
    " registries/models registries/models/versions workspaces/batchEndpoints"
    " workspaces/batchEndpoints/deployments workspaces/batchEndpoints/jobs workspaces/capabilityHosts"
    " workspaces/connections workspaces/endpoints"
    " workspaces/features workspaces/featuresets workspaces/featuresets/versions"
    " workspaces/featurestoreEntities workspaces/featurestoreEntities/versions workspaces/inferencePools"
    " workspaces/labelingJobs workspaces/linkedServices workspaces/marketplaceSubscriptions"
    " workspaces/outboundRules"
    " workspaces/privateEndpointConnections workspaces/privateLinkResources"
    " workspaces/serverlessEndpoints workspaces/services virtualClusters capacityReservationGroups"
)
_AUTHORIZATION = (
    "accessReviewScheduleDefinitions classicAdministrators eligibleChildResources elevateAccess locks"
    " policyAssignments policyDefinitions policyExemptions policySetDefinitions providerOperations"
    " roleAssignmentApprovals roleAssignmentScheduleInstances roleAssignmentScheduleRequests"
    " roleAssignmentSchedules roleEligibilityScheduleInstances roleEligibilityScheduleRequests"
    " roleEligibilitySchedules roleManagementPolicies roleManagementPolicyAssignments"
)
#: Kinds of resource by namespace, in lower case.
TYPES = {
    "microsoft.machinelearningservices": tuple(_MACHINE_LEARNING.split()),
    "microsoft.authorization": tuple(_AUTHORIZATION.split()),
    "microsoft.managedidentity": (
        "identities",
        "userAssignedIdentities/associatedResources",
        "userAssignedIdentities/federatedIdentityCredentials",
    ),
}
#: Operations of the Blob service: https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api
BLOB_OPERATIONS = (
    "Abort Copy Blob",
    "Append Block",
    "Append Block From URL",
    "Delete Blob Immutability Policy",
    "Find Blobs by Tags",
    "Get Blob Service Stats",
    "Get Blob Tags",
    "Get Page Ranges",
    "Incremental Copy Blob",
    "Lease Blob",
    "Lease Container",
    "Preflight Blob Request",
    "Put Block From URL",
    "Put Page",
    "Put Page From URL",
    "Query Blob Contents",
    "Restore Container",
    "Set Blob Expiry",
    "Set Blob Immutability Policy",
    "Set Blob Legal Hold",
    "Set Blob Service Properties",
    "Set Blob Tags",
    "Set Container ACL",
    "Snapshot Blob",
    "Undelete Blob",
)
