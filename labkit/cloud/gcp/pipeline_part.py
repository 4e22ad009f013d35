"""A part of a pipeline's run: the whole, a task, or one iteration of a loop. Tasks that are DAGs have parts inside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labkit.cloud.gcp import pipeline_values
from labkit.cloud.gcp.pipeline_spec import Component, Task
from labkit.cloud.gcp.pipeline_values import Values


class TaskFailed(Exception):
    """A container that failed; the text is what its task's error says."""


@dataclass(eq=False)
class Part:
    """What is known of a part while it runs.

    ``key`` is its name in ``outer``, ``label`` what people call it. ``values`` go in, ``made`` came out of a container.
    ``detail`` is the id of its task detail, 0 until its turn has come, and ``execution`` its record in ML Metadata.
    """

    key: str
    label: str
    component: Component
    outer: Part | None = None
    task: Task | None = None
    values: Values | None = None
    loops: bool = False
    detail: int = 0
    execution: Any = None
    made: Values | None = None
    inside: dict[str, Part] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Its name in the run."""
        return self.key if self.outer is None else f"{self.outer.path}/{self.key}"

    def outputs(self) -> Values | None:
        """What has come out of it; None where its container made nothing."""
        if self.loops:
            turns = [made for each in self.inside.values() if (made := each.outputs()) is not None]
            return pipeline_values.collected(self.component, turns)
        if self.component.is_dag:
            return pipeline_values.outputs(self.component, self.produced)
        return self.made

    def produced(self, key: str) -> Values | None:
        """What has come out of a part inside it."""
        return self.inside[key].outputs() if key in self.inside else None
