"""Policies that let an AWS service in: a role's trust policy, a policy on a queue or a function.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
"""

from __future__ import annotations

from collections.abc import Mapping

from labkit.cloud.aws import access, policy_keys
from labkit.cloud.aws.policy_evaluation import Policies, Principal, Question, Source, decide
from labkit.cloud.aws.policy_patterns import like

__all__ = ["allows", "like"]


def allows(
    document: str,
    action: str,
    context: Mapping[str, str],
    *,
    service: str,
    resource: str = "*",
) -> bool:
    """Whether a policy lets an AWS service (``sagemaker.amazonaws.com``) do ``action`` (``sts:AssumeRole``).

    ``context`` holds the condition keys of the request. Raises :class:`~labkit.cloud.engine.errors.Unsupported` for
    what is not evaluated here.
    """
    layer = {"aws:principalisawsservice": "true", "aws:principalservicename": service}
    layer |= {key.lower(): value for key, value in context.items()}
    keys = policy_keys.Keys(action.partition(":")[0], layer)
    principal = Principal("", "", "", "service", service)
    source = Source("trust", "trust", access.read(document, f"that lets {service} in"))
    return decide(Question(principal, action, resource, keys.value), Policies(resource=source, required=True)).allowed
