"""Signed URLs: whoever has one may do what the account that signed it may, until it expires.

Version 4 (https://cloud.google.com/storage/docs/access-control/signed-urls,
https://cloud.google.com/storage/docs/authentication/signatures) and version 2
(https://cloud.google.com/storage/docs/access-control/signed-urls-v2), signed with a key of a service account: one that
its user holds or, by ``signBlob``, Google's own. URLs are good by the machine's time. HMAC keys refuse.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from labkit.cloud.engine.access import Caller
from labkit.cloud.gcp import service_account_keys
from labkit.cloud.gcp.storage_errors import StorageError, refused

if TYPE_CHECKING:
    from labkit.cloud.gcp.storage import StorageCall

#: Seconds that a URL is good for at most, and that the signer's clock may be ahead.
LONGEST, _SKEW = 7 * 24 * 3600, 900
_ALGORITHM = "GOOG4-RSA-SHA256"
_NEEDED = ("X-Goog-Credential", "X-Goog-Date", "X-Goog-Expires", "X-Goog-SignedHeaders")
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your Google secret key and "
    "signing method."
)


def signer(call: StorageCall) -> Caller | None:
    """The account that has signed the request's URL, None where the URL is not signed; raises for a bad signature."""
    query = {name.lower(): value for name, value in call.query.items()}
    sign = (
        _fourth if "x-goog-signature" in query else _second if {"googleaccessid", "signature"} <= set(query) else None
    )
    if sign is None:
        return None
    if not call.plain:
        raise refused("signed URLs of the JSON API")
    return sign(call, query)


def _fourth(call: StorageCall, query: dict[str, str]) -> Caller:
    for name in _NEEDED:
        if not query.get(name.lower()):
            raise _malformed(f"The parameter {name} is missing.")
    if query.get("x-goog-algorithm") != _ALGORITHM:
        raise refused(f"URLs that are signed with {query.get('x-goog-algorithm')}")
    email, _, scope = query["x-goog-credential"].partition("/")
    try:
        at = datetime.strptime(query["x-goog-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        seconds, signature = int(query["x-goog-expires"]), bytes.fromhex(query["x-goog-signature"])
    except ValueError:
        raise _malformed("X-Goog-Date, X-Goog-Expires or X-Goog-Signature cannot be read.") from None
    if not re.fullmatch(rf"{query['x-goog-date'][:8]}/[a-z0-9-]+/storage/goog4_request", scope):
        raise _malformed("X-Goog-Credential has to be EMAIL/DATE/LOCATION/storage/goog4_request.")
    if not 0 < seconds <= LONGEST:
        raise _malformed(f"X-Goog-Expires has to be from 1 to {LONGEST} seconds.")
    if at > time.time() + _SKEW:
        raise _malformed("X-Goog-Date is in the future.")
    _check_time(at + seconds)
    canonical = _canonical(call, query["x-goog-signedheaders"].split(";"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return _verified(call, email, f"{_ALGORITHM}\n{query['x-goog-date']}\n{scope}\n{digest}", signature)


def _canonical(call: StorageCall, signed: list[str]) -> str:
    request = call.request
    sent = parse_qsl(request.query, keep_blank_values=True)
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in sent
        if name.lower() != "x-goog-signature"
    )
    headers = []
    for name in signed:
        if name != "host" and name not in request.headers:
            raise _malformed(f"Header was included in signedheaders, but not in the request: {name}.")
        value = request.host if name == "host" else ",".join(request.headers.all(name))
        headers.append(f"{name}:{re.sub(' +', ' ', value.strip())}\n")
    content = request.headers.get("x-goog-content-sha256") or "UNSIGNED-PAYLOAD"
    query = "&".join(f"{name}={value}" for name, value in pairs)
    return "\n".join((request.method, request.raw_path, query, "".join(headers), ";".join(signed), content))


def _second(call: StorageCall, query: dict[str, str]) -> Caller:
    headers, email = call.request.headers, query["googleaccessid"]
    try:
        expires, signature = int(query.get("expires", "")), base64.b64decode(query["signature"], validate=True)
    except (ValueError, binascii.Error):
        raise _malformed("Expires or Signature cannot be read.") from None
    _check_time(expires)
    own = sorted({name.lower() for name, _ in headers if name.lower().startswith("x-goog-")})
    extensions = "".join(f"{name}:{','.join(headers.all(name))}\n" for name in own)
    path = call.request.raw_path
    resource = f"/{call.target.bucket}{path}" if call.target.bucket else path
    described = (call.request.method, headers.get("content-md5"), headers.get("content-type"), str(expires))
    return _verified(call, email, "\n".join((*described, f"{extensions}{resource}")), signature)


def _check_time(expires: float) -> None:
    if time.time() >= expires:
        at = datetime.fromtimestamp(expires, UTC).isoformat()
        raise StorageError(400, "expiredToken", f"Request signature expired at: {at}")


def _verified(call: StorageCall, email: str, signed: str, signature: bytes) -> Caller:
    account = call.cloud.iam.account(email)
    if account is None or account.disabled:
        raise StorageError(
            403, "forbidden", f"The account {email}, which has signed the URL, does not exist, or is disabled."
        )
    with call.cloud.iam.accounts.lock:
        keys = [each for each in (account.system_key, *account.keys.values()) if not each.disabled]
    if not any(service_account_keys.verifies(each, signed.encode(), signature) for each in keys):
        raise StorageError(403, "signatureDoesNotMatch", _MISMATCH)
    return call.cloud.iam.caller(email)


def _malformed(why: str) -> StorageError:
    return StorageError(400, "malformedSecurityHeader", why)
