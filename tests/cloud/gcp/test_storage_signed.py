"""Signed URLs, made by Google's own library: what they let whoever holds them do, and what refuses them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from labkit.cloud.gcp import storage_signed
from labkit.cloud.gcp.identity import SCOPE
from labkit.cloud.http import Response
from tests.cloud.gcp.in_process import call
from tests.cloud.gcp.vertex_world import World

HOST = "storage.googleapis.com"


@pytest.fixture
def signed(world: World) -> Callable[..., str]:
    """Signs the URL of an object as an account that may read the project's objects, with a key of its."""
    from google.cloud.storage import Client
    from google.oauth2.service_account import Credentials

    email = world.cloud.iam.accounts.create(world.project, "signs-urls", "", "").email
    target = f"/v1/projects/-/serviceAccounts/{email}/keys"
    made = json.loads(bytes(call(world.cloud, "POST", "iam.googleapis.com", target).body))  # type: ignore[arg-type]
    credentials = Credentials.from_service_account_info(json.loads(base64.b64decode(made["privateKeyData"])))
    client = Client(project=world.project, credentials=credentials.with_scopes([SCOPE]))
    target = f"/upload/storage/v1/b/{world.bucket}/o?uploadType=media&name=a%20b/c.txt"
    assert call(world.cloud, "POST", HOST, target, b"content").status == 200
    policy = {"bindings": [{"role": "roles/storage.objectViewer", "members": [f"serviceAccount:{email}"]}]}
    assert call(world.cloud, "PUT", HOST, f"/storage/v1/b/{world.bucket}/iam", policy).status == 200

    def sign(name: str = "a b/c.txt", **options: Any) -> str:
        options = {"expiration": timedelta(minutes=5), "version": "v4"} | options
        return str(client.bucket(world.bucket).blob(name).generate_signed_url(**options))

    return sign


def fetch(world: World, url: str, method: str = "GET", body: bytes = b"", **headers: str) -> Response:
    parts = urlsplit(url)
    fields = {"Authorization": "", "Content-Type": "", **headers}
    return call(world.cloud, method, parts.netloc, f"{parts.path}?{parts.query}", body, headers=fields)


def code(answer: Response) -> tuple[int, str]:
    text = bytes(answer.body).decode()  # type: ignore[arg-type]
    return answer.status, text.partition("<Code>")[2].partition("</Code>")[0]


@pytest.mark.parametrize(("version", "hosted"), [("v2", False), ("v4", False), ("v4", True)])
def test_a_signed_url_needs_no_sign_in(world: World, signed: Callable[..., str], version: str, hosted: bool) -> None:
    url = signed(version=version, virtual_hosted_style=hosted)
    answer = fetch(world, url)
    assert (answer.status, answer.body) == (200, b"content")
    assert code(fetch(world, url.partition("?")[0])) == (403, "AccessDenied")


@pytest.mark.parametrize("version", ["v2", "v4"])
def test_a_signature_is_of_one_request_only(world: World, signed: Callable[..., str], version: str) -> None:
    url = signed(version=version)
    assert code(fetch(world, url, "DELETE")) == (403, "SignatureDoesNotMatch")
    assert code(fetch(world, url.replace("c.txt", "d.txt"))) == (403, "SignatureDoesNotMatch")


def test_a_signed_url_gives_what_its_signer_may(world: World, signed: Callable[..., str]) -> None:
    answer = fetch(world, signed(method="PUT"), "PUT", b"new")
    assert code(answer) == (403, "AccessDenied")
    assert b"signs-urls@" in bytes(answer.body)  # type: ignore[arg-type]
    assert b"does not have storage.objects.create access" in bytes(answer.body)  # type: ignore[arg-type]


def test_a_signed_url_expires(world: World, signed: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    urls, later = [signed(version=version) for version in ("v2", "v4")], time.time() + 301
    monkeypatch.setattr(storage_signed, "time", SimpleNamespace(time=lambda: later))
    for url in urls:
        assert code(fetch(world, url)) == (400, "ExpiredToken")


def test_headers_that_were_signed_are_sent(world: World, signed: Callable[..., str]) -> None:
    url = signed(headers={"x-goog-meta-k": "v"})
    assert code(fetch(world, url)) == (400, "MalformedSecurityHeader")
    assert fetch(world, url, **{"x-goog-meta-k": "v"}).status == 200


def test_a_signed_url_names_the_download(world: World, signed: Callable[..., str]) -> None:
    answer = fetch(world, signed(response_disposition="attachment; filename=x.txt", response_type="text/x"))
    headers = dict(answer.headers)
    assert (headers["Content-Disposition"], headers["Content-Type"]) == ("attachment; filename=x.txt", "text/x")


def test_a_disabled_account_signs_for_nobody(world: World, signed: Callable[..., str]) -> None:
    url = signed()
    email = f"signs-urls@{world.project}.iam.gserviceaccount.com"
    call(world.cloud, "POST", "iam.googleapis.com", f"/v1/projects/-/serviceAccounts/{email}:disable", {})
    assert code(fetch(world, url)) == (403, "AccessDenied")


def test_what_is_no_signature_says_so(world: World, signed: Callable[..., str]) -> None:
    url = signed()
    assert code(fetch(world, url.replace("X-Goog-Expires=300", "X-Goog-Expires=700000"))) == (
        400,
        "MalformedSecurityHeader",
    )
    answer = fetch(world, url.replace("GOOG4-RSA-SHA256", "GOOG4-HMAC-SHA256"))
    assert answer.status == 501
    assert b"URLs that are signed with GOOG4-HMAC-SHA256" in bytes(answer.body)  # type: ignore[arg-type]
