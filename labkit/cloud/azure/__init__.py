"""Azure over the engine: one file per kind of resource, a table from method and path to function."""

from labkit.cloud.azure.front import AzureCloud, Call

__all__ = ["AzureCloud", "Call"]
