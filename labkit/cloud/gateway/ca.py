"""The lab's certificate authority: one certificate for each of the clouds' host names, made when it is first asked for.

The authority is trusted through environment variables only (``SSL_CERT_FILE`` and its like), never by the system.
"""

from __future__ import annotations

import ssl
import threading
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme

#: Contexts kept. A bucket is a host name, so they are bounded; the least recently used goes first.
KEPT = 512

_ORGANIZATION = "MLOps Lab Kit"


def new_authority() -> tuple[str, str]:
    """A new authority's certificate and private key, both PEM."""
    import trustme

    authority = trustme.CA(
        path_length=0, organization_name=_ORGANIZATION, organization_unit_name="Local clouds of one lab"
    )
    return authority.cert_pem.bytes().decode(), authority.private_key_pem.bytes().decode()


class Authority:
    """Makes the TLS context with which a host is served; safe to use from any thread."""

    def __init__(self, certificate: str, key: str, scratch: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._scratch = scratch
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        self._lock = threading.Lock()

    def context(self, host: str) -> ssl.SSLContext:
        """The context for ``host``; raises ValueError when no certificate can bear that name."""
        with self._lock:
            context = self._contexts.get(host)
            if context is None:
                context = self._contexts[host] = self._make(host)
                if len(self._contexts) > KEPT:
                    self._contexts.popitem(last=False)
            self._contexts.move_to_end(host)
            return context

    def certificate(self, *hosts: str) -> tuple[bytes, bytes]:
        """A private key, and a certificate for ``hosts`` followed by those above it, PEM, for a server of its own."""
        with self._lock:
            leaf = self._issue(*hosts)
        chain = b"".join(each.bytes() for each in leaf.cert_chain_pems)
        return leaf.private_key_pem.bytes(), chain

    def warm(self) -> None:
        """Imports what the first host needs."""
        with self._lock:
            _ = self._authority

    @cached_property
    def _authority(self) -> trustme.CA:
        # Imported when the first host is asked for: it takes longer than all else in the gateway.
        import trustme

        return trustme.CA.from_pem(self._certificate.encode(), self._key.encode())

    def _issue(self, *hosts: str) -> trustme.LeafCert:
        now = datetime.now(UTC).replace(tzinfo=None)
        return self._authority.issue_cert(
            *hosts,
            organization_name=_ORGANIZATION,
            organization_unit_name="Local clouds",
            # Apple's clients refuse a server's certificate that is valid for more than 825 days.
            not_before=now - timedelta(days=30),
            not_after=now + timedelta(days=365),
        )

    def _make(self, host: str) -> ssl.SSLContext:
        leaf = self._issue(host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # A connection is kept for minutes, so no client gains by resuming a session; tickets would cost a write each.
        context.num_tickets = 0
        with leaf.private_key_and_cert_chain_pem.tempfile(dir=str(self._scratch)) as path:
            context.load_cert_chain(path)
        return context
