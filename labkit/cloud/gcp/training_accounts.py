"""As whom Vertex AI runs code: the service account that a job names, or Compute Engine's default one.

https://cloud.google.com/vertex-ai/docs/general/custom-service-account
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.cloud.gcp.errors import invalid

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call


def run_as(call: Call, account: str) -> str:
    """The e-mail address of the account that a job runs as; raises where the caller may not act as it."""
    chosen = account or f"{call.project.number}-compute@developer.gserviceaccount.com"
    if "@" not in chosen or not chosen.endswith(".gserviceaccount.com"):
        raise invalid(f"service_account {account!r} is no service account's e-mail address.", "service_account")
    if account:
        call.cloud.iam.act_as(call.caller, account)
    return chosen
