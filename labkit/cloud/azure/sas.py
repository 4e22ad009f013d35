"""Shared access signatures: service, account and user delegation SAS, verified and made.

https://learn.microsoft.com/rest/api/storageservices/create-service-sas, .../create-account-sas and
.../create-user-delegation-sas give the strings to sign for each version. They expire on the machine's time.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from labkit.cloud.azure.blob_errors import error
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.shared_key import sign

#: The version that the kit's own signatures bear.
VERSION = "2023-11-03"
#: What a signature may be good for, longest user delegation key (seven days).
LONGEST_DELEGATION = timedelta(days=7)
_FORMS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S.%fZ")
_OVERRIDES = ("rscc", "rscd", "rsce", "rscl", "rsct")

#: The key that a user delegation key of these claims has: (object id, tenant, start, expiry, service, version).
DelegationKey = Callable[[str, str, str, str, str, str], str]


@dataclass(frozen=True, slots=True)
class Granted:
    """What a verified signature allows: permission letters, on a whole account, a container or one blob.

    ``kind`` is ``account``, ``service`` or ``delegation``; ``types`` the levels that it reaches: service (``s``),
    container (``c``), the list of a container's blobs (``l``), object (``o``). ``container`` and ``blob`` are what a
    service SAS is for; ``object_id`` is who a delegation key belongs to.
    """

    kind: str
    permissions: str
    types: str = "sco"
    container: str = ""
    blob: str = ""
    object_id: str = ""


def verify(
    query: Mapping[str, str],
    account: str,
    container: str,
    blob: str,
    *,
    keys: Iterable[str],
    delegation_key: DelegationKey,
    secure: bool,
    now: datetime,
) -> Granted:
    """What the signature in ``query`` allows on the account; raises Storage's errors when it is not good."""
    version = query.get("sv", "")
    if version < "2015-04-05":
        raise _failed(f"The signed version '{version}' is not one that the local clouds verify.")
    if "si" in query:
        raise refusal("stored access policies (si) in a shared access signature")
    for name in ("sip", "srh", "srq", "saoid", "suoid", "sduoid", "sdd"):
        if name in query:
            raise refusal(f"the parameter {name} of a shared access signature")
    if "ss" in query or "srt" in query:
        texts = [_account_text(query, account, version)]
        granted = Granted("account", query.get("sp", ""), query.get("srt", ""))
    else:
        granted, texts = _service(query, account, container, blob, version)
    if granted.object_id:
        claims = [query.get(name, "") for name in ("skoid", "sktid", "skt", "ske", "sks", "skv")]
        keys = [delegation_key(*claims)]
        _check_times({"st": query.get("skt", ""), "se": query.get("ske", "")}, now)
    if not any(hmac.compare_digest(sign(key, text), query["sig"]) for key in keys for text in texts):
        shown = texts[0].replace("\n", "\\n")
        raise _failed(f"Signature did not match. String to sign used was {shown}")
    _check_times(query, now)
    if not secure and query.get("spr", "https,http") == "https":
        raise error("AuthorizationProtocolMismatch")
    if granted.kind == "account" and "b" not in query.get("ss", ""):
        raise error("AuthorizationServiceMismatch")
    return granted


def container_sas(account: str, key: str, container: str, permissions: str, now: datetime, lifetime: timedelta) -> str:
    """A service SAS for a container, as the query of a URL. ``now`` is the machine's time."""
    return _made(account, key, container, "", permissions, now, lifetime)


def blob_sas(
    account: str, key: str, container: str, blob: str, permissions: str, now: datetime, lifetime: timedelta
) -> str:
    """A service SAS for one blob, as the query of a URL. ``now`` is the machine's time."""
    return _made(account, key, container, blob, permissions, now, lifetime)


def _made(
    account: str, key: str, container: str, blob: str, permissions: str, now: datetime, lifetime: timedelta
) -> str:
    query = {
        "sv": VERSION,
        "st": f"{now - timedelta(minutes=10):%Y-%m-%dT%H:%M:%SZ}",
        "se": f"{now + lifetime:%Y-%m-%dT%H:%M:%SZ}",
        "sr": "b" if blob else "c",
        "sp": permissions,
        "spr": "https",
    }
    _, texts = _service(query, account, container, blob, VERSION)
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in {**query, "sig": sign(key, texts[0])}.items())


def _service(
    query: Mapping[str, str], account: str, container: str, blob: str, version: str
) -> tuple[Granted, list[str]]:
    """What a service or user delegation SAS is for, and the strings that may have been signed."""
    kind = query.get("sr", "")
    if kind not in ("b", "c"):
        raise (
            refusal(f"shared access signatures for sr={kind}") if kind else _failed("Signed resource (sr) is missing.")
        )
    path = f"/blob/{account}/{container}" + (f"/{blob}" if kind == "b" else "")
    delegated = query.get("skoid", "")

    def lines(*names: str) -> list[str]:
        return [query.get(name, "") for name in names]

    head = [*lines("sp", "st", "se"), path]
    middle = lines("si")
    if delegated:
        middle = lines("skoid", "sktid", "skt", "ske", "sks", "skv")
        middle += lines("saoid", "suoid", "scid") if version >= "2020-02-10" else []
        middle += lines("skdutid", "sduoid") if version >= "2025-07-05" else []
    tail = lines("sip", "spr", "sv")
    tail += lines("sr", "snapshot") if version >= "2018-11-09" else []
    tail += lines("ses") if version >= "2020-12-06" else []
    # Newer delegation signatures hold two lines for signed headers and parameters.
    extras: list[list[str]] = [["", ""], []] if delegated and version >= "2025-07-05" else [[]]
    texts = ["\n".join([*head, *middle, *tail, *extra, *lines(*_OVERRIDES)]) for extra in extras]
    granted = Granted(
        "delegation" if delegated else "service",
        query.get("sp", ""),
        "lo" if kind == "c" else "o",
        container,
        blob if kind == "b" else "",
        delegated,
    )
    return granted, texts


def _account_text(query: Mapping[str, str], account: str, version: str) -> str:
    names = ["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"] + (["ses"] if version >= "2020-12-06" else [])
    return "\n".join([account, *(query.get(name, "") for name in names), ""])


def _check_times(query: Mapping[str, str], now: datetime) -> None:
    start, end = query.get("st", ""), query.get("se", "")
    if not end:
        raise _failed("Signed expiry (se) is missing.")
    if (start and parse_time(start) > now + timedelta(minutes=15)) or parse_time(end) <= now:
        clock = f"{now:%a, %d %b %Y %H:%M:%S GMT}"
        raise _failed(
            f"Signature not valid in the specified time frame: Start [{start}] - Expiry [{end}] - Current [{clock}]"
        )


def parse_time(text: str) -> datetime:
    """A time as signatures hold it; raises Storage's error for anything else."""
    for form in _FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise _failed(f"Signed time '{text}' is not a time.")


def encoded(secret: bytes) -> str:
    """A key as Storage writes it."""
    return b64encode(secret).decode()


def _failed(detail: str) -> AzureError:
    return error("AuthenticationFailed", AuthenticationErrorDetail=detail)
