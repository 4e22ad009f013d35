"""SageMaker's own condition keys: what of its requests policies may ask about.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: Keys with one value -> the member that has it, wherever in the request it stands.
_ONE = {
    "enableremotedebug": "EnableRemoteDebug",
    "filesystemaccessmode": "FileSystemAccessMode",
    "filesystemdirectorypath": "DirectoryPath",
    "filesystemid": "FileSystemId",
    "filesystemtype": "FileSystemType",
    "intercontainertrafficencryption": "EnableInterContainerTrafficEncryption",
    "keepaliveperiod": "KeepAlivePeriodInSeconds",
    "maxruntimeinseconds": "MaxRuntimeInSeconds",
    "modelapprovalstatus": "ModelApprovalStatus",
    "modellifecycle:stage": "Stage",
    "modellifecycle:stagestatus": "StageStatus",
    "networkisolation": "EnableNetworkIsolation",
    "outputkmskey": "KmsKeyId",
    "serverlessmaxconcurrency": "MaxConcurrency",
    "serverlessmemorysize": "MemorySizeInMB",
    "targetmodel": "TargetModel",
    "volumekmskey": "VolumeKmsKeyId",
}
#: Keys with many values -> their member.
_MANY = {
    "acceleratortypes": "AcceleratorType",
    "customermetadatapropertiestoremove": "CustomerMetadataPropertiesToRemove",
    "instancetypes": "InstanceType",
    "vpcsecuritygroupids": "SecurityGroupIds",
    "vpcsubnets": "Subnets",
}
_OTHERS = ("customermetadataproperties/", "modelarn", "resourcetag/", "taggingaction")
#: The keys that are given when they apply; families end with a slash. The others are of what is not served.
KEYS = frozenset(f"sagemaker:{name}" for name in (*_ONE, *_MANY, *_OTHERS))


def of_request(call: Call, parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys that a request has, with their values."""
    for key, member in _MANY.items():
        if values := list(dict.fromkeys(_all(parameters, member))):
            yield f"sagemaker:{key}", values
    for key, member in _ONE.items():
        for value in _all(parameters, member):
            yield f"sagemaker:{key}", str(value).lower() if isinstance(value, bool) else str(value)
            break
    for name, value in (parameters.get("CustomerMetadataProperties") or {}).items():
        yield f"sagemaker:customermetadataproperties/{name.lower()}", value
    if call.operation == "CreateEndpointConfig":
        prefix = f"arn:aws:sagemaker:{call.region}:{call.account}:model"
        models = [f"{prefix}/{name.lower()}" for name in _all(parameters, "ModelName") if isinstance(name, str)]
        if models:
            yield "sagemaker:modelarn", models


def _all(given: Any, name: str) -> Iterable[Any]:
    """The values of every member with a name, wherever in the request it stands."""
    if isinstance(given, Mapping):
        for key, value in given.items():
            if key == name:
                yield from value if isinstance(value, list) else [value]
            else:
                yield from _all(value, name)
    elif isinstance(given, list):
        for each in given:
            yield from _all(each, name)
