"""Finds out whether a pipeline registers nothing but what is above the gate: how it is wired, and what its gate does.

What a pipeline component says of its steps:
https://learn.microsoft.com/azure/machine-learning/reference-yaml-component-pipeline
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.labs.azure_rest import resource
from labkit.labs.beginner import churn
from labkit.labs.beginner.churn import GATE, quoted
from labkit.labs.intermediate import azure_cloud
from labkit.labs.intermediate.azure_cloud import COMPONENT, MODEL, THRESHOLD
from labkit.labs.task import NotAttempted, Work, Wrong

HINT = "a step waits for what it reads: the step that registers takes gate.outputs.passed, not evaluate.outputs.report"
#: Pairs of an AUC and a threshold, on which no two different comparisons agree.
TRIALS = ((0.86, 0.85), (0.85, 0.85), (0.84, 0.85), (0.6, 0.5), (0.9, 0.95))
_BOUND = re.compile(r"\$\{\{\s*parent\.(?:jobs\.(?P<node>[^.\s}]+)\.outputs\.|inputs\.)(?P<port>[^.\s}]+)\s*\}\}")
_PORT = re.compile(r"\$\{\{\s*(?P<side>inputs|outputs)\.(?P<name>[^.\s}]+)\s*\}\}")

#: Where a value comes from: a node and its output, or ``""`` and an input of the pipeline; None for a literal.
Source = tuple[str, str] | None


@dataclass(frozen=True)
class Node:
    """A step in a pipeline's definition: ``inputs`` are texts, literal or bound to something."""

    name: str
    inputs: Mapping[str, str]
    component: str

    @cached_property
    def spec(self) -> Mapping[str, Any]:
        return azure_cloud.component(self.component)

    def runs(self, script: str) -> bool:
        return azure_cloud.runs(str(self.spec.get("command", "")), script)

    @property
    def sources(self) -> dict[str, Source]:
        """Where each of its inputs comes from."""
        return {name: source(text) for name, text in self.inputs.items()}

    def bound_to(self, nodes: Mapping[str, Node], script: str) -> Node | None:
        """The node from whose outputs it takes something and that runs a script."""
        found = [nodes[each[0]] for each in self.sources.values() if each and each[0] in nodes]
        return next((node for node in found if node.runs(script)), None)


def source(text: str) -> Source:
    """What an input's text is bound to."""
    matched = _BOUND.fullmatch(text.strip())
    return (matched["node"] or "", matched["port"]) if matched else None


def nodes_of(definition: Mapping[str, Any]) -> dict[str, Node]:
    """The nodes of a pipeline component or a pipeline job."""
    found = {}
    for name, node in (definition.get("jobs") or {}).items():
        inputs = {
            key: str(given.get("value", given.get("uri", ""))) if isinstance(given, Mapping) else str(given)
            for key, given in (node.get("inputs") or {}).items()
        }
        found[name] = Node(name, inputs, str(node.get("componentId") or node.get("component") or ""))
    return found


def check(_: Work) -> str:
    """The registered pipeline registers a model only behind its gate, and the gate lets pass what it should."""
    versions = azure_cloud.versions("components", COMPONENT)
    if not versions:
        raise NotAttempted(f"no component named {COMPONENT} in the workspace", "the pipeline with its gate")
    spec = versions[0]["properties"]["componentSpec"]
    if not any(node.runs("gate.py") or node.runs("register.py") for node in nodes_of(spec).values()):
        raise NotAttempted(f"a {COMPONENT} with neither gate.py nor register.py in it", "the pipeline with its gate")
    gate = wired(spec)
    default = (spec.get("inputs") or {}).get(THRESHOLD, {}).get("default")
    if not is_gate(default):
        found = f"the default {default} for it" if default is not None else "no default for it"
        raise Wrong(found, f"the input {THRESHOLD} with the default {GATE}", f"{THRESHOLD}: float = {GATE}")
    try_out(gate)
    return f"{COMPONENT}, version {versions[0]['name']}, in which only the step {gate.name} leads to the registry"


def is_gate(value: Any) -> bool:
    """Whether a threshold is the lab's."""
    try:
        return float(value) == GATE
    except (TypeError, ValueError):
        return False


def wired(definition: Mapping[str, Any]) -> Node:
    """The gate of a pipeline; :class:`Wrong` says what is not right with how the nodes are bound to each other."""
    if not definition.get("jobs") and definition.get("componentId"):
        definition = azure_cloud.component(str(definition["componentId"]))
    nodes = nodes_of(definition)
    registering = [node for node in nodes.values() if node.runs("register.py")]
    expected = f"a step that registers the model, behind a gate that compares the AUC with {THRESHOLD}"
    if not registering:
        raise Wrong(
            f"a pipeline of the steps {', '.join(nodes) or '(none)'}, none of which registers a model", expected, HINT
        )
    gates = [_gate(node, nodes, expected) for node in registering]
    return gates[0]


def _gate(registering: Node, nodes: Mapping[str, Node], expected: str) -> Node:
    """The node that guards another one."""
    gate = registering.bound_to(nodes, "gate.py")
    if gate is None:
        raise Wrong(
            f"the step {registering.name} beside the gate, not behind it: it takes nothing that the gate makes",
            "a model that is registered only if the gate has let it pass",
            HINT,
        )
    measuring = gate.bound_to(nodes, "evaluate.py")
    if measuring is None:
        raise Wrong(f"a gate that reads {_told(gate.inputs)}", "one that reads the report that evaluate makes")
    if ("", THRESHOLD) not in gate.sources.values():
        literal = next((text for text in gate.inputs.values() if source(text) is None), "nothing")
        raise Wrong(
            f"a gate that compares with {literal} and not with the pipeline's input {THRESHOLD}",
            expected,
            f"threshold={THRESHOLD}: a number in its place would hold for every run",
        )
    name = registering.inputs.get("name", MODEL)
    if source(name) is None and name != MODEL:
        raise Wrong(
            f"the step {registering.name}, which registers versions of {name}", f"of {MODEL}", "name=model_name"
        )
    measured = {each for each in measuring.sources.values() if each and each[0] in nodes}
    if not measured & set(registering.sources.values()):
        raise Wrong(
            f"the step {registering.name}, which takes another model than the one that {measuring.name} measures",
            "the same output of the step that trains for both",
        )
    return gate


def _told(inputs: Mapping[str, str]) -> str:
    return " and ".join(inputs.values()) or "nothing"


def try_out(gate: Node) -> None:
    """Runs the code of a gate as it is in the workspace; :class:`Wrong` where it lets pass what it should not."""
    path = next(each for each in shlex.split(str(gate.spec["command"])) if azure_cloud.runs(each, "gate.py"))
    code = resource(str(gate.spec.get("code", "")).removeprefix("azureml:"))
    content = azure_cloud.read(f"{code['properties']['codeUri'].rstrip('/')}/{path}") if code else None
    if content is None:
        raise Wrong(f"a gate whose component has no code with {path} in it", 'code="azure/steps" in its command')
    for auc, threshold in TRIALS:
        passes, said = _run(gate, path, content, auc, threshold)
        if passes != (auc > threshold):
            raise Wrong(
                f"a gate that {'lets' if passes else 'does not let'} an AUC of {auc} pass with a threshold of "
                f"{threshold}{f' ({said})' if said else ''}",
                f"one that lets pass what is above {THRESHOLD}, and nothing else",
                "gate.py is right as it is given; its component hands it --report, --threshold and --passed",
            )


def _run(gate: Node, path: str, content: bytes, auc: float, threshold: float) -> tuple[bool, str]:
    """Whether the gate lets an AUC pass, and what it said last."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        script = folder / "code" / path
        for each in (script.parent, folder / "report", folder / "passed"):
            each.mkdir(parents=True)
        script.write_bytes(content)
        (folder / "report" / "metrics.json").write_text(json.dumps({"auc": auc}))

        def fill(port: re.Match[str]) -> str:
            if port["side"] == "outputs":
                return str(folder / "passed")
            bound = gate.sources.get(port["name"])
            if bound == ("", THRESHOLD):
                return str(threshold)
            return str(folder / "report") if bound else gate.inputs.get(port["name"], "")

        program, *arguments = shlex.split(str(gate.spec["command"]))
        arguments = [_PORT.sub(fill, each) for each in arguments]
        command = [sys.executable if program.startswith("python") else program, *arguments]
        try:
            done = subprocess.run(
                command, cwd=folder / "code", capture_output=True, text=True, timeout=churn.PATIENCE, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return False, quoted(error)
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return done.returncode == 0, quoted(lines[-1] if lines else "").rstrip(".")
