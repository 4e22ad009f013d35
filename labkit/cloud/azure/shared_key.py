"""Storage's Shared Key: the signature that a request bears, made with one of the account's two keys.

https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from urllib.parse import unquote

from labkit.cloud.azure.blob_errors import error
from labkit.cloud.http import Request

#: How far a request's date may be from the machine's now.
TOLERANCE = timedelta(minutes=15)
_SIGNED = (
    "content-encoding content-language content-length content-md5 content-type date if-modified-since if-match"
    " if-none-match if-unmodified-since range"
)


def verify(request: Request, account: str, keys: Iterable[str], now: datetime) -> int:
    """The number of the key with which ``request`` was signed; raises Storage's errors for anything else."""
    _, _, credential = request.headers.get("authorization").partition(" ")
    named, _, signature = credential.strip().partition(":")
    if named != account or not signature:
        raise _failed(f"The account name '{named}' in the Authorization header is not '{account}'.")
    _check_date(request, now)
    texts = [_string_to_sign(request, account, linguistic=linguistic) for linguistic in (False, True)]
    for number, key in enumerate(keys):
        if any(hmac.compare_digest(sign(key, text), signature) for text in texts):
            return number
    shown = texts[0].replace("\n", "\\n")
    raise _failed(
        f"The MAC signature found in the HTTP request '{signature}' is not the same as any computed signature. "
        f"Server used following string to sign: '{shown}'."
    )


def sign(key: str, text: str) -> str:
    """The signature of ``text`` with an account's key, both as Storage writes them."""
    return b64encode(hmac.digest(b64decode(key), text.encode(), sha256)).decode()


def _check_date(request: Request, now: datetime) -> None:
    stated = request.headers.get("x-ms-date") or request.headers.get("date")
    try:
        date = parsedate_to_datetime(stated)
    except ValueError:
        raise _failed("The Date header in the request is incorrect.") from None
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
    if abs(now - date) > TOLERANCE:
        raise _failed(f"Request date header too {'old' if date < now else 'new'}: '{stated}'.")


def _string_to_sign(request: Request, account: str, *, linguistic: bool) -> str:
    """What is signed. The service sorts header names as people would, hyphens last; some clients sort by character."""
    headers = {name.lower(): value.strip() for name, value in request.headers}
    if headers.get("content-length") == "0":
        headers["content-length"] = ""
    if "x-ms-date" in headers:
        headers["date"] = ""
    own = sorted(
        (name for name in headers if name.startswith("x-ms-")),
        key=lambda name: (name.replace("-", ""), name) if linguistic else (name, ""),
    )
    lines = [request.method, *(headers.get(name, "") for name in _SIGNED.split())]
    lines += [f"{name}:{' '.join(headers[name].split()) if linguistic else headers[name]}" for name in own]
    return "\n".join([*lines, f"/{account}{request.raw_path}", *_canonical_query(request)])


def _canonical_query(request: Request) -> list[str]:
    values: dict[str, list[str]] = {}
    for part in request.query.split("&"):
        name, _, value = part.partition("=")
        if name:
            values.setdefault(unquote(name).lower(), []).append(unquote(value))
    return [f"{name}:{','.join(sorted(values[name]))}" for name in sorted(values)]


def _failed(detail: str) -> Exception:
    return error("AuthenticationFailed", AuthenticationErrorDetail=detail)
