"""Host names: every one that botocore makes for a served service leads to it, the rest is refused with its reason."""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from labkit.cloud.aws import hosts
from labkit.cloud.aws.hosts import Refusal, Target

#: Service -> an operation of it, with arguments.
SERVED: dict[str, tuple[str, dict[str, Any]]] = {
    "s3": ("list_objects_v2", {"Bucket": "a-bucket"}),
    "iam": ("list_users", {}),
    "sts": ("get_caller_identity", {}),
    "ecr": ("describe_repositories", {}),
    "sagemaker": ("list_endpoints", {}),
    "sagemaker-runtime": ("invoke_endpoint", {"EndpointName": "e", "Body": b""}),
    "cloudwatch": ("list_metrics", {}),
    "logs": ("describe_log_groups", {}),
    "events": ("list_rules", {}),
    "lambda": ("list_functions", {}),
    "scheduler": ("list_schedules", {}),
    "sns": ("list_topics", {}),
    "sqs": ("list_queues", {}),
}
#: AWS has FIPS endpoints in North America only.
PLACES = [(region, variant) for region in ("us-east-1", "eu-west-1", "ap-southeast-2") for variant in ("plain", "dual")]
PLACES += [("us-east-1", "fips"), ("ca-central-1", "fips")]


@lru_cache(maxsize=1)
def session() -> Any:
    return botocore.session.get_session()


@pytest.mark.parametrize("service", SERVED)
@pytest.mark.parametrize(("region", "variant"), PLACES)
def test_what_botocore_calls_a_service(service: str, region: str, variant: str) -> None:
    config = Config(use_dualstack_endpoint=variant == "dual", use_fips_endpoint=variant == "fips")
    client = session().create_client(service, region, aws_access_key_id="x", aws_secret_access_key="x", config=config)
    asked: list[str] = []

    def keep(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        asked.append(urlsplit(request.url).hostname or "")
        return AWSResponse(request.url, 404, {}, None)

    client.meta.events.register("before-send.*", keep)
    operation, arguments = SERVED[service]
    with contextlib.suppress(Exception):
        getattr(client, operation)(**arguments)
    (host,) = asked
    target = hosts.resolve(host)
    assert isinstance(target, Target), host
    assert target.service == service
    assert target.region == ("us-east-1" if service == "iam" else region)


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("s3.amazonaws.com", Target("s3", "us-east-1", is_global=True)),
        ("S3.amazonaws.com.", Target("s3", "us-east-1", is_global=True)),
        ("a-bucket.s3.amazonaws.com", Target("s3", "us-east-1", "a-bucket", is_global=True)),
        ("a.dotted.bucket.s3.eu-west-1.amazonaws.com", Target("s3", "eu-west-1", "a.dotted.bucket")),
        ("s3tables.s3.eu-west-1.amazonaws.com", Target("s3", "eu-west-1", "s3tables")),
        ("s3-us-west-2.amazonaws.com", Target("s3", "us-west-2")),
        ("b.s3-us-west-2.amazonaws.com", Target("s3", "us-west-2", "b")),
        ("b.s3-fips.dualstack.us-east-1.amazonaws.com", Target("s3", "us-east-1", "b")),
        ("s3-external-1.amazonaws.com", Target("s3", "us-east-1", is_global=True)),
        ("queue.amazonaws.com", Target("sqs", "us-east-1")),
        ("eu-west-1.queue.amazonaws.com", Target("sqs", "eu-west-1")),
        ("sts.amazonaws.com", Target("sts", "us-east-1", is_global=True)),
        ("iam.global.api.aws", Target("iam", "us-east-1", is_global=True)),
        ("streaming-logs.us-east-1.amazonaws.com", Target("logs", "us-east-1")),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com", Target(hosts.REGISTRY, "us-east-1")),
        ("123456789012.dkr-ecr.us-east-1.on.aws", None),
    ],
)
def test_older_and_odd_names(host: str, target: Target | None) -> None:
    found = hosts.resolve(host)
    assert found == target if target else isinstance(found, Refusal)


@pytest.mark.parametrize(
    "host", ["example.com", "amazonaws.com", "s3.amazonaws.com.evil.test", "pypi.org", "notamazonaws.com"]
)
def test_what_is_not_aws(host: str) -> None:
    assert hosts.resolve(host) is None


@pytest.mark.parametrize(
    ("host", "sentence", "protocol"),
    [
        ("bedrock-runtime.us-east-1.amazonaws.com", "do not serve Amazon Bedrock Runtime yet", "rest-json"),
        ("batch.us-east-1.amazonaws.com", "do not serve AWS Batch yet", "rest-json"),
        ("ec2.us-east-1.amazonaws.com", "do not serve Amazon Elastic Compute Cloud yet", "ec2"),
        ("email.us-east-1.amazonaws.com", "do not serve Amazon Simple Email Service yet", "query"),
        ("kinesis.us-east-1.amazonaws.com", "do not serve Amazon Kinesis yet", "json"),
        ("cloudfront.amazonaws.com", "do not serve Amazon CloudFront yet", "rest-xml"),
        ("123.s3-control.us-east-1.amazonaws.com", "do not serve Amazon S3 Control yet", "rest-xml"),
        ("b.s3-accelerate.amazonaws.com", "do not serve S3 Transfer Acceleration yet", "rest-xml"),
        ("nothing.us-east-1.amazonaws.com", "do not serve nothing yet", "rest-json"),
        ("api.sagemaker.eu-moon-1.amazonaws.com", "'eu-moon-1' is no AWS region", "json"),
        ("b.s3.eu-moon-1.amazonaws.com", "'eu-moon-1' is no AWS region", "rest-xml"),
        ("sts.us-gov-west-1.amazonaws.com", "a region of AWS GovCloud", "query"),
        ("s3.cn-north-1.amazonaws.com.cn", "belongs to AWS China", "rest-json"),
        ("console.aws.amazon.com", "do not serve console.aws.amazon.com", "rest-json"),
    ],
)
def test_what_is_refused(host: str, sentence: str, protocol: str) -> None:
    refusal = hosts.resolve(host)
    assert isinstance(refusal, Refusal)
    assert sentence in refusal.sentence
    assert refusal.protocol == protocol
