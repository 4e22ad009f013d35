"""The environment of a container that SageMaker runs: AWS's variables, the customer's, and the way to the clouds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cloud.aws.front import CREDENTIALS_PATH

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud

#: Where the proxy variables of an isolated container lead: nothing listens on this port.
_NOWHERE = "http://127.0.0.1:9"
#: Variables of the local clouds' clients that are the learner's own: a container runs as its role.
_LEARNERS = frozenset(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "LABKIT_STATE"))


def environment(
    cloud: AwsCloud, region: str, scratch: Path, token: str, given: Mapping[str, str], *, isolated: bool = False
) -> dict[str, str]:
    """The whole environment. ``token`` gives the role's credentials; an ``isolated`` container reaches nothing."""
    clients = {name: value for name, value in cloud.clients().items() if name not in _LEARNERS}
    gateway = clients.get("HTTPS_PROXY", _NOWHERE)
    if isolated:
        clients |= {name: _NOWHERE for name in clients if name.upper() in ("HTTP_PROXY", "HTTPS_PROXY")}
    else:
        clients["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{gateway}{CREDENTIALS_PATH}"
        clients["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = token
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **given,
        # After the customer's own variables, so that none of them leads round the gateway.
        **clients,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }
