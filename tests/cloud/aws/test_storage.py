"""Objects read from inside the clouds, as a model's archive is when an endpoint is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit.cloud.aws import AwsCloud, storage
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.engine import Engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


def test_reading(client: Callable[[str], Any], cloud: AwsCloud) -> None:
    cloud.reset()
    s3 = client("s3")
    s3.create_bucket(Bucket="a-bucket")
    s3.put_bucket_versioning(Bucket="a-bucket", VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket="a-bucket", Key="m/model.tar.gz", Body=b"1")["VersionId"]
    s3.put_object(Bucket="a-bucket", Key="m/model.tar.gz", Body=b"2")
    s3.put_object(Bucket="a-bucket", Key="m/gone", Body=b"")
    s3.delete_object(Bucket="a-bucket", Key="m/gone")
    assert storage.read_object("a-bucket", "m/model.tar.gz") == b"2"
    assert storage.read_object("a-bucket", "m/model.tar.gz", first) == b"1"
    assert storage.find_object("a-bucket", "m/model.tar.gz").size == 1
    assert storage.list_keys("a-bucket", "m/") == ["m/model.tar.gz"]
    assert storage.bucket_region("a-bucket") == "us-east-1"
    assert storage.bucket_region("no-bucket") is None


@pytest.mark.parametrize(
    ("bucket", "key", "code"), [("no-bucket", "k", "NoSuchBucket"), ("a-bucket", "no", "NoSuchKey")]
)
def test_what_is_not_there(client: Callable[[str], Any], cloud: AwsCloud, bucket: str, key: str, code: str) -> None:
    cloud.reset()
    client("s3").create_bucket(Bucket="a-bucket")
    with pytest.raises(AwsError) as caught:
        storage.read_object(bucket, key)
    assert (caught.value.code, caught.value.status) == (code, 404)
