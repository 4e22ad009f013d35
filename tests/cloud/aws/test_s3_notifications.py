"""What happens to objects reaches EventBridge, functions, queues and topics, as a bucket's configuration says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cloud.aws.event_world import ACCOUNT, EventWorld, allow, arn, policy
from tests.cloud.aws.in_process import error
from tests.cloud.aws.pipeline_world import Pipelines

S3 = "s3.amazonaws.com"


@pytest.fixture
def bucket(events: EventWorld) -> str:
    name = f"{events.name}-noted"
    events.client("s3").create_bucket(Bucket=name)
    return name


def configure(events: EventWorld, bucket: str, **configuration: Any) -> None:
    events.client("s3").put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)


def to_eventbridge(events: EventWorld, bucket: str, kind: str = "Object Created", **detail: Any) -> str:
    """The URL of a queue that is sent a bucket's events of a kind."""
    configure(events, bucket, EventBridgeConfiguration={})
    client, url = events.client("events"), events.queue()
    pattern = {"source": ["aws.s3"], "detail-type": [kind], "detail": {"bucket": {"name": [bucket]}, **detail}}
    client.put_rule(Name=events.name, EventPattern=json.dumps(pattern))
    client.put_targets(Rule=events.name, Targets=[{"Id": "q", "Arn": events.queue_arn(url)}])
    events.let_send(url, "events.amazonaws.com")
    return url


def test_an_upload_as_eventbridge_tells_it(events: EventWorld, bucket: str) -> None:
    url = to_eventbridge(events, bucket, object={"key": [{"prefix": "raw/"}]})
    s3 = events.client("s3")
    s3.put_object(Bucket=bucket, Key="other/a.csv", Body=b"x")
    etag = s3.put_object(Bucket=bucket, Key="raw/a b.csv", Body=b"hello")["ETag"].strip('"')
    (message,) = events.received(url)
    event = json.loads(message["Body"])
    assert event["resources"] == [f"arn:aws:s3:::{bucket}"]
    assert (event["source"], event["account"], event["region"]) == ("aws.s3", ACCOUNT, "us-east-1")
    detail = event["detail"]
    assert detail["object"].pop("sequencer")
    assert detail["object"] == {"key": "raw/a b.csv", "size": 5, "etag": etag}
    assert (detail["bucket"], detail["reason"], detail["requester"]) == ({"name": bucket}, "PutObject", ACCOUNT)
    assert events.received(url, wait=0) == []


def test_every_way_to_make_an_object(events: EventWorld, bucket: str) -> None:
    url = to_eventbridge(events, bucket)
    s3 = events.client("s3")
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="c")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="c", UploadId=upload, PartNumber=1, Body=b"c")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="c", UploadId=upload, MultipartUpload=parts)
    told = [json.loads(each["Body"])["detail"] for each in events.received(url)]
    assert [(each["object"]["key"], each["reason"]) for each in told] == [
        ("a", "PutObject"),
        ("b", "CopyObject"),
        ("c", "CompleteMultipartUpload"),
    ]


def test_deletions(events: EventWorld, bucket: str) -> None:
    url = to_eventbridge(events, bucket, "Object Deleted")
    s3 = events.client("s3")
    for key in ("a", "b", "c"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    s3.delete_object(Bucket=bucket, Key="a")
    s3.delete_object(Bucket=bucket, Key="a")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}, {"Key": "missing"}]})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    marker = s3.delete_object(Bucket=bucket, Key="c")["VersionId"]
    told = [json.loads(each["Body"])["detail"] for each in events.received(url)]
    assert [(each["object"]["key"], each["deletion-type"]) for each in told] == [
        ("a", "Permanently Deleted"),
        ("b", "Permanently Deleted"),
        ("c", "Delete Marker Created"),
    ]
    assert told[2]["object"]["version-id"] == marker


def test_tags(events: EventWorld, bucket: str) -> None:
    url = to_eventbridge(events, bucket, "Object Tags Added")
    s3 = events.client("s3")
    s3.put_object(Bucket=bucket, Key="a", Body=b"")
    s3.put_object_tagging(Bucket=bucket, Key="a", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    (message,) = events.received(url)
    assert json.loads(message["Body"])["detail"]["object"]["key"] == "a"


def test_without_a_configuration_nothing_is_told(events: EventWorld, bucket: str) -> None:
    url = to_eventbridge(events, bucket)
    configure(events, bucket)
    answer = events.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    assert set(answer) == {"ResponseMetadata"}
    events.client("s3").put_object(Bucket=bucket, Key="a", Body=b"")
    assert events.received(url, wait=0) == []


def test_a_queue_a_topic_and_a_function(events: EventWorld, bucket: str) -> None:
    url, subscribed = events.queue(), events.queue("subscribed")
    events.let_send(url, S3, ArnLike={"aws:SourceArn": f"arn:aws:s3:::{bucket}"})
    topic = events.client("sns").create_topic(Name=f"{events.name}-topic")["TopicArn"]
    may = {"Principal": {"Service": S3}, "Action": "sns:Publish", "Resource": topic}
    events.client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy(may))
    events.let_send(subscribed, "sns.amazonaws.com")
    events.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=events.queue_arn(subscribed))
    function = events.function("def handler(event, context): print('KEY', event['Records'][0]['s3']['object']['key'])")
    events.client("lambda").add_permission(
        FunctionName=function,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal=S3,
        SourceArn=f"arn:aws:s3:::{bucket}",
        SourceAccount=ACCOUNT,
    )

    def about(prefix: str) -> dict[str, Any]:
        return {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}, {"Name": "suffix", "Value": ".csv"}]}}

    made = ["s3:ObjectCreated:*"]
    configure(
        events,
        bucket,
        QueueConfigurations=[{"Id": "q", "QueueArn": events.queue_arn(url), "Events": made, "Filter": about("q/")}],
        TopicConfigurations=[{"TopicArn": topic, "Events": ["s3:ObjectCreated:Put"], "Filter": about("t/")}],
        LambdaFunctionConfigurations=[{"LambdaFunctionArn": function, "Events": made, "Filter": about("f/")}],
    )
    assert json.loads(events.received(url)[0]["Body"])["Event"] == "s3:TestEvent"
    assert "s3:TestEvent" in events.received(subscribed)[0]["Body"]
    kept = events.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    assert [kept[f"{each}Configurations"][0]["Events"] for each in ("Queue", "LambdaFunction")] == [made, made]
    assert kept["QueueConfigurations"][0]["Filter"] == about("q/")
    for key in ("q/a b.csv", "q/a.txt", "t/a.csv", "f/a.csv"):
        events.client("s3").put_object(Bucket=bucket, Key=key, Body=b"1234")
    (message,) = events.received(url)
    (record,) = json.loads(message["Body"])["Records"]
    assert (record["eventName"], record["eventSource"], record["awsRegion"]) == (
        "ObjectCreated:Put",
        "aws:s3",
        "us-east-1",
    )
    assert (record["s3"]["object"]["key"], record["s3"]["object"]["size"]) == ("q/a+b.csv", 4)
    assert (record["s3"]["configurationId"], record["s3"]["bucket"]["name"]) == ("q", bucket)
    notified = json.loads(events.received(subscribed)[0]["Body"])
    assert notified["Subject"] == "Amazon S3 Notification"
    assert json.loads(notified["Message"])["Records"][0]["s3"]["object"]["key"] == "t/a.csv"
    lines = events.eventually(lambda: [each for each in events.log_lines(function) if "KEY" in each])
    assert [each.split() for each in lines] == [["KEY", "f/a.csv"]]


def test_what_a_configuration_may_not_say(events: EventWorld, bucket: str) -> None:
    url = events.queue()
    queue = events.queue_arn(url)

    def refused(*configurations: dict[str, Any]) -> tuple[int, str, str]:
        given = {"QueueConfigurations": [{"Events": ["s3:ObjectCreated:*"], **each} for each in configurations]}
        return error(
            events.client("s3").put_bucket_notification_configuration, Bucket=bucket, NotificationConfiguration=given
        )

    not_valid = "Unable to validate the following destination configurations"
    assert refused({"QueueArn": queue}) == (400, "InvalidArgument", not_valid)
    assert refused({"QueueArn": arn("sqs", "none")}) == (400, "InvalidArgument", not_valid)
    elsewhere = "The notification destination service region is not valid for the bucket location constraint"
    assert refused({"QueueArn": arn("sqs", "q", "eu-west-1")})[2] == elsewhere
    assert refused({"QueueArn": queue, "Events": ["ObjectCreated"]})[2] == (
        "A specified event is not supported for notifications"
    )
    events.let_send(url, S3)
    assert refused({"QueueArn": queue}, {"QueueArn": queue})[2].startswith("Configuration is ambiguously defined.")
    kept = events.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    assert "QueueConfigurations" not in kept


def test_who_may_configure(events: EventWorld, bucket: str) -> None:
    reader = events.user("s3", allow("s3:GetBucketNotification"))
    reader.get_bucket_notification_configuration(Bucket=bucket)
    denied = error(
        reader.put_bucket_notification_configuration,
        Bucket=bucket,
        NotificationConfiguration={"EventBridgeConfiguration": {}},
    )
    assert denied[1] == "AccessDenied"
    assert "s3:PutBucketNotification" in denied[2]


def test_an_upload_starts_a_pipeline(pipelines: Pipelines, events: EventWorld, bucket: str) -> None:
    fail = {"Name": "Told", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Parameters.Key"}}}
    name = pipelines.pipeline("uploaded", [fail], [{"Name": "Key", "Type": "String"}])
    role = events.role("events.amazonaws.com", allow("sagemaker:StartPipelineExecution"))
    configure(events, bucket, EventBridgeConfiguration={})
    pattern = {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"bucket": {"name": [bucket]}}}
    events.client("events").put_rule(Name=events.name, EventPattern=json.dumps(pattern))
    target = {
        "Id": "p",
        "Arn": arn("sagemaker", f"pipeline/{name.lower()}"),
        "RoleArn": role,
        "SageMakerPipelineParameters": {
            "PipelineParameterList": [{"Name": "Key", "Value": "$.detail.object.key"}],
        },
    }
    events.client("events").put_targets(Rule=events.name, Targets=[target])
    events.client("s3").put_object(Bucket=bucket, Key="months/2026-12.csv", Body=b"")
    listed = pipelines.sm.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
    assert len(listed) == 1
    pipelines.settled(listed[0]["PipelineExecutionArn"])
    assert pipelines.steps(listed[0]["PipelineExecutionArn"])["Told"]["FailureReason"] == "months/2026-12.csv"


def test_what_a_job_writes_is_told_too(pipelines: Pipelines, events: EventWorld) -> None:
    url = to_eventbridge(events, pipelines.bucket, object={"key": [{"suffix": "answer.txt"}]})
    script = "open('/opt/ml/processing/result/answer.txt', 'w').write('42')"
    assert pipelines.process("job", pipelines.processing(script, outputs=["result"]))["ProcessingJobStatus"] == (
        "Completed"
    )
    (message,) = events.received(url)
    assert json.loads(message["Body"])["detail"]["object"]["key"] == "out/result/answer.txt"
