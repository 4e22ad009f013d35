"""Amazon ECR: repositories are moto's records; the registry itself holds no images.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

SERVICE = "ecr"

#: How long a token for Docker is good.
TOKEN_LIFE = timedelta(hours=12)


def get_authorization_token(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    registries = parameters.get("registryIds") or [call.account]
    return {
        "authorizationData": [
            {
                "authorizationToken": b64encode(f"AWS:{secrets.token_urlsafe(96)}".encode()).decode(),
                "expiresAt": datetime.now(UTC) + TOKEN_LIFE,
                "proxyEndpoint": f"https://{registry}.dkr.ecr.{call.region}.amazonaws.com",
            }
            for registry in registries
        ]
    }


OPERATIONS = {"GetAuthorizationToken": get_authorization_token}
SHAPE_ONLY = frozenset(("GetAuthorizationToken",))
NOTES = {"GetAuthorizationToken": "the registry that it is for takes and gives no images"}
