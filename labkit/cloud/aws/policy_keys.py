"""Condition keys: what of a request policies may ask about.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html and, for the services' own keys,
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from labkit.cloud.aws import policy_request_keys, sagemaker_conditions
from labkit.cloud.aws.policy_patterns import Unevaluated, Value

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call


def _named(prefix: str, names: str) -> frozenset[str]:
    return frozenset(f"{prefix}:{name}" for name in names.split())


#: The global keys that the local clouds give when they apply. Families end with a slash.
GLOBAL = _named(
    "aws",
    """
    calledvia calledviafirst calledvialast currenttime epochtime multifactorauthage
    multifactorauthpresent principalaccount principalarn principalisawsservice principalservicename
    principalservicenameslist principaltag/ principaltype referer requestedregion requesttag/
    resourceaccount resourcetag/ securetransport sourceaccount sourcearn sourceip tagkeys tokenissuetime
    useragent userid username viaawsservice
    """,
)
#: Global keys that no request here can have: there is no organization, no VPC, no identity provider, no EC2.
NEVER = _named(
    "aws",
    """
    ec2instancesourceprivateipv4 ec2instancesourcevpc federatedprovider principalorgid principalorgpaths
    resourceorgid resourceorgpaths sourceidentity sourceorgid sourceorgpaths sourcevpc sourcevpcarn
    sourcevpce vpceaccount vpceorgid vpceorgpaths vpcsourceip assumedroot chatbotsourcearn
    """,
)
#: Service -> the keys of its own that are given when they apply.
OF_SERVICE: dict[str, frozenset[str]] = {
    "cloudwatch": frozenset(("cloudwatch:namespace",)),
    "ecr": frozenset(("ecr:resourcetag/",)),
    "iam": frozenset(
        (
            "iam:associatedresourcearn",
            "iam:awsservicename",
            "iam:passedtoservice",
            "iam:permissionsboundary",
            "iam:policyarn",
            "iam:resourcetag/",
        )
    ),
    "lambda": frozenset(("lambda:functionarn", "lambda:principal")),
    "s3": _named(
        "s3",
        """
    accessgrantsinstancearn accesspointnetworkorigin authtype dataaccesspointaccount dataaccesspointarn
    delimiter existingobjecttag/ if-match if-none-match locationconstraint max-keys
    object-lock-legal-hold object-lock-mode object-lock-remaining-retention-days
    object-lock-retain-until-date prefix requestobjecttag/ requestobjecttagkeys resourceaccount
    signatureversion versionid x-amz-acl x-amz-content-sha256 x-amz-copy-source x-amz-grant-full-control
    x-amz-grant-read x-amz-grant-read-acp x-amz-grant-write x-amz-grant-write-acp
    x-amz-metadata-directive x-amz-server-side-encryption x-amz-server-side-encryption-aws-kms-key-id
    x-amz-server-side-encryption-customer-algorithm x-amz-storage-class x-amz-website-redirect-location
    """,
    ),
    "sagemaker": sagemaker_conditions.KEYS,
    "sts": frozenset(("sts:durationseconds", "sts:externalid", "sts:rolesessionname", "sts:sourceidentity")),
}


def is_given(key: str, service: str, own: frozenset[str] = frozenset()) -> bool:
    """Whether a key that a request does not have is really missing from it, and not only unknown to the kit.

    ``service`` is the action's prefix: a key of another service is in none of its requests.
    """
    prefix = key.partition(":")[0]
    if prefix == "aws":
        return key in NEVER or _listed(key, GLOBAL)
    if prefix != service:
        return True
    return _listed(key, OF_SERVICE.get(service, frozenset()) | own)


def _listed(key: str, names: frozenset[str]) -> bool:
    return key in names or f"{key.partition('/')[0]}/" in names


class Keys:
    """The condition keys of one question: those of who asks, of the request, of the need itself."""

    def __init__(self, service: str, *layers: Mapping[str, Any], own: frozenset[str] = frozenset()) -> None:
        self._service = service
        self._layers = layers
        self._own = own

    def value(self, key: str) -> Value:
        """A key's value, None if the request does not have it, :class:`Unevaluated` if the kit does not know."""
        name = key.lower()
        for layer in self._layers:
            if (found := layer.get(name)) is not None:
                return found if isinstance(found, (str, Unevaluated)) else [str(each) for each in found]
        if is_given(name, self._service, self._own):
            return None
        return Unevaluated(f"the condition key {key}")


def of_time(now: datetime) -> dict[str, str]:
    """The keys that tell the time, which is the lab's."""
    return {"aws:currenttime": f"{now:%Y-%m-%dT%H:%M:%SZ}", "aws:epochtime": str(int(now.timestamp()))}


class OfCall(Mapping[str, Any]):
    """The condition keys of a call, found when a policy first asks for one."""

    def __init__(self, call: Call, parameters: Mapping[str, Any], resource: str, given: Mapping[str, Any]) -> None:
        self._call, self._parameters, self._resource, self._given = call, parameters, resource, given

    @cached_property
    def _found(self) -> dict[str, Any]:
        call, request = self._call, self._call.request
        found: dict[str, Any] = {
            "aws:securetransport": str(request.secure).lower(),
            "aws:resourceaccount": call.account,
            "aws:useragent": request.headers.get("user-agent") or None,
            "aws:referer": request.headers.get("referer") or None,
        }
        if request.target != "/" or request.host or request.headers.get("authorization"):
            found["aws:sourceip"] = policy_request_keys.ADDRESS
        found |= policy_request_keys.tags(call, self._parameters, self._resource)
        found |= policy_request_keys.of_service(call, self._parameters, dict(parse_qsl(request.query)))
        found |= {name.lower(): value for name, value in self._given.items()}
        return {name: value for name, value in found.items() if value is not None}

    def __getitem__(self, key: str) -> Any:
        return self._found[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __bool__(self) -> bool:
        return True
