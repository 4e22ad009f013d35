"""What the lab ``beginner/azure`` checks: each function looks at one task's outcome in the workspace and in the files.

The SDK takes seconds to import: nothing here imports it before a check asks the cloud.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import requests
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

from labkit.labs import azure_rest
from labkit.labs import roles as rbac
from labkit.labs.azure_rest import (
    MANAGEMENT,
    WORKSPACE_API,
    WORKSPACES,
    credential,
    custom_roles,
    group_id,
    subscription,
    token,
    workspace_id,
)
from labkit.labs.beginner import churn
from labkit.labs.task import NotAttempted, Work, Wrong

MODEL, ENVIRONMENT, DEPLOYMENT = "churn", "churn-env", "blue"
DEPLOYER, CALLER = "churn-lab-deployer", "churn-lab-caller"
#: What score.py imports and the model is made of.
PACKAGES = ("scikit-learn", "pandas")
#: Packages that hold Azure's inference server.
SERVERS = ("azureml-inference-server-http", "azureml-defaults")
SCORE = f"{WORKSPACES}/onlineEndpoints/score/action"
#: Characters of an answer that are quoted: Storage says in some hundred which text was signed.
LONGEST = 600


def key_endpoint() -> str:
    """The endpoint whose callers show a key. Such names are unique in a region, so the subscription is part of it."""
    return f"churn-api-{subscription()[:8]}"


def token_endpoint() -> str:
    """The endpoint whose callers show a token of Microsoft Entra."""
    return f"churn-entra-{subscription()[:8]}"


def endpoint_id(name: str) -> str:
    return f"{workspace_id()}/onlineEndpoints/{name}"


def client() -> Any:
    """A client of the workspace as the learner's own code makes it."""
    from azure.ai.ml import MLClient

    names = (os.environ["AZURE_RESOURCE_GROUP"], os.environ["AZURE_ML_WORKSPACE"])
    return MLClient(credential(), subscription(), *names, show_progress=False)


def whoami() -> dict[str, str]:
    """Who the learner is on Azure, for the status card."""
    presented = token(MANAGEMENT)
    answer = requests.get(
        f"{MANAGEMENT}{workspace_id()}",
        params={"api-version": WORKSPACE_API},
        headers={"Authorization": f"Bearer {presented}"},
        timeout=churn.PATIENCE,
    )
    answer.raise_for_status()
    body = presented.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return {
        "Subscription": subscription(),
        "Workspace": f"{os.environ['AZURE_ML_WORKSPACE']}, in the resource group {os.environ['AZURE_RESOURCE_GROUP']}",
        "Region": answer.json()["location"],
        "Signed in as": f"the managed identity {claims['oid']}",
    }


def explain(error: Exception) -> str | None:
    """What Azure said, as a phrase; None when the error is not Azure's."""
    if isinstance(error, HttpResponseError):
        said = error.error
        first = (said.message if said is not None and said.message else str(error)).splitlines()[0].rstrip(". ")
        code = f" {said.code}" if said is not None and said.code else ""
        return f"that Azure answered {error.status_code}{code}: {first}"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"that Azure answered {azure_rest.said(error.response).rstrip('. ')}"
    if isinstance(error, (AzureError, requests.RequestException)):
        return f"that Azure could not be asked ({error})"
    return None


def score(work: Work) -> str:
    """``score.py`` answers as the saved model does."""
    file = work.folder / "serving" / "score.py"
    expected = "the two functions that the server calls: init and run"
    if not file.is_file():
        raise NotAttempted(f"no file {churn.shown(work, file)}", expected)
    known = churn.score(work)["probabilities"]
    chosen = churn.customers(work)
    request = work.folder / "build" / "request.json"
    request.write_text(json.dumps({"instances": [record for _, record in chosen]}))
    answer = churn.probe(work, "script", str(file), str(work.folder / "build"), str(request))
    request.unlink()
    if "empty" in answer:
        stub = churn.is_stub(file, answer["empty"])
        raise (NotAttempted if stub else Wrong)(f"a {answer['empty']} that returns nothing", expected)
    if "missing" in answer:
        raise Wrong(f"a score.py without {' and '.join(answer['missing'])}", expected)
    if "error" in answer:
        raise Wrong(f"a score.py that fails ({answer['error']})", "an answer to a JSON request")
    difference = churn.differ(churn.predictions(answer["answer"]), [known[row] for row, _ in chosen])
    if difference:
        raise Wrong(difference, "the saved model's own churn probabilities")
    return f"a score.py that answers {len(chosen)} customers like the saved model"


def register(work: Work) -> str:
    """The workspace has the saved model, under its name and with how good it is."""
    ml = client()
    there = versions(ml.models, MODEL)
    if not there:
        raise NotAttempted(f"no model named {MODEL} in the workspace", "the saved model, registered under that name")
    newest = there[0]
    local = churn.model_file(work)
    stored = files_of(ml, newest.path)
    if local.name not in stored:
        raise Wrong(
            f"a version {newest.version} of {', '.join(sorted(stored)) or 'nothing'}",
            f"one made from {churn.shown(work, local)}",
        )
    if not local.is_file() or stored[local.name] != local.read_bytes():
        raise Wrong(
            f"another model in version {newest.version} than {churn.shown(work, local)}",
            "the same bytes",
            "the model was trained again after it was registered: register it again, which makes the next version",
        )
    tag = newest.tags.get("auc")
    if tag is None:
        raise Wrong(f"a version {newest.version} without the tag auc", "a tag that says how good the model is")
    if not as_good_as(tag, churn.score(work)["auc"]):
        raise Wrong(f"the tag auc {tag!r}", f"the model's own AUC, {churn.score(work)['auc']:.3f}")
    return f"{MODEL}, version {newest.version}, byte for byte the model saved here, with its AUC as a tag"


def versions(operations: Any, name: str, archived: bool = False) -> list[Any]:
    """The versions of a model or environment, the newest first; those that are archived instead, if asked for."""
    from azure.ai.ml.constants import ListViewType

    view = ListViewType.ARCHIVED_ONLY if archived else ListViewType.ACTIVE_ONLY
    try:
        found = list(operations.list(name, list_view_type=view))
    except ResourceNotFoundError:
        return []
    return sorted(found, key=lambda each: int(each.version) if each.version.isdecimal() else 0, reverse=True)


def files_of(ml: Any, path: str) -> dict[str, bytes]:
    """What a model's path (``azureml://.../datastores/NAME/paths/...``) holds: each file's name and its bytes."""
    from azure.storage.blob import ContainerClient

    datastore, _, prefix = path.partition("/datastores/")[2].partition("/paths/")
    store = ml.datastores.get(datastore)
    address = f"https://{store.account_name}.blob.core.windows.net"
    container = ContainerClient(address, store.container_name, credential=credential())
    return {
        blob.name.rpartition("/")[2]: container.download_blob(blob.name).readall()
        for blob in container.list_blobs(name_starts_with=prefix)
    }


def as_good_as(tag: str, auc: float) -> bool:
    """Whether a tag says the AUC to two places or more."""
    try:
        return abs(float(tag) - auc) <= 0.005
    except ValueError:
        return False


def environment(_: Work) -> str:
    """The environment has what the code imports, in the versions that the model was made with."""
    expected = f"{' and '.join(PACKAGES)}, each with == and the version that is installed here, and {SERVERS[0]}"
    there = versions(client().environments, ENVIRONMENT)
    if not there:
        raise NotAttempted(f"no environment named {ENVIRONMENT}", expected)
    conda = there[0].conda_file
    if not isinstance(conda, Mapping):
        raise Wrong(f"a version {there[0].version} without a conda file", expected)
    pinned = pins(conda)
    for name in PACKAGES:
        if name not in pinned:
            raise Wrong(f"a conda file without {name}", expected)
        if pinned[name] != version(name):
            what = f"{name} {pinned[name]}" if pinned[name] else f"{name} in any version"
            raise Wrong(
                f"a conda file that asks for {what}",
                f"{name}=={version(name)}, with which the model was saved",
                "a pickled model loads only with the library that wrote it: importlib.metadata.version names it",
            )
    if not any(name in pinned for name in SERVERS):
        raise Wrong("a conda file without the inference server", expected, f"add {SERVERS[0]} to the packages for pip")
    return f"{ENVIRONMENT}, version {there[0].version}, with the versions of {' and '.join(PACKAGES)} used here"


def pins(conda: Mapping[str, Any]) -> dict[str, str]:
    """The packages of a conda file and the one version each is pinned to, "" for those that are not."""
    lines: list[str] = []
    for each in conda.get("dependencies") or []:
        lines += each.get("pip") or [] if isinstance(each, Mapping) else [each]
    found = {}
    for line in lines:
        name, _, wanted = str(line).replace(" ", "").partition("=")
        plain = name.rstrip("<>!~").split("[")[0].lower().replace("_", "-")
        found[plain] = wanted.lstrip("=") if name[-1:] not in "<>!~" and "," not in wanted else ""
    return found


def endpoint(_: Work) -> str:
    """The endpoint is there and takes keys."""
    found = endpoint_state(client(), key_endpoint())
    if found.auth_mode.lower() != "key":
        raise Wrong(f"an endpoint whose auth_mode is {found.auth_mode}", "key")
    return f"the endpoint {found.name}, whose callers show a key"


def endpoint_state(ml: Any, name: str) -> Any:
    """An endpoint that is there and provisioned."""
    there = {found.name: found for found in ml.online_endpoints.list()}
    if name not in there:
        raise NotAttempted(f"no endpoint named {name}", "that endpoint, provisioned")
    if (state := state_of(there[name])) != "Succeeded":
        raise Wrong(f"an endpoint that is {state}", "Succeeded", "wait for it with the poller's result()")
    return ml.online_endpoints.get(name)


def state_of(resource: Any) -> str:
    """An endpoint's or a deployment's provisioning state: the SDK gives a text or an enumeration's member."""
    state = resource.provisioning_state
    return str(getattr(state, "value", state))


def deployment(work: Work) -> str:
    """The deployment has all traffic, is made of the registered parts and answers as the saved model does."""
    ml, name = client(), key_endpoint()
    found = endpoint_state(ml, name)
    there = {each.name: each for each in ml.online_deployments.list(name)}
    if DEPLOYMENT not in there:
        raise NotAttempted(f"no deployment named {DEPLOYMENT}", "that deployment, with all of the traffic")
    blue = there[DEPLOYMENT]
    if (state := state_of(blue)) != "Succeeded":
        raise Wrong(
            f"a deployment that is {state}",
            "Succeeded",
            f'ml.online_deployments.get_logs(name="{DEPLOYMENT}", endpoint_name=endpoint_name) says why',
        )
    for what, id, wanted in (
        ("model", blue.model, f"models/{MODEL}/versions"),
        ("environment", blue.environment, f"environments/{ENVIRONMENT}/versions"),
    ):
        if f"/{wanted}/".lower() not in f"{id}".lower():
            raise Wrong(f"a deployment whose {what} is {id}", f"a version of {wanted.split('/')[1]}")
    if found.traffic.get(DEPLOYMENT) != 100:
        raise Wrong(
            f"an endpoint that sends {found.traffic.get(DEPLOYMENT, 0)} % of its traffic to {DEPLOYMENT}",
            "100 %",
            'a new deployment gets no traffic: set endpoint.traffic = {"blue": 100} and update the endpoint',
        )
    known = churn.score(work)["probabilities"]
    chosen = churn.customers(work)
    body = json.dumps({"instances": [record for _, record in chosen]})
    difference = churn.differ(ask(ml, body), [known[row] for row, _ in chosen])
    if difference:
        raise Wrong(
            difference,
            "the saved model's own churn probabilities",
            "the deployment serves an older version of the model: register it and deploy again",
        )
    return f"{DEPLOYMENT} with all traffic of {name}, and its answers for {len(chosen)} customers equal to the model's"


def ask(ml: Any, body: str) -> list[float]:
    """The predictions of the endpoint that takes keys."""
    name = key_endpoint()
    headers = {
        "Authorization": f"Bearer {ml.online_endpoints.get_keys(name).primary_key}",
        "Content-Type": "application/json",
    }
    address = ml.online_endpoints.get(name).scoring_uri
    answer = requests.post(address, data=body, headers=headers, timeout=churn.PATIENCE)
    if not answer.ok:
        raise Wrong(
            f"that the endpoint answers {answer.status_code}: {answer.text[:LONGEST]!r}",
            "predictions",
            f'ml.online_deployments.get_logs(name="{DEPLOYMENT}", endpoint_name=endpoint_name, lines=100) says why',
        )
    return churn.predictions(answer.text)


def rest(work: Work) -> str:
    """``client.py`` gets the predictions with a key from one endpoint and with a token from the other."""
    script, sample = work.folder / "client.py", work.folder / "sample.json"
    expected = "a script that sends the key, or else a token, in the header Authorization"
    if not script.is_file():
        raise NotAttempted(f"no file {churn.shown(work, script)}", expected)
    if "invoke(" in script.read_text():
        raise Wrong("a client.py that calls the SDK's invoke", expected)
    ml = client()
    found = {name: endpoint_state(ml, name) for name in (key_endpoint(), token_endpoint())}
    wanted = ask(ml, sample.read_text())
    key = ml.online_endpoints.get_keys(key_endpoint()).primary_key
    for name, secret, what in (
        (key_endpoint(), {"API_KEY": key}, "a key"),
        (token_endpoint(), {}, "a token"),
    ):
        mine = {name: value for name, value in os.environ.items() if name != "API_KEY"}
        uri = found[name].scoring_uri
        try:
            done = subprocess.run(
                [sys.executable, str(script), str(sample)],
                cwd=work.folder.parent,
                env={**mine, "SCORING_URI": uri, **secret},
                capture_output=True,
                text=True,
                timeout=churn.PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise Wrong(f"a client.py that did not finish within {churn.PATIENCE:.0f} seconds", expected) from None
        said = (done.stdout.strip() or done.stderr.strip()).splitlines() or ["nothing"]
        if "bad_header_forbidden" in done.stdout and secret:
            if churn.is_stub(script, "authorization"):
                raise NotAttempted(f"a request without a credential ({said[-1][:LONGEST]})", expected)
            raise Wrong(
                f"a request whose header Authorization holds no credential that the endpoint can read "
                f"({said[-1][:LONGEST]})",
                expected,
                'the header is f"Bearer {secret}", for a key as for a token',
            )
        if done.returncode != 0:
            host = urlsplit(uri).hostname
            raise Wrong(
                f"a client.py that ends with status {done.returncode} and {said[-1][:LONGEST]!r} for {host}",
                f"predictions for {what}",
            )
        difference = churn.differ(churn.predictions(said[-1]), wanted)
        if difference:
            raise Wrong(f"{difference} (with {what})", "what the endpoint answers for the same file")
    return "a client.py that gets in with a key and, at the other endpoint, with a token"


def roles(work: Work) -> str:
    """The deployer may deploy in one workspace; the caller may call one endpoint and nothing else."""
    deployer, caller = (role_file(work, name) for name in (DEPLOYER, CALLER))
    if deployer is None or caller is None:
        missing = [name for name, found in ((DEPLOYER, deployer), (CALLER, caller)) if found is None]
        where = churn.shown(work, work.folder / "build")
        raise (NotAttempted if len(missing) == 2 else Wrong)(
            f"no {' and no '.join(f'{name}.json' for name in missing)} in {where}", "one role definition a file"
        )
    for name, role in ((DEPLOYER, deployer), (CALLER, caller)):
        scopes = rbac.element(role, "AssignableScopes")
        if not scopes or not all(rbac.within(group_id(), scope) for scope in scopes):
            raise Wrong(
                f"a {name} that can be assigned in {', '.join(scopes) or 'no scope'}", f"AssignableScopes {group_id()}"
            )
    if not rbac.allows(caller, SCORE):
        raise Wrong(f"a {CALLER} that cannot call an endpoint with a token", f"the action {SCORE}")
    wider = [
        pattern
        for pattern in rbac.element(caller, "Actions") + rbac.element(caller, "DataActions")
        if pattern.lower() != SCORE.lower()
    ]
    if wider:
        raise Wrong(f"a {CALLER} that may also do {wider[0]}", f"{SCORE}, nothing else")
    needed = [
        *(f"{kind}/versions/write" for kind in ("models", "environments", "codes")),
        *(f"onlineEndpoints/{verb}" for verb in ("read", "write", "delete")),
        *(f"onlineEndpoints/deployments/{verb}" for verb in ("read", "write", "delete")),
    ]
    for action in needed:
        if not rbac.allows(deployer, f"{WORKSPACES}/{action}"):
            raise Wrong(f"a {DEPLOYER} without {WORKSPACES}/{action}", "all that registering and deploying takes")
    for power, action in {
        "assign roles": "Microsoft.Authorization/roleAssignments/write",
        "delete the workspace": f"{WORKSPACES}/delete",
        "make computes": f"{WORKSPACES}/computes/write",
        "read every endpoint's keys": f"{WORKSPACES}/onlineEndpoints/listKeys/action",
    }.items():
        if rbac.allows(deployer, action):
            raise Wrong(f"a {DEPLOYER} that may also {power}", "only what deploying takes", "name actions instead of *")
    assigned = assignments(work)
    for name, scope in ((DEPLOYER, workspace_id()), (CALLER, endpoint_id(token_endpoint()))):
        if assigned.get(name, "").rstrip("/").lower() != scope.lower():
            raise Wrong(f"{name} assigned at {assigned.get(name) or 'no scope'}", f"the scope {scope}")
    count = len(rbac.element(deployer, "Actions"))
    return f"{DEPLOYER} with {count} actions in one workspace and {CALLER} with 1 on one endpoint"


def role_file(work: Work, name: str) -> dict[str, Any] | None:
    """A role definition in ``build``; None when there is no such file."""
    file = work.folder / "build" / f"{name}.json"
    if not file.is_file():
        return None
    return json_object(work, file.name)


def assignments(work: Work) -> dict[str, str]:
    """The scope at which each role is to be assigned, by the role's name."""
    if not (work.folder / "build" / "assignments.json").is_file():
        return {}
    return {str(name): str(scope) for name, scope in json_object(work, "assignments.json").items()}


def json_object(work: Work, name: str) -> dict[str, Any]:
    file = work.folder / "build" / name
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise Wrong(f"the file {churn.shown(work, file)}, which is no JSON ({error})", "a JSON object") from None
    if not isinstance(found, dict):
        raise Wrong(f"the file {churn.shown(work, file)} with a {type(found).__name__}", "a JSON object")
    return found


def cleanup(_: Work) -> str:
    """Nothing that costs money or answers anybody is left, and there was something once."""
    ml = client()
    made = [each["properties"]["roleName"] for each in custom_roles()]
    endpoints = [found.name for found in ml.online_endpoints.list() if found.name.startswith("churn-")]
    kept = [
        *(f"the endpoint {name}" for name in endpoints),
        *(f"version {found.version} of the model {MODEL}" for found in versions(ml.models, MODEL)),
        *(
            f"version {found.version} of the environment {ENVIRONMENT}"
            for found in versions(ml.environments, ENVIRONMENT)
        ),
        *(f"the role {name}" for name in made if name in (DEPLOYER, CALLER)),
    ]
    models = versions(ml.models, MODEL) + versions(ml.models, MODEL, archived=True)
    if kept:
        untouched = key_endpoint() in endpoints or not models
        raise (NotAttempted if untouched else Wrong)(
            f"{', '.join(kept)} still there", "no endpoint, no role, and no version that is not archived"
        )
    if not models:
        raise NotAttempted(f"no trace of a model {MODEL}", "one that was used and then archived")
    return "no endpoint of this lab left, and its model and environment archived"
