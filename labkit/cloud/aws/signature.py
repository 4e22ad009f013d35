"""AWS request signatures, checked as AWS checks them.

Signature Version 4 in the ``Authorization`` header and in the query (presigned URLs), the payload forms that S3 adds to
it (unsigned, in signed chunks, with trailing checksums), and Signature Version 2, which boto3 still uses for S3's
presigned URLs. The signature is computed over what was sent: the request's raw target and its header values.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote, unquote, unquote_to_bytes

from labkit.cloud.aws.checksums import ALGORITHMS, checksum
from labkit.cloud.http import Request

V4 = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING = (STREAMING_UNSIGNED_TRAILER, STREAMING_SIGNED, STREAMING_SIGNED_TRAILER)

#: How far a request's time may be from the machine's.
MAX_SKEW = timedelta(minutes=15)
#: How far ahead it may be, for services other than S3.
MAX_AHEAD = timedelta(minutes=5)
#: The longest life of a presigned URL, in seconds.
MAX_EXPIRES = 604_800

_QUERY_V4 = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
)
#: Query parameters that Signature Version 2 covers.
_V2_PARAMETERS = frozenset(
    """
    accelerate acl analytics cors defaultObjectAcl delete inventory lifecycle location logging metrics notification
    object-lock partNumber policy replication requestPayment response-cache-control response-content-disposition
    response-content-encoding response-content-language response-content-type response-expires restore select
    select-type storageClass tagging torrent uploadId uploads versionId versioning versions website
    """.split()  # noqa: SIM905
)
#: Regions opened before 2014, which alone accept Signature Version 2.
V2_REGIONS = frozenset(
    (
        "us-east-1",
        "us-west-1",
        "us-west-2",
        "eu-west-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-northeast-1",
        "sa-east-1",
    )
)


class Rejected(Exception):
    """A signature that AWS would not accept. ``reason`` names why; :mod:`labkit.cloud.aws.errors` has the wording."""

    def __init__(self, reason: str, message: str = "", **details: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.details = details


@dataclass(slots=True)
class Credential:
    """What a request presents. ``form`` is ``header``, ``query``, ``v2`` or ``v2-query``; times are aware UTC."""

    form: str
    access_key: str
    signature: str
    token: str = ""
    region: str = ""
    service: str = ""
    stamp: str = ""
    scope: str = ""
    signed_headers: list[str] = field(default_factory=list)
    when: datetime | None = None
    expires: int = 0

    @property
    def presigned(self) -> bool:
        return self.form in ("query", "v2-query")


@dataclass(slots=True)
class Payload:
    """A request's body as the service reads it, and the trailing headers that came with it."""

    body: bytes
    trailers: dict[str, str] = field(default_factory=dict)


def presented(request: Request) -> Credential | None:
    """The credential in a request, or None when it has none. Raises :class:`Rejected` when it cannot be read."""
    authorization = request.headers.get("authorization")
    query = request.query
    if authorization.startswith(V4):
        return _from_header(request, authorization)
    if "X-Amz-Algorithm=" in query or "X-Amz-Credential=" in query or "X-Amz-Signature=" in query:
        return _from_query(request)
    if authorization.startswith("AWS "):
        access_key, colon, signature = authorization[4:].strip().partition(":")
        if not colon:
            raise Rejected("malformed", "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature")
        return Credential(
            "v2", access_key, signature, request.headers.get("x-amz-security-token"), when=_date_of(request)
        )
    if "AWSAccessKeyId=" in query:
        return _from_v2_query(query)
    if authorization:
        raise Rejected(
            "unsupported", "Unsupported Authorization Type", ArgumentName="Authorization", ArgumentValue=authorization
        )
    return None


def verify(
    request: Request, credential: Credential, secret: str, now: datetime, *, s3: bool = False, bucket: str = ""
) -> Payload:
    """Checks the signature and the payload's hash; returns the body, decoded when it was sent in chunks.

    ``now`` is the machine's time; ``bucket`` the S3 bucket in the host name, which Signature Version 2 covers as the
    first part of the path. Raises :class:`Rejected`.
    """
    if credential.form in ("v2", "v2-query"):
        return _verify_v2(request, credential, secret, now, bucket)
    headers = _headers(request)
    _check_time(credential, now, s3=s3)
    declared = headers.get("x-amz-content-sha256", "")
    if s3:
        payload_hash = declared or (UNSIGNED if credential.presigned else "")
        if not payload_hash:
            raise Rejected("no-payload-hash", "Missing required header for this request: x-amz-content-sha256")
        unsigned = (
            [n for n in headers if n.startswith("x-amz-") and n not in credential.signed_headers]
            if not credential.presigned
            else []
        )
        if unsigned:
            raise Rejected(
                "unsigned-headers",
                "There were headers present in the request which were not signed",
                HeadersNotSigned=", ".join(sorted(unsigned)),
            )
    else:
        payload_hash = hashlib.sha256(request.body).hexdigest()
    key = signing_key(secret, credential.stamp[:8], credential.region, credential.service)
    tried = ""
    for canonical in _canonical_requests(request, credential, headers, payload_hash, s3=s3):
        to_sign = "\n".join((V4, credential.stamp, credential.scope, hashlib.sha256(canonical.encode()).hexdigest()))
        if hmac.compare_digest(_sign(key, to_sign), credential.signature):
            break
        tried = tried or canonical
    else:
        to_sign = "\n".join((V4, credential.stamp, credential.scope, hashlib.sha256(tried.encode()).hexdigest()))
        raise Rejected("mismatch", StringToSign=to_sign, CanonicalRequest=tried)
    if s3:
        return _payload(request, headers, declared, credential, key)
    return Payload(request.body)


@lru_cache(maxsize=512)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The day's key of Signature Version 4."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _sign(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()


def _headers(request: Request) -> dict[str, str]:
    """Header values by lower-case name; a header sent more than once is joined with commas, as it is signed."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items:
        name = name.lower()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


# -- reading what was presented ------------------------------------------------------------------------------------


def _from_header(request: Request, authorization: str) -> Credential:
    parts: dict[str, str] = {}
    for part in re.split(r"[,\s]+", authorization.removeprefix(V4).strip()):
        name, equals, value = part.partition("=")
        if part and not equals:
            raise Rejected(
                "malformed",
                f"'{part}' not a valid key=value pair (missing equal-sign) in Authorization header: '{authorization}'.",
            )
        parts[name] = value
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not parts.get(name)]
    stamp = request.headers.get("x-amz-date")
    when = _date_of(request)
    problems = [f"Authorization header requires '{name}' parameter." for name in missing]
    if when is None:
        problems.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if problems:
        raise Rejected("malformed", f"{' '.join(problems)} Authorization={authorization}")
    assert when is not None
    return _scoped(
        Credential("header", "", parts["Signature"], request.headers.get("x-amz-security-token"), when=when),
        parts["Credential"],
        parts["SignedHeaders"],
        stamp if re.fullmatch(r"\d{8}T\d{6}Z", stamp) else f"{when:%Y%m%dT%H%M%SZ}",
    )


def _from_query(request: Request) -> Credential:
    parameters = {
        unquote(name): unquote(value) for name, _, value in (p.partition("=") for p in request.query.split("&"))
    }
    if any(name not in parameters for name in _QUERY_V4):
        raise Rejected(
            "malformed-query",
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
            "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
        )
    if parameters["X-Amz-Algorithm"] != V4:
        raise Rejected("malformed-query", 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"')
    when = _iso_basic(parameters["X-Amz-Date"])
    if when is None:
        raise Rejected("malformed-query", "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    expires = parameters["X-Amz-Expires"]
    if not re.fullmatch(r"-?\d+", expires):
        raise Rejected("malformed-query", "X-Amz-Expires should be a number")
    if int(expires) < 0:
        raise Rejected("malformed-query", "X-Amz-Expires must be non-negative")
    if int(expires) > MAX_EXPIRES:
        raise Rejected("malformed-query", "X-Amz-Expires must be less than a week (in seconds) that is 604800")
    return _scoped(
        Credential(
            "query",
            "",
            parameters["X-Amz-Signature"],
            parameters.get("X-Amz-Security-Token", ""),
            when=when,
            expires=int(expires),
        ),
        parameters["X-Amz-Credential"],
        parameters["X-Amz-SignedHeaders"],
        parameters["X-Amz-Date"],
    )


def _scoped(credential: Credential, scope: str, signed_headers: str, stamp: str) -> Credential:
    """Fills in the credential scope (``AKID/date/region/service/aws4_request``) and the signed headers."""
    parts = scope.split("/")
    if len(parts) < 5 or parts[-1] != "aws4_request":
        raise Rejected(
            "malformed-scope",
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{scope}'",
        )
    date, credential.region, credential.service, _ = parts[-4:]
    credential.access_key = "/".join(parts[:-4])
    credential.scope = "/".join(parts[-4:])
    credential.stamp = stamp
    credential.signed_headers = signed_headers.lower().split(";")
    if date != stamp[:8]:
        raise Rejected("scope-date", f"'{date}' != '{stamp[:8]}', from '{stamp}'.", date=date, stamp=stamp)
    if "host" not in credential.signed_headers:
        raise Rejected("host-unsigned", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    return credential


def _from_v2_query(query: str) -> Credential:
    parameters = {unquote(name): unquote(value) for name, _, value in (p.partition("=") for p in query.split("&"))}
    if not parameters.get("Signature") or not parameters.get("Expires"):
        raise Rejected(
            "v2-query-incomplete",
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
        )
    if not re.fullmatch(r"\d+", parameters["Expires"]):
        raise Rejected("v2-query-incomplete", f"Invalid date (should be seconds since epoch): {parameters['Expires']}")
    token = parameters.get("x-amz-security-token", "")
    return Credential(
        "v2-query", parameters["AWSAccessKeyId"], parameters["Signature"], token, expires=int(parameters["Expires"])
    )


def _iso_basic(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _date_of(request: Request) -> datetime | None:
    """The request's own time: ``X-Amz-Date`` (ISO 8601 basic, or as in ``Date``), else ``Date``."""
    for name in ("x-amz-date", "date"):
        text = request.headers.get(name)
        if not text:
            continue
        if when := _iso_basic(text):
            return when
        try:
            return parsedate_to_datetime(text).astimezone(UTC)
        except (TypeError, ValueError):
            return None
    return None


# -- the signature of version 4 ------------------------------------------------------------------------------------


def _check_time(credential: Credential, now: datetime, *, s3: bool) -> None:
    when = credential.when
    assert when is not None
    if credential.presigned:
        if when - MAX_SKEW > now:
            raise Rejected("not-yet", "Request is not yet valid")
        expiry = when + timedelta(seconds=credential.expires)
        if now > expiry:
            raise Rejected(
                "presign-expired",
                "Request has expired",
                **{"X-Amz-Expires": str(credential.expires), "Expires": _iso(expiry), "ServerTime": _iso(now)},
                stamp=credential.stamp,
            )
    elif now - when > MAX_SKEW or when - now > (MAX_SKEW if s3 else MAX_AHEAD):
        raise Rejected(
            "skewed",
            RequestTime=credential.stamp,
            ServerTime=_iso(now),
            MaxAllowedSkewMilliseconds=str(int(MAX_SKEW.total_seconds() * 1000)),
            explanation=_skew(credential.stamp, when, now),
        )


def _skew(stamp: str, when: datetime, now: datetime) -> str:
    """What services other than S3 say about a request that is too old or from the future."""
    clock = f"{now:%Y%m%dT%H%M%SZ}"
    if when < now:
        return f"Signature expired: {stamp} is now earlier than {now - MAX_SKEW:%Y%m%dT%H%M%SZ} ({clock} - 15 min.)"
    return f"Signature not yet current: {stamp} is still later than {now + MAX_AHEAD:%Y%m%dT%H%M%SZ} ({clock} + 5 min.)"


def _iso(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def _canonical_requests(
    request: Request, credential: Credential, headers: dict[str, str], payload_hash: str, *, s3: bool
) -> list[str]:
    """The canonical request as sent, then as AWS would normalize it: clients differ in how they encode."""
    lines = []
    for name in credential.signed_headers:
        if name not in headers:
            raise Rejected("mismatch", StringToSign="", CanonicalRequest="", missing=name)
        lines.append(f"{name}:{_squeezed(headers[name])}\n")
    tail = "\n".join(("".join(lines), ";".join(credential.signed_headers), payload_hash))
    pairs = [p for p in request.query.split("&") if p]
    if credential.presigned:
        pairs = [p for p in pairs if not p.startswith("X-Amz-Signature=")]
    plain = "&".join(sorted(p if "=" in p else p + "=" for p in pairs)) if pairs else ""
    path = request.raw_path or "/"
    first = path if s3 else quote(_normalized(path), safe="/~")
    candidates = [(first, plain)]
    encoded = _encoded_query(pairs)
    reencoded = quote(unquote_to_bytes(path), safe="/~")
    second = reencoded if s3 else quote(_normalized(reencoded), safe="/~")
    for candidate in ((first, encoded), (second, plain), (second, encoded)):
        if candidate not in candidates:
            candidates.append(candidate)
    return [f"{request.method}\n{uri}\n{query}\n{tail}" for uri, query in candidates]


def _squeezed(value: str) -> str:
    """A header's value with outer space cut off and runs of spaces made one."""
    return " ".join(value.split()) if "  " in value or value[:1].isspace() or value[-1:].isspace() else value


def _encoded_query(pairs: list[str]) -> str:
    """The query, decoded and encoded again as AWS does it, in its order."""
    decoded = (
        (unquote_to_bytes(n), unquote_to_bytes(v.replace("+", " "))) for n, _, v in (p.partition("=") for p in pairs)
    )
    return "&".join(f"{n}={v}" for n, v in sorted((quote(n, safe="-_.~"), quote(v, safe="-_.~")) for n, v in decoded))


def _normalized(path: str) -> str:
    """A path without empty and dot segments (RFC 3986, 6.2.2.3), its last slash kept."""
    if "//" not in path and "/." not in path:
        return path
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment and segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


# -- S3's payloads -------------------------------------------------------------------------------------------------


def _payload(request: Request, headers: dict[str, str], declared: str, credential: Credential, key: bytes) -> Payload:
    if declared in STREAMING:
        return _unchunked(request.body, headers, declared, credential, key)
    if declared and declared != UNSIGNED:
        actual = hashlib.sha256(request.body).hexdigest()
        if not re.fullmatch(r"[0-9a-fA-F]{64}", declared):
            raise Rejected(
                "bad-payload-hash",
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
                "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, "
                "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER "
                "or a valid sha256 value.",
                ArgumentName="x-amz-content-sha256",
                ArgumentValue=declared,
            )
        if declared.lower() != actual:
            raise Rejected(
                "payload-mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                ClientComputedContentSHA256=declared,
                S3ComputedContentSHA256=actual,
            )
    return Payload(request.body)


def _unchunked(body: bytes, headers: dict[str, str], declared: str, credential: Credential, key: bytes) -> Payload:
    """Decodes ``aws-chunked``: checks each chunk's signature, the length, and the checksum in the trailers."""
    signed = declared != STREAMING_UNSIGNED_TRAILER
    previous = credential.signature
    prefix = f"{credential.stamp}\n{credential.scope}\n"
    pieces: list[memoryview] = []
    view, at = memoryview(body), 0
    while True:
        end = body.find(b"\r\n", at)
        size_text, _, extension = body[at:end].partition(b";") if end >= 0 else (b"", b"", b"")
        if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", size_text):
            raise Rejected("incomplete-body", "The request body terminated unexpectedly")
        size = int(size_text, 16)
        chunk = view[end + 2 : end + 2 + size]
        if len(chunk) != size:
            raise Rejected("incomplete-body", "The request body terminated unexpectedly")
        if signed:
            content = hashlib.sha256(chunk).hexdigest()
            expected = _sign(key, f"AWS4-HMAC-SHA256-PAYLOAD\n{prefix}{previous}\n{EMPTY_SHA256}\n{content}")
            if not hmac.compare_digest(expected.encode(), extension.removeprefix(b"chunk-signature=").strip()):
                raise Rejected("mismatch", StringToSign="", CanonicalRequest="")
            previous = expected
        at = end + 2 + size
        if size == 0:
            break
        pieces.append(chunk)
        at += 2
    content_length = headers.get("x-amz-decoded-content-length", "")
    if not content_length.isdigit():
        raise Rejected("no-length", "You must provide the Content-Length HTTP header.")
    data = bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
    if len(data) != int(content_length):
        raise Rejected(
            "incomplete-body", "You did not provide the number of bytes specified by the Content-Length HTTP header"
        )
    return Payload(data, _trailers(body[at:], data, headers, declared, f"{prefix}{previous}", key))


def _trailers(
    block: bytes, data: bytes, headers: dict[str, str], declared: str, context: str, key: bytes
) -> dict[str, str]:
    """The trailing headers, their signature and the checksum among them checked."""
    if declared == STREAMING_SIGNED:
        return {}
    lines = [line for line in block.decode("utf-8", "replace").replace("\r\n", "\n").split("\n") if line]
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    trailers = dict(pairs)
    signature = trailers.pop("x-amz-trailer-signature", "")
    announced = [name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",") if name.strip()]
    if sorted(announced) != sorted(trailers):
        raise Rejected(
            "malformed-trailer",
            "The request contained trailing data that was not well-formed or did not conform to our published schema.",
        )
    if declared == STREAMING_SIGNED_TRAILER:
        canonical = "".join(f"{name}:{value}\n" for name, value in pairs if name != "x-amz-trailer-signature")
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        if not hmac.compare_digest(_sign(key, f"AWS4-HMAC-SHA256-TRAILER\n{context}\n{digest}"), signature):
            raise Rejected("mismatch", StringToSign="", CanonicalRequest="")
    for name, value in trailers.items():
        algorithm = name.removeprefix("x-amz-checksum-")
        if algorithm in ALGORITHMS and checksum(algorithm, data) != value:
            raise Rejected(
                "bad-digest", f"The {algorithm.upper()} you specified did not match the calculated checksum."
            )
    return trailers


# -- Signature Version 2 -------------------------------------------------------------------------------------------


def _verify_v2(request: Request, credential: Credential, secret: str, now: datetime, bucket: str) -> Payload:
    headers = _headers(request)
    if credential.presigned:
        if now.timestamp() > credential.expires:
            expiry = datetime.fromtimestamp(credential.expires, UTC)
            raise Rejected("presign-expired", "Request has expired", Expires=_iso(expiry), ServerTime=_iso(now))
    elif credential.when is None:
        raise Rejected("no-date", "AWS authentication requires a valid Date or x-amz-date header")
    elif abs(now - credential.when) > MAX_SKEW:
        raise Rejected(
            "skewed",
            RequestTime=headers.get("x-amz-date") or headers.get("date", ""),
            ServerTime=_iso(now),
            MaxAllowedSkewMilliseconds=str(int(MAX_SKEW.total_seconds() * 1000)),
        )
    to_sign = _string_to_sign_v2(request, credential, headers, bucket)
    expected = b64encode(hmac.digest(secret.encode(), to_sign.encode(), "sha1")).decode()
    if not hmac.compare_digest(expected.encode(), credential.signature.encode()):
        raise Rejected("mismatch", StringToSign=to_sign)
    return Payload(request.body)


def _string_to_sign_v2(request: Request, credential: Credential, headers: dict[str, str], bucket: str) -> str:
    """What Signature Version 2 signs. A presigned URL may carry headers (``x-amz-security-token``) as parameters."""
    pairs = [pair.partition("=") for pair in request.query.split("&") if pair]
    for name, _, value in pairs:
        if name.lower().startswith("x-amz-") or name.lower() in ("content-type", "content-md5"):
            headers.setdefault(name.lower(), unquote(value))
    date = "" if "x-amz-date" in headers else headers.get("date", "")
    lines = [request.method, headers.get("content-md5", ""), headers.get("content-type", "")]
    lines.append(str(credential.expires) if credential.presigned else date)
    lines += [f"{name}:{headers[name].strip()}" for name in sorted(headers) if name.startswith("x-amz-")]
    covered = sorted((n, n + equals + unquote(value)) for n, equals, value in pairs if n in _V2_PARAMETERS)
    resource = f"/{bucket}{request.raw_path}" if bucket else request.raw_path
    return "\n".join([*lines, resource + ("?" if covered else "") + "&".join(text for _, text in covered)])
