"""The learner's Google Cloud project as the checks of ``beginner/gcp`` look at it: over REST, as the learner.

Importing the SDK would take longer than all the checks together.
"""

from __future__ import annotations

import os
from typing import Any

import google.auth
import requests
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession, Request

#: Where in the bucket the model is.
FOLDER = "models/churn"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
#: Seconds that Google Cloud may take for one answer.
TIMEOUT = 30.0

Resource = dict[str, Any]


class Refused(Exception):
    """An answer of Google Cloud's that is no success, as a phrase."""

    def __init__(self, answer: requests.Response) -> None:
        try:
            error = answer.json()["error"]
            said = f"{error.get('status') or error['code']}: {error['message']}"
        except (ValueError, TypeError, KeyError):
            said = answer.text.strip() or answer.reason
        super().__init__(f"that {answer.url.partition('?')[0]} answered {answer.status_code} {said.rstrip('. ')}")
        self.status = answer.status_code


class Cloud:
    """The project as the learner's own credentials reach it."""

    def __init__(self) -> None:
        self.credentials, project = google.auth.default(scopes=[SCOPE])
        self.project = str(project)
        self.region = os.environ.get("GOOGLE_CLOUD_REGION", "us-central1")
        self._session = AuthorizedSession(self.credentials)

    @property
    def location(self) -> str:
        """``projects/PROJECT/locations/REGION``."""
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def bucket(self) -> str:
        return f"{self.project}-churn-lab"

    @property
    def artifacts(self) -> str:
        """The folder that the model is uploaded from."""
        return f"gs://{self.bucket}/{FOLDER}"

    def account(self, name: str) -> str:
        """The e-mail address of one of the lab's service accounts: ``endpoint``, ``deployer`` or ``caller``."""
        return f"churn-lab-{name}@{self.project}.iam.gserviceaccount.com"

    def accounts(self) -> list[str]:
        """The addresses of those of the lab's service accounts that are there."""
        answer = self.call(
            "GET", f"https://iam.googleapis.com/v1/projects/{self.project}/serviceAccounts", params={"pageSize": 100}
        )
        wanted = {self.account(name) for name in ("endpoint", "deployer", "caller")}
        return [each["email"] for each in answer.get("accounts", []) if each["email"] in wanted]

    def call(self, method: str, url: str, **arguments: Any) -> Resource:
        """One request's JSON answer; raises :class:`Refused`."""
        answer = self._session.request(method, url, timeout=TIMEOUT, **arguments)
        if not answer.ok:
            raise Refused(answer)
        body: Resource = answer.json()
        return body

    def storage(self, path: str) -> Resource | None:
        """A bucket or an object in Cloud Storage, None when there is none."""
        try:
            return self.call("GET", f"https://storage.googleapis.com/storage/v1/b/{path}")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def vertex(self, method: str, name: str, **arguments: Any) -> Resource:
        """One call to Vertex AI; ``name`` is what follows ``v1/`` in the URL."""
        return self.call(method, f"https://{self.region}-aiplatform.googleapis.com/v1/{name}", **arguments)

    def named(self, kind: str, name: str) -> list[Resource]:
        """The ``models`` or ``endpoints`` with that display name, newest first."""
        found, page = [], ""
        while True:
            answer = self.vertex("GET", f"{self.location}/{kind}", params={"pageToken": page} if page else {})
            found += [each for each in answer.get(kind, []) if each["displayName"] == name]
            page = answer.get("nextPageToken", "")
            if not page:
                return sorted(found, key=lambda each: str(each["createTime"]), reverse=True)

    def predict(self, endpoint: str, instances: list[list[Any]]) -> list[float]:
        """What the endpoint of that resource name answers."""
        answer = self.vertex("POST", f"{endpoint}:predict", json={"instances": instances})
        return list(answer.get("predictions", []))


def whoami() -> dict[str, str]:
    """Who the learner is on Google Cloud, for the status card."""
    cloud = Cloud()
    cloud.credentials.refresh(Request())
    return {
        "Project": cloud.project,
        "Region": cloud.region,
        "Signed in as": getattr(cloud.credentials, "service_account_email", "a user"),
    }


def explain(error: Exception) -> str | None:
    """What Google Cloud said, as a phrase; None when the error is not Google Cloud's."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, (GoogleAuthError, requests.RequestException)):
        return f"that Google Cloud could not be asked ({error})"
    return None
