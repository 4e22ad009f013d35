"""Model data in S3: checked when a model is made, fetched when an endpoint is made of it.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ContainerDefinition.html (ModelDataUrl) and
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3ModelDataSource.html (ModelDataSource).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from labkit.cloud.aws import hosts, model_package, moto_base, roles, storage
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.hosts import Target
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.audit import Event
from labkit.cloud.engine.errors import CloudError

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call
    from labkit.cloud.aws.place import Place

#: Parts of S3DataSource that the kit does not serve.
_NOT_SERVED = ("HubAccessConfig", "ManifestS3Uri", "ManifestEtag", "ETag")


class DeploymentFailed(CloudError):
    """An endpoint cannot be made. The message is its FailureReason."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where model data is: one object, or all objects below a prefix; a tar.gz archive or the files as they are."""

    url: str
    bucket: str
    key: str
    is_prefix: bool = False
    is_archive: bool = True


def source_of(container: Mapping[str, Any]) -> Source | None:
    """The model data that a container's definition names; raises :class:`AwsError` when it cannot be served."""
    url, given = container.get("ModelDataUrl"), container.get("ModelDataSource")
    if url is not None and given is not None:
        raise AwsError("ValidationException", "Use ModelDataUrl or ModelDataSource, not both.")
    if url is not None:
        return Source(url, *parse(url))
    if given is None:
        return None
    data = given.get("S3DataSource")
    if data is None:
        raise AwsError("ValidationException", "ModelDataSource is empty: give its S3DataSource.")
    url, is_prefix, is_archive = data["S3Uri"], data["S3DataType"] == "S3Prefix", data["CompressionType"] == "Gzip"
    if is_prefix and is_archive:
        raise AwsError("ValidationException", "CompressionType Gzip needs S3DataType S3Object: it is one archive.")
    bucket, key = parse(url)
    if is_prefix and not url.endswith("/"):
        raise AwsError("ValidationException", f"S3Uri {url} names a prefix, so it has to end with a slash (/).")
    return Source(url, bucket, key, is_prefix, is_archive)


def parse(url: str) -> tuple[str, str]:
    """The bucket and key of ``s3://bucket/key`` or of an S3 web address; raises :class:`AwsError` for any other."""
    parts = urlsplit(url)
    if parts.scheme == "s3":
        # Split by hand: a key may hold a question mark or a hash sign.
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return bucket, key
    target = hosts.resolve(parts.hostname or "")
    if not isinstance(target, Target) or target.service != "s3":
        raise AwsError("ValidationException", f"{url} is no location in S3: write s3://bucket/key.")
    path = unquote(parts.path).lstrip("/")
    if target.bucket:
        return target.bucket, path
    bucket, _, key = path.partition("/")
    return bucket, key


def described(container: Mapping[str, Any]) -> dict[str, Any]:
    """What DescribeModel shows of the model data beside the definition: ModelDataUrl as a ModelDataSource."""
    url = container.get("ModelDataUrl")
    if url is None:
        return {}
    data = {"S3Uri": url, "S3DataType": "S3Object", "CompressionType": "Gzip"}
    return {"ModelDataSource": {"S3DataSource": data}}


def check(call: Call, container: Mapping[str, Any], role: str) -> None:
    """Raises what CreateModel answers when the model data is missing, elsewhere or not the role's to read."""
    for name in _NOT_SERVED:
        if name in container.get("ModelDataSource", {}).get("S3DataSource", {}):
            raise part_of(call, f"{name} of a model data source")
    source = source_of(container)
    if source is None:
        return
    region = storage.bucket_region(source.bucket)
    if region is not None and region != call.region:
        raise _inaccessible(call, source, role)
    try:
        if source.is_prefix:
            _authorize(call, role, "s3:ListBucket", f"arn:aws:s3:::{source.bucket}")
            found = bool(storage.list_keys(source.bucket, source.key))
        else:
            _authorize(call, role, "s3:GetObject", f"arn:aws:s3:::{source.bucket}/{source.key}")
            with moto_base.lock("s3"):
                found = storage.find_object(source.bucket, source.key) is not None
    except AwsError:
        found = False
    except CloudError:
        raise _inaccessible(call, source, role) from None
    if not found:
        raise AwsError("ValidationException", f"Could not find model data at {source.url}.")


def fetch(call: Call | Place, source: Source, role: str, folder: Path, limit: int) -> None:
    """Lays the model data out in ``folder``; raises :class:`DeploymentFailed`. ``limit`` in bytes."""
    try:
        if source.is_prefix:
            model_package.lay_out(_below(call, source, role), folder, limit)
        elif not source.is_archive:
            name = source.key.rpartition("/")[2]
            model_package.lay_out([(name, _read(call, role, source.bucket, source.key))], folder, limit)
        else:
            archive = io.BytesIO(_read(call, role, source.bucket, source.key))
            try:
                model_package.unpack(archive, folder, limit)
            except model_package.PackageError as error:
                raise DeploymentFailed(
                    f'Failed to extract model data archive for container "container_1" from URL "{source.url}". '
                    f"Please ensure that the object located at the URL is a valid tar.gz archive. {error}"
                ) from None
    except DeploymentFailed:
        raise
    except CloudError:
        raise DeploymentFailed(_download_failed(source)) from None
    except model_package.PackageError as error:
        raise DeploymentFailed(f"{_download_failed(source)} {error}") from None


def _download_failed(source: Source) -> str:
    return (
        f'Failed to download model data for container "container_1" from URL: "{source.url}". Please ensure that '
        "there is an object located at the URL and that the role passed to CreateModel has permissions to download "
        "the object."
    )


def _below(call: Call | Place, source: Source, role: str) -> Iterator[tuple[str, bytes]]:
    _authorize(call, role, "s3:ListBucket", f"arn:aws:s3:::{source.bucket}")
    for key in storage.list_keys(source.bucket, source.key):
        if key != source.key:
            yield key.removeprefix(source.key), _read(call, role, source.bucket, key)


def _read(call: Call | Place, role: str, bucket: str, key: str) -> bytes:
    """An object as the execution role reads it, the read in the audit trail."""
    resource = f"arn:aws:s3:::{bucket}/{key}"
    caller = _authorize(call, role, "s3:GetObject", resource)
    error, status = "", 200
    try:
        return storage.read_object(bucket, key)
    except AwsError as missing:
        error, status = missing.code, missing.status
        raise
    finally:
        call.engine.audit.record(
            Event(
                at=call.engine.clock.now(),
                cloud="aws",
                service="s3",
                operation="GetObject",
                caller=caller,
                region=call.region,
                resource=resource,
                status=status,
                error=error,
                client="sagemaker.amazonaws.com",
                parameters={"bucketName": bucket, "key": key},
            )
        )


def _authorize(call: Call | Place, role: str, action: str, resource: str) -> Caller:
    caller = roles.act_as(call.cloud, role, "sagemaker.amazonaws.com", "SageMaker", region=call.region)
    return call.engine.access.authorize(caller, action, resource)


def _inaccessible(call: Call, source: Source, role: str) -> AwsError:
    return AwsError(
        "ValidationException",
        f'Could not access model data at {source.url}. Please ensure that the role "{role}" exists and that its trust '
        'relationship policy allows the action "sts:AssumeRole" for the service principal "sagemaker.amazonaws.com". '
        f'Also ensure that the role has "s3:GetObject" permissions and that the object is located in {call.region}. '
        "If your Model uses multiple models or uncompressed models, please ensure that the role has "
        '"s3:ListBucket" permission.',
    )
