"""What the lab has in Azure from the beginning, and the variables with which its clients find it and sign in."""

from __future__ import annotations

from labkit.cloud.azure.identity import PATH, Identities, LabSettings

#: The resource group and workspace that exist from the beginning.
GROUP, WORKSPACE = "learning", "mlops"


def environment(lab: LabSettings) -> dict[str, str]:
    """The variables of a lab, whether or not its clouds run.

    ``AZURE_TOKEN_CREDENTIALS`` keeps ``DefaultAzureCredential`` from looking beyond the lab for an identity.
    """
    identities = Identities(lab)
    return {
        "AZURE_SUBSCRIPTION_ID": identities.subscription,
        "AZURE_TENANT_ID": identities.tenant,
        "AZURE_RESOURCE_GROUP": GROUP,
        "AZURE_ML_WORKSPACE": WORKSPACE,
        "IDENTITY_ENDPOINT": f"{lab.url}{PATH}",
        "IDENTITY_HEADER": identities.learners_header,
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
    }
