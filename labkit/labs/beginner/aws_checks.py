"""What the lab ``beginner/aws`` checks: each function looks at one task's outcome in the account and in the files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from labkit.labs import trials
from labkit.labs.beginner import churn
from labkit.labs.phrases import counted as counted
from labkit.labs.policy import Policy, allows, as_list, covers, grants, statements
from labkit.labs.task import NotAttempted, Unfinished, Work, Wrong
from labkit.labs.trials import Trial

ROLE = "churn-lab-endpoint"
DEPLOYER, CALLER = "churn-lab-deployer", "churn-lab-caller"
ENDPOINT = "churn-api"
KEY = "models/churn/model.tar.gz"
LOG_GROUP = f"/aws/sagemaker/Endpoints/{ENDPOINT}"
PASS_ROLE_HINT = "the deployer's statement for iam:PassRole has one resource, the ARN in role_arn, and no *"
CLIENT_HINT = "sign exactly the method, URL, body and headers that are sent, for the service 'sagemaker' and the region"
ANSWER_HINT = "run it as the cell above does, python aws/client.py churn-api aws/sample.json, and read its whole output"


def client(service: str) -> Any:
    """A client as the learner's own code makes it: of the account that the environment leads to."""
    return boto3.client(service)


def account() -> str:
    return str(client("sts").get_caller_identity()["Account"])


def region() -> str:
    return str(client("sts").meta.region_name)


def bucket_name() -> str:
    return f"churn-lab-{account()}-{region()}"


def artifact_url() -> str:
    return f"s3://{bucket_name()}/{KEY}"


def endpoint_arn() -> str:
    return f"arn:aws:sagemaker:{region()}:{account()}:endpoint/{ENDPOINT}"


def whoami() -> dict[str, str]:
    """Who the learner is on AWS, for the status card."""
    identity = client("sts").get_caller_identity()
    return {"Account": identity["Account"], "Region": region(), "Signed in as": identity["Arn"]}


def explain(error: Exception) -> str | None:
    """What AWS said, as a phrase; None when the error is not AWS's."""
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        return f"that {error.operation_name} answered {said.get('Code')}: {str(said.get('Message')).rstrip('. ')}"
    if isinstance(error, BotoCoreError):
        return f"that AWS could not be asked ({error})"
    return None


def code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def is_denied(call: Callable[[], Any]) -> bool:
    """Whether AWS denies a call; that it fails for another reason is no denial."""
    try:
        call()
    except ClientError as error:
        if code(error) in ("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"):
            raise
        return "AccessDenied" in code(error) or error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return False


def inference(work: Work) -> str:
    """``inference.py`` answers JSON and CSV as the saved model does."""
    file = work.folder / "inference.py"
    expected = "the four functions that the container calls: model_fn, input_fn, predict_fn, output_fn"
    if not file.is_file():
        raise NotAttempted(f"no file {churn.shown(work, file)}", expected)
    known = churn.score(work)["probabilities"]
    chosen = churn.customers(work)
    records = [record for _, record in chosen]
    bodies = {"application/json": json.dumps({"instances": records}), "text/csv": churn.as_csv(records)}
    requests = work.folder / "build" / "requests.json"
    requests.write_text(json.dumps(bodies))
    answer = churn.probe(work, "serve", str(file), str(work.folder / "build"), str(requests))
    requests.unlink()
    if "empty" in answer:
        found = f"a {answer['empty']} that returns nothing"
        if churn.is_stub(file, answer["empty"]):
            raise NotAttempted(found, expected)
        raise Wrong(found, expected, f"{answer['empty']} has no return, or not on every way through it")
    if "missing" in answer:
        raise Wrong(f"an inference.py without {' and '.join(answer['missing'])}", expected)
    if "error" in answer:
        raise Wrong(
            f"an inference.py whose {answer['where']} fails ({answer['error']})"
            if "where" in answer
            else f"an inference.py that fails ({answer['error']})",
            "answers to JSON and to CSV requests",
        )
    for content_type, body in answer["answers"].items():
        difference = churn.differ(churn.predictions(body), [known[row] for row, _ in chosen])
        if difference:
            raise Wrong(f"{difference} ({content_type})", "the saved model's own churn probabilities")
    return f"an inference.py that answers {len(chosen)} customers as JSON and as CSV like the saved model"


def package(work: Work) -> str:
    """``model.tar.gz`` holds the model and the code where the container looks for them."""
    file = work.folder / "build" / "model.tar.gz"
    wanted = {
        "churn.joblib": work.folder / "build" / "churn.joblib",
        "code/inference.py": work.folder / "inference.py",
    }
    expected = f"a gzipped tar with {' and '.join(wanted)} in it"
    if not file.is_file():
        raise NotAttempted(f"no file {churn.shown(work, file)}", expected)
    packed = unpacked(file)
    for name, source in wanted.items():
        if name not in packed:
            raise Wrong(f"only {churn.quoted(', '.join(sorted(packed)) or 'nothing')} in it", expected)
        if not source.is_file():
            raise NotAttempted(
                f"no file {churn.shown(work, source)} to compare it with", expected, f"{source.name} first"
            )
        if packed[name] != source.read_bytes():
            raise Wrong(
                f"a {name} in it that differs from {churn.shown(work, source)}",
                "the files as they are now",
                "something changed after the archive was made: make it again",
            )
    return f"a model.tar.gz of {file.stat().st_size / 1024:,.0f} KB with {' and '.join(wanted)}"


def unpacked(file: Path) -> dict[str, bytes]:
    """The files in a gzipped tar archive, by name."""
    try:
        with tarfile.open(file, "r:gz") as archive:
            files = {each.name.removeprefix("./"): archive.extractfile(each) for each in archive if each.isfile()}
            return {name: opened.read() for name, opened in files.items() if opened is not None}
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise Wrong(
            f"a file that is no gzipped tar ({error})", "an archive that tarfile made with mode 'w:gz'"
        ) from None


def upload(work: Work) -> str:
    """The archive is in a bucket that is closed to the public."""
    s3, bucket = client("s3"), bucket_name()
    if bucket not in [found["Name"] for found in s3.list_buckets()["Buckets"]]:
        raise NotAttempted(f"no bucket named {bucket}", "that bucket, with public access blocked")
    try:
        block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    except ClientError as error:
        if code(error) != "NoSuchPublicAccessBlockConfiguration":
            raise
        block = {}
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    still_open = [name for name in names if not block.get(name)]
    if still_open:
        raise Wrong(
            f"a bucket without {', '.join(still_open)}",
            "all four public-access settings on",
            "s3.put_public_access_block sets all four in one call",
        )
    try:
        stored = s3.get_object(Bucket=bucket, Key=KEY)["Body"].read()
    except s3.exceptions.NoSuchKey:
        raise Wrong(f"no object {KEY} in the bucket", "model.tar.gz under that key") from None
    local = work.folder / "build" / "model.tar.gz"
    if not local.is_file() or hashlib.sha256(stored).digest() != hashlib.sha256(local.read_bytes()).digest():
        raise Wrong(f"another archive under {KEY} than {churn.shown(work, local)}", "the same bytes", "upload it again")
    try:
        packed = unpacked(local)
    except Unfinished as unfinished:
        raise Wrong(f"{unfinished.found} under {KEY}", unfinished.expected, "the task package comes first") from None
    if "churn.joblib" not in packed:
        raise Wrong(f"an archive without a model under {KEY}", "churn.joblib in it", "the task package comes first")
    return f"{artifact_url()}, private and byte for byte the archive made here"


def everything(service: str, operation: str, kind: str, **which: Any) -> list[Any]:
    """All that a paginated operation lists."""
    pages = client(service).get_paginator(operation).paginate(**which)
    return [found for page in pages for found in page.get(kind, [])]


def role_policies(role: str) -> dict[str, Policy]:
    """The documents of every policy that a role has, inline and attached, by the policy's name."""
    iam = client("iam")
    inline = {
        name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in everything("iam", "list_role_policies", "PolicyNames", RoleName=role)
    }
    attached = everything("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=role)
    return inline | {found["PolicyName"]: managed_policy(found["PolicyArn"]) for found in attached}


def managed_policy(arn: str) -> Policy:
    """The default version of a managed policy."""
    iam = client("iam")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document: Policy = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return document


def own_policies(*names: str) -> dict[str, Policy]:
    """The documents of those of the account's own managed policies that there are, by name."""
    iam, found = client("iam"), {}
    for name in names:
        with contextlib.suppress(iam.exceptions.NoSuchEntityException):
            found[name] = managed_policy(f"arn:aws:iam::{account()}:policy/{name}")
    return found


def role(_: Work) -> str:
    """SageMaker may assume the role, and the role may read the model and little else."""
    try:
        trust = client("iam").get_role(RoleName=ROLE)["Role"]["AssumeRolePolicyDocument"]
    except client("iam").exceptions.NoSuchEntityException:
        raise NotAttempted(f"no role named {ROLE}", "a role that SageMaker can assume") from None
    trusted = [name for statement in statements([trust]) for name in trusted_by(statement)]
    if trusted != ["sagemaker.amazonaws.com"]:
        raise Wrong(
            f"a trust policy for {', '.join(trusted) or 'nobody'}",
            "one for the service sagemaker.amazonaws.com alone",
            'the trust policy\'s Principal is {"Service": "sagemaker.amazonaws.com"}',
        )
    by_name = role_policies(ROLE)
    policies = list(by_name.values())
    if not policies:
        raise Wrong("no permissions on it", "a policy that lets it read the model and write its logs")
    artifact = f"arn:aws:s3:::{bucket_name()}/{KEY}"
    if not allows(policies, "s3:GetObject", artifact):
        raise Wrong("a policy that cannot read the model", f"s3:GetObject on {artifact}")
    stream = f"arn:aws:logs:{region()}:{account()}:log-group:{LOG_GROUP}:log-stream:AllTraffic/i-0"
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        if not allows(policies, action, stream):
            raise Wrong(f"a policy without {action} for {LOG_GROUP}", "a container that can write its logs")
    unwanted = {
        "write to the bucket": ("s3:PutObject", artifact),
        "read other people's buckets": ("s3:GetObject", "arn:aws:s3:::somebody-elses-bucket/file"),
        "change the account's users and roles": ("iam:CreateUser", "*"),
        "delete endpoints": ("sagemaker:DeleteEndpoint", endpoint_arn()),
    }
    for power, (action, resource) in unwanted.items():
        if allows(policies, action, resource):
            guilty = " and ".join(name for name, policy in by_name.items() if allows([policy], action, resource))
            raise Wrong(
                f"a role that may also {power}, by its policy {guilty}",
                "only what serving needs",
                f"name actions and resources instead of * in {guilty}; if an earlier attempt left it, delete it, or "
                "detach it when it is a managed policy such as ...FullAccess",
            )
    return f"a role that SageMaker alone can assume, with {len(grants(policies))} permissions and none to spare"


def trusted_by(statement: Policy) -> list[str]:
    """Whom a trust policy's statement names, the kind of principal left out."""
    principal = statement.get("Principal", {})
    if not isinstance(principal, dict):
        return as_list(principal)
    return [name for names in principal.values() for name in as_list(names)]


def endpoint(work: Work) -> str:
    """The endpoint is up, made of the uploaded archive and the role, and answers as the saved model does."""
    sagemaker = client("sagemaker")
    there = [found["EndpointName"] for found in sagemaker.list_endpoints(NameContains=ENDPOINT)["Endpoints"]]
    if ENDPOINT not in there:
        raise NotAttempted(f"no endpoint named {ENDPOINT}", "that endpoint, InService")
    state = sagemaker.describe_endpoint(EndpointName=ENDPOINT)
    if state["EndpointStatus"] != "InService":
        reason = f" ({state['FailureReason']})" if "FailureReason" in state else ""
        raise Wrong(
            f"an endpoint that is {state['EndpointStatus']}{reason}{last_words(LOG_GROUP)}",
            "InService",
            f"wait for it; when it has Failed, read why in the log group {LOG_GROUP}, delete it, and deploy again",
        )
    config = sagemaker.describe_endpoint_config(EndpointConfigName=state["EndpointConfigName"])
    for variant in config["ProductionVariants"]:
        model = sagemaker.describe_model(ModelName=variant["ModelName"])
        data_url = model.get("PrimaryContainer", {}).get("ModelDataUrl")
        if data_url != artifact_url():
            raise Wrong(f"a model made from {data_url}", artifact_url())
        if model["ExecutionRoleArn"].rpartition("/")[2] != ROLE:
            raise Wrong(f"a model that runs as {model['ExecutionRoleArn']}", f"the role {ROLE}")
    known = churn.score(work)["probabilities"]
    chosen = churn.customers(work)
    records = [record for _, record in chosen]
    for content_type, body in (
        ("application/json", json.dumps({"instances": records})),
        ("text/csv", churn.as_csv(records)),
    ):
        difference = churn.differ(ask(body, content_type), [known[row] for row, _ in chosen])
        if difference:
            raise Wrong(
                f"{difference} ({content_type})",
                "the saved model's own churn probabilities",
                "the endpoint serves an older archive: upload and deploy again",
            )
    return f"the endpoint {ENDPOINT} InService, and its answers for {len(chosen)} customers equal to the saved model's"


def ask(body: str, content_type: str) -> list[float]:
    """The endpoint's predictions for one request."""
    runtime = client("sagemaker-runtime")
    try:
        answer = runtime.invoke_endpoint(
            EndpointName=ENDPOINT, ContentType=content_type, Accept="application/json", Body=body
        )
    except runtime.exceptions.ModelError as error:
        raise Wrong(
            f"a ModelError for a request of {content_type}, the container's own status being "
            f"{error.response.get('OriginalStatusCode')}{last_words(LOG_GROUP)}",
            "the saved model's own churn probabilities",
            f"the traceback is in the log group {LOG_GROUP}; mend inference.py, then pack, upload and deploy again",
        ) from None
    return churn.predictions(answer["Body"].read().decode())


def last_words(log_group: str) -> str:
    """The last error in a log group, or else its last line, as a phrase to append; "" when there is none."""
    try:
        events = everything("logs", "filter_log_events", "events", logGroupName=log_group)
    except ClientError:
        return ""
    lines = [event["message"].strip() for event in events if event["message"].strip()]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Exit)\b", line)]
    return f", and last in its log {churn.quoted((errors or lines)[-1])!r}" if lines else ""


def rest(work: Work) -> str:
    """``client.py`` gets the endpoint's predictions with a signed request of its own."""
    script, sample = work.folder / "client.py", work.folder / "sample.json"
    expected = "a script that signs its own HTTPS request"
    if not script.is_file():
        raise NotAttempted(f"no file {churn.shown(work, script)}", expected)
    if "invoke_endpoint" in script.read_text():
        raise Wrong("a client.py that calls the SDK's invoke_endpoint", expected)
    try:
        done = subprocess.run(
            [sys.executable, str(script), ENDPOINT, str(sample)],
            cwd=work.folder.parent,
            capture_output=True,
            text=True,
            timeout=churn.PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise Wrong(f"a client.py that did not finish within {churn.PATIENCE:.0f} seconds", expected) from None
    said = (done.stdout.strip() or done.stderr.strip()).splitlines() or [""]
    if "Missing Authentication Token" in done.stdout:
        found = f"a request that is not signed ({churn.quoted(said[-1])})"
        if churn.is_stub(script, "signed_headers"):
            raise NotAttempted(found, expected)
        raise Wrong(found, expected, "signed_headers returns the headers with the signature: dict(request.headers)")
    if done.returncode != 0:
        found = f"a client.py that ends with status {done.returncode} and {churn.quoted(said[-1], 700)!r}"
        raise Wrong(found, expected, CLIENT_HINT if "ignature" in said[-1] else ANSWER_HINT)
    if not done.stdout.strip():
        raise Wrong("a client.py that prints nothing", "the endpoint's answer", "main ends with print(answer.text)")
    difference = churn.differ(churn.predictions(said[-1]), ask(sample.read_text(), "application/json"))
    if difference:
        raise Wrong(difference, "what the SDK's invoke_endpoint answers for the same file")
    return "a client.py that signs its own request and gets what the SDK gets"


def policies(_: Work) -> str:
    """The deployer may deploy and hand over one role; the caller may call one endpoint and nothing else."""
    documents = own_policies(DEPLOYER, CALLER)
    missing = [name for name in (DEPLOYER, CALLER) if name not in documents]
    if missing:
        raise (NotAttempted if len(missing) == 2 else Wrong)(
            f"no policy named {' and none named '.join(missing)}", f"customer-managed policies {DEPLOYER} and {CALLER}"
        )
    deployer, caller = documents[DEPLOYER], documents[CALLER]
    if not allows([caller], "sagemaker:InvokeEndpoint", endpoint_arn()):
        raise Wrong(f"a {CALLER} that cannot call the endpoint", f"sagemaker:InvokeEndpoint on {endpoint_arn()}")
    wider = [f"{action} on {resource}" for action, resource in grants([caller]) if not needed_to_call(action, resource)]
    if wider:
        raise Wrong(f"a {CALLER} that may also do {wider[0]}", "sagemaker:InvokeEndpoint on one endpoint, nothing else")
    needs = ("CreateModel", "CreateEndpointConfig", "CreateEndpoint", "DescribeEndpoint", "DeleteEndpoint")
    for action in needs:
        kind = "model" if action == "CreateModel" else "endpoint-config" if action.endswith("Config") else "endpoint"
        name = ENDPOINT if kind == "endpoint" else "churn-20260101-120000"
        if not allows([deployer], f"sagemaker:{action}", f"arn:aws:sagemaker:{region()}:{account()}:{kind}/{name}"):
            raise Wrong(
                f"a {DEPLOYER} without sagemaker:{action}",
                "all that making and deleting the endpoint takes",
                f"keep the statements that the cell begins with; {kind}/{name} has to be covered",
            )
    if not allows([deployer], "s3:PutObject", f"arn:aws:s3:::{bucket_name()}/{KEY}"):
        raise Wrong(
            f"a {DEPLOYER} that cannot upload",
            f"s3:PutObject on {KEY}",
            "keep the statements that the cell begins with",
        )
    role_arn = f"arn:aws:iam::{account()}:role/{ROLE}"
    if not allows([deployer], "iam:PassRole", role_arn):
        raise Wrong(f"a {DEPLOYER} without iam:PassRole", f"iam:PassRole on {role_arn}", PASS_ROLE_HINT)
    for action, resource in (
        ("iam:PassRole", f"arn:aws:iam::{account()}:role/administrator"),
        ("iam:CreateRole", "*"),
        ("s3:PutObject", "arn:aws:s3:::somebody-elses-bucket/file"),
    ):
        if allows([deployer], action, resource):
            raise Wrong(
                f"a {DEPLOYER} that may do {action} on {resource}",
                "only what the lab's own bucket, role and endpoint need",
                PASS_ROLE_HINT
                if action == "iam:PassRole"
                else f"give {action} no resource that is wider than the lab's",
            )
    tried = trials.run(f"{CALLER}, signed in with that policy alone,", _of_caller(_alone(CALLER)), is_denied)
    tried += trials.run(f"{DEPLOYER}, signed in with that policy alone,", _of_deployer(_alone(DEPLOYER)), is_denied)
    counts = f"{DEPLOYER} with {len(grants([deployer]))} permissions and {CALLER} with {len(grants([caller]))}"
    return f"{counts}; {tried} calls tried"


def _alone(policy: str) -> boto3.Session:
    """A session that can do what one policy allows."""
    arns = [{"arn": f"arn:aws:iam::{account()}:policy/{policy}"}]
    answer = client("sts").get_federation_token(Name="check", PolicyArns=arns)["Credentials"]
    return boto3.Session(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"], region())


def _of_caller(session: boto3.Session) -> Iterator[Trial]:
    runtime, sagemaker, s3 = (session.client(name) for name in ("sagemaker-runtime", "sagemaker", "s3"))
    yield Trial("call the endpoint", True, lambda: runtime.invoke_endpoint(EndpointName=ENDPOINT, Body=b"{}"))
    yield Trial("describe the endpoint", False, lambda: sagemaker.describe_endpoint(EndpointName=ENDPOINT))
    yield Trial("call another endpoint", False, lambda: runtime.invoke_endpoint(EndpointName="another", Body=b""))
    yield Trial("read the model", False, lambda: s3.get_object(Bucket=bucket_name(), Key=KEY))


def _of_deployer(session: boto3.Session) -> Iterator[Trial]:
    sagemaker, s3 = session.client("sagemaker"), session.client("s3")

    def make_model(role: str) -> None:
        # A model without an image is refused, once it is known whether it may be made.
        arn = f"arn:aws:iam::{account()}:role/{role}"
        sagemaker.create_model(ModelName="churn-trial", ExecutionRoleArn=arn, PrimaryContainer={})

    yield Trial("describe the endpoint", True, lambda: sagemaker.describe_endpoint(EndpointName=ENDPOINT))
    yield Trial("make a model with the endpoint's role", True, lambda: make_model(ROLE))
    yield Trial("make a model with another role", False, lambda: make_model("administrator"))
    yield Trial("describe another's model", False, lambda: sagemaker.describe_model(ModelName="somebody-elses"))
    yield Trial("list all buckets", False, s3.list_buckets)


def needed_to_call(action: str, resource: str) -> bool:
    return action.lower() == "sagemaker:invokeendpoint" and "*" not in resource and covers(resource, endpoint_arn())


def leftovers() -> dict[str, list[str]]:
    """What of this lab's is in the account: the names by kind, most expensive kind first.

    Something belongs to the lab when its name has "churn" in it, as all names that the lab gives have.
    """
    mine = {"NameContains": "churn"}
    found = {
        "endpoint": names_of("sagemaker", "list_endpoints", "Endpoints", "EndpointName", **mine),
        "endpoint configuration": names_of(
            "sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", **mine
        ),
        "model": names_of("sagemaker", "list_models", "Models", "ModelName", **mine),
        "bucket": [bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]],
        "role": names_of("iam", "list_roles", "Roles", "RoleName"),
        "policy": names_of("iam", "list_policies", "Policies", "PolicyName", Scope="Local"),
        "log group": names_of(
            "logs", "describe_log_groups", "logGroups", "logGroupName", logGroupNamePrefix="/aws/sagemaker/Endpoints/"
        ),
    }
    return {
        kind: kept for kind, there in found.items() if (kept := [name for name in there if "churn" in name.lower()])
    }


def names_of(service: str, operation: str, kind: str, name: str, **which: Any) -> list[str]:
    """The names of all that a paginated operation lists."""
    return [str(found[name]) for found in everything(service, operation, kind, **which)]


def cleanup(_: Work) -> str:
    """Nothing that costs money or grants a permission is left, and there was something once."""
    kept = leftovers()
    expected = "an account as empty as before the lab"
    if kept:
        untouched = ENDPOINT in kept.get("endpoint", [])
        found = "; ".join(counted(kind, there) for kind, there in kept.items())
        raise (NotAttempted if untouched else Wrong)(f"still there: {found}", expected)
    dimensions = [{"Name": "EndpointName", "Value": ENDPOINT}]
    calls = client("cloudwatch").list_metrics(
        Namespace="AWS/SageMaker", MetricName="Invocations", Dimensions=dimensions
    )
    if not calls["Metrics"]:
        raise NotAttempted(f"no trace of calls to an endpoint {ENDPOINT}", "one that was used and then deleted")
    return "no endpoint, configuration, model, bucket, role, policy or log group of this lab left"
