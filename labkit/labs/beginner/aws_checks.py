"""What the lab ``beginner/aws`` checks: each function looks at one task's outcome in the account and in the files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import tarfile
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from labkit.labs.beginner import churn
from labkit.labs.policy import Policy, allows, as_list, covers, grants, statements
from labkit.labs.task import NotAttempted, Work, Wrong

ROLE = "churn-lab-endpoint"
DEPLOYER, CALLER = "churn-lab-deployer", "churn-lab-caller"
ENDPOINT = "churn-api"
KEY = "models/churn/model.tar.gz"
LOG_GROUP = f"/aws/sagemaker/Endpoints/{ENDPOINT}"


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
        raise NotAttempted(f"a {answer['empty']} that returns nothing", expected)
    if "missing" in answer:
        raise Wrong(f"an inference.py without {' and '.join(answer['missing'])}", expected)
    if "error" in answer:
        raise Wrong(f"an inference.py that fails ({answer['error']})", "answers to JSON and to CSV requests")
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
    try:
        with tarfile.open(file, "r:gz") as archive:
            members = {member.name.removeprefix("./"): member for member in archive.getmembers() if member.isfile()}
            for name, source in wanted.items():
                if name not in members:
                    raise Wrong(f"only {', '.join(sorted(members)) or 'nothing'} in it", expected)
                packed = archive.extractfile(members[name])
                if packed is None or packed.read() != source.read_bytes():
                    raise Wrong(
                        f"a {name} in it that differs from {churn.shown(work, source)}",
                        "the files as they are now",
                        "something changed after the archive was made: make it again",
                    )
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Wrong(f"a file that is no gzipped tar ({error})", expected) from None
    return f"a model.tar.gz of {file.stat().st_size / 1024:,.0f} KB with {' and '.join(wanted)}"


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
    return f"{artifact_url()}, private and byte for byte the archive made here"


def role_policies(role: str) -> list[Policy]:
    """The documents of every policy that a role has, inline and attached."""
    iam = client("iam")
    inline = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    return inline + [managed_policy(found["PolicyArn"]) for found in attached]


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
    policies = role_policies(ROLE)
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
            raise Wrong(
                f"a role that may also {power}",
                "only what serving needs",
                "name actions and resources instead of * and attach no ...FullAccess policy",
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
            f"an endpoint that is {state['EndpointStatus']}{reason}",
            "InService",
            f"wait for it; when it has Failed, read why in the log group {LOG_GROUP}",
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
    answer = client("sagemaker-runtime").invoke_endpoint(
        EndpointName=ENDPOINT, ContentType=content_type, Accept="application/json", Body=body
    )
    return churn.predictions(answer["Body"].read().decode())


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
    said = (done.stdout.strip() or done.stderr.strip()).splitlines() or ["nothing"]
    if "Missing Authentication Token" in done.stdout:
        raise NotAttempted(f"a request that is not signed ({said[-1][:160]})", expected)
    if done.returncode != 0:
        raise Wrong(f"a client.py that ends with status {done.returncode} and {said[-1][:200]!r}", expected)
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
            raise Wrong(f"a {DEPLOYER} without sagemaker:{action}", "all that making and deleting the endpoint takes")
    if not allows([deployer], "s3:PutObject", f"arn:aws:s3:::{bucket_name()}/{KEY}"):
        raise Wrong(f"a {DEPLOYER} that cannot upload", f"s3:PutObject on {KEY}")
    role_arn = f"arn:aws:iam::{account()}:role/{ROLE}"
    if not allows([deployer], "iam:PassRole", role_arn):
        raise Wrong(f"a {DEPLOYER} without iam:PassRole", f"iam:PassRole on {role_arn}")
    for action, resource in (
        ("iam:PassRole", f"arn:aws:iam::{account()}:role/administrator"),
        ("iam:CreateRole", "*"),
        ("s3:PutObject", "arn:aws:s3:::somebody-elses-bucket/file"),
    ):
        if allows([deployer], action, resource):
            raise Wrong(
                f"a {DEPLOYER} that may do {action} on {resource}",
                "only what the lab's own bucket, role and endpoint need",
            )
    return f"{DEPLOYER} with {len(grants([deployer]))} permissions and {CALLER} with {len(grants([caller]))}"


def needed_to_call(action: str, resource: str) -> bool:
    return action.lower() == "sagemaker:invokeendpoint" and "*" not in resource and covers(resource, endpoint_arn())


def leftovers() -> list[str]:
    """What of this lab's is in the account, most expensive first."""
    sagemaker, iam = client("sagemaker"), client("iam")
    endpoints = sagemaker.list_endpoints(NameContains="churn")["Endpoints"]
    configs = sagemaker.list_endpoint_configs(NameContains="churn")["EndpointConfigs"]
    models = sagemaker.list_models(NameContains="churn")["Models"]
    buckets = [found["Name"] for found in client("s3").list_buckets()["Buckets"]]
    roles = [found["RoleName"] for page in iam.get_paginator("list_roles").paginate() for found in page["Roles"]]
    groups = client("logs").describe_log_groups(logGroupNamePrefix="/aws/sagemaker/Endpoints/churn")["logGroups"]
    return [
        *(f"the endpoint {found['EndpointName']}" for found in endpoints),
        *(f"the endpoint configuration {found['EndpointConfigName']}" for found in configs),
        *(f"the model {found['ModelName']}" for found in models),
        *(f"the bucket {name}" for name in buckets if name == bucket_name()),
        *(f"the role {name}" for name in roles if name == ROLE),
        *(f"the policy {name}" for name in own_policies(DEPLOYER, CALLER)),
        *(f"the log group {found['logGroupName']}" for found in groups),
    ]


def cleanup(_: Work) -> str:
    """Nothing that costs money or grants a permission is left, and there was something once."""
    kept = leftovers()
    expected = "an account as empty as before the lab"
    if kept:
        more = f" and {len(kept) - 1} more" if len(kept) > 1 else ""
        untouched = f"the endpoint {ENDPOINT}" in kept
        raise (NotAttempted if untouched else Wrong)(f"{kept[0]}{more} still there", expected)
    dimensions = [{"Name": "EndpointName", "Value": ENDPOINT}]
    calls = client("cloudwatch").list_metrics(
        Namespace="AWS/SageMaker", MetricName="Invocations", Dimensions=dimensions
    )
    if not calls["Metrics"]:
        raise NotAttempted(f"no trace of calls to an endpoint {ENDPOINT}", "one that was used and then deleted")
    return "no endpoint, configuration, model, bucket, role, policy or log group of this lab left"
