"""Training pipelines of Vertex AI: a custom job, and the model that it leaves uploaded to the registry.

What ``CustomTrainingJob`` and ``CustomContainerTrainingJob`` of the SDK send; AutoML refuses.
https://cloud.google.com/vertex-ai/docs/training/create-training-pipeline
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.engine.errors import CloudError
from labkit.cloud.gcp import custom_jobs, errors, schema, vertex_jobs, vertex_models
from labkit.cloud.gcp.custom_job_run import CustomJobRun
from labkit.cloud.gcp.errors import CODES, invalid, refusal
from labkit.cloud.gcp.resource_filters import Fields
from labkit.cloud.gcp.vertex_jobs import JobRun, Jobs
from labkit.cloud.gcp.vertex_names import check_fields, copy_of, new_id, problems, stamp, v1

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

#: The definition of a training task that is a custom job.
CUSTOM_TASK = re.compile(r"gs://google-cloud-aiplatform/schema/trainingjob/definition/custom_task_1\.0\.0\.yaml")
_STATE = "PIPELINE_STATE_"


class TrainingPipelineRun(JobRun):
    """One training pipeline. ``message`` is its ``TrainingPipeline``; ``job`` the custom job that does it."""

    def __init__(self, call: Call, message: Any, job: CustomJobRun) -> None:
        super().__init__(message)
        self.job = job
        self._call = call
        self._enter("RUNNING")
        stamp(message, start_time=call.engine.clock.now())
        threading.Thread(target=self._follow, name=f"training-{self.id}", daemon=True).start()

    def cancel(self) -> None:
        self.job.cancel()

    def _follow(self) -> None:
        """Waits for the job's end, uploads its model, and ends."""
        self.job.ended.wait()
        state, code, why = "SUCCEEDED", "", ""
        if self.job.state == "JOB_STATE_CANCELLED":
            state, code, why = "CANCELLED", "CANCELLED", "The training pipeline was cancelled."
        elif self.job.failure:
            state, code, why = "FAILED", "FAILED_PRECONDITION", f"Training failed with: {self.job.failure}"
        elif self.message.HasField("model_to_upload"):
            try:
                self._upload()
            except CloudError as error:
                failure = errors.of_engine(error)
                state, code, why = "FAILED", failure.code, f"The model could not be uploaded: {failure.message}"
        with self._changed:
            if why:
                self.message.error.code, self.message.error.message = CODES[code][0], why
            stamp(self.message, end_time=self._call.engine.clock.now())
            self._enter(state)

    def _upload(self) -> None:
        """Uploads what the job left in ``AIP_MODEL_DIR``, as a new model or a version of the parent model."""
        output = self.job.message.job_spec.base_output_directory.output_uri_prefix.rstrip("/")
        request = v1.UploadModelRequest(
            parent=self._call.parent, model_id=self.message.model_id, parent_model=self.message.parent_model
        )
        request.model.CopyFrom(self.message.model_to_upload)
        request.model.artifact_uri = request.model.artifact_uri or f"{output}/model"
        made = vertex_models.upload(self._call, request)
        with self._changed:
            self.message.model_to_upload.name = made.model
            self.message.model_to_upload.version_id = made.model_version_id

    def _enter(self, state: str) -> None:
        with self._changed:
            self.message.state = v1.PipelineState.Value(f"{_STATE}{state}")
            self._news(self._call.engine.clock.now())


class TrainingPipelines(Jobs[TrainingPipelineRun]):
    """The training pipelines of one project and location."""

    collection = "trainingPipelines"
    fields = Fields(
        texts=("display_name", "training_task_definition"), times=("create_time", "update_time", "end_time")
    )


def create_training_pipeline(call: Call, request: Any) -> Any:
    """Starts a custom job and, where a model is to be uploaded, uploads it at the job's end."""
    from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

    asked = request.training_pipeline
    check_fields(problems(asked, "training_pipeline"))
    if not CUSTOM_TASK.fullmatch(asked.training_task_definition):
        raise refusal(f"training tasks other than custom jobs ({asked.training_task_definition})")
    for field, what in (("input_data_config", "managed datasets"), ("encryption_spec", "customer-managed keys")):
        if asked.HasField(field):
            raise refusal(f"{what} ({field})")
    told = MessageToDict(asked.training_task_inputs)
    told = {name: each for name, each in told.items() if each not in (None, "", {}, [])}
    if scheduling := told.get("scheduling"):
        told["scheduling"] = {name: each for name, each in scheduling.items() if each is not None}
    try:
        spec = ParseDict(told, v1.CustomJobSpec(), descriptor_pool=schema.pool())
    except ParseError as error:
        raise invalid(
            f"training_task_inputs cannot be read: {error}.", "training_pipeline.training_task_inputs"
        ) from None
    job = custom_jobs.begin(call, f"{asked.display_name}-custom-job", spec, managed=True)
    message = copy_of(asked)
    message.name = f"{call.parent}/trainingPipelines/{new_id()}"
    message.training_task_metadata.struct_value.update({"backingCustomJob": job.name})
    stamp(message, create_time=call.engine.clock.now())
    run = TrainingPipelineRun(call, message, job)
    call.store(TrainingPipelines).add(run)
    return run.view()


METHODS: dict[str, Callable[[Call, Any], Any]] = {
    "CreateTrainingPipeline": create_training_pipeline,
    **vertex_jobs.methods(TrainingPipelines),
}
