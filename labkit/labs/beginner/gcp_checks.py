"""What the lab ``beginner/gcp`` checks: each function looks at one task's outcome in the project and in the files.

They ask over REST (:mod:`labkit.labs.beginner.gcp_cloud`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from labkit.labs.beginner import churn
from labkit.labs.beginner.gcp_cloud import FOLDER, Cloud, Resource
from labkit.labs.phrases import together
from labkit.labs.task import NotAttempted, Work, Wrong

MODEL, ALIAS, LABEL = "churn", "champion", ("team", "retention")
ENDPOINT = "churn-api"
FILE = "model.joblib"
IMAGE = "-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu."
CLIENT_HINT = "run it as the cell above does, python gcp/client.py ID gcp/sample.json, and read its whole output"


def rows(work: Work) -> tuple[list[list[Any]], list[float]]:
    """Some customers as the container wants them, a list each, and what ``model.joblib`` says of them."""
    chosen = churn.customers(work)
    answers = served(work)["answers"]
    return [list(record.values()) for _, record in chosen], [answers[row] for row, _ in chosen]


def served(work: Work) -> dict[str, Any]:
    """What ``model.joblib`` answers when it is asked as the container asks it."""
    file = work.folder / "build" / FILE
    if not file.is_file():
        raise NotAttempted(f"no file {churn.shown(work, file)}", "a pipeline that the container can ask, saved there")
    answer = churn.ask_model(work, "predict_rows", file)
    if "error" in answer:
        raise Wrong(
            f"a {churn.shown(work, file)} that the container cannot use ({answer['error']})",
            "a pipeline of parts that can be imported, whose predict takes rows as one array of text",
            "numbers arrive as text: FunctionTransformer(np.asarray, kw_args={'dtype': float}) makes numbers of them",
        )
    return answer


def container(work: Work) -> str:
    """``model.joblib`` loads elsewhere, takes rows as the container sends them, and answers probabilities."""
    answer = served(work)
    if answer["auc"] is None or set(answer["answers"]) <= {0, 1}:
        raise Wrong(
            f"answers such as {json.dumps(answer['answers'])[:24]} ...",
            "one probability a customer",
            "a regressor that learns 0 for those who stayed and 1 for those who left predicts the probability",
        )
    lowest, highest = min(answer["answers"]), max(answer["answers"])
    if lowest < 0 or highest > 1:
        raise Wrong(
            f"probabilities from {lowest:.2f} to {highest:.2f}",
            "probabilities between 0 and 1",
            "a forest answers averages of the 0s and 1s that it has learned from, which cannot leave that range",
        )
    found = f"a model that answers rows with probabilities, with an AUC of {answer['auc']:.3f}"
    if answer["auc"] <= churn.GATE:
        raise Wrong(found, f"more than {churn.GATE}")
    return f"{found} on {answer['held_out']:,} held-out customers"


def upload(work: Work) -> str:
    """The model's file is in a bucket that is closed to the public and has one way of saying who may read."""
    cloud = Cloud()
    bucket = cloud.storage(cloud.bucket)
    if bucket is None:
        raise NotAttempted(f"no bucket named {cloud.bucket}", "that bucket, closed to the public")
    access = bucket.get("iamConfiguration", {})
    if access.get("publicAccessPrevention") != "enforced":
        raise Wrong(
            f"public access prevention {access.get('publicAccessPrevention', 'inherited')}",
            "public access prevention enforced",
            'set bucket.iam_configuration.public_access_prevention = "enforced", then bucket.patch()',
        )
    if not access.get("uniformBucketLevelAccess", {}).get("enabled"):
        raise Wrong(
            "a bucket whose objects can have access lists of their own",
            "uniform bucket-level access",
            "set bucket.iam_configuration.uniform_bucket_level_access_enabled = True, then bucket.patch()",
        )
    stored = cloud.storage(f"{cloud.bucket}/o/{FOLDER.replace('/', '%2F')}%2F{FILE}")
    if stored is None:
        raise Wrong(
            f"no object {FOLDER}/{FILE} in the bucket",
            f"{FILE} under that name",
            f"the container looks for a file named {FILE}, not for one named churn.joblib",
        )
    local = work.folder / "build" / FILE
    if not local.is_file() or stored.get("md5Hash") != md5(local.read_bytes()):
        raise Wrong(
            f"another file under {FOLDER}/{FILE} than {churn.shown(work, local)}", "the same bytes", "upload it again"
        )
    return f"{cloud.artifacts}/{FILE}, private and byte for byte the file made here"


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def register(_: Work) -> str:
    """The model is in the registry with its container, its label and its alias."""
    cloud = Cloud()
    model = registered(cloud)
    image = model.get("containerSpec", {}).get("imageUri", "")
    if IMAGE not in image:
        raise Wrong(f"a model for the image {image or 'of nobody'}", "one for a prebuilt scikit-learn image")
    if model.get("artifactUri", "").rstrip("/") != cloud.artifacts:
        raise Wrong(
            f"a model from {model.get('artifactUri') or 'nowhere'}",
            f"one from {cloud.artifacts}",
            "artifact_uri is the folder, without the file's name",
        )
    name, value = LABEL
    if model.get("labels", {}).get(name) != value:
        raise Wrong(f"the labels {json.dumps(model.get('labels', {}))}", f"the label {name}: {value} among them")
    aliases = model.get("versionAliases", [])
    if ALIAS not in aliases:
        raise Wrong(
            f"the aliases {', '.join(aliases) or '(none)'} on version {model.get('versionId')}",
            f"the alias {ALIAS}",
            f'Model.upload takes version_aliases=["{ALIAS}"]',
        )
    return f"the model {MODEL}, version {model['versionId']} with the alias {ALIAS}, from {cloud.artifacts}"


def registered(cloud: Cloud) -> Resource:
    """The newest model of the lab's name, its default version."""
    models = cloud.named("models", MODEL)
    if not models:
        raise NotAttempted(f"no model named {MODEL} in {cloud.region}", "one in the Model Registry")
    return models[0]


def endpoint(work: Work) -> str:
    """The endpoint gives all traffic to the registered model, which runs as its own account and answers rightly."""
    cloud = Cloud()
    found, deployed = deployment(cloud)
    model = registered(cloud)["name"]
    if deployed["model"].partition("@")[0] != model:
        raise Wrong(f"another model on it ({deployed['model']})", f"the registered model {model}")
    share = found.get("trafficSplit", {}).get(deployed["id"], 0)
    if share != 100:
        raise Wrong(f"{share} % of the traffic for the model", "100 %", "model.deploy takes traffic_percentage=100")
    account = deployed.get("serviceAccount", "")
    if account != cloud.account("endpoint"):
        raise Wrong(
            f"a model that runs as {account or 'the default service account'}",
            f"one that runs as {cloud.account('endpoint')}",
            "model.deploy takes service_account=...",
        )
    instances, known = rows(work)
    difference = churn.differ(cloud.predict(found["name"], instances), known)
    if difference:
        raise Wrong(
            difference,
            "what the saved model.joblib answers",
            "the endpoint serves an older file: upload, register and deploy again",
        )
    return f"the endpoint {ENDPOINT}, and its answers for {len(instances)} customers equal to the saved model's"


def deployment(cloud: Cloud) -> tuple[Resource, Resource]:
    """The lab's endpoint and the newest model on it."""
    endpoints = cloud.named("endpoints", ENDPOINT)
    if not endpoints:
        raise NotAttempted(f"no endpoint named {ENDPOINT} in {cloud.region}", "one with the model deployed on it")
    models = endpoints[0].get("deployedModels", [])
    if not models:
        raise Wrong(f"an endpoint {ENDPOINT} without a model", "one with the model deployed on it")
    return endpoints[0], max(models, key=lambda each: str(each["createTime"]))


def rest(work: Work) -> str:
    """``client.py`` gets the endpoint's predictions with a request and a token of its own."""
    script, sample = work.folder / "client.py", work.folder / "sample.json"
    expected = "a script that sends its own HTTPS request with a bearer token"
    if not script.is_file():
        raise NotAttempted(f"no file {churn.shown(work, script)}", expected)
    if "aiplatform.Endpoint" in script.read_text() or "import aiplatform" in script.read_text():
        raise Wrong("a client.py that uses the SDK", expected)
    cloud = Cloud()
    name = deployment(cloud)[0]["name"]
    try:
        done = subprocess.run(
            [sys.executable, str(script), name.rpartition("/")[2], str(sample)],
            cwd=work.folder.parent,
            capture_output=True,
            text=True,
            timeout=churn.PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise Wrong(f"a client.py that did not finish within {churn.PATIENCE:.0f} seconds", expected) from None
    if "CREDENTIALS_MISSING" in done.stdout:
        raise NotAttempted("a request without a token (UNAUTHENTICATED)", expected)
    if "UNAUTHENTICATED" in done.stdout:
        raise Wrong(
            "a request whose token is not accepted (UNAUTHENTICATED)",
            expected,
            "the header is Authorization: Bearer TOKEN, the token is credentials.token after credentials.refresh()",
        )
    if done.returncode != 0:
        raise Wrong(
            f"a client.py that ends with status {done.returncode} and {last_words(done)}", expected, CLIENT_HINT
        )
    instances = json.loads(sample.read_text())["instances"]
    difference = churn.differ(churn.predictions(done.stdout), cloud.predict(name, instances))
    if difference:
        raise Wrong(difference, "what the SDK's endpoint.predict answers for the same file", CLIENT_HINT)
    return "a client.py that brings its own token and gets what the SDK gets"


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """What a script said last: the message of Google Cloud's error, or the last line, whole."""
    said = done.stderr.strip() or done.stdout.strip()
    try:
        return repr(str(json.loads(said)["error"]["message"]))
    except (ValueError, TypeError, KeyError):
        return repr((said.splitlines() or ["nothing"])[-1])


#: What each of the lab's policies is set on, by its file's name.
POLICIES = {
    "bucket": "the bucket",
    "project": "the project",
    "account": "the endpoint's service account",
    "endpoint": "the endpoint",
}
#: Roles that contain far more than the lab needs, by how their names end or begin.
TOO_WIDE = ("roles/owner", "roles/editor", "roles/viewer", "roles/aiplatform.admin", "roles/storage.admin")


def access(work: Work) -> str:
    """Four policies and one role of its own: each account has what it needs, where it needs it, and no more."""
    cloud = Cloud()
    folder = work.folder / "build" / "iam"
    policies = {name: document(work, folder / f"{name}.json") for name in POLICIES}
    missing = [churn.shown(work, folder / f"{name}.json") for name, policy in policies.items() if policy is None]
    if missing:
        raise (NotAttempted if len(missing) == len(POLICIES) else Wrong)(
            f"no file {missing[0]}", f"policies for {', '.join(POLICIES.values())}"
        )
    granted = {(name, role, member) for name, policy in policies.items() for role, member in bindings(policy or {})}
    caller_role = f"projects/{cloud.project}/roles/churnCaller"
    accounts = (cloud.account(name) for name in ("endpoint", "deployer", "caller"))
    endpoint, deployer, caller = (f"serviceAccount:{account}" for account in accounts)
    needed = {
        ("bucket", "roles/storage.objectViewer", endpoint): "read the model",
        ("bucket", "roles/storage.objectAdmin", deployer): "upload the model",
        ("project", "roles/aiplatform.user", deployer): "register and deploy models",
        ("account", "roles/iam.serviceAccountUser", deployer): "hand that account over",
        ("endpoint", caller_role, caller): "call the endpoint",
    }
    for name, role, member in sorted(granted):
        if member in ("allUsers", "allAuthenticatedUsers"):
            raise Wrong(f"{role} on {POLICIES[name]} for {member}", "roles for the lab's three accounts alone")
        if role in TOO_WIDE:
            raise Wrong(f"{role} on {POLICIES[name]} for {member}", "the narrowest role that will do")
    for grant, purpose in needed.items():
        if grant not in granted:
            name, role, member = grant
            raise Wrong(
                f"nothing on {POLICIES[name]} that lets {short(member)} {purpose}",
                f"{role} for {member}",
                f"iam/{name}.json is a policy: {{'bindings': [{{'role': ..., 'members': [...]}}]}}",
            )
    for name, role, member in sorted(granted - set(needed)):
        raise Wrong(f"{role} on {POLICIES[name]} for {short(member)} too", f"{len(needed)} grants, nothing more")
    custom = document(work, folder / "role.json") or {}
    permissions = custom.get("includedPermissions")
    if permissions != ["aiplatform.endpoints.predict"]:
        raise Wrong(
            f"a role of the caller's with the permissions {json.dumps(permissions or [])}",
            'iam/role.json with "includedPermissions": ["aiplatform.endpoints.predict"]',
        )
    return f"{len(needed)} grants on {len(POLICIES)} resources, and a role with one permission for the caller"


def document(work: Work, file: Any) -> Resource | None:
    """A JSON file's object, None where there is no file."""
    if not file.is_file():
        return None
    try:
        read = json.loads(file.read_text())
    except ValueError as error:
        raise Wrong(f"a {churn.shown(work, file)} that is no JSON ({error})", "a policy as JSON") from None
    if not isinstance(read, dict):
        raise Wrong(f"a {churn.shown(work, file)} that holds no object", "a policy as JSON")
    return read


def bindings(policy: Resource) -> Iterator[tuple[str, str]]:
    """Each (role, member) that an allow policy binds.

    https://cloud.google.com/iam/docs/reference/rest/v1/Policy
    """
    bound = policy.get("bindings", [])
    for binding in bound if isinstance(bound, list) else []:
        if isinstance(binding, dict):
            for member in binding.get("members") or []:
                yield str(binding.get("role")), str(member)


def short(member: str) -> str:
    """A member without its kind and its project."""
    return member.partition(":")[2].partition("@")[0] or member


def leftovers(cloud: Cloud) -> list[str]:
    """What of this lab's is in the project, most expensive first."""
    endpoints = [
        *cloud.named("endpoints", ENDPOINT),
        *cloud.named("endpoints", f"{ENDPOINT}-broken"),
    ]
    models = [*cloud.named("models", MODEL), *cloud.named("models", f"{MODEL}-broken")]
    return [
        *(f"the endpoint {each['displayName']}" for each in endpoints),
        *(f"the model {each['displayName']}" for each in models),
        *([f"the bucket {cloud.bucket}"] if cloud.storage(cloud.bucket) else []),
        *(f"the service account {each.partition('@')[0]}" for each in cloud.accounts()),
    ]


def cleanup(_: Work) -> str:
    """Nothing that costs money is left, and there was something once."""
    cloud = Cloud()
    kept = leftovers(cloud)
    expected = "a project as empty as before the lab"
    if kept:
        untouched = f"the endpoint {ENDPOINT}" in kept
        raise (NotAttempted if untouched else Wrong)(f"{together(kept)} still there", expected)
    now = datetime.now(UTC)
    calls = cloud.call(
        "GET",
        f"https://monitoring.googleapis.com/v3/projects/{cloud.project}/timeSeries",
        params={
            "filter": 'metric.type = "aiplatform.googleapis.com/prediction/online/prediction_count"',
            "interval.startTime": (now - timedelta(days=1)).isoformat(),
            "interval.endTime": (now + timedelta(minutes=1)).isoformat(),
            "view": "HEADERS",
        },
    )
    if not calls.get("timeSeries"):
        raise NotAttempted("no trace of calls to an endpoint", "one that was used and then deleted")
    return "no endpoint, model, bucket or service account of this lab left"
