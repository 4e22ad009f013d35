"""Google Cloud over the engine: one file per service, a table from method to function, over gRPC and REST."""

from labkit.cloud.gcp.front import Call, GcpCloud

__all__ = ["Call", "GcpCloud"]
