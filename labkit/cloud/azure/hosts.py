"""Azure's host names: which service, account, endpoint and region a host is, or a sentence that says why it is refused.

https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-endpoints and
https://learn.microsoft.com/azure/machine-learning/how-to-access-azureml-behind-firewall list them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from labkit.cloud.azure import locations

#: Host names that stand for one service each.
WHOLE = {
    "management.azure.com": "arm",
    "login.microsoftonline.com": "login",
    "login.windows.net": "login",
    "login.microsoft.com": "login",
    "sts.windows.net": "login",
    "graph.microsoft.com": "graph",
    "api.loganalytics.io": "log-analytics",
    "api.loganalytics.azure.com": "log-analytics",
}
_BLOB = re.compile(r"(?P<name>[a-z0-9]{3,24})\.blob\.core\.windows\.net")
_SCORING = re.compile(r"(?P<name>[a-z0-9-]+)\.(?P<region>[a-z0-9]+)\.inference\.ml\.azure\.com")
_METRICS = re.compile(r"(?P<region>[a-z0-9]+)\.metrics\.monitor\.azure\.com")
_WORKSPACE = re.compile(r"(?P<region>[a-z0-9]+)\.api\.azureml\.ms")
_PATTERNS = {"blob": _BLOB, "scoring": _SCORING, "metrics": _METRICS, "workspace": _WORKSPACE}

#: Ends of host names that belong to Azure and are not served, with what they are.
_NOT_SERVED = {
    ".dfs.core.windows.net": "Azure Data Lake Storage Gen2",
    ".file.core.windows.net": "Azure Files",
    ".queue.core.windows.net": "Azure Queue Storage",
    ".table.core.windows.net": "Azure Table Storage",
    ".web.core.windows.net": "static websites of Azure Storage",
    ".core.windows.net": "this part of Azure Storage",
    "graph.windows.net": "Azure AD Graph",
    ".vault.azure.net": "the contents of Azure Key Vault",
    ".azurecr.io": "Azure Container Registry",
    "mcr.microsoft.com": "Microsoft's container registry",
    ".database.windows.net": "Azure SQL",
    ".servicebus.windows.net": "Azure Service Bus",
    ".documents.azure.com": "Azure Cosmos DB",
    ".azurewebsites.net": "Azure App Service",
    ".azconfig.io": "Azure App Configuration",
    ".cognitiveservices.azure.com": "Azure AI services",
    ".openai.azure.com": "Azure OpenAI",
    ".search.windows.net": "Azure AI Search",
    ".experiments.azureml.net": "the experiments interface of Azure Machine Learning",
    ".models.ai.azure.com": "serverless endpoints of Azure Machine Learning",
    ".ml.azure.com": "this part of Azure Machine Learning",
    "ml.azure.com": "Azure Machine Learning studio, a web site",
    ".azureml.ms": "this part of Azure Machine Learning",
    ".ods.opinsights.azure.com": "the collector of Azure Monitor Logs",
    ".ingest.monitor.azure.com": "the ingestion interface of Azure Monitor",
    ".monitor.azure.com": "this part of Azure Monitor",
    "portal.azure.com": "the Azure portal, a web site",
    ".azureedge.net": "a content delivery network of Azure",
    ".azure.com": "this service of Azure",
    ".azure.net": "this service of Azure",
    ".windows.net": "this service of Azure",
}
#: Ends of host names to which clients report about themselves.
_TELEMETRY = (
    ".applicationinsights.azure.com",
    ".livediagnostics.monitor.azure.com",
    "dc.services.visualstudio.com",
    ".services.visualstudio.com",
    ".applicationinsights.microsoft.com",
    ".events.data.microsoft.com",
)
_OTHER_CLOUDS = {
    ".chinacloudapi.cn": "Azure China",
    ".azure.cn": "Azure China",
    ".chinacloudapp.cn": "Azure China",
    ".partner.microsoftonline.cn": "Azure China",
    ".usgovcloudapi.net": "Azure Government",
    ".azure.us": "Azure Government",
    "login.microsoftonline.us": "Azure Government",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. ``name`` is the storage account or the endpoint that the host name holds, or ``""``."""

    service: str
    name: str = ""
    region: str = ""


def resolve(host: str) -> Target | str | None:
    """The target of a host name; a sentence when it is Azure's and not served; None when it is not Azure's."""
    host = host.lower().rstrip(".")
    if service := WHOLE.get(host):
        return Target(service)
    for service, pattern in _PATTERNS.items():
        if found := pattern.fullmatch(host):
            parts = found.groupdict()
            region = parts.get("region", "")
            if region and region not in locations.DISPLAY_NAMES:
                return f"{host} names {region}, which is no Azure region; name one that exists, such as eastus."
            return Target(service, parts.get("name", ""), region)
    if host.endswith(_TELEMETRY):
        return f"{host} collects telemetry; the local clouds send none anywhere."
    for suffix, cloud in _OTHER_CLOUDS.items():
        if _belongs(host, suffix):
            return f"{host} belongs to {cloud}; the local clouds serve the global Azure only."
    for suffix, what in _NOT_SERVED.items():
        if _belongs(host, suffix):
            return f"{host} is {what}, which the local clouds do not serve yet; see docs/fidelity.md."
    return None


def _belongs(host: str, suffix: str) -> bool:
    return host.endswith(suffix) if suffix.startswith(".") else host == suffix
