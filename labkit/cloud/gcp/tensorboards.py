"""Vertex AI's TensorboardService: tensorboards, experiments, runs and time series of scalars.

An experiment of the SDK keeps its series here.
https://cloud.google.com/vertex-ai/docs/reference/rpc/google.cloud.aiplatform.v1#tensorboardservice
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp.errors import GcpError, invalid, refusal
from labkit.cloud.gcp.vertex_listing import listed, page
from labkit.cloud.gcp.vertex_names import copy_of, mask_paths, new_id, numbered, stamp, take_field, v1

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

    Function = Callable[[Call, Any], Any]

#: Kind -> (its field in requests, its collection). Each lives below the one before it.
KINDS = {
    "Tensorboard": ("tensorboard", "tensorboards"),
    "TensorboardExperiment": ("tensorboard_experiment", "experiments"),
    "TensorboardRun": ("tensorboard_run", "runs"),
    "TensorboardTimeSeries": ("tensorboard_time_series", "timeSeries"),
}
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
_MUTABLE = {"display_name", "description", "labels"}
#: Points that are answered where the request does not say.
_POINTS = 1000


class Tensorboards:
    """Everything below a project's tensorboards in one location, by name; points by their series' name."""

    def __init__(self) -> None:
        self.resources: dict[str, Any] = {}
        self.points: dict[str, list[Any]] = {}
        self.lock = threading.RLock()

    def require(self, kind: str, name: str) -> Any:
        found = self.resources.get(name)
        if found is None or type(found) is not getattr(v1, kind):
            raise GcpError("NOT_FOUND", f"The {kind} {name} does not exist.")
        return found

    def below(self, parent: str, kind: str) -> list[Any]:
        """The resources of a kind directly below a parent; a run id ``-`` stands for every one."""
        collection = KINDS[kind][1]
        pattern = re.compile(re.escape(f"{parent}/{collection}/").replace("/\\-/", "/[^/]+/") + "[^/]+")
        return [each for name, each in self.resources.items() if pattern.fullmatch(name)]

    def remove(self, name: str) -> None:
        for other in [each for each in self.resources if each == name or each.startswith(f"{name}/")]:
            del self.resources[other]
            self.points.pop(other, None)


def write_tensorboard_run_data(call: Call, request: Any) -> Any:
    """Adds scalars to series of a run; other kinds of values refuse."""
    state = call.store(Tensorboards)
    with state.lock:
        _write(call, state, request)
    return v1.WriteTensorboardRunDataResponse()


def write_tensorboard_experiment_data(call: Call, request: Any) -> Any:
    """Adds scalars to series of several runs of an experiment."""
    state = call.store(Tensorboards)
    with state.lock:
        state.require("TensorboardExperiment", numbered(call, request.tensorboard_experiment))
        for each in request.write_run_data_requests:
            _write(call, state, each)
    return v1.WriteTensorboardExperimentDataResponse()


def read_tensorboard_time_series_data(call: Call, request: Any) -> Any:
    """A series' points, the last ones where it has more than are asked for."""
    if request.filter:
        raise invalid("The filter of ReadTensorboardTimeSeriesData is not served.", "filter")
    state = call.store(Tensorboards)
    with state.lock:
        series = state.require("TensorboardTimeSeries", numbered(call, request.tensorboard_time_series))
        return v1.ReadTensorboardTimeSeriesDataResponse(
            time_series_data=_data(state, series, request.max_data_points or _POINTS)
        )


def batch_read_tensorboard_time_series_data(call: Call, request: Any) -> Any:
    """The points of several series."""
    state = call.store(Tensorboards)
    with state.lock:
        series = [state.require("TensorboardTimeSeries", numbered(call, name)) for name in request.time_series]
        return v1.BatchReadTensorboardTimeSeriesDataResponse(
            time_series_data=[_data(state, each, _POINTS) for each in series]
        )


def batch_create_tensorboard_time_series(call: Call, request: Any) -> Any:
    create = _creator("TensorboardTimeSeries")
    made = [create(call, each) for each in request.requests]
    return v1.BatchCreateTensorboardTimeSeriesResponse(tensorboard_time_series=made)


def batch_create_tensorboard_runs(call: Call, request: Any) -> Any:
    create = _creator("TensorboardRun")
    return v1.BatchCreateTensorboardRunsResponse(tensorboard_runs=[create(call, each) for each in request.requests])


def _creator(kind: str) -> Function:
    field, collection = KINDS[kind]

    def create(call: Call, request: Any) -> Any:
        asked = getattr(request, field)
        identifier = getattr(request, f"{field}_id", "") or new_id()
        if not _ID.fullmatch(identifier):
            raise invalid(f"{field}_id {identifier!r} is not valid: 1 to 128 of [a-z0-9-].", f"{field}_id")
        if kind != "TensorboardExperiment" and not asked.display_name:
            raise invalid(f"Required field is not set: {field}.display_name.", f"{field}.display_name")
        scalar = v1.TensorboardTimeSeries.ValueType.Value("SCALAR")
        if kind == "TensorboardTimeSeries" and asked.value_type != scalar:
            raise refusal("time series of other values than scalars")
        state, parent = call.store(Tensorboards), numbered(call, request.parent)
        with state.lock:
            if kind != "Tensorboard":
                above = list(KINDS)[list(KINDS).index(kind) - 1]
                state.require(above, parent)
            name = f"{parent}/{collection}/{identifier}"
            if name in state.resources:
                raise GcpError("ALREADY_EXISTS", f"The {kind} {name} already exists.")
            made = copy_of(asked)
            made.name, made.etag = name, identifier[-12:]
            now = call.engine.clock.now()
            stamp(made, create_time=now, update_time=now)
            if kind == "Tensorboard" and made.is_default:
                for other in state.below(parent, kind):
                    other.is_default = False
            state.resources[name] = made
        return call.operation(lambda: made, below=name) if kind == "Tensorboard" else made

    return create


def _getter(kind: str) -> Function:
    def get(call: Call, request: Any) -> Any:
        state = call.store(Tensorboards)
        with state.lock:
            return copy_of(state.require(kind, numbered(call, request.name)))

    return get


def _lister(kind: str) -> Function:
    field, _ = KINDS[kind]
    plural = field if kind == "TensorboardTimeSeries" else f"{field}s"
    response = f"List{kind if kind == 'TensorboardTimeSeries' else f'{kind}s'}Response"

    def answer(call: Call, request: Any) -> Any:
        state = call.store(Tensorboards)
        with state.lock:
            found = [copy_of(each) for each in state.below(numbered(call, request.parent), kind)]
        if kind == "Tensorboard" and request.filter.replace(" ", "") in ("is_default=true", "is_default=false"):
            wanted = request.filter.replace(" ", "").endswith("true")
            shown, token = listed([each for each in found if each.is_default is wanted], request)
        else:
            fields = ("display_name",) if kind == "TensorboardTimeSeries" else ("display_name", "labels")
            shown, token = page(found, request, fields=fields)
        return getattr(v1, response)(**{plural: shown}, next_page_token=token)

    return answer


def _updater(kind: str) -> Function:
    field, _ = KINDS[kind]

    def update(call: Call, request: Any) -> Any:
        state, asked = call.store(Tensorboards), getattr(request, field)
        with state.lock:
            held = state.require(kind, numbered(call, asked.name))
            known = {each.name for each in held.DESCRIPTOR.fields} & _MUTABLE
            for path in mask_paths(request.update_mask, known, asked.name):
                take_field(held, asked, path.partition(".")[0])
            stamp(held, update_time=call.engine.clock.now())
            shown = copy_of(held)
        return call.operation(lambda: shown, below=shown.name) if kind == "Tensorboard" else shown

    return update


def _deleter(kind: str) -> Function:
    def delete(call: Call, request: Any) -> Any:
        state, name = call.store(Tensorboards), numbered(call, request.name)
        with state.lock:
            state.require(kind, name)
            state.remove(name)
        return call.operation(lambda: None, below=name)

    return delete


def _write(call: Call, state: Tensorboards, request: Any) -> None:
    run = state.require("TensorboardRun", numbered(call, request.tensorboard_run))
    for data in request.time_series_data:
        series = state.require("TensorboardTimeSeries", f"{run.name}/timeSeries/{data.tensorboard_time_series_id}")
        if any(not each.HasField("scalar") for each in data.values):
            raise refusal("values of time series that are no scalars")
        points = state.points.setdefault(series.name, [])
        points.extend(copy_of(each) for each in data.values)
        points.sort(key=lambda each: (each.step, each.wall_time.seconds, each.wall_time.nanos))
        series.metadata.max_step = points[-1].step if points else 0
        if points:
            series.metadata.max_wall_time.CopyFrom(points[-1].wall_time)


def _data(state: Tensorboards, series: Any, most: int) -> Any:
    return v1.TimeSeriesData(
        tensorboard_time_series_id=series.name.rpartition("/")[2],
        value_type=series.value_type,
        values=state.points.get(series.name, [])[-most:],
    )


METHODS: dict[str, Function] = {
    **{f"Create{kind}": _creator(kind) for kind in KINDS},
    **{f"Get{kind}": _getter(kind) for kind in KINDS},
    **{f"List{kind if kind == 'TensorboardTimeSeries' else f'{kind}s'}": _lister(kind) for kind in KINDS},
    **{f"Update{kind}": _updater(kind) for kind in KINDS},
    **{f"Delete{kind}": _deleter(kind) for kind in KINDS},
    "BatchCreateTensorboardRuns": batch_create_tensorboard_runs,
    "BatchCreateTensorboardTimeSeries": batch_create_tensorboard_time_series,
    "WriteTensorboardRunData": write_tensorboard_run_data,
    "WriteTensorboardExperimentData": write_tensorboard_experiment_data,
    "ReadTensorboardTimeSeriesData": read_tensorboard_time_series_data,
    "BatchReadTensorboardTimeSeriesData": batch_read_tensorboard_time_series_data,
}

PERMISSIONS = {
    "WriteTensorboardRunData": "aiplatform.tensorboardTimeSeries.batchCreate",
    "WriteTensorboardExperimentData": "aiplatform.tensorboardTimeSeries.batchCreate",
    "ReadTensorboardTimeSeriesData": "aiplatform.tensorboardTimeSeries.read",
    "BatchReadTensorboardTimeSeriesData": "aiplatform.tensorboardTimeSeries.batchRead",
    "BatchCreateTensorboardRuns": "aiplatform.tensorboardRuns.batchCreate",
    "BatchCreateTensorboardTimeSeries": "aiplatform.tensorboardTimeSeries.batchCreate",
    **{
        f"{verb}TensorboardTimeSeries": f"aiplatform.tensorboardTimeSeries.{verb.lower()}"
        for verb in ("Create", "Get", "List", "Update", "Delete")
    },
}

NOTES = {
    "CreateTensorboardTimeSeries": "scalars; tensors and blobs refuse",
    "CreateTensorboard": "what it holds is read through the API: there is no page of its own",
}
