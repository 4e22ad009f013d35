"""The IAM API: service accounts. Their keys are in :mod:`iam_keys`, roles in :mod:`iam_role_methods`.

https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import iam_keys, iam_policy_service, iam_resources, iam_role_methods, paging, schema
from labkit.cloud.gcp.errors import GcpError, invalid
from labkit.cloud.gcp.service_accounts import Account

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

admin = schema.Package("google.iam.admin.v1")

_ID = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])")
#: Bytes that texts may have.
_LONGEST = {"display_name": 100, "description": 256}


def create_service_account(call: Call, request: Any) -> Any:
    """Makes an account, whose address is its id's at the project."""
    identifier, asked = request.account_id, request.service_account
    if not 6 <= len(identifier) <= 30:
        raise invalid(f'The account ID "{identifier}" does not have a length between 6 and 30.')
    if not _ID.fullmatch(identifier):
        raise invalid(f'The account ID "{identifier}" does not have the form [a-z]([-a-z0-9]*[a-z0-9]).')
    _check_texts(asked)
    account = call.cloud.iam.accounts.create(call.project.id, identifier, asked.display_name, asked.description)
    call.cloud.iam.policies.changed()
    return message(account)


def get_service_account(call: Call, request: Any) -> Any:
    """One account, by its address or its unique id."""
    return message(iam_keys.account_of(call))


def list_service_accounts(call: Call, request: Any) -> Any:
    """A project's accounts."""
    shown = [message(each) for each in call.cloud.iam.accounts.of_project(call.project.id)]
    page, token = paging.page(shown, request.page_size, request.page_token, usual=20, largest=100)
    return admin.ListServiceAccountsResponse(accounts=page, next_page_token=token)


def patch_service_account(call: Call, request: Any) -> Any:
    """Changes the display name or the description."""
    account, asked = iam_keys.account_of(call), request.service_account
    paths = list(request.update_mask.paths)
    if wrong := [each for each in paths if each not in _LONGEST]:
        raise invalid(f"The field {wrong[0]} cannot be updated: display_name and description can.", "update_mask")
    if not paths:
        raise invalid("The update mask has to name display_name or description.", "update_mask")
    return _changed(call, account, asked, paths)


def update_service_account(call: Call, request: Any) -> Any:
    """Sets display name and description to what is sent."""
    return _changed(call, iam_keys.account_of(call), request, list(_LONGEST))


def delete_service_account(call: Call, request: Any) -> Any:
    """Deletes an account; who was bound to it stays in the policies as deleted, and gets nothing."""
    account, iam = iam_keys.account_of(call), call.cloud.iam
    iam.accounts.delete(account)
    iam.policies.rename_member(account.member, account.deleted_member)
    iam.policies.remove(iam_resources.account_name(account.project, account.email))
    return schema.message("google.protobuf.Empty")()


def undelete_service_account(call: Call, request: Any) -> Any:
    """Brings back an account that was deleted less than 30 days ago, named by its unique id."""
    identifier = call.names.get("serviceAccounts", "")
    account = call.cloud.iam.accounts.undelete(identifier)
    if account is None:
        raise GcpError("NOT_FOUND", f"Service account {identifier} does not exist, or cannot be undeleted any more.")
    call.cloud.iam.policies.rename_member(account.deleted_member, account.member)
    return admin.UndeleteServiceAccountResponse(restored_account=message(account))


def _switch(disabled: bool) -> Callable[[Call, Any], Any]:
    def function(call: Call, request: Any) -> Any:
        account = iam_keys.account_of(call)
        account.disabled = disabled
        call.cloud.iam.accounts.touched(account)
        call.cloud.iam.policies.changed()
        return schema.message("google.protobuf.Empty")()

    return function


def message(account: Account) -> Any:
    """The account as the API shows it."""
    return admin.ServiceAccount(
        name=f"projects/{account.project}/serviceAccounts/{account.email}",
        project_id=account.project,
        unique_id=account.unique_id,
        email=account.email,
        display_name=account.display_name,
        description=account.description,
        oauth2_client_id=account.unique_id,
        disabled=account.disabled,
        etag=account.etag,
    )


def _changed(call: Call, account: Account, asked: Any, paths: list[str]) -> Any:
    _check_texts(asked)
    if asked.etag and asked.etag != account.etag:
        raise GcpError("ABORTED", "The service account was changed since its etag was read; read it again.")
    for path in paths:
        setattr(account, path, getattr(asked, path))
    call.cloud.iam.accounts.touched(account)
    return message(account)


def _check_texts(asked: Any) -> None:
    for name, longest in _LONGEST.items():
        if len(getattr(asked, name).encode()) > longest:
            raise invalid(f"The {name} has more than {longest} bytes.", name)


METHODS = {
    "CreateServiceAccount": create_service_account,
    "GetServiceAccount": get_service_account,
    "ListServiceAccounts": list_service_accounts,
    "PatchServiceAccount": patch_service_account,
    "UpdateServiceAccount": update_service_account,
    "DeleteServiceAccount": delete_service_account,
    "UndeleteServiceAccount": undelete_service_account,
    "EnableServiceAccount": _switch(disabled=False),
    "DisableServiceAccount": _switch(disabled=True),
    **iam_keys.METHODS,
    **iam_role_methods.METHODS,
    **iam_policy_service.METHODS,
}

PERMISSIONS = {
    "PatchServiceAccount": "iam.serviceAccounts.update",
    "UndeleteServiceAccount": "iam.serviceAccounts.undelete",
    "EnableServiceAccount": "iam.serviceAccounts.enable",
    "DisableServiceAccount": "iam.serviceAccounts.disable",
    **iam_keys.PERMISSIONS,
    **iam_role_methods.PERMISSIONS,
    "GetIamPolicy": "iam.serviceAccounts.getIamPolicy",
    "SetIamPolicy": "iam.serviceAccounts.setIamPolicy",
    "TestIamPermissions": "",
}

NOTES = {**iam_keys.NOTES, **iam_role_methods.NOTES, "SetIamPolicy": iam_policy_service.NOTE}
