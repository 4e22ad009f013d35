"""S3's lists, page by page, against a plain model of what they should hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.cloud.aws import AwsCloud
from labkit.cloud.engine import Engine
from tests.cloud.aws.in_process import error

KEYS = ["a/1", "a/2", "a/b/1", "a/b/2", "b", "c/1", "d+ &<ü", "e"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def s3(client: Callable[[str], Any], cloud: AwsCloud) -> Any:
    cloud.reset()
    s3 = client("s3")
    s3.create_bucket(Bucket="a-bucket")
    for key in reversed(KEYS):
        s3.put_object(Bucket="a-bucket", Key=key, Body=b"x")
    return s3


def wanted(prefix: str, delimiter: str, after: str = "") -> list[str]:
    """Keys and common prefixes, as one list in order."""
    names = []
    for key in sorted(KEYS):
        if key.startswith(prefix):
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            name = key if cut < 0 else key[: cut + len(delimiter)]
            if name > after and name not in names:
                names.append(name)
    return names


def names_of(page: dict[str, Any]) -> list[str]:
    keys = [each["Key"] for each in page.get("Contents", [])]
    return sorted(keys + [each["Prefix"] for each in page.get("CommonPrefixes", [])])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prefix=st.sampled_from(["", "a", "a/", "a/b", "z"]),
    delimiter=st.sampled_from(["", "/", "b/"]),
    size=st.integers(1, 4),
    after=st.sampled_from(["", "a/1", "a/b/", "c", "z"]),
)
def test_pages_together_hold_everything_once(s3: Any, prefix: str, delimiter: str, size: int, after: str) -> None:
    arguments = {"Bucket": "a-bucket", "Prefix": prefix, "MaxKeys": size}
    if delimiter:
        arguments["Delimiter"] = delimiter
    pages = s3.get_paginator("list_objects_v2").paginate(**arguments, StartAfter=after)
    assert [name for page in pages for name in names_of(page)] == wanted(prefix, delimiter, after)
    pages = s3.get_paginator("list_objects").paginate(**arguments)
    assert [name for page in pages for name in names_of(page)] == wanted(prefix, delimiter)
    pages = s3.get_paginator("list_object_versions").paginate(**arguments)
    found = [name for page in pages for name in names_of({**page, "Contents": page.get("Versions", [])})]
    assert found == wanted(prefix, delimiter)


def test_one_page(s3: Any) -> None:
    page = s3.list_objects_v2(Bucket="a-bucket", Delimiter="/", MaxKeys=2, FetchOwner=True)
    assert (page["KeyCount"], page["MaxKeys"], page["IsTruncated"]) == (2, 2, True)
    assert [each["Prefix"] for each in page["CommonPrefixes"]] == ["a/"]
    (entry,) = page["Contents"]
    assert (entry["Key"], entry["Size"], entry["StorageClass"]) == ("b", 1, "STANDARD")
    assert entry["ETag"] == '"9dd4e461268c8034f5c8564e155c67a6"'
    assert len(entry["Owner"]["ID"]) == 64
    assert "NextContinuationToken" not in s3.list_objects_v2(Bucket="a-bucket")
    assert s3.list_objects_v2(Bucket="a-bucket", MaxKeys=0)["KeyCount"] == 0
    assert s3.list_objects_v2(Bucket="a-bucket", MaxKeys=5000)["MaxKeys"] == 1000


def test_what_a_list_does_not_take(s3: Any) -> None:
    wrong = error(s3.list_objects_v2, Bucket="a-bucket", ContinuationToken="xx")
    assert wrong == (400, "InvalidArgument", "The continuation token provided is incorrect")
    wrong = error(s3.list_object_versions, Bucket="a-bucket", VersionIdMarker="x")
    assert wrong == (400, "InvalidArgument", "A version-id marker cannot be specified without a key marker.")


def test_pages_of_versions(s3: Any) -> None:
    s3.create_bucket(Bucket="versioned")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    made = [s3.put_object(Bucket="versioned", Key=key, Body=b"")["VersionId"] for key in ("a", "a", "a", "b")]
    marker = s3.delete_object(Bucket="versioned", Key="b")["VersionId"]
    pages = list(
        s3.get_paginator("list_object_versions").paginate(Bucket="versioned", PaginationConfig={"PageSize": 2})
    )
    found = []
    for page in pages:
        found += sorted(page.get("DeleteMarkers", []) + page.get("Versions", []), key=lambda each: each["Key"])
    assert [(each["Key"], each["VersionId"], each["IsLatest"]) for each in found] == [
        ("a", made[2], True),
        ("a", made[1], False),
        ("a", made[0], False),
        ("b", marker, True),
        ("b", made[3], False),
    ]


def test_buckets_are_listed_by_name_and_page(cloud: AwsCloud, client: Callable[[str], Any]) -> None:
    cloud.reset()
    s3 = client("s3")
    for name in ("zzz", "bbb", "aaa"):
        s3.create_bucket(Bucket=name)
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["aaa", "bbb", "zzz"]
    pages = list(s3.get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": 2}))
    assert [[each["Name"] for each in page["Buckets"]] for page in pages] == [["aaa", "bbb"], ["zzz"]]
    assert pages[0]["Buckets"][0]["BucketRegion"] == "us-east-1"
    assert [each["Name"] for each in s3.list_buckets(Prefix="b")["Buckets"]] == ["bbb"]
    assert s3.list_buckets(BucketRegion="eu-west-1")["Buckets"] == []
