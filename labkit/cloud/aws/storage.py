"""S3 as the front needs it: buckets in host names and paths, regions, and reading an object from inside the clouds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from labkit.cloud.aws import moto_base, s3_state
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.signature import Credential
from labkit.cloud.http import Request

if TYPE_CHECKING:
    from moto.core.request import Request as MotoRequest

    from labkit.cloud.aws.front import Call

#: Headers that describe how the body was sent, which is over once it has been read.
_TRANSPORT = frozenset(
    ("transfer-encoding", "expect", "x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer")
)


def path_style(call: Call) -> str:
    """The percent-encoded path with the bucket in it, wherever the client put the bucket."""
    bucket = call.target.bucket
    return f"/{bucket}{call.request.raw_path}" if bucket else call.request.raw_path


def bucket_of(call: Call) -> str:
    """The bucket that a request names, or ``""``."""
    return call.target.bucket or unquote(call.request.raw_path[1:].partition("/")[0])


def moto_request(call: Call) -> MotoRequest:
    """The request as moto takes it: path style, the body whole, the trailing checksum among the headers."""
    headers: list[tuple[str, str]] = []
    for name, value in call.request.headers.items:
        lower = name.lower()
        if lower in _TRANSPORT:
            continue
        if lower == "content-encoding":
            value = ", ".join(part for part in (p.strip() for p in value.split(",")) if part != "aws-chunked")
            if not value:
                continue
        headers.append((name, value))
    headers += call.trailers.items()
    host = f"s3.{call.region}.amazonaws.com"
    return moto_base.request_of(call.request, call.body, host, path_style(call), headers)


def is_form(request: Request) -> bool:
    """Whether a browser sends an upload, signed in the form's fields."""
    return request.method == "POST" and request.headers.get("content-type").startswith("multipart/form-data")


# -- regions -------------------------------------------------------------------------------------------------------


def bucket_region(bucket: str) -> str | None:
    """The region of an existing bucket, or None. Buckets are the whole partition's."""
    if not bucket or not moto_base.loaded("s3"):
        return None
    found = moto_base.backend("s3").buckets.get(bucket)
    return str(found.region_name) if found else None


def signing_region(call: Call, credential: Credential) -> str:
    """The region that a credential scope must name: the endpoint's, or the bucket's when the endpoint has none."""
    if call.target.is_global and (region := bucket_region(bucket_of(call))):
        return region
    return call.region


def check_region(call: Call) -> None:
    """Raises what S3 answers when a bucket is asked for at another region's endpoint."""
    bucket = bucket_of(call)
    region = bucket_region(bucket)
    if region is None or call.operation == "CreateBucket" or call.target.is_global or region == call.region:
        return
    message = (
        "The bucket you are attempting to access must be addressed using the specified endpoint. "
        "Please send all future requests to this endpoint."
    )
    endpoint = f"{bucket}.s3.{region}.amazonaws.com" if call.target.bucket else f"s3.{region}.amazonaws.com"
    error = AwsError("PermanentRedirect", message, 301, Endpoint=endpoint, Bucket=bucket)
    error.headers = [("x-amz-bucket-region", region)]
    raise error


# -- from inside the clouds ----------------------------------------------------------------------------------------


def read_object(bucket: str, key: str, version_id: str | None = None) -> bytes:
    """An object's content. Raises :class:`AwsError` with S3's codes: ``NoSuchBucket``, ``NoSuchKey``."""
    return bytes(find_object(bucket, key, version_id).value)


def find_object(bucket: str, key: str, version_id: str | None = None) -> Any:
    """moto's record of an object (``value``, ``size``, ``etag``, ``last_modified``). Raises as :func:`read_object`."""
    with moto_base.lock("s3"):
        return s3_state.find(s3_state.bucket(bucket), key, version_id)


def list_keys(bucket: str, prefix: str) -> list[str]:
    """The keys that begin with ``prefix``, in S3's order. Raises :class:`AwsError` (``NoSuchBucket``)."""
    with moto_base.lock("s3"):
        holder = s3_state.bucket(bucket)
        return [key for key in sorted(holder.keys) if key.startswith(prefix) and s3_state.latest(holder, key)]
