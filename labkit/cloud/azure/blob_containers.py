"""The Blob service's operations on an account and on its containers.

https://learn.microsoft.com/rest/api/storageservices/operations-on-the-account--blob-service- and
https://learn.microsoft.com/rest/api/storageservices/operations-on-containers
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree

from labkit.cloud.azure import sas
from labkit.cloud.azure.blob_conditions import check_write
from labkit.cloud.azure.blob_errors import error
from labkit.cloud.azure.blob_request import BlobCall, shown_metadata, stamped
from labkit.cloud.azure.blob_store import Container
from labkit.cloud.http import Response

#: Lower-case letters, digits and single hyphens, or one of two names with a meaning.
_NAME = re.compile(r"\$root|\$logs|[a-z0-9](?:-?[a-z0-9])*")

_XML = [("Content-Type", "application/xml")]
_SERVICE_PROPERTIES = (
    '<?xml version="1.0" encoding="utf-8"?><StorageServiceProperties><Logging><Version>1.0</Version>'
    "<Read>false</Read><Write>false</Write><Delete>false</Delete>"
    "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging>"
    "<HourMetrics><Version>1.0</Version><Enabled>false</Enabled>"
    "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></HourMetrics>"
    "<MinuteMetrics><Version>1.0</Version><Enabled>false</Enabled>"
    "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></MinuteMetrics><Cors />"
    "<DeleteRetentionPolicy><Enabled>false</Enabled></DeleteRetentionPolicy>"
    "<StaticWebsite><Enabled>false</Enabled></StaticWebsite></StorageServiceProperties>"
)


def get_service_properties(at: BlobCall) -> Response:
    """The account's settings for blobs: logs, metrics, CORS, soft delete and web site are all off."""
    return Response(200, _XML, _SERVICE_PROPERTIES.encode())


def get_account_information(at: BlobCall) -> Response:
    sku = (at.resource.sku or {}).get("name", "")
    headers = [("x-ms-sku-name", sku), ("x-ms-account-kind", at.resource.kind), ("x-ms-is-hns-enabled", "false")]
    return Response(200, headers)


def get_user_delegation_key(at: BlobCall) -> Response:
    """A key with which the caller signs in its own name, for seven days at most."""
    try:
        info = ElementTree.fromstring(at.body)
    except ElementTree.ParseError:
        raise error("InvalidXmlDocument") from None
    start, end = info.findtext("Start") or "", info.findtext("Expiry") or ""
    now = datetime.now(UTC)
    if not end:
        raise error("InvalidInput", why="The key's Expiry is missing.")
    ends, starts = sas.parse_time(end), sas.parse_time(start) if start else now
    if ends <= starts or ends - now > sas.LONGEST_DELEGATION or ends <= now:
        raise error("OutOfRangeInput", why="The key's Expiry has to be after its Start and within seven days from now.")
    claims = {
        "SignedOid": at.call.caller.principal,
        "SignedTid": at.call.caller.scope,
        "SignedStart": f"{starts:%Y-%m-%dT%H:%M:%SZ}",
        "SignedExpiry": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
        "SignedService": "b",
        "SignedVersion": at.header("x-ms-version"),
    }
    key = delegation_key(at, *claims.values())
    shown = "".join(f"<{name}>{value}</{name}>" for name, value in {**claims, "Value": key}.items())
    text = f'<?xml version="1.0" encoding="utf-8"?><UserDelegationKey>{shown}</UserDelegationKey>'
    return Response(200, _XML, text.encode())


def delegation_key(at: BlobCall, *claims: str) -> str:
    """The key of these claims: it need not be kept, for it follows from them and from the lab's secret."""
    purpose = f"user delegation key of {at.account.name}: {' '.join(claims)}"
    return sas.encoded(at.call.cloud.identities.derived(purpose)[:32])


def create_container(at: BlobCall) -> Response:
    check_container_name(at.container)
    if at.header("x-ms-blob-public-access"):
        raise error("PublicAccessNotPermitted")
    metadata = at.metadata()
    with at.account.lock:
        if at.container in at.account.containers:
            raise error("ContainerAlreadyExists")
        made = at.account.create_container(at.container, metadata)
    return Response(201, stamped(made))


def check_container_name(name: str) -> None:
    """Raises Storage's error for a name that no container can have."""
    if not 3 <= len(name) <= 63:
        raise error("OutOfRangeInput")
    if not _NAME.fullmatch(name):
        raise error("InvalidResourceName")


def get_container(at: BlobCall) -> Response:
    found = at.find_container()
    return Response(200, [*_described(found), *shown_metadata(found)])


def get_container_metadata(at: BlobCall) -> Response:
    found = at.find_container()
    return Response(200, [*stamped(found), *shown_metadata(found)])


def set_container_metadata(at: BlobCall) -> Response:
    metadata = at.metadata()
    with at.account.lock:
        found = at.find_container()
        check_write(at.header, found)
        found.metadata, found.etag, found.modified = metadata, at.account.new_etag(), at.account.now()
    return Response(200, stamped(found))


def get_container_acl(at: BlobCall) -> Response:
    """Who may read without a signature, and the stored policies: nobody, and none."""
    text = '<?xml version="1.0" encoding="utf-8"?><SignedIdentifiers />'
    return Response(200, [*_XML, *stamped(at.find_container())], text.encode())


def delete_container(at: BlobCall) -> Response:
    """Deletes the container with its blobs and the roles given on it, at once."""
    with at.account.lock:
        found = at.find_container()
        check_write(at.header, found)
        at.account.delete_container(found)
    at.call.cloud.authorization.forget(f"{at.resource.id}/blobServices/default/containers/{found.name}")
    return Response(202)


def _described(found: Container) -> list[tuple[str, str]]:
    return [
        *stamped(found),
        ("x-ms-lease-status", "unlocked"),
        ("x-ms-lease-state", "available"),
        ("x-ms-has-immutability-policy", "false"),
        ("x-ms-has-legal-hold", "false"),
        ("x-ms-immutable-storage-with-versioning-enabled", "false"),
        ("x-ms-default-encryption-scope", "$account-encryption-key"),
        ("x-ms-deny-encryption-scope-override", "false"),
    ]
