"""The artifacts of runs, as MLflow's clients put, list and get them: files below a run's own folder.

https://mlflow.org/docs/latest/self-hosting/architecture/artifact-store (proxied artifact access)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import jobs_files, mlflow_tracking
from labkit.cloud.azure.asset_files import Place
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.routes import WORKSPACE, Route
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

#: Names below a run's artifacts, one inside the other, at most.
DEEPEST = 12


def put_artifact(call: Call, names: dict[str, str]) -> dict[str, Any]:
    jobs_files.put(_place(call, names), [call.request.body])
    return {}


def get_artifact(call: Call, names: dict[str, str]) -> Response:
    place = _place(call, names)
    container = place.account.containers.get(place.container)
    blob = container.blobs.get(place.path) if container else None
    if blob is None:
        raise AzureError("RESOURCE_DOES_NOT_EXIST", f"Artifact {_path(names)} of run {names['run']} not found", 404)
    return Response(200, [("Content-Type", "application/octet-stream")], blob.read())


def list_artifacts(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """What is directly below a folder of a run's artifacts."""
    run, path = mlflow_tracking.require(call, call.query), call.query.get("path", "").strip("/")
    place = jobs_files.artifacts(call.cloud, call.workspace_id, run.name)
    folder = jobs_files.below(place, path) if path else place
    container = folder.account.containers.get(folder.container)
    start = f"{path}/" if path else ""
    found: dict[str, dict[str, Any]] = {}
    for name in jobs_files.names(folder):
        head, _, rest = name.partition("/")
        blob = container.blobs.get(f"{folder.path}/{name}") if container else None
        shown = {"path": f"{start}{head}", "is_dir": bool(rest)}
        found[head] = shown if rest else {**shown, "file_size": blob.size if blob else 0}
    return {"root_uri": mlflow_tracking.view(call, run)["info"]["artifact_uri"], "files": list(found.values())}


def _place(call: Call, names: dict[str, str]) -> Place:
    run = mlflow_tracking.require(call, {"run_id": names["run"]})
    path = _path(names)
    if any(part in ("..", ".") for part in path.split("/")):
        raise AzureError("INVALID_PARAMETER_VALUE", f"Invalid path: {path}", 400)
    return jobs_files.below(jobs_files.artifacts(call.cloud, call.workspace_id, run.name), path)


def _path(names: dict[str, str]) -> str:
    return "/".join(value for name, value in names.items() if name.startswith("part"))


def _routes() -> list[Route]:
    found = []
    for version in ("v1.0", "v2.0"):
        base = f"/mlflow/{version}{WORKSPACE}/api/2.0"
        read, write = mlflow_tracking.READ, mlflow_tracking.WRITE
        files = f"{base}/mlflow-artifacts/artifacts"
        found.append(Route("GET", f"{base}/mlflow/artifacts/list", list_artifacts, action=read))
        for depth in range(1, DEEPEST + 1):
            path = "/".join(f"{{part{at}}}" for at in range(depth))
            found.append(Route("PUT", f"{files}/{{run}}/{path}", put_artifact, action=write))
            found.append(Route("GET", f"{files}/{{run}}/{path}", get_artifact, action=read))
    return found


ROUTES = _routes()
