"""Acting as a role: what an AWS service does for a customer, it does as the role that it was passed.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-service.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.engine.access import Caller

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud


def act_as(
    cloud: AwsCloud, role_arn: str, service: str, session_name: str, *, region: str, source_arn: str = ""
) -> Caller:
    """A session of a role for ``service`` (``sagemaker.amazonaws.com``), to authorize what it does with.

    Raises :class:`AwsError` ``AccessDenied`` where the role is missing or does not trust the service.
    """
    identities = cloud.identities
    role = identities.role(role_arn)
    context = {"aws:SourceArn": source_arn} if source_arn else {}
    if role is None or not identities.does_trust(role, service, context):
        message = f"{service} is not authorized to assume the role {role_arn}: it is missing, or does not trust it."
        raise AwsError("AccessDenied", message, 403)
    key = identities.assume(role, session_name)
    return Caller("aws", key.principal, identities.account, region, key.access_key)
