"""AWS over the engine: one file per service, over moto where moto does what AWS does."""

from labkit.cloud.aws.front import AwsCloud, Call

__all__ = ["AwsCloud", "Call"]
