"""Permissions through boto3: users, roles and sessions get what their policies give, and AWS's sentence otherwise."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from labkit.cloud.aws import AwsCloud
from labkit.cloud.engine.errors import CloudError
from tests.cloud.aws import in_process
from tests.cloud.aws.in_process import error
from tests.cloud.aws.policy_cases import allow, deny
from tests.cloud.aws.sagemaker_world import IMAGE, World, archive

ACCOUNT = "123456789012"
_numbers = itertools.count(1)


def document(*statements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class Person:
    """An IAM user with a key, and clients that are signed in as them."""

    def __init__(self, cloud: AwsCloud, iam: Any, *statements: Any, **more: Any) -> None:
        self.cloud, self.iam = cloud, iam
        self.name = f"user{next(_numbers)}"
        self.arn: str = iam.create_user(UserName=self.name, **more)["User"]["Arn"]
        self.key = iam.create_access_key(UserName=self.name)["AccessKey"]
        if statements:
            self.give(*statements)

    def give(self, *statements: Any) -> None:
        self.iam.put_user_policy(UserName=self.name, PolicyName="rights", PolicyDocument=document(*statements))

    def client(self, service: str) -> Any:
        return in_process.client(self.cloud, service, key=self.key["AccessKeyId"], secret=self.key["SecretAccessKey"])

    def no(self, action: str, resource: str = "", why: str = "") -> str:
        why = why or f"because no identity-based policy allows the {action} action"
        on = f" on resource: {resource}" if resource else ""
        return f"User: {self.arn} is not authorized to perform: {action}{on} {why}"


@pytest.fixture
def iam(client: Callable[[str], Any]) -> Any:
    return client("iam")


@pytest.fixture
def person(cloud: AwsCloud, iam: Any) -> Callable[..., Person]:
    return lambda *statements, **more: Person(cloud, iam, *statements, **more)


@pytest.fixture
def bucket(client: Callable[[str], Any]) -> str:
    s3, name = client("s3"), f"bucket{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="scores/a", Body=b"a")
    s3.put_object(Bucket=name, Key="customers/b", Body=b"b")
    return name


def session(cloud: AwsCloud, credentials: Any, service: str) -> Any:
    token = credentials["SessionToken"]
    return in_process.client(
        cloud, service, key=credentials["AccessKeyId"], secret=credentials["SecretAccessKey"], token=token
    )


# -- each service says it in its own way ---------------------------------------------------------------------------


def test_a_user_without_policies(person: Callable[..., Person], bucket: str) -> None:
    ann = person()
    assert ann.client("sts").get_caller_identity()["Arn"] == ann.arn
    assert error(ann.client("sagemaker").list_endpoints) == (
        400,
        "AccessDeniedException",
        ann.no("sagemaker:ListEndpoints"),
    )
    assert error(ann.client("iam").list_users) == (403, "AccessDenied", ann.no("iam:ListUsers"))
    arn = f"arn:aws:s3:::{bucket}/scores/a"
    assert error(ann.client("s3").get_object, Bucket=bucket, Key="scores/a") == (
        403,
        "AccessDenied",
        ann.no("s3:GetObject", f'"{arn}"'),
    )
    assert error(ann.client("s3").head_object, Bucket=bucket, Key="scores/a")[0] == 403
    assert error(ann.client("logs").describe_log_groups)[1] == "AccessDeniedException"
    endpoint = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/churn"
    assert error(ann.client("sagemaker-runtime").invoke_endpoint, EndpointName="churn", Body=b"") == (
        403,
        "AccessDeniedException",
        ann.no("sagemaker:InvokeEndpoint", endpoint),
    )


def test_an_inline_policy_and_its_end(person: Callable[..., Person], bucket: str, iam: Any) -> None:
    ann = person(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/scores/*"))
    s3 = ann.client("s3")
    assert s3.get_object(Bucket=bucket, Key="scores/a")["Body"].read() == b"a"
    assert error(s3.get_object, Bucket=bucket, Key="customers/b")[1] == "AccessDenied"
    assert error(s3.put_object, Bucket=bucket, Key="scores/a", Body=b"")[1] == "AccessDenied"
    iam.delete_user_policy(UserName=ann.name, PolicyName="rights")
    assert error(s3.get_object, Bucket=bucket, Key="scores/a")[1] == "AccessDenied"


def test_a_managed_policy_of_aws_and_a_groups(person: Callable[..., Person], bucket: str, iam: Any) -> None:
    ann, group = person(), f"group{next(_numbers)}"
    iam.create_group(GroupName=group)
    iam.attach_group_policy(GroupName=group, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    s3 = ann.client("s3")
    assert error(s3.list_objects_v2, Bucket=bucket)[1] == "AccessDenied"
    iam.add_user_to_group(GroupName=group, UserName=ann.name)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 2
    assert error(s3.delete_object, Bucket=bucket, Key="scores/a")[1] == "AccessDenied"
    iam.remove_user_from_group(GroupName=group, UserName=ann.name)
    assert error(s3.list_objects_v2, Bucket=bucket)[1] == "AccessDenied"


def test_another_version_of_a_policy(person: Callable[..., Person], bucket: str, iam: Any) -> None:
    ann = person()
    name = f"policy{next(_numbers)}"
    arn = iam.create_policy(PolicyName=name, PolicyDocument=document(allow("s3:GetObject")))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=ann.name, PolicyArn=arn)
    s3 = ann.client("s3")
    s3.get_object(Bucket=bucket, Key="scores/a")
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:PutObject")), SetAsDefault=True)
    assert error(s3.get_object, Bucket=bucket, Key="scores/a")[1] == "AccessDenied"
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    s3.get_object(Bucket=bucket, Key="scores/a")


def test_an_explicit_denial(person: Callable[..., Person], bucket: str) -> None:
    ann = person(allow("*"), deny("s3:*", f"arn:aws:s3:::{bucket}/customers/*"))
    arn = f'"arn:aws:s3:::{bucket}/customers/b"'
    why = "with an explicit deny in an identity-based policy"
    assert error(ann.client("s3").get_object, Bucket=bucket, Key="customers/b") == (
        403,
        "AccessDenied",
        ann.no("s3:GetObject", arn, why),
    )
    ann.client("s3").get_object(Bucket=bucket, Key="scores/a")


def test_conditions_of_a_list(person: Callable[..., Person], bucket: str) -> None:
    condition = {"StringLike": {"s3:prefix": "scores/*"}, "NumericLessThanEquals": {"s3:max-keys": "10"}}
    ann = person(allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", Condition=condition))
    s3 = ann.client("s3")
    assert s3.list_objects_v2(Bucket=bucket, Prefix="scores/", MaxKeys=10)["KeyCount"] == 1
    assert error(s3.list_objects_v2, Bucket=bucket, Prefix="scores/", MaxKeys=11)[1] == "AccessDenied"
    assert error(s3.list_objects_v2, Bucket=bucket, MaxKeys=10)[1] == "AccessDenied"


def test_a_condition_that_is_not_evaluated(person: Callable[..., Person], bucket: str) -> None:
    ann = person(allow("s3:GetObject", Condition={"NumericGreaterThan": {"s3:TlsVersion": "1.2"}}))
    status, code, message = error(ann.client("s3").get_object, Bucket=bucket, Key="scores/a")
    assert (status, code) == (501, "NotImplemented")
    assert message.startswith("The local clouds do not evaluate the condition key s3:TlsVersion")


def test_tags_and_variables(person: Callable[..., Person], bucket: str, iam: Any, client: Any) -> None:
    ann = person(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/prefix}}/*"))
    s3 = ann.client("s3")
    assert error(s3.get_object, Bucket=bucket, Key="scores/a")[1] == "AccessDenied"
    iam.tag_user(UserName=ann.name, Tags=[{"Key": "prefix", "Value": "scores"}])
    s3.get_object(Bucket=bucket, Key="scores/a")
    ann.give(allow("s3:GetObject", Condition={"StringEquals": {"s3:ExistingObjectTag/open": "yes"}}))
    assert error(s3.get_object, Bucket=bucket, Key="scores/a")[1] == "AccessDenied"
    tags = {"TagSet": [{"Key": "open", "Value": "yes"}]}
    client("s3").put_object_tagging(Bucket=bucket, Key="scores/a", Tagging=tags)
    s3.get_object(Bucket=bucket, Key="scores/a")


# -- S3 ------------------------------------------------------------------------------------------------------------


def test_a_missing_object_is_told_to_who_may_list(person: Callable[..., Person], bucket: str) -> None:
    ann = person(allow("s3:GetObject"))
    assert error(ann.client("s3").get_object, Bucket=bucket, Key="no") == (
        403,
        "AccessDenied",
        ann.no("s3:ListBucket", f'"arn:aws:s3:::{bucket}"'),
    )
    ann.give(allow(["s3:GetObject", "s3:ListBucket"]))
    assert error(ann.client("s3").get_object, Bucket=bucket, Key="no")[1] == "NoSuchKey"


def test_deleting_many(person: Callable[..., Person], bucket: str) -> None:
    ann = person(allow("s3:DeleteObject", f"arn:aws:s3:::{bucket}/scores/*"))
    objects = [{"Key": "scores/a"}, {"Key": "customers/b"}]
    answer = ann.client("s3").delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [each["Key"] for each in answer["Deleted"]] == ["scores/a"]
    (failed,) = answer["Errors"]
    arn = f'"arn:aws:s3:::{bucket}/customers/b"'
    assert (failed["Key"], failed["Code"]) == ("customers/b", "AccessDenied")
    assert failed["Message"] == ann.no("s3:DeleteObject", arn)


def test_a_buckets_policy(person: Callable[..., Person], bucket: str, client: Any) -> None:
    ann = person()
    let_in = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Principal={"AWS": ann.arn})
    client("s3").put_bucket_policy(Bucket=bucket, Policy=document(let_in))
    ann.client("s3").get_object(Bucket=bucket, Key="scores/a")
    ann.give(allow("s3:*"))
    closed = deny("s3:GetObject", f"arn:aws:s3:::{bucket}/customers/*", Principal="*")
    client("s3").put_bucket_policy(Bucket=bucket, Policy=document(closed))
    why = "with an explicit deny in a resource-based policy"
    wanted = ann.no("s3:GetObject", f'"arn:aws:s3:::{bucket}/customers/b"', why)
    assert error(ann.client("s3").get_object, Bucket=bucket, Key="customers/b") == (403, "AccessDenied", wanted)
    assert error(client("s3").get_object, Bucket=bucket, Key="customers/b")[1] == "AccessDenied"


# -- limits --------------------------------------------------------------------------------------------------------


def test_a_users_boundary(person: Callable[..., Person], bucket: str, iam: Any) -> None:
    name = f"policy{next(_numbers)}"
    limit = document(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/scores/*"))
    arn = iam.create_policy(PolicyName=name, PolicyDocument=limit)["Policy"]["Arn"]
    ann = person(allow("*"), PermissionsBoundary=arn)
    told = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}
    assert iam.get_user(UserName=ann.name)["User"]["PermissionsBoundary"] == told
    s3 = ann.client("s3")
    s3.get_object(Bucket=bucket, Key="scores/a")
    why = "because no permissions boundary allows the s3:GetObject action"
    wanted = ann.no("s3:GetObject", f'"arn:aws:s3:::{bucket}/customers/b"', why)
    assert error(s3.get_object, Bucket=bucket, Key="customers/b") == (403, "AccessDenied", wanted)
    assert error(iam.delete_policy, PolicyArn=arn)[1] == "DeleteConflict"
    iam.delete_user_permissions_boundary(UserName=ann.name)
    s3.get_object(Bucket=bucket, Key="customers/b")
    assert "PermissionsBoundary" not in iam.get_user(UserName=ann.name)["User"]
    iam.put_user_permissions_boundary(UserName=ann.name, PermissionsBoundary=arn)
    assert error(s3.get_object, Bucket=bucket, Key="customers/b")[1] == "AccessDenied"
    wrong = arn.replace(name, "no-such")
    assert error(iam.put_user_permissions_boundary, UserName=ann.name, PermissionsBoundary=wrong) == (
        404,
        "NoSuchEntity",
        f"Scope ARN: {wrong} does not exist or is not attachable.",
    )


def test_a_session_with_a_policy(cloud: AwsCloud, client: Any, iam: Any, bucket: str) -> None:
    role = f"role{next(_numbers)}"
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/learner"}, "Action": "sts:*"}
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=document(allow("s3:*")))
    sts = client("sts")
    whole = sts.assume_role(RoleArn=arn, RoleSessionName="one")["Credentials"]
    session(cloud, whole, "s3").get_object(Bucket=bucket, Key="customers/b")
    policy = document(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/scores/*"))
    part = sts.assume_role(RoleArn=arn, RoleSessionName="one", Policy=policy)["Credentials"]
    session(cloud, part, "s3").get_object(Bucket=bucket, Key="scores/a")
    status, code, message = error(session(cloud, part, "s3").get_object, Bucket=bucket, Key="customers/b")
    assert (status, code) == (403, "AccessDenied")
    assert message.endswith("because no session policy allows the s3:GetObject action")
    only = [{"arn": "arn:aws:iam::aws:policy/AmazonSageMakerReadOnly"}]
    other = sts.assume_role(RoleArn=arn, RoleSessionName="one", PolicyArns=only)["Credentials"]
    assert error(session(cloud, other, "s3").get_object, Bucket=bucket, Key="scores/a")[1] == "AccessDenied"
    assert error(sts.assume_role, RoleArn=arn, RoleSessionName="one", Policy="{")[1] == "MalformedPolicyDocument"
    tagged = sts.assume_role(RoleArn=arn, RoleSessionName="one", Tags=[{"Key": "p", "Value": "scores"}])["Credentials"]
    by_tag = document(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/p}}/*"))
    iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=by_tag)
    session(cloud, tagged, "s3").get_object(Bucket=bucket, Key="scores/a")
    assert error(session(cloud, whole, "s3").get_object, Bucket=bucket, Key="scores/a")[1] == "AccessDenied"
    iam.delete_role_policy(RoleName=role, PolicyName="all")
    iam.delete_role(RoleName=role)
    assert error(session(cloud, whole, "sts").get_caller_identity) == (
        403,
        "InvalidClientTokenId",
        "The security token included in the request is invalid.",
    )


def test_sessions_of_users(cloud: AwsCloud, person: Callable[..., Person], bucket: str) -> None:
    ann = person(allow("*"))
    mine = ann.client("sts").get_session_token()["Credentials"]
    session(cloud, mine, "s3").get_object(Bucket=bucket, Key="scores/a")
    assert error(session(cloud, mine, "iam").list_users)[:2] == (403, "InvalidClientTokenId")
    bare = ann.client("sts").get_federation_token(Name="bob")["Credentials"]
    message = error(session(cloud, bare, "s3").get_object, Bucket=bucket, Key="scores/a")[2]
    assert message.startswith(f"User: arn:aws:sts::{ACCOUNT}:federated-user/bob is not authorized")
    policy = document(allow("s3:GetObject"))
    some = ann.client("sts").get_federation_token(Name="bob", Policy=policy)["Credentials"]
    session(cloud, some, "s3").get_object(Bucket=bucket, Key="scores/a")
    ann.give(allow("sts:*"))
    assert error(session(cloud, some, "s3").get_object, Bucket=bucket, Key="scores/a")[1] == "AccessDenied"


# -- roles ---------------------------------------------------------------------------------------------------------


def test_who_may_assume_a_role(person: Callable[..., Person], iam: Any) -> None:
    ann, bob, role = person(), person(), f"role{next(_numbers)}"
    trust = {"Effect": "Allow", "Principal": {"AWS": [ann.arn, ACCOUNT]}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    ann.client("sts").assume_role(RoleArn=arn, RoleSessionName="me")
    wanted = (403, "AccessDenied", bob.no("sts:AssumeRole", arn))
    assert error(bob.client("sts").assume_role, RoleArn=arn, RoleSessionName="me") == wanted
    bob.give(allow("sts:AssumeRole", arn))
    bob.client("sts").assume_role(RoleArn=arn, RoleSessionName="me")


def test_passing_a_role(person: Callable[..., Person], world: World) -> None:
    ann = person(allow("sagemaker:*"))
    url = world.upload("model.tar.gz", archive({"code/inference.py": ""}))
    model = {"ModelName": world.name("m"), "ExecutionRoleArn": world.role}
    model["PrimaryContainer"] = {"Image": IMAGE, "ModelDataUrl": url}
    wanted = (400, "AccessDeniedException", ann.no("iam:PassRole", world.role))
    assert error(ann.client("sagemaker").create_model, **model) == wanted
    to = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    ann.give(allow("sagemaker:*"), allow("iam:PassRole", world.role, Condition=to))
    assert error(ann.client("sagemaker").create_model, **model) == wanted
    to["StringEquals"]["iam:PassedToService"] = "sagemaker.amazonaws.com"
    ann.give(allow("sagemaker:*"), allow("iam:PassRole", world.role, Condition=to))
    ann.client("sagemaker").create_model(**model)


def test_instance_types(person: Callable[..., Person], world: World) -> None:
    condition = {"ForAllValues:StringEquals": {"sagemaker:InstanceTypes": ["ml.t2.medium"]}}
    ann = person(allow("sagemaker:CreateEndpointConfig", Condition=condition))
    variant = {"VariantName": "v", "ModelName": world.model("m"), "InitialInstanceCount": 1}
    dear, cheap = variant | {"InstanceType": "ml.m5.large"}, variant | {"InstanceType": "ml.t2.medium"}
    create = ann.client("sagemaker").create_endpoint_config
    assert error(create, EndpointConfigName=world.name("c"), ProductionVariants=[dear])[1] == "AccessDeniedException"
    create(EndpointConfigName=world.name("c"), ProductionVariants=[cheap])


def test_an_execution_role_that_loses_the_model(world: World) -> None:
    """The role is asked again when the endpoint is made: its failure is the endpoint's."""
    model = world.model("m")
    world.iam.delete_role_policy(RoleName=world.name("role"), PolicyName="rights")
    failure = world.failure("e", model)
    assert failure.startswith('Failed to download model data for container "container_1" from URL: "s3://')


def test_a_container_is_refused_as_its_role(world: World, cloud: AwsCloud) -> None:
    role = cloud.identities.role(world.role)
    key = cloud.identities.assume(role, "SageMaker")
    s3 = in_process.client(cloud, "s3", key=key.access_key, secret=key.secret, token=key.token)
    world.upload("k", b"")
    s3.get_object(Bucket=world.bucket, Key="k")
    status, code, message = error(s3.put_object, Bucket=world.bucket, Key="k", Body=b"")
    assert (status, code) == (403, "AccessDenied")
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{world.name('role')}/SageMaker"
    assert message.startswith(f"User: {arn} is not authorized to perform: s3:PutObject")


def test_acting_as_a_role(world: World, cloud: AwsCloud) -> None:
    from labkit.cloud.aws import roles

    caller = roles.act_as(cloud, world.role, "sagemaker.amazonaws.com", "job", region="us-east-1")
    cloud.engine.access.authorize(caller, "s3:GetObject", "arn:aws:s3:::any/k")
    with pytest.raises(CloudError, match="because no identity-based policy allows the s3:PutObject action"):
        cloud.engine.access.authorize(caller, "s3:PutObject", "arn:aws:s3:::any/k")
    with pytest.raises(CloudError, match=r"^lambda\.amazonaws\.com is not authorized to assume the role"):
        roles.act_as(cloud, world.role, "lambda.amazonaws.com", "job", region="us-east-1")


def test_policies_change_while_calls_are_made(person: Callable[..., Person], bucket: str) -> None:
    """What a policy says holds from the moment that its change is answered, whatever other threads ask."""
    ann = person()
    s3, stop = ann.client("s3"), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            ann.cloud.identities.standing(ann.cloud.identities.find(ann.key["AccessKeyId"]))  # type: ignore[arg-type]

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(20):
            ann.give(allow("s3:GetObject"))
            s3.get_object(Bucket=bucket, Key="scores/a")
            ann.give(allow("s3:PutObject"))
            assert error(s3.get_object, Bucket=bucket, Key="scores/a")[1] == "AccessDenied"
    finally:
        stop.set()
        asking.join()
