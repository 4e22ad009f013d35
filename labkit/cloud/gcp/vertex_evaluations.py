"""Evaluations of models' versions, as the Model Registry keeps them: metrics that were measured elsewhere.

https://cloud.google.com/vertex-ai/docs/evaluation/using-model-evaluation
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import paging
from labkit.cloud.gcp.errors import GcpError, invalid
from labkit.cloud.gcp.resource_filters import Fields, judge
from labkit.cloud.gcp.vertex_names import check_fields, copy_of, new_id, stamp, v1
from labkit.cloud.gcp.vertex_state import State

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

_NAME = re.compile(r"(?P<model>projects/[^/]+/locations/[^/]+/models/[^/]+)/evaluations/(?P<id>[^/]+)")
_FIELDS = Fields(times=("create_time",), enums=())


def import_model_evaluation(call: Call, request: Any) -> Any:
    """Keeps an evaluation with the version that the model's name has, or with the default one."""
    asked = request.model_evaluation
    for field, given in (("metrics", asked.HasField("metrics")), ("metrics_schema_uri", asked.metrics_schema_uri)):
        if not given:
            check_fields([(f"model_evaluation.{field}", "Required field is not set.")])
    if not asked.metrics_schema_uri.startswith("gs://"):
        raise invalid("metrics_schema_uri must begin with gs://.", "model_evaluation.metrics_schema_uri")
    state = call.store(State)
    with state.lock:
        model, named = state.model(call, request.parent)
        version = model.find(named)
        made = copy_of(asked)
        made.name = f"{model.name}@{version.id}/evaluations/{new_id()}"
        stamp(made, create_time=call.engine.clock.now())
        version.evaluations[made.name.rpartition("/")[2]] = made
        return copy_of(made)


def get_model_evaluation(call: Call, request: Any) -> Any:
    found = _NAME.fullmatch(request.name)
    if found is None:
        raise invalid(f"{request.name!r} is not of the form projects/*/locations/*/models/*/evaluations/*.", "name")
    state = call.store(State)
    with state.lock:
        model, named = state.model(call, found["model"])
        versions = [model.find(named)] if named else model.versions.values()
        for version in versions:
            if found["id"] in version.evaluations:
                return copy_of(version.evaluations[found["id"]])
    raise GcpError("NOT_FOUND", "The ModelEvaluation does not exist.")


def list_model_evaluations(call: Call, request: Any) -> Any:
    """The evaluations of the version that the model's name has, or of the default one, the oldest first."""
    meets = judge(request.filter, _FIELDS)
    state = call.store(State)
    with state.lock:
        model, named = state.model(call, request.parent)
        found = [copy_of(each) for each in model.find(named).evaluations.values() if meets(each)]
    shown, token = paging.page(found, request.page_size, request.page_token)
    return v1.ListModelEvaluationsResponse(model_evaluations=shown, next_page_token=token)


METHODS = {
    "ImportModelEvaluation": import_model_evaluation,
    "GetModelEvaluation": get_model_evaluation,
    "ListModelEvaluations": list_model_evaluations,
}
PERMISSIONS = {
    "ImportModelEvaluation": "aiplatform.modelEvaluations.import",
    "GetModelEvaluation": "aiplatform.modelEvaluations.get",
    "ListModelEvaluations": "aiplatform.modelEvaluations.list",
}
NOTES = {
    "ImportModelEvaluation": "metrics are kept as they are given, and not compared with their schema; the local clouds "
    "evaluate nothing themselves",
}
