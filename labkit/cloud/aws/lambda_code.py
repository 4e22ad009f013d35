"""A function's code: the zip archive that CreateFunction was given or found in S3, unpacked into the function's folder.

https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
"""

from __future__ import annotations

import hashlib
import io
import shutil
import stat
import uuid
import zipfile
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import storage
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.engine.errors import CloudError

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: Bytes of an archive in a request, and of all that comes out of one.
LARGEST_ARCHIVE = 50 * 1024 * 1024
LARGEST_CODE = 262_144_000
MOST_FILES = 20_000


@dataclass(frozen=True, slots=True)
class Code:
    """Unpacked code: ``size`` bytes and ``sha256`` (base64) are the archive's."""

    folder: Path
    size: int
    sha256: str


def archive_of(call: Call, code: Mapping[str, Any]) -> bytes:
    """The archive that a request holds or names; raises :class:`AwsError`."""
    if "ImageUri" in code:
        raise part_of(call, "container images (ImageUri)")
    if "SourceKMSKeyArn" in code or code.get("S3ObjectStorageMode", "COPY") != "COPY":
        raise part_of(call, "SourceKMSKeyArn and S3ObjectStorageMode")
    if "ZipFile" in code:
        if "S3Bucket" in code or "S3Key" in code:
            message = "Please do not provide other FunctionCode parameters when providing a ZipFile."
            raise AwsError("InvalidParameterValueException", message)
        archive = bytes(code["ZipFile"])
        if len(archive) > LARGEST_ARCHIVE:
            message = f"Request must be smaller than {LARGEST_ARCHIVE} bytes for the {call.operation} operation"
            raise AwsError("RequestEntityTooLargeException", message, 413)
        return archive
    if "S3Bucket" not in code or "S3Key" not in code:
        raise AwsError("InvalidParameterValueException", "Please provide a source for function code.")
    return _from_s3(call, code["S3Bucket"], code["S3Key"], code.get("S3ObjectVersion"))


def _from_s3(call: Call, bucket: str, key: str, version: str | None) -> bytes:
    action, resource = f"s3:GetObject{'Version' if version else ''}", f"arn:aws:s3:::{bucket}/{key}"
    try:
        call.engine.access.authorize(call.caller, action, resource)
    except CloudError:
        message = "Your access has been denied by S3, please make sure your request credentials have permission to "
        message += f"GetObject for {bucket}/{key}. S3 Error Code: AccessDenied. S3 Error Message: Access Denied"
        raise AwsError("AccessDeniedException", message, 403) from None
    try:
        region = storage.bucket_region(bucket)
        if region is not None and region != call.region:
            why = f"The bucket is in this region: {region}. Please use this region to retry the request"
            raise AwsError("PermanentRedirect", why)
        return storage.read_object(bucket, key, version)
    except AwsError as error:
        message = (
            f"Error occurred while GetObject. S3 Error Code: {error.code}. S3 Error Message: {error.message}".rstrip()
        )
        raise AwsError("InvalidParameterValueException", message) from None


def unpack(call: Call, archive: bytes) -> Code:
    """Unpacks an archive into a new folder; raises :class:`AwsError`, the folder then gone."""
    folder = call.engine.folder / "lambda" / uuid.uuid4().hex
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            _extract(file, folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)
        message = "Could not unzip uploaded file. Please check your file, then try to upload again."
        raise AwsError("InvalidParameterValueException", message) from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Code(folder, len(archive), b64encode(hashlib.sha256(archive).digest()).decode())


def _extract(file: zipfile.ZipFile, folder: Path) -> None:
    """Only plain files and folders below the folder, up to a size; what the archive's headers claim is not trusted."""
    entries = file.infolist()
    if not entries:
        raise AwsError("InvalidParameterValueException", "Uploaded file must be a non-empty zip")
    if len(entries) > MOST_FILES:
        message = f"The archive holds more than {MOST_FILES} files."
        raise AwsError("InvalidParameterValueException", message)
    left = LARGEST_CODE
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename:
            raise zipfile.BadZipFile(f"{entry.filename!r} leads out of the folder")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise zipfile.BadZipFile(f"{entry.filename!r} is neither file nor folder")
        target = folder / path
        if entry.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open(entry) as source, target.open("wb") as copy:
            while chunk := source.read(1024 * 1024):
                left -= len(chunk)
                if left < 0:
                    message = f"Unzipped size must be smaller than {LARGEST_CODE} bytes"
                    raise AwsError("InvalidParameterValueException", message)
                copy.write(chunk)
