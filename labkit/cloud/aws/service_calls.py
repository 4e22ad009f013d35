"""Calls that a service makes for a customer: as a role that trusts it, or by leave of the resource's own policy.

They take the way that every call takes: permission, validation, the operation, the audit trail.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import errors, protocols, trust, validate
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.hosts import Target
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.http import Headers, Request

if TYPE_CHECKING:
    from labkit.cloud.aws.identity import Key
    from labkit.cloud.aws.place import Place

_log = logging.getLogger(__name__)


def assume(place: Place, role_arn: str, service: str, session_name: str, source_arn: str = "") -> Key:
    """A session of a role for ``service`` (``events.amazonaws.com``); raises ``AccessDenied`` where it may not."""
    identities = place.cloud.identities
    role = identities.role(role_arn)
    context = {"aws:SourceArn": source_arn} if source_arn else {}
    if role is None or not identities.does_trust(role, service, context):
        message = f"{service} is not authorized to assume the role {role_arn}: it is missing, or does not trust it."
        raise AwsError("AccessDenied", message, 403)
    return identities.assume(role, session_name)


def perform(
    place: Place, key: Key, service: str, operation: str, parameters: dict[str, Any], client: str
) -> Mapping[str, Any]:
    """One operation of a service, called with ``key``; raises :class:`AwsError`. ``client`` is who calls with it."""
    from labkit.cloud.aws.front import Call, own

    request = Request("POST", "", "/", Headers([("User-Agent", client)]))
    call = Call(place.cloud, request, str(uuid.uuid4()), Target(service, place.region), operation=operation)
    call._key = key
    call._caller = Caller("aws", key.principal, place.account, place.region, key.access_key)
    module, model = own(service), protocols.model_of(service).operation_model(operation)
    call.parameters = protocols.redacted(protocols.Operation(service, operation, "json", model, {}), parameters)
    try:
        place.cloud.authorize(call, parameters)
        function = module.OPERATIONS.get(operation)
        if function is None:
            raise errors.refusal(service, operation)
        if model.input_shape is not None:
            validate.check(service, model.input_shape, parameters)
        result: Mapping[str, Any] = function(call, parameters) or {}
    except CloudError as error:
        failure = errors.of_engine(error, service)
    except Exception as error:
        _log.exception("%s:%s failed", service, operation)
        failure = errors.refusal(service, operation, f"The local clouds could not serve {service}:{operation}: {error}")
    else:
        place.cloud.record(call, 200)
        return result
    place.cloud.record(call, failure.status, failure)
    raise failure


def authorize(place: Place, key: Key, action: str, resource: str) -> None:
    """Raises :class:`labkit.cloud.engine.errors.Denied` unless ``key`` may do ``action`` on ``resource``."""
    caller = Caller("aws", key.principal, place.account, place.region, key.access_key)
    place.engine.access.authorize(caller, action, resource)


def may(policy: str | None, service: str, action: str, resource: str, source_arn: str, account: str) -> bool:
    """Whether a resource's policy lets a service (``sns.amazonaws.com``) do ``action`` for ``source_arn``.

    Without a policy nobody but the account's own principals may.
    """
    if not policy:
        return False
    context = {"aws:SourceArn": source_arn, "aws:SourceAccount": account}
    return trust.allows(policy, action, context, service=service, resource=resource)
