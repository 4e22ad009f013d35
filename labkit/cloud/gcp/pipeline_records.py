"""What a pipeline's run leaves in Vertex ML Metadata: contexts, an execution for each task, artifacts and their events.

https://cloud.google.com/vertex-ai/docs/pipelines/lineage
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp.metadata_store import MetadataStore, MetadataStores
from labkit.cloud.gcp.pipeline_values import Artifact, Values
from labkit.cloud.gcp.vertex_names import copy_of, new_id, stamp, v1

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud
    from labkit.cloud.gcp.projects import Project

#: The beginnings of the metadata's keys under which an execution has what went in and came out.
INPUT, OUTPUT = "input:", "output:"
_VERSION = "0.0.1"
#: Artifacts that are what a run measured: they come out of the run itself too.
_METRICS = ("system.Metrics", "system.ClassificationMetrics")


class Records:
    """The records of one run of a pipeline; safe to use from any thread."""

    def __init__(self, cloud: GcpCloud, project: Project, location: str) -> None:
        self._clock = cloud.engine.clock
        self._stores: MetadataStores = cloud.store(MetadataStores, project.id, location)
        parent = f"projects/{project.number}/locations/{location}"
        with self._stores.lock:
            self._store: MetadataStore = self._stores.default(parent, self._clock.now())
        self.pipeline: Any = None
        self.run: Any = None

    def begin(self, pipeline: str, job_id: str, parameters: Mapping[str, Any]) -> None:
        """Makes the run's contexts and its execution (``system.Run``), whose metadata has the parameters.

        Both are shown by the job's id, which the SDK's tables of runs then hold, and with which a job can be got.
        """
        now = self._clock.now()
        with self._stores.lock:
            whole = self._store.nodes.get(f"{self._store.name}/contexts/{pipeline}")
            if whole is None:
                whole = self._context("system.Pipeline", pipeline, pipeline)
            run = self._context("system.PipelineRun", job_id, job_id)
            run.parent_contexts.append(whole.name)
            self.pipeline, self.run = whole, run
            self._execution = self._store.make(
                "Execution",
                now,
                {f"{INPUT}{name}": value for name, value in parameters.items()},
                f"{job_id}-run",
                display_name=job_id,
                schema_title="system.Run",
                schema_version=_VERSION,
                state=v1.Execution.State.Value("RUNNING"),
            )
            self._add(self._execution.name)

    def end(self, state: str) -> None:
        """Ends the run's execution: ``COMPLETE``, ``FAILED`` or ``CANCELLED``."""
        self._end(self._execution, state)

    def begin_task(self, label: str, schema: str, given: Values) -> Any:
        """Makes a task's execution, with what goes into it."""
        now = self._clock.now()
        with self._stores.lock:
            execution = self._store.make(
                "Execution",
                now,
                {f"{INPUT}{name}": value for name, value in given.parameters.items()},
                display_name=label,
                schema_title=schema,
                schema_version=_VERSION,
                state=v1.Execution.State.Value("RUNNING"),
            )
            self._add(execution.name)
            self._link(execution, given, "INPUT")
            return execution

    def end_task(self, execution: Any, state: str, made: Values | None = None) -> None:
        """Ends a task's execution: ``COMPLETE``, ``CACHED``, ``FAILED`` or ``CANCELLED``, with what came out of it."""
        with self._stores.lock:
            if made is not None:
                execution.metadata.update({f"{OUTPUT}{name}": value for name, value in made.parameters.items()})
                self._link(execution, made, "OUTPUT")
                self._hold(made)
        self._end(execution, state)

    def new_name(self) -> str:
        """The name of an artifact that is about to be made."""
        return f"{self._store.name}/artifacts/{new_id()}"

    def keep(self, artifact: Artifact, label: str) -> Artifact:
        """Makes an artifact's record, under its name; returns it as it is kept."""
        kind = artifact.get("type", {})
        with self._stores.lock:
            if artifact["name"] not in self._store.nodes:
                self._store.make(
                    "Artifact",
                    self._clock.now(),
                    artifact.get("metadata", {}),
                    artifact["name"].rpartition("/")[2],
                    display_name=label,
                    uri=artifact.get("uri", ""),
                    schema_title=kind.get("schemaTitle", "system.Artifact"),
                    schema_version=kind.get("schemaVersion", _VERSION),
                    state=v1.Artifact.State.Value("LIVE"),
                )
        return artifact

    def with_uri(self, uri: str, schema: str) -> str | None:
        """The name of the newest artifact of a schema that has this URI."""
        with self._stores.lock:
            found = [
                each.name for each in self._store.of_kind("Artifact") if each.uri == uri and each.schema_title == schema
            ]
        return found[-1] if found else None

    def node(self, name: str) -> Any:
        """A copy of a node, or None."""
        with self._stores.lock:
            held = self._store.nodes.get(name)
            return None if held is None else copy_of(held)

    def _hold(self, made: Values) -> None:
        """Shows artifacts as the run's, also those that a task of it took from the cache, and metrics as its output."""
        for artifacts in made.artifacts.values():
            for each in artifacts:
                held = self._store.nodes.get(each["name"])
                if held is None:
                    continue
                self._add(held.name)
                if held.schema_title in _METRICS:
                    self._store.add_event(self._execution.name, held.name, "OUTPUT", self._clock.now())

    def _add(self, name: str) -> None:
        """Puts a node into the contexts of the run and of its pipeline."""
        for context in (self.run, self.pipeline):
            self._store.add_members(context.name, [name])

    def _context(self, schema: str, identifier: str, label: str) -> Any:
        return self._store.make(
            "Context",
            self._clock.now(),
            {},
            identifier,
            display_name=label,
            schema_title=schema,
            schema_version=_VERSION,
        )

    def _link(self, execution: Any, values: Values, kind: str) -> None:
        for artifacts in values.artifacts.values():
            for each in artifacts:
                if each["name"] in self._store.nodes:
                    self._store.add_event(execution.name, each["name"], kind, self._clock.now())

    def _end(self, execution: Any, state: str) -> None:
        with self._stores.lock:
            execution.state = v1.Execution.State.Value(state)
            stamp(execution, update_time=self._clock.now())
