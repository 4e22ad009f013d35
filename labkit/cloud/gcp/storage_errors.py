"""Cloud Storage's errors, in the JSON API's shape and the XML API's.

https://cloud.google.com/storage/docs/json_api/v1/status-codes, https://cloud.google.com/storage/docs/xml-api/reference-status
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from labkit.cloud.gcp import errors
from labkit.cloud.http import Response

_GRPC = {status: code for code, (_, status) in reversed(list(errors.CODES.items()))}

#: Reason -> the XML API's code.
_XML_CODES = {
    "notFound": "NoSuchKey",
    "noSuchBucket": "NoSuchBucket",
    "conditionNotMet": "PreconditionFailed",
    "required": "AccessDenied",
    "authError": "AuthenticationRequired",
    "requestedRangeNotSatisfiable": "InvalidRange",
    "notImplemented": "NotImplemented",
    "forbidden": "AccessDenied",
    "signatureDoesNotMatch": "SignatureDoesNotMatch",
    "expiredToken": "ExpiredToken",
    "malformedSecurityHeader": "MalformedSecurityHeader",
}
#: The XML API's code -> its sentence, where what was wrong is a detail beside it.
_XML_MESSAGES = {
    "NoSuchKey": "The specified key does not exist.",
    "AccessDenied": "Access denied.",
    "SignatureDoesNotMatch": "Access denied.",
    "ExpiredToken": "The provided token has expired.",
    "MalformedSecurityHeader": "Your request has a malformed header.",
}


class StorageError(errors.GcpError):
    """An error of Cloud Storage: the HTTP ``status`` it answers with, and the ``reason`` by which clients know it."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        location: tuple[str, str] | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        code = {412: "FAILED_PRECONDITION", 416: "OUT_OF_RANGE"}.get(status) or _GRPC.get(status, "INVALID_ARGUMENT")
        super().__init__(code, message, headers=headers)
        self.reason = reason
        self._status = status
        self._location = location

    @property
    def status(self) -> int:
        return self._status

    def body(self) -> dict[str, Any]:
        reason = "notFound" if self.reason == "noSuchBucket" else self.reason
        entry = {"message": self.message, "domain": "global", "reason": reason}
        if self._location:
            entry["locationType"], entry["location"] = self._location
        return {"error": {"code": self.status, "message": self.message, "errors": [entry]}}

    def xml(self) -> bytes:
        """The error as the XML API has it."""
        code = _XML_CODES.get(self.reason, "InvalidArgument")
        usual = _XML_MESSAGES.get(code)
        text = f"<Code>{code}</Code><Message>{escape(usual or self.message)}</Message>"
        if usual:
            text += f"<Details>{escape(self.message)}</Details>"
        return f"<?xml version='1.0' encoding='UTF-8'?><Error>{text}</Error>".encode()


def json_response(error: StorageError) -> Response:
    """The error as the JSON API sends it; 304 has no body."""
    headers = [("Content-Type", "application/json; charset=UTF-8"), *error.headers]
    return Response(error.status, headers, b"" if error.status == 304 else json.dumps(error.body(), indent=1).encode())


def text_response(error: StorageError) -> Response:
    """The error as a download answers it: its sentence alone."""
    headers = [("Content-Type", "text/html; charset=UTF-8"), *error.headers]
    return Response(error.status, headers, b"" if error.status == 304 else error.message.encode())


def xml_response(error: StorageError) -> Response:
    """The error as the XML API sends it, to which nobody signed in is nobody with access."""
    headers = [("Content-Type", "application/xml; charset=UTF-8"), *error.headers]
    status = 403 if error.reason == "required" else error.status
    return Response(status, headers, b"" if status == 304 else error.xml())


def of_other(error: errors.GcpError) -> StorageError:
    """Any error of the dialect's as Cloud Storage's."""
    if isinstance(error, StorageError):
        return error
    reason = {"UNAUTHENTICATED": "authError", "UNIMPLEMENTED": "notImplemented", "PERMISSION_DENIED": "forbidden"}
    return StorageError(error.status, reason.get(error.code, "invalid"), error.message, headers=error.headers)


def no_bucket() -> StorageError:
    return StorageError(404, "noSuchBucket", "The specified bucket does not exist.")


def no_object(bucket: str, name: str) -> StorageError:
    return StorageError(404, "notFound", f"No such object: {bucket}/{name}")


def invalid(message: str) -> StorageError:
    return StorageError(400, "invalid", message)


def required(parameter: str) -> StorageError:
    return StorageError(400, "required", f"Required parameter: {parameter}", location=("parameter", parameter))


def check_types(body: Mapping[str, Any], types: Mapping[str, type], within: str = "") -> None:
    """Raises unless those entries of a JSON object that are there, and not null, are of these types."""
    for name, kind in types.items():
        if body.get(name) is not None and not isinstance(body[name], kind):
            what = {str: "a string", dict: "an object", list: "a list", bool: "true or false"}[kind]
            raise invalid(f"Invalid value for {within}{name}: it has to be {what}.")


def refused(what: str) -> StorageError:
    """What a part of the API that is not served answers."""
    return StorageError(
        501, "notImplemented", f"The local clouds do not serve {what} of Cloud Storage yet; see docs/fidelity.md."
    )
