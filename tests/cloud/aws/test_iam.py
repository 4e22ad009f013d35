"""IAM through boto3: what AWS refuses, in its words, and who a key is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labkit.cloud.aws import AwsCloud
from labkit.cloud.engine import Engine
from tests.cloud.aws import in_process
from tests.cloud.aws.in_process import error

TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
GRANT = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
ARN = "arn:aws:iam::123456789012:policy/p"
SID = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


@pytest.fixture
def iam(client: Callable[[str], Any], cloud: AwsCloud) -> Any:
    cloud.reset()
    return client("iam")


def identity(cloud: AwsCloud, key: dict[str, str]) -> str:
    sts = in_process.client(cloud, "sts", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    arn: str = sts.get_caller_identity()["Arn"]
    return arn


def test_the_learner_is_an_administrator(iam: Any) -> None:
    (user,) = iam.list_users()["Users"]
    assert user["Arn"] == "arn:aws:iam::123456789012:user/learner"
    assert iam.get_user()["User"]["UserId"] == user["UserId"]
    (policy,) = iam.list_attached_user_policies(UserName="learner")["AttachedPolicies"]
    assert policy["PolicyArn"] == "arn:aws:iam::aws:policy/AdministratorAccess"
    (key,) = iam.list_access_keys()["AccessKeyMetadata"]
    assert (key["AccessKeyId"], key["Status"]) == (in_process.ACCESS_KEY, "Active")


def test_ids_say_what_they_are(iam: Any) -> None:
    made = {
        "AROA": iam.create_role(RoleName="r", AssumeRolePolicyDocument=document(TRUST))["Role"]["RoleId"],
        "AIDA": iam.create_user(UserName="u")["User"]["UserId"],
        "AGPA": iam.create_group(GroupName="g")["Group"]["GroupId"],
        "ANPA": iam.create_policy(PolicyName="p", PolicyDocument=document(GRANT))["Policy"]["PolicyId"],
        "AIPA": iam.create_instance_profile(InstanceProfileName="i")["InstanceProfile"]["InstanceProfileId"],
    }
    assert all(name.startswith(prefix) and len(name) == 21 for prefix, name in made.items())


def test_a_role(iam: Any) -> None:
    tags = [{"Key": "team", "Value": "ml"}]
    made = iam.create_role(
        RoleName="r", AssumeRolePolicyDocument=document(TRUST), Path="/a/", MaxSessionDuration=7200, Tags=tags
    )["Role"]
    assert made["Arn"] == "arn:aws:iam::123456789012:role/a/r"
    role = iam.get_role(RoleName="r")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"] == [TRUST]
    assert (role["MaxSessionDuration"], role["Tags"]) == (7200, tags)
    iam.put_role_policy(RoleName="r", PolicyName="inline", PolicyDocument=document(GRANT))
    assert iam.get_role_policy(RoleName="r", PolicyName="inline")["PolicyDocument"]["Statement"] == [GRANT]
    iam.attach_role_policy(RoleName="r", PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")
    assert [r["RoleName"] for r in iam.list_roles(PathPrefix="/a/")["Roles"]] == ["r"]
    detach = "Cannot delete entity, must detach all policies first."
    assert error(iam.delete_role, RoleName="r") == (409, "DeleteConflict", detach)
    iam.detach_role_policy(RoleName="r", PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")
    delete = "Cannot delete entity, must delete policies first."
    assert error(iam.delete_role, RoleName="r") == (409, "DeleteConflict", delete)
    iam.delete_role_policy(RoleName="r", PolicyName="inline")
    iam.delete_role(RoleName="r")
    assert error(iam.get_role, RoleName="r") == (404, "NoSuchEntity", "The role with name r cannot be found.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "This policy contains invalid Json"),
        ("{}", "Syntax errors in policy."),
        (document({**TRUST, "Resource": "*"}), "Has prohibited field Resource"),
        (document({k: v for k, v in TRUST.items() if k != "Principal"}), "Missing required field Principal"),
        (document({k: v for k, v in TRUST.items() if k != "Action"}), "Missing required field Action"),
        (document({**TRUST, "Action": "s3:*"}), "AssumeRole policy may only specify STS AssumeRole actions."),
        (document({**TRUST, "Effect": "Maybe"}), "Syntax errors in policy."),
        (
            document({**TRUST, "Principal": {"AWS": "arn:aws:iam::123456789012:user/nobody"}}),
            'Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:user/nobody"',
        ),
    ],
)
def test_trust_policies_that_are_refused(iam: Any, text: str, message: str) -> None:
    wanted = (400, "MalformedPolicyDocument", message)
    assert error(iam.create_role, RoleName="r", AssumeRolePolicyDocument=text) == wanted
    assert iam.list_roles()["Roles"] == []
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=document(TRUST))
    assert error(iam.update_assume_role_policy, RoleName="r", PolicyDocument=text) == wanted


def test_trust_policies_that_are_taken(iam: Any) -> None:
    for number, principal in enumerate(
        (
            "*",
            {"AWS": "123456789012"},
            {"AWS": ["arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:user/learner"]},
            {"AWS": "arn:aws:iam::999999999999:role/theirs"},
            {"Service": ["sagemaker.amazonaws.com", "lambda.amazonaws.com"]},
        )
    ):
        iam.create_role(RoleName=f"r{number}", AssumeRolePolicyDocument=document({**TRUST, "Principal": principal}))


def test_policies_and_their_versions(iam: Any) -> None:
    iam.create_policy(PolicyName="p", PolicyDocument=document(GRANT))
    again = "A policy called p already exists. Duplicate names are not allowed."
    assert error(iam.create_policy, PolicyName="p", PolicyDocument=document(GRANT)) == (
        409,
        "EntityAlreadyExists",
        again,
    )
    bad = error(iam.create_policy, PolicyName="q", PolicyDocument=document({"Effect": "Allow"}))
    assert bad == (400, "MalformedPolicyDocument", "Policy statement must contain actions.")
    newer = {**GRANT, "Action": "s3:*"}
    iam.create_policy_version(PolicyArn=ARN, PolicyDocument=document(newer), SetAsDefault=True)
    assert iam.get_policy(PolicyArn=ARN)["Policy"]["DefaultVersionId"] == "v2"
    assert iam.get_policy_version(PolicyArn=ARN, VersionId="v1")["PolicyVersion"]["Document"]["Statement"] == [GRANT]
    versions = error(iam.delete_policy, PolicyArn=ARN)
    assert versions[:2] == (409, "DeleteConflict")
    assert versions[2].startswith("This policy has more than one version.")
    iam.delete_policy_version(PolicyArn=ARN, VersionId="v1")
    iam.attach_user_policy(UserName="learner", PolicyArn=ARN)
    attached = (409, "DeleteConflict", "Cannot delete a policy attached to entities.")
    assert error(iam.delete_policy, PolicyArn=ARN) == attached
    iam.detach_user_policy(UserName="learner", PolicyArn=ARN)
    iam.delete_policy(PolicyArn=ARN)
    assert error(iam.get_policy, PolicyArn=ARN) == (404, "NoSuchEntity", f"Policy {ARN} was not found.")
    gone = error(iam.attach_user_policy, UserName="learner", PolicyArn=ARN)
    assert gone == (404, "NoSuchEntity", f"Policy {ARN} does not exist or is not attachable.")


def test_users_and_groups(iam: Any) -> None:
    assert iam.create_user(UserName="u", Path="/team/")["User"]["Arn"] == "arn:aws:iam::123456789012:user/team/u"
    assert error(iam.create_user, UserName="u")[2] == "User with name u already exists."
    assert error(iam.get_user, UserName="x") == (404, "NoSuchEntity", "The user with name x cannot be found.")
    iam.create_group(GroupName="g")
    iam.add_user_to_group(GroupName="g", UserName="u")
    assert [user["UserName"] for user in iam.get_group(GroupName="g")["Users"]] == ["u"]
    members = (409, "DeleteConflict", "Cannot delete entity, must remove users from group first.")
    assert error(iam.delete_group, GroupName="g") == members
    assert error(iam.delete_user, UserName="u") == members
    iam.remove_user_from_group(GroupName="g", UserName="u")
    iam.put_user_policy(UserName="u", PolicyName="p", PolicyDocument=document(GRANT))
    assert error(iam.delete_user, UserName="u")[2] == "Cannot delete entity, must delete policies first."
    iam.delete_user_policy(UserName="u", PolicyName="p")
    iam.delete_user(UserName="u")
    iam.delete_group(GroupName="g")


def test_a_key_from_making_to_deleting(iam: Any, cloud: AwsCloud) -> None:
    iam.create_user(UserName="u")
    key = iam.create_access_key(UserName="u")["AccessKey"]
    unused = iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])
    assert unused["AccessKeyLastUsed"] == {"ServiceName": "N/A", "Region": "N/A"}
    assert identity(cloud, key) == "arn:aws:iam::123456789012:user/u"
    used = iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])
    assert (used["UserName"], used["AccessKeyLastUsed"]["ServiceName"]) == ("u", "sts")
    unknown = (403, "InvalidClientTokenId", "The security token included in the request is invalid.")
    iam.update_access_key(UserName="u", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert error(identity, cloud=cloud, key=key) == unknown
    iam.update_access_key(UserName="u", AccessKeyId=key["AccessKeyId"], Status="Active")
    assert identity(cloud, key) == "arn:aws:iam::123456789012:user/u"
    assert error(iam.delete_user, UserName="u")[2] == "Cannot delete entity, must delete access keys first."
    iam.create_access_key(UserName="u")
    third = (409, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
    assert error(iam.create_access_key, UserName="u") == third
    iam.delete_access_key(UserName="u", AccessKeyId=key["AccessKeyId"])
    assert error(identity, cloud=cloud, key=key) == unknown


def test_a_user_may_leave_out_their_own_name_and_a_role_may_not(iam: Any, cloud: AwsCloud) -> None:
    me = {"AWS": "arn:aws:iam::123456789012:user/learner"}
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=document({**TRUST, "Principal": me}))
    sts = in_process.client(cloud, "sts")
    assert iam.get_user()["User"]["UserName"] == "learner"
    arn = "arn:aws:iam::123456789012:role/r"
    session = sts.assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"]
    roles = in_process.client(
        cloud, "iam", key=session["AccessKeyId"], secret=session["SecretAccessKey"], token=session["SessionToken"]
    )
    assert error(roles.get_user) == (
        400,
        "ValidationError",
        "Must specify userName when calling with non-User credentials",
    )


def test_names_are_checked(iam: Any) -> None:
    pattern = "Member must satisfy regular expression pattern: [\\w+=,.@-]+"
    text = f"1 validation error detected: Value 'a b' at 'userName' failed to satisfy constraint: {pattern}"
    assert error(iam.create_user, UserName="a b") == (400, "ValidationError", text)


def test_pages(iam: Any) -> None:
    for name in ("a", "b", "c"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(TRUST))
    pages = list(iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["Roles"]) for page in pages] == [2, 1]
    assert {role["RoleName"] for page in pages for role in page["Roles"]} == {"a", "b", "c"}


def test_pages_of_lists_that_moto_gives_whole(iam: Any) -> None:
    for name in ("a", "b", "c"):
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName="learner", PolicyName=name, PolicyDocument=document(GRANT))
    pages = list(iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 3}))
    assert [[user["UserName"] for user in page["Users"]] for page in pages] == [["learner", "a", "b"], ["c"]]
    first = iam.list_user_policies(UserName="learner", MaxItems=2)
    assert (first["PolicyNames"], first["IsTruncated"]) == (["a", "b"], True)
    rest = iam.list_user_policies(UserName="learner", Marker=first["Marker"])
    assert (rest["PolicyNames"], rest["IsTruncated"]) == (["c"], False)
    assert error(iam.list_users, Marker="no marker") == (400, "ValidationError", "Invalid Marker.")


def test_dates_are_in_lab_time(iam: Any, engine: Engine) -> None:
    engine.clock.advance(timedelta(days=10))
    ahead = iam.create_user(UserName="u")["User"]["CreateDate"] - datetime.now(UTC)
    assert timedelta(days=9) < ahead < timedelta(days=12)


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("get_account_summary", {}),
        ("create_service_linked_role", {"AWSServiceName": "sagemaker.amazonaws.com"}),
        ("get_account_password_policy", {}),
    ],
)
def test_what_is_refused(iam: Any, operation: str, arguments: dict[str, Any]) -> None:
    name = "".join(word.capitalize() for word in operation.split("_"))
    wanted = f"The local clouds do not serve iam:{name} yet; see docs/fidelity.md."
    assert error(getattr(iam, operation), **arguments) == (501, "NotImplemented", wanted)


# -- quotas and names ----------------------------------------------------------------------------------------------


def grants(count: int) -> str:
    return document({**GRANT, "Resource": [f"arn:aws:s3:::bucket-{number:04}/*" for number in range(count)]})


def test_policies_that_are_too_long(iam: Any) -> None:
    """Each Resource of :func:`grants` has 29 characters, quotes and comma included."""
    spaced = json.dumps(json.loads(grants(200)), indent=40)
    iam.create_policy(PolicyName="p", PolicyDocument=spaced)
    long = (409, "LimitExceeded", "Cannot exceed quota for PolicySize: 6144")
    assert error(iam.create_policy, PolicyName="long", PolicyDocument=grants(215)) == long
    assert error(iam.create_policy_version, PolicyArn=ARN, PolicyDocument=grants(215)) == long
    iam.create_user(UserName="ann")
    iam.put_user_policy(UserName="ann", PolicyName="a", PolicyDocument=grants(50))
    iam.put_user_policy(UserName="ann", PolicyName="a", PolicyDocument=grants(51))
    assert error(iam.put_user_policy, UserName="ann", PolicyName="b", PolicyDocument=grants(30)) == (
        409,
        "LimitExceeded",
        "Maximum policy size of 2048 bytes exceeded for user ann",
    )
    trust = document(*[TRUST] * 30)
    assert error(iam.create_role, RoleName="r", AssumeRolePolicyDocument=trust)[2] == (
        "Cannot exceed quota for ACLSizePerRole: 2048"
    )


def test_a_role_has_ten_managed_policies(iam: Any) -> None:
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=document(TRUST))
    for number in range(11):
        iam.create_policy(PolicyName=f"p{number}", PolicyDocument=document(GRANT))
    for number in range(10):
        iam.attach_role_policy(RoleName="r", PolicyArn=f"{ARN}{number}")
    iam.attach_role_policy(RoleName="r", PolicyArn=f"{ARN}3")
    assert error(iam.attach_role_policy, RoleName="r", PolicyArn=f"{ARN}10") == (
        409,
        "LimitExceeded",
        "Cannot exceed quota for PoliciesPerRole: 10",
    )


def test_names_are_given_once_whatever_the_path_and_the_case(iam: Any) -> None:
    iam.create_policy(PolicyName="p", Path="/team/", PolicyDocument=document(GRANT))
    assert error(iam.create_policy, PolicyName="P", PolicyDocument=document(GRANT)) == (
        409,
        "EntityAlreadyExists",
        "A policy called P already exists. Duplicate names are not allowed.",
    )
    iam.create_user(UserName="ann")
    assert error(iam.create_user, UserName="Ann") == (409, "EntityAlreadyExists", "User with name Ann already exists.")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ({**GRANT, "Principal": "*"}, "Policy document should not specify a principal."),
        (
            {**GRANT, "Sid": "a b"},
            SID,
        ),
    ],
)
def test_policies_of_identities_that_are_refused(iam: Any, statement: dict[str, Any], message: str) -> None:
    refused = (400, "MalformedPolicyDocument", message)
    iam.create_user(UserName="ann")
    text = document(statement)
    assert error(iam.create_policy, PolicyName="p", PolicyDocument=text) == refused
    assert error(iam.put_user_policy, UserName="ann", PolicyName="p", PolicyDocument=text) == refused


def test_tags_of_aws_itself(iam: Any) -> None:
    iam.create_user(UserName="ann")
    assert error(iam.tag_user, UserName="ann", Tags=[{"Key": "aws:mine", "Value": "1"}]) == (
        400,
        "InvalidInput",
        "aws: prefixed tag key names are not allowed for external use.",
    )


def test_everything_in_one_answer(iam: Any) -> None:
    iam.create_group(GroupName="g")
    iam.put_group_policy(GroupName="g", PolicyName="inline", PolicyDocument=document(GRANT))
    iam.create_user(UserName="ann", Tags=[{"Key": "team", "Value": "red"}])
    iam.add_user_to_group(GroupName="g", UserName="ann")
    iam.create_policy(PolicyName="p", PolicyDocument=document(GRANT))
    iam.attach_user_policy(UserName="ann", PolicyArn=ARN)
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=document(TRUST))
    iam.put_role_policy(RoleName="r", PolicyName="inline", PolicyDocument=document(GRANT))
    whole = iam.get_account_authorization_details()
    ann = next(each for each in whole["UserDetailList"] if each["UserName"] == "ann")
    assert ann["GroupList"] == ["g"]
    assert [each["PolicyArn"] for each in ann["AttachedManagedPolicies"]] == [ARN]
    assert ann["Tags"] == [{"Key": "team", "Value": "red"}]
    (role,) = whole["RoleDetailList"]
    assert role["AssumeRolePolicyDocument"]["Statement"] == [TRUST]
    assert role["RolePolicyList"] == [{"PolicyName": "inline", "PolicyDocument": json.loads(document(GRANT))}]
    (group,) = whole["GroupDetailList"]
    assert group["GroupPolicyList"][0]["PolicyName"] == "inline"
    local = iam.get_account_authorization_details(Filter=["LocalManagedPolicy"])
    assert [each["Arn"] for each in local["Policies"]] == [ARN]
    assert local["Policies"][0]["PolicyVersionList"][0]["IsDefaultVersion"] is True
    assert local["UserDetailList"] == []


def test_nobody_has_a_second_factor(iam: Any) -> None:
    iam.create_user(UserName="ann")
    assert iam.list_mfa_devices()["MFADevices"] == []
    assert iam.list_mfa_devices(UserName="ann")["MFADevices"] == []
    assert iam.list_virtual_mfa_devices()["VirtualMFADevices"] == []
