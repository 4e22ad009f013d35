"""The checks of ``beginner/aws`` that need no endpoint: each right, wrong and not attempted."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import boto3
import pytest

from labkit.labs.beginner import aws_checks
from labkit.labs.policy import Policy
from labkit.labs.task import NotAttempted, Work, Wrong

BUCKET = "churn-lab-123456789012-us-east-1"
PRIVATE = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
SAGEMAKER = "arn:aws:sagemaker:us-east-1:123456789012"
ROLE = "arn:aws:iam::123456789012:role/churn-lab-endpoint"


def allow(action: Any, resource: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def policy(*statements: dict[str, Any]) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


# inference ---------------------------------------------------------------------------------------------------------


def test_inference_right(work: Work) -> None:
    assert "answers 20 customers as JSON and as CSV" in aws_checks.inference(work)
    assert sorted(path.name for path in (work.folder / "build").iterdir()) == ["churn.joblib"]


def test_inference_not_attempted(work: Work) -> None:
    file = work.folder / "inference.py"
    file.unlink()
    with pytest.raises(NotAttempted, match=r"no file aws/inference\.py"):
        aws_checks.inference(work)


def test_inference_with_an_empty_function_is_not_attempted(work: Work) -> None:
    stub(work.folder / "inference.py", "model_fn")
    with pytest.raises(NotAttempted, match="a model_fn that returns nothing"):
        aws_checks.inference(work)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("def input_fn", "def input_function", "an inference.py without input_fn"),
        ("import io", "import oi", "fails .*No module named 'oi'"),
        ("[:, 1]", "[:, 0]", "0.9.* for customer 1, for whom the saved model says 0.0"),
        ('{"predictions": probabilities.tolist()}', "probabilities.tolist()", "the answer '.0"),
        (
            "pd.read_csv(io.StringIO(body))",
            "pd.read_csv(io.StringIO(body), header=None)",
            "whose predict_fn, given .* text/csv, f",
        ),
        ("json.loads(body)", "json.loads(body + '}')", "whose input_fn, given application/json, fails .*Extra data"),
        ("return joblib.load(os", "joblib.load(os", "a model_fn that returns nothing"),
        ("[:, 1]", "[:, 1] / None", "predict_fn, given what input_fn made of application/json, fails"),
        (".tolist()", "[0] * 'x' * 10_000", "output_fn, after a request of application/json, fails"),
    ],
    ids=["missing", "import", "class", "form", "csv", "json", "no-return", "predict", "output"],
)
def test_inference_wrong(work: Work, old: str, new: str, found: str) -> None:
    file = work.folder / "inference.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(Wrong, match=found):
        aws_checks.inference(work)


def stub(file: Path, function: str) -> None:
    """Empties a function as the learner finds it."""
    head, _, tail = file.read_text().partition(f"def {function}(")
    signature, _, rest = tail.partition("### BEGIN SOLUTION")
    file.write_text(f"{head}def {function}({signature}pass\n    {rest.partition('### END SOLUTION')[2]}")


# package -----------------------------------------------------------------------------------------------------------


def pack(work: Work, code_name: str = "code/inference.py") -> Path:
    file = work.folder / "build" / "model.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        archive.add(work.folder / "build" / "churn.joblib", arcname="churn.joblib")
        archive.add(work.folder / "inference.py", arcname=code_name)
    return file


@pytest.mark.parametrize("name", ["code/inference.py", "./code/inference.py"])
def test_package_right(work: Work, name: str) -> None:
    pack(work, name)
    assert "with churn.joblib and code/inference.py" in aws_checks.package(work)


def test_package_not_attempted(work: Work) -> None:
    with pytest.raises(NotAttempted, match=r"no file aws/build/model\.tar\.gz"):
        aws_checks.package(work)


def test_package_with_the_code_in_the_wrong_place_is_wrong(work: Work) -> None:
    pack(work, "inference.py")
    with pytest.raises(Wrong, match=r"only churn\.joblib, inference\.py in it"):
        aws_checks.package(work)


def test_package_older_than_the_code_is_wrong(work: Work) -> None:
    pack(work)
    with (work.folder / "inference.py").open("a") as file:
        file.write("# one thought more\n")
    with pytest.raises(Wrong, match=r"a code/inference\.py in it that differs from aws/inference\.py"):
        aws_checks.package(work)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x1f\x8b\x08\x00"])
def test_package_that_is_no_archive_is_wrong(work: Work, content: bytes) -> None:
    (work.folder / "build" / "model.tar.gz").write_bytes(content)
    with pytest.raises(Wrong, match="a file that is no gzipped tar"):
        aws_checks.package(work)


def test_package_cannot_be_compared_without_the_model(work: Work) -> None:
    pack(work)
    (work.folder / "build" / "churn.joblib").unlink()
    with pytest.raises(NotAttempted, match=r"no file aws/build/churn\.joblib to compare it with"):
        aws_checks.package(work)


# upload ------------------------------------------------------------------------------------------------------------


def upload(work: Work, **block: bool) -> Any:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    if block:
        s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=block)
    s3.upload_file(str(pack(work)), BUCKET, aws_checks.KEY)
    return s3


@pytest.mark.usefixtures("empty_clouds")
class TestUpload:
    def test_right(self, work: Work) -> None:
        upload(work, **PRIVATE)
        assert "private and byte for byte the archive made here" in aws_checks.upload(work)

    def test_not_attempted(self, work: Work) -> None:
        with pytest.raises(NotAttempted, match="no bucket named churn-lab-123456789012-us-east-1"):
            aws_checks.upload(work)

    def test_a_bucket_without_the_block_is_wrong(self, work: Work) -> None:
        upload(work).delete_public_access_block(Bucket=BUCKET)
        with pytest.raises(Wrong, match="a bucket without BlockPublicAcls, IgnorePublicAcls"):
            aws_checks.upload(work)

    def test_a_bucket_that_is_half_open_is_wrong(self, work: Work) -> None:
        upload(work, **{**PRIVATE, "RestrictPublicBuckets": False})
        with pytest.raises(Wrong, match=r"a bucket without RestrictPublicBuckets$"):
            aws_checks.upload(work)

    def test_a_bucket_without_the_archive_is_wrong(self, work: Work) -> None:
        upload(work, **PRIVATE).delete_object(Bucket=BUCKET, Key=aws_checks.KEY)
        with pytest.raises(Wrong, match="no object models/churn/model"):
            aws_checks.upload(work)

    def test_an_older_archive_is_wrong(self, work: Work) -> None:
        upload(work, **PRIVATE).put_object(Bucket=BUCKET, Key=aws_checks.KEY, Body=b"older")
        with pytest.raises(Wrong, match="another archive under"):
            aws_checks.upload(work)

    @pytest.mark.parametrize("content", [b"", b"no archive"])
    def test_an_archive_that_cannot_be_unpacked_is_wrong_though_the_same(self, work: Work, content: bytes) -> None:
        s3 = upload(work, **PRIVATE)
        (work.folder / "build" / "model.tar.gz").write_bytes(content)
        s3.put_object(Bucket=BUCKET, Key=aws_checks.KEY, Body=content)
        with pytest.raises(Wrong, match=r"no gzipped tar .* under models/churn") as wrong:
            aws_checks.upload(work)
        assert wrong.value.hint == "the task package comes first"

    def test_an_archive_without_the_model_is_wrong(self, work: Work) -> None:
        s3 = upload(work, **PRIVATE)
        file = work.folder / "build" / "model.tar.gz"
        tarfile.open(file, "w:gz").close()
        s3.upload_file(str(file), BUCKET, aws_checks.KEY)
        with pytest.raises(Wrong, match="an archive without a model"):
            aws_checks.upload(work)


# role --------------------------------------------------------------------------------------------------------------

READ = allow("s3:GetObject", f"arn:aws:s3:::{BUCKET}/models/*")
WRITE_LOGS = allow(
    ["logs:CreateLogStream", "logs:PutLogEvents"], "arn:aws:logs:us-east-1:123456789012:log-group:/aws/*"
)
TRUST_SAGEMAKER = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}


def make_role(*statements: dict[str, Any], trust: dict[str, Any] = TRUST_SAGEMAKER) -> Any:
    iam = boto3.client("iam")
    iam.create_role(RoleName=aws_checks.ROLE, AssumeRolePolicyDocument=json.dumps(policy(trust)))
    if statements:
        document = json.dumps(policy(*statements))
        iam.put_role_policy(RoleName=aws_checks.ROLE, PolicyName="serve", PolicyDocument=document)
    return iam


@pytest.mark.usefixtures("empty_clouds")
class TestRole:
    def test_right(self, work: Work) -> None:
        make_role(READ, WRITE_LOGS)
        assert aws_checks.role(work) == ("a role that SageMaker alone can assume, with 3 permissions and none to spare")

    def test_right_as_an_attached_policy(self, work: Work) -> None:
        iam = make_role()
        document = json.dumps(policy(READ, WRITE_LOGS))
        arn = iam.create_policy(PolicyName="serve-churn", PolicyDocument=document)["Policy"]["Arn"]
        iam.attach_role_policy(RoleName=aws_checks.ROLE, PolicyArn=arn)
        assert "3 permissions" in aws_checks.role(work)

    def test_not_attempted(self, work: Work) -> None:
        with pytest.raises(NotAttempted, match="no role named churn-lab-endpoint"):
            aws_checks.role(work)

    @pytest.mark.parametrize(
        ("principal", "found"),
        [
            ({"Service": "ec2.amazonaws.com"}, "a trust policy for ec2.amazonaws.com"),
            ({"AWS": "*"}, r"a trust policy for \*"),
            ("*", r"a trust policy for \*"),
            ({"Service": ["sagemaker.amazonaws.com", "lambda.amazonaws.com"]}, "sagemaker.*, lambda"),
        ],
    )
    def test_trust_in_somebody_else_is_wrong(self, work: Work, principal: Any, found: str) -> None:
        make_role(READ, WRITE_LOGS, trust={**TRUST_SAGEMAKER, "Principal": principal})
        with pytest.raises(Wrong, match=found):
            aws_checks.role(work)

    @pytest.mark.parametrize(
        ("statements", "found"),
        [
            ((), "no permissions on it"),
            ((WRITE_LOGS,), "a policy that cannot read the model"),
            ((allow("s3:GetObject", f"arn:aws:s3:::{BUCKET}"), WRITE_LOGS), "a policy that cannot read the model"),
            ((READ,), "a policy without logs:CreateLogStream"),
            ((READ, WRITE_LOGS, allow("s3:*", f"arn:aws:s3:::{BUCKET}/*")), "may also write to the bucket"),
            ((READ, WRITE_LOGS, allow("s3:GetObject", "*")), "may also read other people's buckets"),
            ((READ, WRITE_LOGS, allow("sagemaker:*", "*")), "may also delete endpoints"),
            ((allow("*", "*"),), "may also write to the bucket"),
        ],
    )
    def test_too_little_or_too_much_is_wrong(self, work: Work, statements: tuple[Any, ...], found: str) -> None:
        make_role(*statements)
        with pytest.raises(Wrong, match=found):
            aws_checks.role(work)

    def test_the_policy_that_allows_too_much_is_named(self, work: Work) -> None:
        iam = make_role(READ, WRITE_LOGS)
        document = json.dumps(policy(allow("s3:*", "*")))
        iam.put_role_policy(RoleName=aws_checks.ROLE, PolicyName="first-attempt", PolicyDocument=document)
        with pytest.raises(Wrong, match=r"write to the bucket, by its policy first-attempt$") as wrong:
            aws_checks.role(work)
        assert "if an earlier attempt left it, delete it" in wrong.value.hint

    def test_full_access_is_wrong(self, work: Work) -> None:
        iam = make_role(READ, WRITE_LOGS)
        iam.attach_role_policy(RoleName=aws_checks.ROLE, PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")
        with pytest.raises(Wrong, match="a role that may also read other"):
            aws_checks.role(work)


# policies ----------------------------------------------------------------------------------------------------------

CALL = allow("sagemaker:InvokeEndpoint", f"{SAGEMAKER}:endpoint/churn-api")
DEPLOY = allow(
    [f"sagemaker:{verb}{what}" for verb in ("Create", "Describe", "Delete") for what in ("Model", "Endpoint*")],
    [f"{SAGEMAKER}:model/churn-*", f"{SAGEMAKER}:endpoint-config/churn-*", f"{SAGEMAKER}:endpoint/churn-api"],
)
UPLOAD = allow("s3:PutObject", f"arn:aws:s3:::{BUCKET}/models/*")
PASS_ROLE = allow("iam:PassRole", ROLE)


def make_policies(**policies: tuple[dict[str, Any], ...]) -> None:
    for who, statements in policies.items():
        document = json.dumps(policy(*statements))
        boto3.client("iam").create_policy(PolicyName=f"churn-lab-{who}", PolicyDocument=document)


@pytest.mark.usefixtures("empty_clouds")
class TestPolicies:
    def test_right(self, work: Work) -> None:
        make_policies(deployer=(DEPLOY, UPLOAD, PASS_ROLE), caller=(CALL,))
        assert aws_checks.policies(work) == (
            "churn-lab-deployer with 20 permissions and churn-lab-caller with 1; 9 calls tried"
        )

    @pytest.mark.parametrize(
        ("who", "found"),
        [
            ("caller", "churn-lab-caller, signed in with that policy alone, denied to call the endpoint"),
            ("deployer", "churn-lab-deployer, signed in with that policy alone, denied to describe the endpoint"),
        ],
    )
    def test_a_condition_that_never_holds_is_found_by_trying(self, work: Work, who: str, found: str) -> None:
        never = {"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}
        made = {"deployer": (DEPLOY, UPLOAD, PASS_ROLE), "caller": (CALL,)}
        make_policies(**made | {who: tuple({**each, **never} for each in made[who])})
        with pytest.raises(Wrong, match=found):
            aws_checks.policies(work)

    def test_not_attempted(self, work: Work) -> None:
        with pytest.raises(NotAttempted, match="no policy named churn-lab-deployer and none named churn-lab-caller"):
            aws_checks.policies(work)

    def test_only_one_of_them_is_wrong(self, work: Work) -> None:
        make_policies(caller=(CALL,))
        with pytest.raises(Wrong, match=r"no policy named churn-lab-deployer$"):
            aws_checks.policies(work)

    @pytest.mark.parametrize(
        ("caller", "found"),
        [
            (
                (allow("sagemaker:DescribeEndpoint", f"{SAGEMAKER}:endpoint/churn-api"),),
                "that cannot call the endpoint",
            ),
            ((allow("sagemaker:InvokeEndpoint", "*"),), r"may also do sagemaker:InvokeEndpoint on \*"),
            ((allow("sagemaker:*", f"{SAGEMAKER}:endpoint/churn-api"),), r"may also do sagemaker:\*"),
            ((CALL, UPLOAD), "may also do s3:PutObject"),
        ],
    )
    def test_a_caller_with_too_little_or_too_much_is_wrong(
        self, work: Work, caller: tuple[dict[str, Any], ...], found: str
    ) -> None:
        make_policies(deployer=(DEPLOY, UPLOAD, PASS_ROLE), caller=caller)
        with pytest.raises(Wrong, match=found):
            aws_checks.policies(work)

    @pytest.mark.parametrize(
        ("deployer", "found"),
        [
            ((UPLOAD, PASS_ROLE), "without sagemaker:CreateModel"),
            ((allow("sagemaker:CreateModel", "*"), UPLOAD, PASS_ROLE), "without sagemaker:CreateEndpointConfig"),
            ((DEPLOY, PASS_ROLE), "that cannot upload"),
            ((DEPLOY, UPLOAD), "without iam:PassRole"),
            ((DEPLOY, UPLOAD, allow("iam:PassRole", "*")), "may do iam:PassRole on .*administrator"),
            ((DEPLOY, UPLOAD, PASS_ROLE, allow("iam:*", "*")), "may do iam:PassRole on .*administrator"),
            ((DEPLOY, PASS_ROLE, allow("s3:*", "*")), "may do s3:PutObject on .*somebody"),
        ],
    )
    def test_a_deployer_with_too_little_or_too_much_is_wrong(
        self, work: Work, deployer: tuple[dict[str, Any], ...], found: str
    ) -> None:
        make_policies(deployer=deployer, caller=(CALL,))
        with pytest.raises(Wrong, match=found):
            aws_checks.policies(work)


def test_a_policys_hint_is_about_the_identity_that_is_wrong(empty_clouds: Any, work: Work) -> None:
    make_policies(deployer=(DEPLOY, UPLOAD), caller=(CALL,))
    with pytest.raises(Wrong) as wrong:
        aws_checks.policies(work)
    assert wrong.value.hint.startswith("the deployer's statement for iam:PassRole")


def test_the_model_is_needed_before_the_code_can_be_checked(work: Work) -> None:
    shutil.rmtree(work.folder / "build")
    with pytest.raises(NotAttempted, match=r"no file aws/build/churn\.joblib"):
        aws_checks.inference(work)
