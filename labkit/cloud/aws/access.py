"""Who may do what: the policies that apply to a caller, decided, in AWS's words.

https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import moto_base, policy_keys, policy_request_keys
from labkit.cloud.aws.policy_document import Document, Malformed, parse
from labkit.cloud.aws.policy_evaluation import Outcome, Policies, Principal, Question, Source, decide
from labkit.cloud.engine.access import ALLOWED, Caller, Decision
from labkit.cloud.engine.errors import Unsupported

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud
    from labkit.cloud.aws.identity import Key

#: What everybody with a credential may do, whatever policies say.
#: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
ALWAYS = frozenset(("sts:GetCallerIdentity", "sts:GetSessionToken", "sts:GetAccessKeyInfo"))
#: Actions that a role's trust policy has to allow.
OF_TRUST = frozenset(("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"))
_KINDS = {
    "identity": "identity-based policy",
    "boundary": "permissions boundary",
    "session": "session policy",
    "resource": "resource-based policy",
    "trust": "role trust policy",
}
_INVALID_TOKEN = Decision(False, "The security token included in the request is invalid", "InvalidClientTokenId")


@dataclass(frozen=True, slots=True)
class Standing:
    """A caller with all that their own policies say, and the condition keys that tell who they are."""

    principal: Principal
    policies: Policies
    keys: Mapping[str, Any]


class Permissions:
    """AWS's model of permissions: a :class:`labkit.cloud.engine.access.Model`."""

    def __init__(self, cloud: AwsCloud) -> None:
        self._cloud = cloud

    def decide(self, caller: Caller, action: str, resource: str, context: Mapping[str, Any]) -> Decision:
        key = self._cloud.identities.find(caller.credential)
        if key is None:
            return Decision(False, f"User: {caller.principal} is not authorized to perform: {action}")
        if action in ALWAYS:
            return ALLOWED if not (key.token and action == "sts:GetSessionToken") else _denied_session(action)
        if refused := _of_session(key, action):
            return refused
        standing = self._cloud.identities.standing(key)
        outcome = self.outcome(standing, caller, action, resource, context)
        return ALLOWED if outcome.allowed else Decision(False, message(key.principal, action, resource, outcome))

    def outcome(
        self, standing: Standing, caller: Caller, action: str, resource: str, context: Mapping[str, Any]
    ) -> Outcome:
        """What the policies say together; raises :class:`Unsupported` for what is not evaluated."""
        service = action.partition(":")[0]
        keys = policy_keys.Keys(
            service,
            standing.keys,
            context,
            {"aws:requestedregion": caller.region, **policy_keys.of_time(self._cloud.engine.clock.now())},
            own=getattr(policy_request_keys.module_of(service), "CONDITION_KEYS", frozenset()),
        )
        own, policies = standing.policies, standing.policies
        source = self.resource_policy(action, resource)
        if source:
            policies = Policies(own.identity, own.boundary, own.session, source, required=source.kind == "trust")
        return decide(Question(standing.principal, action, resource, keys.value), policies)

    def resource_policy(self, action: str, arn: str) -> Source | None:
        """The policy on the resource that an action is about: a role's trust policy, a bucket's policy, ..."""
        if action in OF_TRUST:
            role = self._cloud.identities.role(arn)
            text = role.assume_role_policy_document if role else None
            return Source("trust", arn, read(text, arn) if text else Document((), True), "Trust Policy")
        if not arn.startswith("arn:"):
            return None
        service = arn.split(":")[2]
        if service == "s3":
            text = _bucket_policy(arn)
        elif service == "iam":
            return None
        else:
            finder = getattr(policy_request_keys.module_of(service), "resource_policy", None)
            text = finder(self._cloud, arn) if finder else None
        return Source("resource", arn, read(text, arn), "Resource Policy") if text else None


def read(text: str, name: str) -> Document:
    """A policy that is in force; raises :class:`Unsupported` where it cannot be read: it must not be left out."""
    try:
        return parse(text)
    except Malformed as error:
        raise Unsupported(f"The local clouds cannot evaluate the policy {name}: {error}") from None


def _bucket_policy(arn: str) -> str | None:
    if not moto_base.loaded("s3"):
        return None
    found = moto_base.backend("s3").buckets.get(arn.split(":", 5)[5].partition("/")[0])
    policy = getattr(found, "policy", None)
    return policy.decode() if isinstance(policy, bytes) else policy


def _of_session(key: Key, action: str) -> Decision | None:
    """What temporary credentials of users cannot be used for, whatever their policies say.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_sts-comparison.html
    """
    if not key.token or ":assumed-role/" in key.principal:
        return None
    if action.startswith("iam:") and action != "iam:PassRole":
        return _INVALID_TOKEN
    if action.startswith("sts:") and (action != "sts:AssumeRole" or ":federated-user/" in key.principal):
        return _denied_session(action)
    return None


def _denied_session(action: str) -> Decision:
    return Decision(False, f"Cannot call {action.partition(':')[2]} with session credentials", "AccessDenied")


def message(principal: str, action: str, resource: str, outcome: Outcome) -> str:
    """The sentence with which AWS refuses."""
    kind = _KINDS[outcome.kind or "identity"]
    quote = '"' if action.startswith("s3:") else ""
    on = f" on resource: {quote}{resource}{quote}" if resource != "*" else ""
    if outcome.explicit:
        article = "the" if outcome.kind == "trust" else "an" if kind[0] in "aeiou" else "a"
        why = f"with an explicit deny in {article} {kind}"
    else:
        why = f"because no {kind} allows the {action} action"
    return f"User: {principal} is not authorized to perform: {action}{on} {why}"


# -- a caller's own policies ---------------------------------------------------------------------------------------

_ADMINISTRATOR = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


def first_standing(key: Key, account: str) -> Standing:
    """The learner's, as long as IAM's records have not been needed: an administrator's."""
    source = Source("identity", "AdministratorAccess", parse(_ADMINISTRATOR))
    return Standing(Principal(key.principal, key.issuer, account, "user"), Policies((source,)), {})


def standing_of(records: Any, key: Key, account: str) -> Standing:
    """A caller's policies as IAM's records have them now; called with IAM's lock held."""
    kind = key.kind
    holder = holder_of(records, key.issuer)
    identity = identity_policies(records, holder) if holder is not None else []
    boundary = getattr(holder, "permissions_boundary_arn", None)
    session: list[Source] | None = None
    if key.policy or key.policy_arns or kind == "federated":
        session = [Source("session", "SessionPolicy", read(key.policy, "of the session"))] if key.policy else []
        session += [managed(records, arn, "session") for arn in key.policy_arns]
    policies = Policies(identity, [managed(records, boundary, "boundary")] if boundary else None, session)
    principal = Principal(key.principal, key.issuer, account, kind)
    return Standing(principal, policies, _keys_of(records, key, holder, account))


def holder_of(records: Any, arn: str) -> Any | None:
    """moto's record of the user or role with an ARN."""
    kept = records.roles if ":role/" in arn else records.users
    return next((each for each in kept.values() if each.arn == arn), None)


def role_named(records: Any, name: str | None) -> Any | None:
    """moto's record of a role, which it keeps by id."""
    return next((each for each in records.roles.values() if each.name == name), None)


def identity_policies(records: Any, holder: Any) -> list[Source]:
    """The policies of a user (their groups' included), a role or a group, inline and managed."""
    kind = type(holder).__name__.lower()
    found = [
        Source("identity", f"{kind}_{holder.name}_{name}", read(text, name), f"{kind} inline")
        for name, text in holder.policies.items()
    ]
    found += [managed(records, arn, "identity") for arn in holder.managed_policies]
    if kind == "user":
        for group in records.groups.values():
            if holder in group.users:
                found += identity_policies(records, group)
    return found


def managed(records: Any, arn: str, kind: Any) -> Source:
    """A managed policy's default version, as a policy of ``kind``."""
    policy = records.managed_policies.get(arn)
    if policy is None:
        return Source(kind, arn, Document((), True))
    text = next(each.document for each in policy.versions if each.version_id == policy.default_version_id)
    return Source(kind, arn, read(text if isinstance(text, str) else json.dumps(text), arn), "managed")


def tags_of_record(records: Any, holder: Any) -> dict[str, str]:
    """The tags of a user, a role or a policy."""
    tags = getattr(holder, "tags", None)
    if tags is None:
        tags = records.tagger.list_tags_for_resource(holder.arn)["Tags"]
    listed = tags.values() if isinstance(tags, dict) else tags
    return {each["Key"]: each["Value"] for each in listed}


def _keys_of(records: Any, key: Key, holder: Any, account: str) -> dict[str, Any]:
    kind = key.kind
    types = {"user": "User", "role": "AssumedRole", "federated": "FederatedUser"}
    keys: dict[str, Any] = {
        "aws:principalarn": key.issuer if kind != "federated" else key.principal,
        "aws:principalaccount": account,
        "aws:principaltype": types[kind],
        "aws:principalisawsservice": "false",
        "aws:viaawsservice": "false",
        "aws:userid": key.user_id or getattr(holder, "id", ""),
    }
    if kind == "user":
        keys["aws:username"] = re.sub(r".*/", "", key.issuer)
    if key.token:
        keys["aws:multifactorauthpresent"] = "false"
        keys["aws:tokenissuetime"] = f"{key.issued:%Y-%m-%dT%H:%M:%SZ}" if key.issued else None
    tags = tags_of_record(records, holder) if holder is not None and kind != "federated" else {}
    for name, value in (tags | dict(key.tags)).items():
        keys[f"aws:principaltag/{name.lower()}"] = value
    return keys
