"""What goes into a job and what comes out, as requests write it: literals, data, models, and outputs to be.

A job's own are in camel case (``jobInputType``), those of a pipeline's steps in snake case (``job_input_type``).
https://learn.microsoft.com/azure/machine-learning/how-to-read-write-data-v2
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import asset_files, jobs_bindings, jobs_outputs
from labkit.cloud.azure.components import DATA_TYPES, MODEL_TYPES, PRIMITIVES
from labkit.cloud.azure.data_assets import DATA
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.models import MODELS
from labkit.cloud.azure.runs import Runs
from labkit.cloud.azure.shapes import section

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

LITERAL = "literal"
_FILES = (*DATA_TYPES, *MODEL_TYPES)
#: How data is delivered, by both of its spellings.
_MODES = {
    "readonlymount": "ro_mount",
    "mount": "ro_mount",
    "ro_mount": "ro_mount",
    "readwritemount": "rw_mount",
    "rw_mount": "rw_mount",
    "download": "download",
    "upload": "upload",
    "direct": "direct",
}
_EVALUATED = ("evalmount", "eval_mount", "evaldownload", "eval_download")
#: Addresses that Azure gives: a run's own files, and an output that says nothing of where it is to be.
_RUNS_FILES = re.compile(r"/ExperimentRun/dcid\.[^/]+/?$")
_BY_DEFAULT = re.compile(r"/paths/azureml/(?P<run>[^/]+)/[^/]+/?$")
_INPUT_MODES, _OUTPUT_MODES = ("ro_mount", "rw_mount", "download", "direct"), ("rw_mount", "upload", "direct")


@dataclass(frozen=True, slots=True)
class Value:
    """What an input is: a literal's text, or the type and the address of data. ``asset`` is the id of what it names."""

    kind: str
    text: str
    mode: str = ""
    asset: str = ""

    @property
    def is_literal(self) -> bool:
        return self.kind == LITERAL


@dataclass(frozen=True, slots=True)
class Port:
    """What an output is to be: where (``""``: where outputs go by default), and the name to register it under."""

    kind: str
    uri: str = ""
    mode: str = ""
    name: str = ""
    version: str = ""


def read_input(call: Call, name: str, given: Any) -> Value:
    """An input as a request gives it; raises :class:`AzureError` for one that cannot be."""
    if not isinstance(given, dict):
        return Value(LITERAL, _literal(given))
    kind = str(_either(given, "jobInputType", "job_input_type") or given.get("type") or LITERAL).lower()
    if kind == LITERAL:
        value = given.get("value")
        return Value(LITERAL, _literal(value), mode=mode_of(call, name, given, _INPUT_MODES))
    if kind not in _FILES:
        raise call.user_error(f"The type {kind} of input {name} is not one of {', '.join(_FILES)}.", 400, "BadArgument")
    uri = given.get("uri") or given.get("path")
    if not isinstance(uri, str) or not uri:
        raise call.user_error(f"Input {name} of type {kind} needs a uri: where it is.", 400, "BadArgument")
    if given.get("pathOnCompute") or given.get("path_on_compute"):
        raise refusal(f"pathOnCompute of input {name}")
    mode = mode_of(call, name, given, _INPUT_MODES)
    if jobs_bindings.names(uri):
        return Value(kind, uri, mode)
    return located(call, name, kind, uri, mode)


def located(call: Call, name: str, kind: str, uri: str, mode: str) -> Value:
    """Data of a type at an address, whose asset, job or storage account has to exist."""
    if (uri.startswith("azureml:") and not uri.startswith("azureml://")) or uri.startswith("/subscriptions/"):
        assets = MODELS if kind in MODEL_TYPES else DATA
        version = assets.find(call.cloud, call.workspace_id, uri)
        found = version.properties["modelUri" if assets is MODELS else "dataUri"]
        actual = version.properties["modelType" if assets is MODELS else "dataType"]
        if actual != kind:
            message = f"Input {name} is to be of type {kind}, but the {assets.title} {uri} is of type {actual}."
            raise call.user_error(message, 400, "BadArgument")
        return Value(kind, found, mode, version.id)
    if jobs_outputs.is_jobs(uri):
        return Value(kind, jobs_outputs.resolve(call.cloud, call.workspace, uri), mode)
    if mode == "direct":
        return Value(kind, uri, mode)
    if uri.startswith(("http://", "https://")) and ".blob.core.windows.net" not in uri:
        raise refusal(f"the web address {uri} as input {name}: the local clouds have no internet; upload the data")
    asset_files.place_of(call.cloud, call.workspace_id, uri)
    return Value(kind, asset_files.long(call.workspace, uri), mode)


def read_output(call: Call, name: str, given: Any, kind: str = "") -> Port:
    """An output as a request gives it; ``kind`` is the type that its component says."""
    given = given if isinstance(given, dict) else {}
    kind = str(_either(given, "jobOutputType", "job_output_type") or kind or "uri_folder").lower()
    if kind not in _FILES:
        if kind in PRIMITIVES:
            raise refusal(f"the output {name} of type {kind}")
        raise call.user_error(
            f"The type {kind} of output {name} is not one of {', '.join(_FILES)}.", 400, "BadArgument"
        )
    uri = _uri(given)
    if given.get("pathOnCompute") or given.get("path_on_compute"):
        raise refusal(f"pathOnCompute of output {name}")
    mode = mode_of(call, name, given, _OUTPUT_MODES)
    if uri and not jobs_bindings.names(uri):
        asset_files.place_of(call.cloud, call.workspace_id, uri)
        uri = asset_files.long(call.workspace, uri)
    asset = given.get("assetName") or given.get("asset_name") or given.get("name") or ""
    version = given.get("assetVersion") or given.get("asset_version") or given.get("version") or ""
    return Port(kind, uri, mode, str(asset), str(version))


def read_inputs(call: Call, given: Mapping[str, Any]) -> dict[str, Value]:
    """The inputs of a job, by name: objects, unlike those of a pipeline's step, where a text stands for a literal."""
    return {name: read_input(call, name, section(given, name)) for name in given}


def read_outputs(call: Call, given: Mapping[str, Any]) -> dict[str, Port]:
    """The outputs of a job, by name.

    A job that was fetched to be submitted once more brings what Azure has shown of it: its output ``default``, which
    is left out, and where its run has put outputs that said nothing, which is where the next one would overwrite them.
    """
    asked = {name: section(given, name) for name in given}
    return {
        name: read_output(call, name, {**each, "uri": None, "path": None} if _is_made(call, each) else each)
        for name, each in asked.items()
        if name != "default" or not _RUNS_FILES.search(_uri(each))
    }


def _is_made(call: Call, given: Mapping[str, Any]) -> bool:
    """Whether an output's address is where a run has put it that was told none."""
    matched = _BY_DEFAULT.search(_uri(given))
    return matched is not None and call.store(Runs).get(matched["run"]) is not None


def _uri(given: Mapping[str, Any]) -> str:
    return str(given.get("uri") or given.get("path") or "")


def mode_of(call: Call, name: str, given: Mapping[str, Any], allowed: tuple[str, ...]) -> str:
    """How data is to be delivered, ``""`` where nothing is said."""
    asked = str(given.get("mode") or "")
    if not asked:
        return ""
    if asked.lower() in _EVALUATED:
        what = f"the mode {asked} of {name}"
        why = f"The local clouds do not serve {what}: an MLTable is delivered as it is, not evaluated."
        raise refusal(what, why)
    mode = _MODES.get(asked.lower())
    if mode not in allowed:
        raise call.user_error(f"The mode {asked} of {name} is not one of {', '.join(allowed)}.", 400, "BadArgument")
    return mode


def fits(name: str, text: str, port: Mapping[str, Any]) -> str:
    """What is wrong with a literal for an input of a component, or ``""``: its type, its limits, its choices."""
    kind = str(port.get("type"))
    number: float | None = None
    if kind == "integer":
        number = _number(text, int)
    elif kind == "number":
        number = _number(text, float)
    elif kind == "boolean" and text.lower() not in ("true", "false"):
        return f"Input {name} has to be true or false, not '{text}'."
    elif kind in (*DATA_TYPES, *MODEL_TYPES):
        return f"Input {name} has to be of type {kind}, not the literal '{text}'."
    if kind in ("integer", "number"):
        if number is None:
            return f"Input {name} has to be of type {kind}, not '{text}'."
        for bound, wrong in (("min", lambda limit: number < limit), ("max", lambda limit: number > limit)):
            limit = _number(str(port.get(bound)), float) if port.get(bound) is not None else None
            if limit is not None and wrong(limit):
                return f"Input {name} is {text}, {'below' if bound == 'min' else 'above'} its {bound} of {port[bound]}."
    choices = port.get("enum")
    if isinstance(choices, list) and text not in [str(each) for each in choices]:
        return f"Input {name} is '{text}', which is not one of {', '.join(str(each) for each in choices)}."
    return ""


def _number(text: str, kind: type[int] | type[float]) -> float | None:
    try:
        return kind(text)
    except ValueError:
        return None


def _literal(value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise AzureError("UserError", "A literal input has to be a text, a number, true or false.", 400)
    return "" if value is None else str(value)


def _either(given: Mapping[str, Any], camel: str, snake: str) -> Any:
    return given.get(camel) or given.get(snake)
