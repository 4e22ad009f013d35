"""Who signs a request: access keys of IAM users and temporary credentials of sessions.

Users, roles and their keys are moto's IAM records; sessions are kept here. The lab's learner is the IAM user
``learner``, an administrator, whose key pair belongs to the lab. Temporary credentials expire on the machine's clock,
as signatures do.
"""

from __future__ import annotations

import secrets
import threading
from base64 import b32encode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from labkit.cloud.aws import access, moto_base, trust
from labkit.cloud.aws.errors import AwsError

LEARNER = "learner"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


@dataclass(frozen=True, slots=True)
class Key:
    """An access key and the principal that it stands for.

    ``principal`` is the ARN that ``sts:GetCallerIdentity`` tells, ``issuer`` the ARN of the user or role behind it,
    ``user_id`` the unique id that goes with the principal. ``token``, ``issued`` and ``expires`` belong to temporary
    credentials, as do the session's policies (``policy``, ``policy_arns``) and its ``tags``.
    """

    access_key: str
    secret: str = field(repr=False)
    principal: str
    issuer: str
    user_id: str = ""
    token: str = field(default="", repr=False)
    expires: datetime | None = None
    policy: str = ""
    policy_arns: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    issued: datetime | None = None

    @property
    def kind(self) -> Literal["user", "role", "federated"]:
        """What the key's principal is: a user (or a session of one), a role's session, a federated user."""
        if ":assumed-role/" in self.principal:
            return "role"
        return "federated" if ":federated-user/" in self.principal else "user"


class Identities:
    """The access keys of one account."""

    def __init__(self, account: str, access_key: str, secret: str) -> None:
        self.account = account
        arn = f"arn:aws:iam::{account}:user/{LEARNER}"
        #: The learner's key, as long as IAM's records have not been needed.
        self._first = Key(access_key, secret, arn, arn)
        self._sessions: dict[str, Key] = {}
        self._known: dict[str, Key] = {}
        self._standings: dict[str, access.Standing] = {}
        self._live: set[str] = set()
        self._containers: dict[str, tuple[str, str]] = {}
        self._used: dict[str, tuple[datetime, str, str]] = {}
        self._lock = threading.Lock()

    # -- keys ------------------------------------------------------------------------------------------------------

    def find(self, access_key: str) -> Key | None:
        """The active key with this id, or None. Touches IAM's records only for keys not seen since they changed."""
        if session := self._sessions.get(access_key):
            return session if self._is_live(session) else None
        if key := self._known.get(access_key):
            return key
        if not moto_base.loaded("iam"):
            return self._first if access_key == self._first.access_key else None
        with moto_base.lock("iam"):
            backend = self.iam()
            for user in backend.users.values():
                for record in user.access_keys:
                    if record.access_key_id == access_key and record.status == "Active":
                        key = Key(access_key, record.secret_access_key, user.arn, user.arn, user.id)
                        self._known[access_key] = key
                        return key
        return None

    def _is_live(self, session: Key) -> bool:
        """Whether the user or role of a session is still there, and the same."""
        if session.access_key in self._live:
            return True
        with moto_base.lock("iam"):
            holder = access.holder_of(self.iam(), session.issuer)
        if holder is None or (session.kind == "role" and holder.id != session.user_id.partition(":")[0]):
            return False
        self._live.add(session.access_key)
        return True

    def standing(self, key: Key) -> access.Standing:
        """A caller's own policies and who they are to policies, kept until IAM's records change."""
        if found := self._standings.get(key.access_key):
            return found
        if not moto_base.loaded("iam"):
            return access.first_standing(key, self.account)
        with moto_base.lock("iam"):
            found = access.standing_of(self.iam(), key, self.account)
            self._standings[key.access_key] = found
        return found

    def tags_of(self, arn: str) -> dict[str, str] | None:
        """The tags of a user, role or managed policy, or None where there is none."""
        with moto_base.lock("iam"):
            records = self.iam()
            holder = records.managed_policies.get(arn) if ":policy/" in arn else access.holder_of(records, arn)
            return access.tags_of_record(records, holder) if holder is not None else None

    def note_use(self, access_key: str, when: datetime, service: str, region: str) -> None:
        """Remembers that a key signed a request, for ``iam:GetAccessKeyLastUsed``."""
        self._used[access_key] = (when, service, region)

    def last_used(self, access_key: str) -> tuple[datetime, str, str] | None:
        """When (lab time), for which service and where a key was used last."""
        return self._used.get(access_key)

    def iam(self) -> Any:
        """moto's IAM records of the account, with the learner in them."""
        with moto_base.lock("iam"):
            backend = moto_base.backend("iam", self.account)
            if not getattr(backend, "labkit_ready", False):
                backend.labkit_ready = True
                self._make_learner(backend)
            return backend

    def _make_learner(self, backend: Any) -> None:
        backend.create_user("us-east-1", LEARNER)
        user = backend.users[LEARNER]
        record = moto_base.models("iam").AccessKey(LEARNER, "AKIA", self.account)
        record.access_key_id, record.secret_access_key = self._first.access_key, self._first.secret
        user.access_keys.append(record)
        backend.access_keys[record.access_key_id] = record
        backend.attach_user_policy(ADMINISTRATOR, LEARNER)

    def forget_changed(self) -> None:
        """Called after IAM's records changed: keys, sessions and policies are looked up anew."""
        self._known.clear()
        self._live.clear()
        self._standings.clear()

    def reset(self) -> None:
        """Forgets every session and key; the learner's key remains."""
        with self._lock:
            self._sessions.clear()
            self.forget_changed()
            self._containers.clear()
            self._used.clear()

    # -- sessions --------------------------------------------------------------------------------------------------

    def start_session(self, principal: str, issuer: str, user_id: str, seconds: int, **more: Any) -> Key:
        """Temporary credentials for ``principal``, good for ``seconds`` from the machine's now."""
        key = Key(
            access_key="ASIA" + b32encode(secrets.token_bytes(10)).decode(),
            secret=b64encode(secrets.token_bytes(30)).decode(),
            principal=principal,
            issuer=issuer,
            user_id=user_id,
            token=b64encode(b"labkit/" + secrets.token_bytes(161)).decode(),
            expires=(datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0),
            issued=datetime.now(UTC).replace(microsecond=0),
            **more,
        )
        with self._lock:
            now = datetime.now(UTC)
            for old in [k for k, s in self._sessions.items() if s.expires and now - s.expires > timedelta(hours=1)]:
                del self._sessions[old]
                self._standings.pop(old, None)
                self._live.discard(old)
            self._sessions[key.access_key] = key
        return key

    # -- roles -----------------------------------------------------------------------------------------------------

    def arn_of(self, kind: str, name: str) -> str | None:
        """The ARN of an existing ``user``, ``role``, ``group`` or ``instance-profile``, path included, or None."""
        with moto_base.lock("iam"):
            records = getattr(self.iam(), kind.replace("-", "_") + "s", {})
            record = access.role_named(self.iam(), name) if kind == "role" else records.get(name)
            return str(record.arn) if record else None

    def role(self, arn: str) -> Any | None:
        """moto's record of a role (``name``, ``arn``, ``id``, ``assume_role_policy_document``), or None."""
        with moto_base.lock("iam"):
            return next((role for role in self.iam().roles.values() if role.arn == arn), None)

    def does_trust(self, role: Any, service: str, context: Mapping[str, str] | None = None) -> bool:
        """Whether a role's trust policy lets an AWS service (``sagemaker.amazonaws.com``) assume it."""
        condition = {"aws:SourceAccount": self.account, **(context or {})}
        document = role.assume_role_policy_document
        return trust.allows(document, "sts:AssumeRole", condition, service=service, resource=role.arn)

    def assume(self, role: Any, session_name: str, seconds: int = 3600, **more: Any) -> Key:
        """A session of a role, whose trust policy has been asked already; ``more`` are fields of its :class:`Key`."""
        principal = f"arn:aws:sts::{self.account}:assumed-role/{role.name}/{session_name}"
        return self.start_session(principal, role.arn, f"{role.id}:{session_name}", seconds, **more)

    def credentials_for(self, role_arn: str, session_name: str) -> Key:
        """Credentials with which code runs as a role: what a container's or an instance's metadata would hand out.

        Raises :class:`AwsError` when there is no such role.
        """
        role = self.role(role_arn)
        if role is None:
            raise AwsError("NoSuchEntity", f"The role {role_arn} does not exist.", 404)
        return self.assume(role, session_name)

    # -- credentials for containers --------------------------------------------------------------------------------

    def container(self, role_arn: str, session_name: str) -> str:
        """A token with which a process started by the clouds asks for its role's credentials, as often as it needs."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._containers[token] = (role_arn, session_name)
        return token

    def release(self, token: str) -> None:
        """Ends a container's right to ask for credentials."""
        with self._lock:
            self._containers.pop(token, None)

    def container_credentials(self, token: str) -> dict[str, str] | None:
        """What the container-credentials endpoint answers, or None when the token is not known.

        https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
        """
        known = self._containers.get(token)
        if known is None:
            return None
        key = self.credentials_for(*known)
        assert key.expires is not None
        return {
            "RoleArn": key.issuer,
            "AccessKeyId": key.access_key,
            "SecretAccessKey": key.secret,
            "Token": key.token,
            "Expiration": f"{key.expires:%Y-%m-%dT%H:%M:%SZ}",
        }
