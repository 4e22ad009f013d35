"""Kinds of resource that Azure has below those that are served: asking for one is refused, not denied to exist."""

from __future__ import annotations

_MACHINE_LEARNING = (
    "registries registries/codes registries/codes/versions registries/components registries/components/versions"
    " registries/data registries/data/versions registries/environments registries/environments/versions"
    " registries/models registries/models/versions workspaces/batchEndpoints"
    " workspaces/batchEndpoints/deployments workspaces/batchEndpoints/jobs workspaces/capabilityHosts"
    " workspaces/components workspaces/components/versions workspaces/connections workspaces/endpoints"
    " workspaces/features workspaces/featuresets workspaces/featuresets/versions"
    " workspaces/featurestoreEntities workspaces/featurestoreEntities/versions workspaces/inferencePools"
    " workspaces/jobs workspaces/labelingJobs workspaces/linkedServices workspaces/marketplaceSubscriptions"
    " workspaces/onlineEndpoints workspaces/onlineEndpoints/deployments workspaces/outboundRules"
    " workspaces/privateEndpointConnections workspaces/privateLinkResources workspaces/schedules"
    " workspaces/serverlessEndpoints workspaces/services virtualClusters capacityReservationGroups"
)
#: By namespace, all in lower case.
TYPES = {"microsoft.machinelearningservices": frozenset(_MACHINE_LEARNING.lower().split())}
