"""S3: tags of buckets and objects. https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from labkit.cloud.aws import moto_base, s3_events, s3_state
from labkit.cloud.aws.errors import AwsError

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

MOST_OF_OBJECT = 10
MOST_OF_BUCKET = 50


def of_header(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The tags in an ``x-amz-tagging`` header."""
    return _checked(parse_qsl(parameters.get("Tagging", ""), keep_blank_values=True), MOST_OF_OBJECT)


def of_record(record: Any) -> dict[str, str]:
    """The tags of a bucket or of an object's version."""
    tags: dict[str, str] = moto_base.backend("s3").tagger.get_tag_dict_for_resource(record.arn)
    return tags


def put(record: Any, tags: Mapping[str, str]) -> None:
    """Replaces the tags of a bucket or of an object's version."""
    tagger = moto_base.backend("s3").tagger
    tagger.delete_all_tags_for_resource(record.arn)
    if tags:
        tagger.tag_resource(record.arn, tagger.convert_dict_to_tags_input(dict(tags)))


def _checked(pairs: Iterable[tuple[str, str]], most: int) -> dict[str, str]:
    """Tags by key. Raises ``BadRequest`` and ``InvalidTag`` in S3's words."""
    tags: dict[str, str] = {}
    for key, value in pairs:
        if key in tags:
            raise AwsError("InvalidTag", "Cannot provide multiple Tags with the same key", 400, TagKey=key)
        if not 1 <= len(key) <= 128:
            raise AwsError("InvalidTag", "The TagKey you have provided is invalid", 400, TagKey=key)
        if key.lower().startswith("aws:"):
            message = "Your TagKey cannot be prefixed with aws:"
            raise AwsError("InvalidTag", message, 400, TagKey=key)
        if len(value) > 256:
            raise AwsError("InvalidTag", "The TagValue you have provided is invalid", 400, TagKey=key, TagValue=value)
        tags[key] = value
    if len(tags) > most:
        what = "Object tags" if most == MOST_OF_OBJECT else "Bucket tag count"
        raise AwsError("BadRequest", f"{what} cannot be greater than {most}", 400)
    return tags


def _asked(parameters: Mapping[str, Any], most: int) -> dict[str, str]:
    pairs = [(each.get("Key", ""), each.get("Value", "")) for each in parameters["Tagging"].get("TagSet", [])]
    return _checked(pairs, most)


def _told(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def put_object_tagging(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        record = s3_state.find(holder, parameters["Key"], parameters.get("VersionId"))
        put(record, _asked(parameters, MOST_OF_OBJECT))
        change = s3_events.of_record("ObjectTagging:Put", holder, record)
    s3_events.tell(s3_events.By.of(call), holder, change)
    return {"VersionId": change.version}


def get_object_tagging(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        record = s3_state.find(holder, parameters["Key"], parameters.get("VersionId"))
        return {"TagSet": _told(of_record(record)), "VersionId": s3_state.version_of(holder, record)}


def delete_object_tagging(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        record = s3_state.find(holder, parameters["Key"], parameters.get("VersionId"))
        put(record, {})
        change = s3_events.of_record("ObjectTagging:Delete", holder, record)
    s3_events.tell(s3_events.By.of(call), holder, change)
    return {"VersionId": change.version}


def put_bucket_tagging(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        put(s3_state.bucket(parameters["Bucket"]), _asked(parameters, MOST_OF_BUCKET))
    return {}


def get_bucket_tagging(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        tags = of_record(s3_state.bucket(parameters["Bucket"]))
    if not tags:
        raise AwsError("NoSuchTagSet", "The TagSet does not exist", 404, BucketName=parameters["Bucket"])
    return {"TagSet": _told(tags)}


def delete_bucket_tagging(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        put(s3_state.bucket(parameters["Bucket"]), {})
    return {}


OPERATIONS = {
    "DeleteBucketTagging": delete_bucket_tagging,
    "DeleteObjectTagging": delete_object_tagging,
    "GetBucketTagging": get_bucket_tagging,
    "GetObjectTagging": get_object_tagging,
    "PutBucketTagging": put_bucket_tagging,
    "PutObjectTagging": put_object_tagging,
}
