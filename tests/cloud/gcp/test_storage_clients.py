"""google-cloud-storage, unmodified, against running clouds."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.api_core.exceptions import Forbidden

from labkit.cloud.state import Lab

_numbers = itertools.count(1)


@pytest.fixture
def client(clouds: Lab) -> Any:
    from google.cloud import storage

    return storage.Client()


@pytest.fixture
def bucket(client: Any) -> Any:
    return client.create_bucket(f"clients-{next(_numbers)}", location="europe-west4")


def refused(action: Callable[[], Any]) -> tuple[int, str]:
    from google.api_core.exceptions import GoogleAPICallError

    with pytest.raises(GoogleAPICallError) as caught:
        action()
    return int(caught.value.code or 0), str(caught.value.message)


def put(bucket: Any, *names: str) -> None:
    for name in names:
        bucket.blob(name).upload_from_string(name)


def test_buckets(client: Any, bucket: Any) -> None:
    assert (bucket.location, bucket.storage_class, bucket.location_type) == ("EUROPE-WEST4", "STANDARD", "region")
    assert bucket.exists()
    assert not client.bucket("no-such-bucket").exists()
    assert bucket.name in [each.name for each in client.list_buckets()]
    bucket.labels = {"team": "ml", "stage": "test"}
    bucket.patch()
    labels = bucket.labels
    del labels["team"]
    bucket.labels = labels | {"stage": "prod"}
    bucket.patch()
    assert client.get_bucket(bucket.name).labels == {"stage": "prod"}
    put(bucket, "a")
    assert refused(bucket.delete)[0] == 409
    bucket.delete(force=True)
    assert not bucket.exists()


def test_buckets_that_cannot_be(client: Any, bucket: Any) -> None:
    assert refused(lambda: client.create_bucket(bucket.name))[0] == 409
    code, message = refused(lambda: client.create_bucket(bucket.name, project="another-project"))
    assert code == 409
    assert "not available" in message
    assert refused(lambda: client.create_bucket("Upper"))[0] == 400
    assert refused(lambda: client.create_bucket("fine-name", location="moon1"))[0] == 400
    assert refused(lambda: client.get_bucket("no-such-bucket"))[0] == 404
    bucket.versioning_enabled = True
    code, message = refused(bucket.patch)
    assert code == 501
    assert "versioning" in message


def test_an_object_is_kept_whole_with_what_is_said_of_it(bucket: Any) -> None:
    blob = bucket.blob("data/übung 1.csv")
    blob.metadata = {"rows": "3"}
    blob.cache_control = "no-cache"
    blob.upload_from_string("a,b\n", content_type="text/csv")
    found = bucket.get_blob(blob.name)
    assert (found.size, found.content_type, found.metadata, found.cache_control) == (
        4,
        "text/csv",
        {"rows": "3"},
        "no-cache",
    )
    assert (found.md5_hash, found.crc32c) == (blob.md5_hash, blob.crc32c)
    assert found.download_as_bytes() == b"a,b\n"
    assert found.download_as_bytes(start=1, end=2) == b",b"
    assert bucket.get_blob("nothing") is None
    assert refused(lambda: bucket.blob("nothing").download_as_bytes())[0] == 404
    assert refused(lambda: found.download_as_bytes(start=10))[0] == 416


def test_metadata_is_changed_apart_from_content(bucket: Any) -> None:
    blob = bucket.blob("x")
    blob.upload_from_string("x")
    before = blob.generation
    blob.metadata = {"a": "1", "b": "2"}
    blob.patch()
    blob.metadata = {"a": None, "c": "3"}
    blob.patch()
    blob.reload()
    assert (blob.metadata, blob.generation, blob.metageneration) == ({"b": "2", "c": "3"}, before, 3)


@pytest.mark.parametrize("chunk", [None, 256 << 10])
def test_a_large_object_comes_and_goes(bucket: Any, chunk: int | None) -> None:
    content = os.urandom((9 << 20) + 123)
    blob = bucket.blob("large", chunk_size=chunk)
    blob.upload_from_file(io.BytesIO(content))
    assert blob.size is None or blob.size == len(content)
    assert bucket.blob("large").download_as_bytes() == content


def test_a_stream_of_unknown_length(bucket: Any) -> None:
    with bucket.blob("stream").open("wb", chunk_size=256 << 10) as sink:
        for number in range(5):
            sink.write(bytes([number]) * 200_000)
    assert bucket.get_blob("stream").size == 1_000_000
    with bucket.blob("stream").open("rb") as source:
        source.seek(999_999)
        assert source.read() == b"\x04"


def test_lists_by_prefix_delimiter_and_page(client: Any, bucket: Any) -> None:
    put(bucket, "a", "b/1", "b/2", "b/c/3", "d")

    def listed(**more: Any) -> tuple[list[str], set[str]]:
        found = client.list_blobs(bucket, **more)
        return [each.name for each in found], set(found.prefixes)

    assert listed() == (["a", "b/1", "b/2", "b/c/3", "d"], set())
    assert listed(page_size=2) == listed()
    assert listed(delimiter="/") == (["a", "d"], {"b/"})
    assert listed(prefix="b/", delimiter="/") == (["b/1", "b/2"], {"b/c/"})
    assert listed(prefix="b/", delimiter="/", page_size=1) == (["b/1", "b/2"], {"b/c/"})
    assert listed(start_offset="b/2", end_offset="d") == (["b/2", "b/c/3"], set())
    assert listed(max_results=2)[0] == ["a", "b/1"]
    found = client.list_blobs(bucket, fields="items(name),nextPageToken", prefix="a")
    assert [(each.name, each.size) for each in found] == [("a", None)]
    assert refused(lambda: list(client.list_blobs(bucket, match_glob="*")))[0] == 501


def test_preconditions(bucket: Any) -> None:
    blob = bucket.blob("x")
    blob.upload_from_string("1", if_generation_match=0)
    first = blob.generation
    assert refused(lambda: bucket.blob("x").upload_from_string("2", if_generation_match=0))[0] == 412
    bucket.blob("x").upload_from_string("2", if_generation_match=first)
    assert bucket.blob("x").download_as_bytes() == b"2"
    assert refused(lambda: bucket.blob("x", generation=first).download_as_bytes())[0] == 404
    now = bucket.get_blob("x")
    assert now.generation > first
    assert refused(lambda: now.reload(if_generation_not_match=now.generation))[0] == 304
    assert refused(lambda: now.delete(if_metageneration_match=9))[0] == 412
    now.delete(if_generation_match=now.generation)
    assert not now.exists()


def test_rewrite_copy_rename_compose(client: Any, bucket: Any) -> None:
    source = bucket.blob("source")
    source.metadata = {"k": "v"}
    source.upload_from_string("hello ", content_type="text/plain")
    other = client.create_bucket(f"clients-{next(_numbers)}")
    token, written, total = other.blob("copy").rewrite(source)
    assert (token, written, total) == (None, 6, 6)
    assert other.get_blob("copy").metadata == {"k": "v"}
    bucket.copy_blob(source, bucket, "second")
    bucket.rename_blob(bucket.blob("second"), "renamed")
    with pytest.raises(Forbidden, match=r"learner@.* does not have storage\.objects\.move access"):
        bucket.move_blob(bucket.blob("renamed"), "moved")
    policy = bucket.get_iam_policy(requested_policy_version=3)
    learner = "serviceAccount:learner@mlops-lab.iam.gserviceaccount.com"
    policy.bindings.append({"role": "roles/storage.objectUser", "members": {learner}})
    bucket.set_iam_policy(policy)
    bucket.move_blob(bucket.blob("renamed"), "moved")
    assert [each.name for each in bucket.list_blobs()] == ["moved", "source"]
    whole = bucket.blob("whole")
    whole.content_type = "text/plain"
    whole.compose([source, bucket.blob("moved")])
    assert whole.download_as_bytes() == b"hello hello "
    assert (whole.component_count, whole.md5_hash) == (2, None)
    assert refused(lambda: bucket.blob("w").compose([bucket.blob("nothing")]))[0] == 404
    assert refused(lambda: bucket.blob("w").rewrite(source, if_source_generation_match=1))[0] == 412


def test_a_batch_does_each_call_and_says_which_failed(client: Any, bucket: Any) -> None:
    put(bucket, "a", "b", "c")
    with client.batch():
        bucket.blob("a").delete()
        bucket.blob("b").delete()

    def second() -> None:
        with client.batch():
            bucket.blob("a").delete()
            bucket.blob("c").delete()

    assert refused(second)[0] == 404
    assert list(bucket.list_blobs()) == []


def test_what_is_damaged_on_its_way_is_refused(bucket: Any) -> None:
    blob = bucket.blob("x")
    blob.md5_hash = "1B2M2Y8AsgTpgAmY7PhCfg=="
    code, message = refused(lambda: blob.upload_from_string("not empty"))
    assert code == 400
    assert "doesn't match calculated MD5" in message
    assert not blob.exists()


def test_access_control_lists_and_keys_are_refused(bucket: Any) -> None:
    blob = bucket.blob("x")
    blob.upload_from_string("x")
    assert refused(blob.make_public)[0] == 501
    keyed = bucket.blob("y", encryption_key=b"k" * 32)
    code, message = refused(lambda: keyed.upload_from_string("y"))
    assert code == 501
    assert "encryption" in message


def test_an_upload_that_was_cut_off_in_the_middle_of_a_piece_is_resumed(client: Any, bucket: Any) -> None:
    import requests

    piece = 256 << 10
    content = os.urandom(3 * piece)
    address = bucket.blob("cut").create_resumable_upload_session(content_type="text/plain", size=len(content))

    def send(data: Any, where: str) -> requests.Response:
        return requests.put(address, data=data, headers={"Content-Range": where}, timeout=250)

    def cut_off() -> Iterator[bytes]:
        yield content[piece : piece + 1000]
        raise ConnectionAbortedError

    assert send(content[:piece], f"bytes 0-{piece - 1}/{len(content)}").status_code == 308
    with pytest.raises(requests.ConnectionError):
        send(cut_off(), f"bytes {piece}-{len(content) - 1}/{len(content)}")
    asked = send(b"", f"bytes */{len(content)}")
    assert (asked.status_code, asked.headers["Range"]) == (308, f"bytes=0-{piece - 1}")
    done = send(content[piece:], f"bytes {piece}-{len(content) - 1}/{len(content)}")
    assert done.status_code == 200, done.text
    assert bucket.blob("cut").download_as_bytes() == content
