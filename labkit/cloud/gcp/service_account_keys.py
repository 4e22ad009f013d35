"""Keys of service accounts, and the signed tokens (JWT) that are made and verified with them.

https://cloud.google.com/iam/docs/keys-create-delete, https://datatracker.ietf.org/doc/html/rfc7519
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

#: Where a key's token comes from.
TOKEN_URI = "https://oauth2.googleapis.com/token"
#: Until when keys are valid that do not expire.
NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@dataclass(slots=True)
class Key:
    """A key of an account. A ``managed`` one is Google's own, whose ``private`` part never leaves Google.

    Of a user's, ``private`` is there only until it was handed out.
    """

    id: str
    created: datetime
    public: RSAPublicKey
    private: RSAPrivateKey | None
    managed: bool = False
    disabled: bool = False


def new_key(at: datetime, *, managed: bool = False, bits: int = 2048) -> Key:
    """A key that is made now."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return Key(secrets.token_hex(20), at, private.public_key(), private, managed)


def key_file(project: str, email: str, unique_id: str, key: Key) -> bytes:
    """What a user keeps of a new key: the JSON file that ``google.auth`` loads."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    assert key.private is not None
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    described = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": key.id,
        "private_key": pem,
        "client_email": email,
        "client_id": unique_id,
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": TOKEN_URI,
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{email.replace('@', '%40')}",
        "universe_domain": "googleapis.com",
    }
    return json.dumps(described, indent=2).encode() + b"\n"


def public_pem(key: Key) -> bytes:
    """The public part alone."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def certificate(key: Key, name: str) -> bytes:
    """A certificate of the public part, signed with the key itself; PEM. The key's private part is needed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    assert key.private is not None
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=16))
        .sign(key.private, hashes.SHA256())
    )
    from cryptography.hazmat.primitives.serialization import Encoding

    return made.public_bytes(Encoding.PEM)


def sign(key: Key, data: bytes) -> bytes:
    """The signature of some bytes: RSA with SHA-256."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    assert key.private is not None
    return key.private.sign(data, padding.PKCS1v15(), hashes.SHA256())


def verifies(key: Key, data: bytes, signature: bytes) -> bool:
    """Whether a signature of these bytes is the key's."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    try:
        key.public.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def signed(key: Key, claims: dict[str, Any]) -> str:
    """A token with these claims."""
    head = _encoded(json.dumps({"alg": "RS256", "kid": key.id, "typ": "JWT"}).encode())
    content = f"{head}.{_encoded(json.dumps(claims).encode())}"
    return f"{content}.{_encoded(sign(key, content.encode()))}"


@dataclass(frozen=True, slots=True)
class Assertion:
    """A token as it was sent: its header and claims, not yet trusted, and what its signature signs."""

    header: dict[str, Any]
    claims: dict[str, Any]
    content: bytes
    signature: bytes


def parsed(token: str) -> Assertion | None:
    """The parts of a token, or None for what is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        header, claims = (json.loads(_decoded(each)) for each in parts[:2])
        signature = _decoded(parts[2])
    except ValueError:
        return None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        return None
    return Assertion(header, claims, f"{parts[0]}.{parts[1]}".encode(), signature)


def jwk(key: Key) -> dict[str, str]:
    """The public part as a JSON web key."""
    numbers = key.public.public_numbers()
    n, e = (_encoded(each.to_bytes((each.bit_length() + 7) // 8, "big")) for each in (numbers.n, numbers.e))
    return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": key.id, "n": n, "e": e}


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
