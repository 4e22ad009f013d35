"""S3: buckets, and what AWS sets in a new one.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import hosts, moto_base, s3_state
from labkit.cloud.aws.errors import AwsError, refusal
from labkit.cloud.aws.s3_state import malformed_xml

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

_NAME = re.compile(
    r"(?!xn--|sthree-|amzn-s3-demo-)(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?<!-s3alias)(?<!--ol-s3)(?<!\.mrap)(?<!--x-s3)(?<!--table-s3)"
)


def create_bucket(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    name, configuration = parameters["Bucket"], parameters.get("CreateBucketConfiguration", {})
    for member in ("Location", "Bucket"):
        if configuration.get(member):
            raise refusal("s3", "CreateBucket", f"The local clouds do not serve directory buckets ({member}) yet.")
    if parameters.get("ObjectLockEnabledForBucket"):
        raise refusal("s3", "CreateBucket", "The local clouds do not serve S3 Object Lock yet; see docs/fidelity.md.")
    if parameters.get("BucketNamespace") not in (None, "global"):
        raise refusal("s3", "CreateBucket", "The local clouds do not serve account-regional bucket names yet.")
    if not _NAME.fullmatch(name):
        raise AwsError("InvalidBucketName", "The specified bucket is not valid.", 400, BucketName=name)
    region = _location(call, configuration.get("LocationConstraint") or "")
    ownership = parameters.get("ObjectOwnership", "BucketOwnerEnforced")
    if parameters.get("ACL", "private") != "private" and ownership == "BucketOwnerEnforced":
        message = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"
        raise AwsError("InvalidBucketAclWithObjectOwnership", message, 400)
    with moto_base.lock("s3"):
        backend = moto_base.backend("s3")
        existing = backend.buckets.get(name)
        if existing is not None and not existing.region_name == region == hosts.GLOBAL_REGION:
            message = "Your previous request to create the named bucket succeeded and you already own it."
            raise AwsError("BucketAlreadyOwnedByYou", message, 409, BucketName=name)
        if existing is None:
            made = backend.create_bucket(name, region)
            made.ownership_rule = ownership
            if tags := configuration.get("Tags"):
                backend.tagger.tag_resource(made.arn, tags)
    return {"Location": f"/{name}" if region == hosts.GLOBAL_REGION else f"http://{name}.s3.amazonaws.com/"}


def _location(call: Call, constraint: str) -> str:
    """The region of a new bucket. Raises what S3 answers for a constraint that does not fit the endpoint."""
    if constraint == "EU":
        constraint = "eu-west-1"
    if constraint and (constraint not in hosts.regions() or constraint == hosts.GLOBAL_REGION):
        message = "The specified location-constraint is not valid"
        raise AwsError("InvalidLocationConstraint", message, 400, LocationConstraint=constraint)
    if call.region != hosts.GLOBAL_REGION and constraint != call.region:
        message = (
            f"The {constraint or 'unspecified'} location constraint is incompatible for the region specific endpoint "
            "this request was sent to."
        )
        raise AwsError("IllegalLocationConstraintException", message, 400)
    return constraint or hosts.GLOBAL_REGION


def delete_bucket(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        if dict.keys(holder.keys):
            message = "The bucket you tried to delete is not empty"
            if holder.versioning_status:
                message += ". You must delete all versions in the bucket."
            raise AwsError("BucketNotEmpty", message, 409, BucketName=holder.name)
        moto_base.backend("s3").delete_bucket(holder.name)
    return {}


def head_bucket(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
    arn = f"arn:aws:s3:::{holder.name}"
    return {"BucketRegion": holder.region_name, "BucketArn": arn, "AccessPointAlias": False}


def get_bucket_versioning(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        return {"Status": s3_state.bucket(parameters["Bucket"]).versioning_status}


def put_bucket_versioning(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    asked = parameters["VersioningConfiguration"]
    if asked.get("MFADelete") == "Enabled":
        raise refusal("s3", "PutBucketVersioning", "The local clouds do not serve MFA delete yet.")
    if asked.get("Status") not in ("Enabled", "Suspended"):
        raise malformed_xml()
    with moto_base.lock("s3"):
        s3_state.bucket(parameters["Bucket"]).versioning_status = asked["Status"]
    return {}


# -- what AWS sets in a new bucket ---------------------------------------------------------------------------------


def get_bucket_encryption(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        kept = s3_state.bucket(parameters["Bucket"]).encryption
    rule = (kept or {}).get("Rule", {})
    default = dict(rule.get("ApplyServerSideEncryptionByDefault", {"SSEAlgorithm": s3_state.ENCRYPTION}))
    bucket_key = str(rule.get("BucketKeyEnabled", "false")).lower() == "true"
    rules = [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": bucket_key}]
    return {"ServerSideEncryptionConfiguration": {"Rules": rules}}


def put_bucket_encryption(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    rules = parameters["ServerSideEncryptionConfiguration"].get("Rules", [])
    default = rules[0].get("ApplyServerSideEncryptionByDefault", {}) if len(rules) == 1 else {}
    if not default.get("SSEAlgorithm"):
        raise malformed_xml()
    if default["SSEAlgorithm"] != s3_state.ENCRYPTION:
        raise refusal("s3", "PutBucketEncryption", "The local clouds do not serve keys of AWS KMS yet; use AES256.")
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        holder.encryption = {"Rule": {**rules[0], "ApplyServerSideEncryptionByDefault": default}}
    return {}


_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def get_public_access_block(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        kept = getattr(holder, "labkit_block", dict.fromkeys(_BLOCKS, True))
    if kept is None:
        message = "The public access block configuration was not found"
        raise AwsError("NoSuchPublicAccessBlockConfiguration", message, 404, BucketName=parameters["Bucket"])
    return {"PublicAccessBlockConfiguration": kept}


def put_public_access_block(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    asked = parameters.get("PublicAccessBlockConfiguration", {})
    with moto_base.lock("s3"):
        s3_state.bucket(parameters["Bucket"]).labkit_block = {name: bool(asked.get(name)) for name in _BLOCKS}
    return {}


def delete_public_access_block(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        s3_state.bucket(parameters["Bucket"]).labkit_block = None
    return {}


def get_acl(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """A bucket's or an object's list: its owner may do everything, as always under ``BucketOwnerEnforced``."""
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        if "Key" in parameters:
            s3_state.find(holder, parameters["Key"], parameters.get("VersionId"))
    grantee = {"Type": "CanonicalUser", **s3_state.OWNER}
    return {"Owner": s3_state.OWNER, "Grants": [{"Grantee": grantee, "Permission": "FULL_CONTROL"}]}


def put_bucket_policy(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    text = parameters["Policy"]
    check_policy(text, parameters["Bucket"])
    with moto_base.lock("s3"):
        s3_state.bucket(parameters["Bucket"]).policy = text.encode()
    return {}


def check_policy(text: str, bucket: str) -> None:
    """Raises ``MalformedPolicy`` in S3's words for a bucket policy that it would not take."""
    try:
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError
    except ValueError:
        raise _malformed("Policies must be valid JSON and the first byte must be '{'") from None
    statements = document.get("Statement")
    if not statements:
        raise _malformed("Missing required field Statement")
    for statement in statements if isinstance(statements, list) else [statements]:
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise _malformed(
                f"Invalid effect: {statement.get('Effect')}"
                if "Effect" in statement
                else "Missing required field Effect"
            )
        if not {"Principal", "NotPrincipal"} & statement.keys():
            raise _malformed("Missing required field Principal")
        if not {"Action", "NotAction"} & statement.keys():
            raise _malformed("Missing required field Action")
        actions = statement.get("Action", statement.get("NotAction"))
        if any(not re.fullmatch(r"\*|(s3|s3-object-lambda):[\w*?]+", each, re.I) for each in _listed(actions)):
            raise _malformed("Policy has invalid action")
        if not {"Resource", "NotResource"} & statement.keys():
            raise _malformed("Missing required field Resource")
        resource = re.compile(rf"arn:aws[\w-]*:s3:::{re.escape(bucket)}(/.*)?")
        if any(not resource.fullmatch(each) for each in _listed(statement.get("Resource", []))):
            raise _malformed("Policy has invalid resource")


def _listed(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _malformed(message: str) -> AwsError:
    return AwsError("MalformedPolicy", message, 400)


OPERATIONS = {
    "CreateBucket": create_bucket,
    "DeleteBucket": delete_bucket,
    "DeletePublicAccessBlock": delete_public_access_block,
    "GetBucketAcl": get_acl,
    "GetBucketEncryption": get_bucket_encryption,
    "GetBucketVersioning": get_bucket_versioning,
    "GetObjectAcl": get_acl,
    "GetPublicAccessBlock": get_public_access_block,
    "HeadBucket": head_bucket,
    "PutBucketEncryption": put_bucket_encryption,
    "PutBucketPolicy": put_bucket_policy,
    "PutBucketVersioning": put_bucket_versioning,
    "PutPublicAccessBlock": put_public_access_block,
}
