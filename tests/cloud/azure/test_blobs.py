"""Blobs and containers, through an unmodified azure-storage-blob."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError

from labkit.cloud.azure import AzureCloud
from tests.cloud.azure.in_process import raised

MB = 1_000_000


@pytest.fixture
def service(reached: AzureCloud) -> Any:
    """A client of the lab's own storage account, signing with its key."""
    from azure.storage.blob import BlobServiceClient

    workspace = reached.resources.require(
        f"/subscriptions/{reached.identities.subscription}/resourceGroups/learning/providers/"
        "Microsoft.MachineLearningServices/workspaces/mlops"
    )
    account = reached.resources.require(workspace.properties["storageAccount"])
    return BlobServiceClient(f"https://{account.name}.blob.core.windows.net", account.state.keys[0], retry_total=0)


@pytest.fixture
def container(service: Any, name: str) -> Any:
    return service.create_container(name)


def code_of(action: Callable[[], Any]) -> tuple[int, str]:
    """Status and Storage's code of what ``action`` raises."""
    error = raised(action)
    return error.status_code, str(getattr(error.error_code, "value", error.error_code))


# -- containers ----------------------------------------------------------------------------------------------------


def test_a_containers_life(service: Any, name: str) -> None:
    container = service.create_container(name, metadata={"owner": "me"})
    assert container.get_container_properties().metadata == {"owner": "me"}
    assert code_of(lambda: service.create_container(name)) == (409, "ContainerAlreadyExists")
    container.set_container_metadata({"owner": "you"})
    found = list(service.list_containers(name_starts_with=name, include_metadata=True))
    assert [(each.name, each.metadata) for each in found] == [(name, {"owner": "you"})]
    container.upload_blob("a", b"x")
    container.delete_container()
    assert not container.exists()
    assert code_of(container.get_container_properties) == (404, "ContainerNotFound")
    assert code_of(lambda: container.upload_blob("a", b"x")) == (404, "ContainerNotFound")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UPPER", (400, "InvalidResourceName")),
        ("two--hyphens", (400, "InvalidResourceName")),
        ("ab", (400, "OutOfRangeInput")),
        ("x" * 64, (400, "OutOfRangeInput")),
    ],
)
def test_names_that_no_container_can_have(service: Any, name: str, expected: tuple[int, str]) -> None:
    assert code_of(lambda: service.create_container(name)) == expected


def test_public_access_is_refused(service: Any, name: str) -> None:
    assert code_of(lambda: service.create_container(name, public_access="blob")) == (409, "PublicAccessNotPermitted")


def test_the_account_tells_of_itself(service: Any) -> None:
    assert service.get_account_information()["account_kind"] == "StorageV2"
    assert service.get_service_properties()["delete_retention_policy"].enabled is False


# -- whole blobs ---------------------------------------------------------------------------------------------------


def test_upload_properties_and_download(container: Any) -> None:
    from azure.storage.blob import ContentSettings

    data = b"age,plan\n31,gold\n"
    blob = container.get_blob_client("data/ä b+c%20?.csv")
    blob.upload_blob(
        data,
        metadata={"Rows": "1"},
        content_settings=ContentSettings(content_type="text/csv", cache_control="no-store"),
    )
    found = blob.get_blob_properties()
    assert (found.name, found.size, found.metadata) == ("data/ä b+c%20?.csv", len(data), {"Rows": "1"})
    assert (found.content_settings.content_type, found.content_settings.cache_control) == ("text/csv", "no-store")
    assert bytes(found.content_settings.content_md5) == hashlib.md5(data).digest()
    assert (found.blob_type.value, found.lease.status, found.blob_tier) == ("BlockBlob", "unlocked", "Hot")
    assert blob.download_blob().readall() == data
    assert blob.download_blob(offset=4, length=4).readall() == b"plan"
    blob.set_blob_metadata({"rows": "2"})
    blob.set_http_headers(ContentSettings(content_type="text/plain"))
    again = blob.get_blob_properties()
    assert (again.metadata, again.content_settings.content_type, again.creation_time) == (
        {"rows": "2"},
        "text/plain",
        found.creation_time,
    )
    assert again.etag != found.etag


def test_times_are_lab_times(container: Any, reached: AzureCloud) -> None:
    reached.engine.clock.advance(timedelta(days=1))
    container.upload_blob("a", b"x")
    modified = container.get_blob_client("a").get_blob_properties().last_modified
    assert abs(modified - reached.engine.clock.now()) < timedelta(minutes=1)
    assert modified - datetime.now(UTC) > timedelta(hours=23)


def test_overwriting(container: Any) -> None:
    blob = container.get_blob_client("a")
    blob.upload_blob(b"first", metadata={"k": "v"})
    assert code_of(lambda: blob.upload_blob(b"second")) == (409, "BlobAlreadyExists")
    blob.upload_blob(b"second", overwrite=True)
    assert blob.download_blob().readall() == b"second"
    assert blob.get_blob_properties().metadata == {}


def test_conditions_on_etags(container: Any) -> None:
    blob = container.get_blob_client("a")
    first = blob.upload_blob(b"first")["etag"]
    second = blob.upload_blob(b"second", overwrite=True)["etag"]
    for action in (
        lambda: blob.upload_blob(b"x", overwrite=True, etag=first, match_condition=MatchConditions.IfNotModified),
        lambda: blob.delete_blob(etag=first, match_condition=MatchConditions.IfNotModified),
        lambda: blob.set_blob_metadata({"a": "b"}, etag=first, match_condition=MatchConditions.IfNotModified),
        lambda: blob.download_blob(etag=first, match_condition=MatchConditions.IfNotModified),
        lambda: blob.upload_blob(b"x", overwrite=True, etag=second, match_condition=MatchConditions.IfModified),
    ):
        assert code_of(action) == (412, "ConditionNotMet")
    error = raised(lambda: blob.download_blob(etag=second, match_condition=MatchConditions.IfModified))
    assert error.status_code == 304
    absent = container.get_blob_client("absent")
    assert code_of(
        lambda: absent.upload_blob(b"x", overwrite=True, etag=first, match_condition=MatchConditions.IfNotModified)
    ) == (412, "ConditionNotMet")
    blob.upload_blob(b"third", overwrite=True, etag=second, match_condition=MatchConditions.IfNotModified)
    assert blob.download_blob().readall() == b"third"


def test_conditions_on_times(container: Any, reached: AzureCloud) -> None:
    blob = container.get_blob_client("a")
    blob.upload_blob(b"x")
    now = reached.engine.clock.now()
    before, after = now - timedelta(hours=1), now + timedelta(hours=1)
    assert blob.download_blob(if_modified_since=before).readall() == b"x"
    assert raised(lambda: blob.download_blob(if_modified_since=after)).status_code == 304
    assert code_of(lambda: blob.delete_blob(if_unmodified_since=before)) == (412, "ConditionNotMet")
    assert code_of(lambda: blob.delete_blob(if_modified_since=after)) == (412, "ConditionNotMet")
    blob.delete_blob(if_unmodified_since=after)
    assert not blob.exists()


def test_what_is_not_there(container: Any) -> None:
    blob = container.get_blob_client("absent")
    for action in (blob.get_blob_properties, blob.download_blob, blob.delete_blob):
        assert code_of(action) == (404, "BlobNotFound")
    assert "The specified blob does not exist." in raised(blob.download_blob).message


@pytest.mark.parametrize(
    ("size", "offset", "length", "expected"),
    [(10, 0, None, slice(0, 10)), (10, 9, 100, slice(9, 10)), (10, 3, 4, slice(3, 7))],
)
def test_ranges(container: Any, size: int, offset: int, length: int | None, expected: slice) -> None:
    data = bytes(range(size))
    blob = container.get_blob_client("a")
    blob.upload_blob(data)
    assert blob.download_blob(offset=offset, length=length).readall() == data[expected]
    assert code_of(lambda: blob.download_blob(offset=10, length=1)) == (416, "InvalidRange")


def test_an_empty_blob(container: Any) -> None:
    blob = container.get_blob_client("a")
    blob.upload_blob(b"")
    assert (blob.download_blob().readall(), blob.get_blob_properties().size) == (b"", 0)


# -- block uploads -------------------------------------------------------------------------------------------------


def test_seventy_megabytes(container: Any) -> None:
    data = random.Random(7).randbytes(70 * MB)
    blob = container.get_blob_client("big")
    blob.upload_blob(io.BytesIO(data), max_concurrency=4)
    assert blob.get_blob_properties().size == 70 * MB
    assert sum(block.size for block in blob.get_block_list()[0]) == 70 * MB
    assert blob.download_blob(max_concurrency=4).readall() == data
    assert blob.download_blob(offset=65 * MB, length=100).readall() == data[65 * MB : 65 * MB + 100]
    blob.delete_blob()


def test_an_upload_that_is_cut_off_leaves_nothing(container: Any) -> None:
    class Breaks(io.RawIOBase):
        left = 3

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            if not self.left:
                raise OSError("the cable was pulled")
            return bytes(4 * MB)

    from azure.storage.blob import BlobClient

    where = f"https://{container.account_name}.blob.core.windows.net", container.container_name, "big"
    blob = BlobClient(*where, credential=container.credential, max_single_put_size=MB, max_block_size=4 * MB)
    with pytest.raises(OSError, match="cable"):
        blob.upload_blob(Breaks())
    assert not blob.exists()
    assert [each.name for each in container.list_blobs()] == []
    assert [each.name for each in container.list_blobs(include=["uncommittedblobs"])] == ["big"]
    committed, waiting = blob.get_block_list("all")
    assert (committed, bool(waiting)) == ([], True)
    blob.upload_blob(b"small", overwrite=True)
    assert blob.get_block_list("all") == ([], [])


def test_blocks_one_by_one(container: Any) -> None:
    from azure.storage.blob import BlobBlock

    blob = container.get_blob_client("a")
    for number, text in enumerate((b"one ", b"two ", b"three")):
        blob.stage_block(f"{number:04}", text)
    blob.commit_block_list([BlobBlock("0000"), BlobBlock("0002")], metadata={"k": "v"})
    assert blob.download_blob().readall() == b"one three"
    # A committed block can be used again, beside a new one.
    blob.stage_block("0009", b"nine ")
    blob.commit_block_list([BlobBlock("0009"), BlobBlock("0000"), BlobBlock("0000")])
    assert blob.download_blob().readall() == b"nine one one "
    assert [block.size for block in blob.get_block_list("committed")[0]] == [5, 4, 4]
    assert code_of(lambda: blob.commit_block_list([BlobBlock("0002")])) == (400, "InvalidBlockList")
    assert code_of(lambda: blob.stage_block("longer-id", b"x")) == (400, "InvalidBlobOrBlock")
    assert blob.download_blob().readall() == b"nine one one "


def test_checksums(container: Any) -> None:
    blob = container.get_blob_client("a")
    blob.upload_blob(b"data", validate_content=True)
    assert blob.download_blob(validate_content=True).readall() == b"data"
    error = code_of(lambda: blob.stage_block("01", b"data", headers={"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}))
    assert error == (400, "Md5Mismatch")
    error = code_of(lambda: blob.stage_block("01", b"data", headers={"x-ms-content-crc64": "AAAAAAAAAAA="}))
    assert error == (400, "Crc64Mismatch")


# -- lists, copies, deletions --------------------------------------------------------------------------------------


def test_lists(container: Any) -> None:
    names = ["a/1", "a/2", "a/b/3", "c", "d&<e>"]
    for each in names:
        container.upload_blob(each, b"x", metadata={"of": each[0]})
    assert [each.name for each in container.list_blobs()] == names
    assert [each.name for each in container.list_blobs(name_starts_with="a/")] == names[:3]
    assert [each.name for each in container.walk_blobs()] == ["a/", "c", "d&<e>"]
    assert [each.name for each in container.walk_blobs(name_starts_with="a/")] == ["a/b/", "a/1", "a/2"] or [
        each.name for each in container.walk_blobs(name_starts_with="a/")
    ] == ["a/1", "a/2", "a/b/"]
    pages = container.list_blobs(results_per_page=2).by_page()
    assert [[each.name for each in page] for page in pages] == [names[:2], names[2:4], names[4:]]
    found = next(each for each in container.list_blobs(include=["metadata"]) if each.name == "c")
    assert (found.metadata, found.size, found.blob_type.value) == ({"of": "c"}, 1, "BlockBlob")
    with pytest.raises(HttpResponseError, match="permissible range"):
        next(container.list_blobs(results_per_page=5001).by_page())
    with pytest.raises(HttpResponseError, match="tags"):
        list(container.list_blobs(include=["tags"]))


def test_copies(container: Any, service: Any, name: str) -> None:
    container.upload_blob("a", b"data", metadata={"k": "v"})
    source = container.get_blob_client("a")
    other = service.create_container(f"{name}-2").get_blob_client("copy")
    answer = other.start_copy_from_url(source.url)
    assert answer["copy_status"] == "success"
    found = other.get_blob_properties()
    assert (other.download_blob().readall(), found.metadata, found.copy.status) == (b"data", {"k": "v"}, "success")
    assert code_of(lambda: other.start_copy_from_url(f"{source.url}x")) == (404, "CannotVerifyCopySource")
    assert code_of(lambda: other.start_copy_from_url("https://example.com/data.csv")) == (404, "CannotVerifyCopySource")
    other.upload_blob_from_url(source.url, overwrite=True)
    assert other.download_blob().readall() == b"data"


def test_deleting_many_in_one_request(container: Any) -> None:
    for each in ("a", "b", "c"):
        container.upload_blob(each, b"x")
    answers = container.delete_blobs("a", "absent", "b", raise_on_any_failure=False)
    assert [each.status_code for each in answers] == [202, 404, 202]
    assert [each.name for each in container.list_blobs()] == ["c"]


def test_tiers(container: Any) -> None:
    from azure.storage.blob import StandardBlobTier

    container.upload_blob("a", b"x", standard_blob_tier=StandardBlobTier.COOL)
    blob = container.get_blob_client("a")
    assert blob.get_blob_properties().blob_tier == "Cool"
    blob.set_standard_blob_tier("Cold")
    assert blob.get_blob_properties().blob_tier == "Cold"
    assert code_of(lambda: blob.set_standard_blob_tier("Archive")) == (501, "NotImplemented")


@pytest.mark.parametrize(
    ("action", "expected", "message"),
    [
        (lambda c, b: b.create_append_blob(), (501, "NotImplemented"), "blobs of type AppendBlob"),
        (lambda c, b: b.create_page_blob(512), (501, "NotImplemented"), "blobs of type PageBlob"),
        (lambda c, b: b.create_snapshot(), (501, "NotImplemented"), "comp=snapshot"),
        (lambda c, b: b.acquire_lease(), (501, "NotImplemented"), "comp=lease"),
        (lambda c, b: c.acquire_lease(), (501, "NotImplemented"), "comp=lease"),
        (lambda c, b: b.set_blob_tags({"a": "b"}), (501, "NotImplemented"), "comp=tags"),
        (lambda c, b: b.upload_blob(b"x", overwrite=True, tags={"a": "b"}), (501, "NotImplemented"), "index tags"),
        (lambda c, b: b.delete_blob(lease="x" * 8), (412, "LeaseNotPresentWithBlobOperation"), "no lease"),
        (lambda c, b: b.delete_blob(delete_snapshots="only"), (501, "NotImplemented"), "snapshots"),
        (lambda c, b: b.set_blob_metadata({"not ok": "x"}), (400, "InvalidMetadata"), "metadata"),
        (lambda c, b: b.set_blob_metadata({"k": "x" * 9000}), (400, "MetadataTooLarge"), "8KB"),
    ],
)
def test_what_is_refused(
    container: Any, action: Callable[[Any, Any], Any], expected: tuple[int, str], message: str
) -> None:
    blob = container.get_blob_client("a")
    blob.upload_blob(b"x")
    assert code_of(lambda: action(container, blob)) == expected
    assert message in raised(lambda: action(container, blob)).message
    assert blob.download_blob().readall() == b"x"


def test_calls_are_in_the_audit_trail(container: Any, reached: AzureCloud) -> None:
    container.upload_blob("a", b"x")
    event = next(iter(reached.engine.audit.events()))
    assert (event.service, event.operation, event.status) == ("blob", "Put Blob", 201)
    assert event.resource.endswith(f"/containers/{container.container_name}/blobs/a")
    assert event.caller is not None
    assert event.caller.principal.endswith("key1")
    with pytest.raises(HttpResponseError):
        container.get_blob_client("absent").download_blob()
    event = next(iter(reached.engine.audit.events()))
    assert (event.operation, event.error, event.read_only) == ("Get Blob", "BlobNotFound", True)
    assert (event.parameters or {}).keys() == {"method", "correlation"}
