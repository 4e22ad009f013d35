"""The variables with which AWS's clients find their region and the lab's learner."""

from __future__ import annotations

from typing import Protocol

from labkit.cloud.aws.hosts import GLOBAL_REGION


class LearnersKeys(Protocol):
    """What is asked of the lab: the learner's access key."""

    access_key_id: str
    secret_access_key: str


def environment(lab: LearnersKeys) -> dict[str, str]:
    """The variables of a lab, whether or not its clouds run.

    boto3 and the AWS CLI read the region from ``AWS_DEFAULT_REGION``, the other SDKs from ``AWS_REGION``.
    """
    return {
        "AWS_ACCESS_KEY_ID": lab.access_key_id,
        "AWS_SECRET_ACCESS_KEY": lab.secret_access_key,
        "AWS_DEFAULT_REGION": GLOBAL_REGION,
        "AWS_REGION": GLOBAL_REGION,
    }
