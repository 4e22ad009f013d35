"""S3 as a job's role sees it: every read and write is authorized as the role and stands in the audit trail."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from labkit.cloud.aws import moto_base, s3_events, s3_state, storage
from labkit.cloud.aws.errors import AwsError, of_engine
from labkit.cloud.aws.identity import Key
from labkit.cloud.aws.place import Place
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.audit import Event
from labkit.cloud.engine.errors import CloudError

R = TypeVar("R")


@dataclass(frozen=True)
class RoleStorage:
    """Objects as the session ``key`` reads and writes them for ``service`` (``sagemaker.amazonaws.com``).

    Methods raise :class:`AwsError` with S3's codes: ``AccessDenied``, ``NoSuchBucket``, ``NoSuchKey``.
    """

    place: Place
    key: Key
    service: str

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """The keys that begin with ``prefix``, in order."""
        return self._do("ListBucket", "ListObjectsV2", bucket, "", lambda: storage.list_keys(bucket, prefix))

    def read(self, bucket: str, key: str) -> bytes:
        """An object's content."""
        return self._do("GetObject", "GetObject", bucket, key, lambda: storage.read_object(bucket, key))

    def write(self, bucket: str, key: str, data: bytes) -> None:
        """Puts an object."""

        def put() -> None:
            with moto_base.lock("s3"):
                holder = s3_state.bucket(bucket)
                record = s3_state.store(holder, key, data, {"Content-Type": "binary/octet-stream"})
                change = s3_events.of_record("ObjectCreated:Put", holder, record)
            by = s3_events.By(self.place.cloud, self.place.account, self.key.user_id, secrets.token_hex(8).upper())
            s3_events.tell(by, holder, change)

        self._do("PutObject", "PutObject", bucket, key, put)

    def _do(self, action: str, operation: str, bucket: str, key: str, work: Callable[[], R]) -> R:
        place = self.place
        resource = f"arn:aws:s3:::{bucket}" + (f"/{key}" if key else "")
        caller = Caller("aws", self.key.principal, place.account, place.region, self.key.access_key)
        error: AwsError | None = None
        try:
            place.engine.access.authorize(caller, f"s3:{action}", resource)
            return work()
        except CloudError as problem:
            error = of_engine(problem, "s3")
            raise error from None
        finally:
            place.engine.audit.record(
                Event(
                    at=place.engine.clock.now(),
                    cloud="aws",
                    service="s3",
                    operation=operation,
                    caller=caller,
                    region=place.region,
                    resource=resource,
                    status=error.status if error else 200,
                    error=error.code if error else "",
                    message=error.message if error else "",
                    read_only=action != "PutObject",
                    client=self.service,
                    parameters={"bucketName": bucket, **({"key": key} if key else {})},
                )
            )
