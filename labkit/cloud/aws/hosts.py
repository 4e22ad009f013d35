"""AWS's host names: which service and region a host is, or one sentence that says why the kit does not serve it.

The names are those of the endpoint rules in botocore (``endpoint-rule-set-1.json`` of each service): regional, global,
dual-stack and FIPS ones, and S3's older forms (https://docs.aws.amazon.com/general/latest/gr/s3.html). Buckets may
stand in the host name, dots included.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

#: The region that a host name without one stands for.
GLOBAL_REGION = "us-east-1"

#: First part of a host name (what stands before the region) -> boto3's name of the service.
PREFIXES = {
    "iam": "iam",
    "sts": "sts",
    "ecr": "ecr",
    "api.ecr": "ecr",
    "api.sagemaker": "sagemaker",
    "runtime.sagemaker": "sagemaker-runtime",
    "monitoring": "cloudwatch",
    "logs": "logs",
    "cloudtrail": "cloudtrail",
    "events": "events",
    "lambda": "lambda",
    "scheduler": "scheduler",
    "sns": "sns",
    "sqs": "sqs",
}

#: The name with which a client signs -> boto3's name of the service.
SIGNING_NAMES = {
    "s3": "s3",
    "iam": "iam",
    "sts": "sts",
    "ecr": "ecr",
    "sagemaker": "sagemaker",
    "monitoring": "cloudwatch",
    "logs": "logs",
    "cloudtrail": "cloudtrail",
    "events": "events",
    "lambda": "lambda",
    "scheduler": "scheduler",
    "sns": "sns",
    "sqs": "sqs",
}

#: boto3's name of each served service -> the name with which its requests are signed.
SIGNED_AS = {service: name for name, service in SIGNING_NAMES.items()} | {"sagemaker-runtime": "sagemaker"}

#: Docker's registry API (``docker push``): a host of its own, which answers that no image can be pushed here.
REGISTRY = "ecr-registry"

_DNS_SUFFIXES = (".amazonaws.com", ".api.aws")
_OTHER_PARTITIONS = {
    ".amazonaws.com.cn": "AWS China",
    ".amazonwebservices.com.cn": "AWS China",
    ".amazonaws.eu": "the AWS European Sovereign Cloud",
    ".amazonwebservices.eu": "the AWS European Sovereign Cloud",
    ".c2s.ic.gov": "an isolated AWS partition",
    ".sc2s.sgov.gov": "an isolated AWS partition",
    ".aws.ic.gov": "an isolated AWS partition",
    ".aws.scloud": "an isolated AWS partition",
    ".csp.hci.ic.gov": "an isolated AWS partition",
    ".aws.hci.ic.gov": "an isolated AWS partition",
    ".cloud.adc-e.uk": "an isolated AWS partition",
    ".cloud-aws.adc-e.uk": "an isolated AWS partition",
}
_S3 = re.compile(
    r"(?:(?P<bucket>.+)\.)?s3(?:-(?P<legacy>[a-z]{2}(?:-[a-z]+)+-\d+)|-external-1|-fips)?"
    r"(?:\.dualstack)?(?:\.(?P<region>[^.]+))?"
)
_S3_FEATURES = re.compile(
    r"(?:.+\.)?(?P<prefix>s3-(?:accelerate|control|accesspoint|object-lambda|outposts|website|global)|s3express|s3tables|s3vectors)\b.*"
)
_S3_FEATURE_NAMES = {
    "s3-accelerate": "S3 Transfer Acceleration",
    "s3-control": "Amazon S3 Control",
    "s3-accesspoint": "S3 access points",
    "s3-object-lambda": "S3 Object Lambda",
    "s3-outposts": "S3 on Outposts",
    "s3-website": "S3 static website hosting",
    "s3-global": "S3 Multi-Region Access Points",
    "s3express": "S3 Express One Zone",
    "s3tables": "Amazon S3 Tables",
    "s3vectors": "Amazon S3 Vectors",
}
_REGISTRY = re.compile(r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[^.]+)(?:\.on)?")
#: What boto3 calls a service, where its host name's first part is not the folder of its model in botocore.
_FOLDERS = {
    "api.pricing": "pricing",
    "entitlement.marketplace": "marketplace-entitlement",
    "states": "stepfunctions",
    "email": "ses",
    "elasticloadbalancing": "elbv2",
    "elasticfilesystem": "efs",
    "elasticmapreduce": "emr",
    "featurestore-runtime.sagemaker": "sagemaker-featurestore-runtime",
    "metrics.sagemaker": "sagemaker-metrics",
    "edge.sagemaker": "sagemaker-edge",
    "tagging": "resourcegroupstaggingapi",
    "portal.sso": "sso",
    "streams.dynamodb": "dynamodbstreams",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. ``bucket`` is the S3 bucket that the host name holds, or ``""``."""

    service: str
    region: str
    bucket: str = ""
    #: A host name without a region: S3's global endpoint, STS's, IAM's.
    is_global: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A host of AWS's that is not served: why, and the protocol in which its clients expect to be told."""

    sentence: str
    protocol: str = "rest-json"


def resolve(host: str) -> Target | Refusal | None:
    """The target of a host name; a refusal when it is AWS's and not served; None when it is not AWS's."""
    host = host.lower().rstrip(".")
    for suffix, partition in _OTHER_PARTITIONS.items():
        if host.endswith(suffix):
            return Refusal(f"{host} belongs to {partition}; the local clouds serve AWS's commercial regions only.")
    for suffix in _DNS_SUFFIXES:
        if host.endswith(suffix):
            return _resolve(host.removesuffix(suffix))
    if host == "on.aws" or host.endswith((".on.aws", ".aws.amazon.com", ".aws.dev")):
        return Refusal(f"The local clouds do not serve {host}; see docs/fidelity.md.")
    return None


@lru_cache(maxsize=1024)
def _resolve(name: str) -> Target | Refusal:
    """Resolves a host name without its DNS suffix."""
    if registry := _REGISTRY.fullmatch(name):
        region = registry["region"]
        return in_region(Target(REGISTRY, region))
    if s3 := _S3.fullmatch(name):
        region = s3["legacy"] or s3["region"] or GLOBAL_REGION
        is_global = not (s3["legacy"] or s3["region"])
        return in_region(Target("s3", region, s3["bucket"] or "", is_global))
    if feature := _S3_FEATURES.fullmatch(name):
        return Refusal(not_served(_S3_FEATURE_NAMES[feature["prefix"]]), "rest-xml")
    if name == "queue" or name.endswith(".queue"):
        # The hosts that SQS began with, which the command line still uses.
        return in_region(Target("sqs", name.removesuffix("queue").rstrip(".") or GLOBAL_REGION))
    labels = name.replace("-fips", "").removeprefix("streaming-").split(".")
    if labels[-1] == "global" or name in ("sts", "iam", "iam-fips"):
        prefix, region, is_global = labels[0], GLOBAL_REGION, True
    elif len(labels) > 1:
        prefix, region, is_global = ".".join(labels[:-1]), labels[-1], False
    else:
        prefix, region, is_global = labels[0], GLOBAL_REGION, True
    service = PREFIXES.get(prefix)
    if service is None or (is_global and service not in ("iam", "sts")):
        full_name, protocol = describe(prefix if is_global or _is_region_like(region) else ".".join(labels))
        return Refusal(not_served(full_name), protocol)
    return in_region(Target(service, region, is_global=is_global))


def in_region(target: Target) -> Target | Refusal:
    """The target, unless its region is none of AWS's."""
    if why := unknown_region(target.region):
        return Refusal(
            why, {"s3": "rest-xml", "iam": "query", "sts": "query", "sns": "query"}.get(target.service, "json")
        )
    return target


def not_served(what: str) -> str:
    """The sentence that refuses a service or feature."""
    return f"The local clouds do not serve {what} yet; see docs/fidelity.md."


def _is_region_like(name: str) -> bool:
    return bool(re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-\d+", name))


def unknown_region(region: str) -> str:
    """Why ``region`` is refused, or ``""`` when it is a region of the partition ``aws``."""
    if region in regions():
        return ""
    if region.startswith("us-gov"):
        return f"{region} is a region of AWS GovCloud; the local clouds serve the commercial regions of AWS only."
    if region.startswith("cn-"):
        return f"{region} is a region of AWS China; the local clouds serve the commercial regions of AWS only."
    return f"{region!r} is no AWS region; name one that exists, such as us-east-1 or eu-west-1."


@lru_cache(maxsize=1)
def regions() -> frozenset[str]:
    """The regions of the partition ``aws``, as botocore knows them."""
    partitions = json.loads((_data() / "partitions.json").read_text(encoding="utf-8"))["partitions"]
    return frozenset(next(each["regions"] for each in partitions if each["id"] == "aws")) - {"aws-global"}


@lru_cache(maxsize=256)
def describe(prefix: str) -> tuple[str, str]:
    """A service's name for people (``Amazon Bedrock Runtime``) and its protocol, by the first part of its host name.

    Read from the head of botocore's model without loading it; a prefix that botocore does not know stands for itself.
    """
    for folder in (_FOLDERS.get(prefix, prefix), prefix.split(".")[-1], prefix.split(".")[0]):
        for model in sorted((_data() / folder).glob("*/service-2.json*"), reverse=True):
            opener = gzip.open if model.suffix == ".gz" else open
            with opener(model, "rt", encoding="utf-8") as file:
                head = file.read(4096)
            found = dict(re.findall(r'"(serviceFullName|protocol)"\s*:\s*"([^"]+)"', head))
            if "serviceFullName" in found:
                return found["serviceFullName"], found.get("protocol", "rest-json")
    return prefix, "rest-json"


@lru_cache(maxsize=1)
def _data() -> Path:
    spec = find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("The package botocore is not installed; run `make lab` again.")
    return Path(spec.submodule_search_locations[0]) / "data"
