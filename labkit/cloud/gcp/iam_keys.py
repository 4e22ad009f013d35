"""The IAM API: keys of service accounts.

https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts.keys. A key's JSON file is answered once,
when the key is made; from then on only its public part is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import schema
from labkit.cloud.gcp.errors import GcpError, invalid, refusal
from labkit.cloud.gcp.service_account_keys import NEVER, Key, certificate, key_file, new_key, public_pem
from labkit.cloud.gcp.service_accounts import MOST_KEYS, Account

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

admin = schema.Package("google.iam.admin.v1")

_BITS = {"KEY_ALG_UNSPECIFIED": 2048, "KEY_ALG_RSA_1024": 1024, "KEY_ALG_RSA_2048": 2048}


def account_of(call: Call) -> Account:
    """The account that the call's resource names; raises ``NOT_FOUND``."""
    named = call.names.get("serviceAccounts", "")
    account = call.cloud.iam.accounts.find(named)
    if account is None or call.names.get("projects") not in ("-", account.project, call.project.number):
        raise GcpError("NOT_FOUND", f"Unknown service account: {named}")
    if call.names.get("projects") != "-" and call.project.id != account.project:
        raise GcpError("NOT_FOUND", f"Unknown service account: {named}")
    return account


def create_service_account_key(call: Call, request: Any) -> Any:
    """Makes a key and answers its JSON file in ``private_key_data``, this once."""
    account = account_of(call)
    kinds, algorithms = admin.ServiceAccountPrivateKeyType, admin.ServiceAccountKeyAlgorithm
    if kinds.Name(request.private_key_type) == "TYPE_PKCS12_FILE":
        raise refusal("keys as PKCS #12 files")
    with call.cloud.iam.accounts.lock:
        if sum(not each.managed for each in account.keys.values()) >= MOST_KEYS:
            raise GcpError("FAILED_PRECONDITION", "Precondition check failed.")
    key = new_key(call.engine.clock.now(), bits=_BITS[algorithms.Name(request.key_algorithm)])
    account.keys[key.id] = key
    shown = _message(account, key)
    shown.private_key_type = kinds.Value("TYPE_GOOGLE_CREDENTIALS_FILE")
    shown.private_key_data = key_file(account.project, account.email, account.unique_id, key)
    key.private = None
    return shown


def list_service_account_keys(call: Call, request: Any) -> Any:
    """An account's keys, the user's and Google's own."""
    account = account_of(call)
    with call.cloud.iam.accounts.lock:
        _ = account.system_key
        keys = list(account.keys.values())
    kinds = admin.ListServiceAccountKeysRequest.KeyType
    wanted = {kinds.Name(each) for each in request.key_types} - {"KEY_TYPE_UNSPECIFIED"}
    shown = [each for each in keys if not wanted or ("SYSTEM_MANAGED" if each.managed else "USER_MANAGED") in wanted]
    return admin.ListServiceAccountKeysResponse(keys=[_message(account, each) for each in shown])


def get_service_account_key(call: Call, request: Any) -> Any:
    """One key, with its public part if that is asked for."""
    account, key = _key_of(call)
    shown = _message(account, key)
    match admin.ServiceAccountPublicKeyType.Name(request.public_key_type):
        case "TYPE_RAW_PUBLIC_KEY":
            shown.public_key_data = public_pem(key)
        case "TYPE_X509_PEM_FILE" if key.private is not None:
            shown.public_key_data = certificate(key, account.email)
        case "TYPE_X509_PEM_FILE":
            raise refusal("certificates of users' keys (ask for TYPE_RAW_PUBLIC_KEY)")
    return shown


def delete_service_account_key(call: Call, request: Any) -> Any:
    """Deletes a user's key: from now on it signs for nobody. Tokens that were given for it hold until they expire."""
    account, key = _key_of(call)
    _check_users(key)
    del account.keys[key.id]
    return schema.message("google.protobuf.Empty")()


def _switch(disabled: bool) -> Callable[[Call, Any], Any]:
    def function(call: Call, request: Any) -> Any:
        _, key = _key_of(call)
        _check_users(key)
        key.disabled = disabled
        return schema.message("google.protobuf.Empty")()

    return function


def _key_of(call: Call) -> tuple[Account, Key]:
    account, identifier = account_of(call), call.names.get("keys", "")
    key = account.keys.get(identifier)
    if key is None:
        raise GcpError("NOT_FOUND", f"Service account key {identifier} does not exist.")
    return account, key


def _check_users(key: Key) -> None:
    if key.managed:
        raise invalid("The key is Google's own and cannot be changed.")


def _message(account: Account, key: Key) -> Any:
    origins, kinds = admin.ServiceAccountKeyOrigin, admin.ListServiceAccountKeysRequest.KeyType
    bits = key.public.key_size
    shown = admin.ServiceAccountKey(
        name=f"projects/{account.project}/serviceAccounts/{account.email}/keys/{key.id}",
        key_algorithm=admin.ServiceAccountKeyAlgorithm.Value(f"KEY_ALG_RSA_{bits}"),
        key_origin=origins.Value("GOOGLE_PROVIDED"),
        key_type=kinds.Value("SYSTEM_MANAGED" if key.managed else "USER_MANAGED"),
        disabled=key.disabled,
    )
    shown.valid_after_time.FromDatetime(key.created)
    shown.valid_before_time.FromDatetime(NEVER)
    return shown


METHODS = {
    "CreateServiceAccountKey": create_service_account_key,
    "ListServiceAccountKeys": list_service_account_keys,
    "GetServiceAccountKey": get_service_account_key,
    "DeleteServiceAccountKey": delete_service_account_key,
    "EnableServiceAccountKey": _switch(disabled=False),
    "DisableServiceAccountKey": _switch(disabled=True),
}
PERMISSIONS = {
    "EnableServiceAccountKey": "iam.serviceAccountKeys.enable",
    "DisableServiceAccountKey": "iam.serviceAccountKeys.disable",
}
NOTES = {"CreateServiceAccountKey": "JSON key files of RSA keys; PKCS #12 refuses"}
