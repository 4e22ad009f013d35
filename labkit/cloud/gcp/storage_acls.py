"""Access control lists: buckets where roles alone decide have none, and those of others refuse.

https://cloud.google.com/storage/docs/uniform-bucket-level-access
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from labkit.cloud.gcp.storage_errors import invalid

if TYPE_CHECKING:
    from labkit.cloud.gcp.storage import StorageCall

_BUCKET = "/storage/v1/b/(?P<bucket>[^/]+)"
_PATH = re.compile(f"{_BUCKET}(?P<name>/o/[^/]+)?/(acl|(?P<default>defaultObjectAcl))(/[^/]+)?")


def check_path(call: StorageCall, path: str) -> None:
    """As :func:`check`, where a path is that of a list."""
    if found := _PATH.fullmatch(path):
        check(call, unquote(found["bucket"]), "object" if found["name"] or found["default"] else "bucket")


def check(call: StorageCall, name: str, what: str) -> None:
    """Raises where roles alone decide in the bucket ``name``; ``what`` is whose list it is: an object's, a bucket's."""
    bucket = call.buckets.find(name)
    access = bucket.properties.get("iamConfiguration") if bucket else None
    if isinstance(access, dict) and access.get("uniformBucketLevelAccess", {}).get("enabled"):
        verb = {"GET": "get", "DELETE": "delete"}.get(call.request.method, "insert")
        raise invalid(
            f"Cannot {verb} legacy ACL for {'an' if what == 'object' else 'a'} {what} when uniform bucket-level access "
            "is enabled. Read more at https://cloud.google.com/storage/docs/uniform-bucket-level-access"
        )
