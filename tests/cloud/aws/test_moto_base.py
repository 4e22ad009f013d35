"""moto below the front: in lab time, emptied at once, safe from many threads, and nothing of it that is not needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labkit.cloud.aws import AwsCloud, moto_base
from labkit.cloud.engine import Engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_dialect_loads_no_sdk_until_it_is_called() -> None:
    code = (
        "import sys, labkit.cloud.aws; print([m for m in ('boto3', 'botocore', 'moto', 'numpy') if m in sys.modules])"
    )
    assert python(code) == "[]"


def test_what_is_warmed_is_small() -> None:
    """Megabytes that the dialect adds to the server, all that its first calls need included."""
    code = """
import resource, types
from datetime import UTC, datetime
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
from labkit.cloud.aws import AwsCloud
from labkit.cloud.engine.access import Access
from labkit.cloud.engine.events import Events
lab = types.SimpleNamespace(access_key_id="AKIA", secret_access_key="x")
clock = types.SimpleNamespace(now=lambda: datetime.now(UTC))
AwsCloud(types.SimpleNamespace(clock=clock, access=Access(), events=Events(clock)), lab).warm()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    assert int(python(code)) < 120


def test_every_date_is_the_labs(client: Callable[[str], Any], cloud: AwsCloud, engine: Engine) -> None:
    cloud.reset()
    engine.clock.advance(timedelta(days=100))
    iam, ecr, s3 = client("iam"), client("ecr"), client("s3")
    s3.create_bucket(Bucket="a-bucket")
    dates = {
        "user": iam.create_user(UserName="u")["User"]["CreateDate"],
        "group": iam.create_group(GroupName="g")["Group"]["CreateDate"],
        "key": iam.create_access_key(UserName="u")["AccessKey"]["CreateDate"],
        "repository": ecr.create_repository(repositoryName="app")["repository"]["createdAt"],
        "bucket": s3.list_buckets()["Buckets"][0]["CreationDate"],
    }
    for what, when in dates.items():
        assert timedelta(days=99) < when - datetime.now(UTC) < timedelta(days=101), what


def test_many_threads(client: Callable[[str], Any], cloud: AwsCloud) -> None:
    cloud.reset()
    s3, iam = client("s3"), client("iam")
    s3.create_bucket(Bucket="a-bucket")

    def objects(number: int) -> None:
        for turn in range(10):
            body = f"{number} {turn}".encode()
            s3.put_object(Bucket="a-bucket", Key=str(number), Body=body)
            assert s3.get_object(Bucket="a-bucket", Key=str(number))["Body"].read() == body
            s3.list_objects_v2(Bucket="a-bucket")

    def users(number: int) -> None:
        for turn in range(5):
            iam.create_user(UserName=f"u{number}-{turn}")
            iam.list_users()
            iam.delete_user(UserName=f"u{number}-{turn}")

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(objects, number) for number in range(6)] + [
            pool.submit(users, number) for number in range(2)
        ]
        for each in work:
            each.result()
    assert s3.list_objects_v2(Bucket="a-bucket")["KeyCount"] == 6


def test_a_body_is_not_copied(cloud: AwsCloud) -> None:
    from labkit.cloud.http import Headers, Request

    body = b"x" * 1000
    request = Request("PUT", "s3.us-east-1.amazonaws.com", "/b/k", Headers([("Content-Type", "a/b")]))
    made = moto_base.request_of(request, body, "s3.us-east-1.amazonaws.com", "/b/k", request.headers.items)
    assert made.data is body


def test_deleted_records_are_not_kept(client: Callable[[str], Any], cloud: AwsCloud) -> None:
    iam = client("iam")
    for _ in range(3):
        iam.create_user(UserName="once")
        iam.delete_user(UserName="once")
    assert moto_base.models("iam").User.instances_tracked == []
