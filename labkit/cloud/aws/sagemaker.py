"""Amazon SageMaker: the table from operation to function.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Operations_Amazon_SageMaker_Service.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import (
    pipeline_callbacks,
    registry_groups,
    registry_packages,
    sagemaker_configs,
    sagemaker_endpoints,
    sagemaker_executions,
    sagemaker_models,
    sagemaker_permissions,
    sagemaker_pipelines,
    sagemaker_processing,
    sagemaker_tags,
    sagemaker_training,
    sagemaker_transform,
)
from labkit.cloud.aws.sagemaker_state import State

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud, Call

SERVICE = "sagemaker"

OPERATIONS: dict[str, Callable[[Call, dict[str, Any]], dict[str, Any] | None]] = {
    "CreateModel": sagemaker_models.create_model,
    "DescribeModel": sagemaker_models.describe_model,
    "ListModels": sagemaker_models.list_models,
    "DeleteModel": sagemaker_models.delete_model,
    "CreateEndpointConfig": sagemaker_configs.create_endpoint_config,
    "DescribeEndpointConfig": sagemaker_configs.describe_endpoint_config,
    "ListEndpointConfigs": sagemaker_configs.list_endpoint_configs,
    "DeleteEndpointConfig": sagemaker_configs.delete_endpoint_config,
    "CreateEndpoint": sagemaker_endpoints.create_endpoint,
    "DescribeEndpoint": sagemaker_endpoints.describe_endpoint,
    "ListEndpoints": sagemaker_endpoints.list_endpoints,
    "UpdateEndpoint": sagemaker_endpoints.update_endpoint,
    "UpdateEndpointWeightsAndCapacities": sagemaker_endpoints.update_endpoint_weights_and_capacities,
    "DeleteEndpoint": sagemaker_endpoints.delete_endpoint,
    "CreateTrainingJob": sagemaker_training.create_training_job,
    "DescribeTrainingJob": sagemaker_training.describe_training_job,
    "ListTrainingJobs": sagemaker_training.list_training_jobs,
    "StopTrainingJob": sagemaker_training.stop_training_job,
    "DeleteTrainingJob": sagemaker_training.delete_training_job,
    "CreateProcessingJob": sagemaker_processing.create_processing_job,
    "DescribeProcessingJob": sagemaker_processing.describe_processing_job,
    "ListProcessingJobs": sagemaker_processing.list_processing_jobs,
    "StopProcessingJob": sagemaker_processing.stop_processing_job,
    "DeleteProcessingJob": sagemaker_processing.delete_processing_job,
    "CreateTransformJob": sagemaker_transform.create_transform_job,
    "DescribeTransformJob": sagemaker_transform.describe_transform_job,
    "ListTransformJobs": sagemaker_transform.list_transform_jobs,
    "StopTransformJob": sagemaker_transform.stop_transform_job,
    "CreateModelPackageGroup": registry_groups.create_model_package_group,
    "DescribeModelPackageGroup": registry_groups.describe_model_package_group,
    "ListModelPackageGroups": registry_groups.list_model_package_groups,
    "DeleteModelPackageGroup": registry_groups.delete_model_package_group,
    "PutModelPackageGroupPolicy": registry_groups.put_model_package_group_policy,
    "GetModelPackageGroupPolicy": registry_groups.get_model_package_group_policy,
    "DeleteModelPackageGroupPolicy": registry_groups.delete_model_package_group_policy,
    "CreateModelPackage": registry_packages.create_model_package,
    "DescribeModelPackage": registry_packages.describe_model_package,
    "BatchDescribeModelPackage": registry_packages.batch_describe_model_package,
    "ListModelPackages": registry_packages.list_model_packages,
    "UpdateModelPackage": registry_packages.update_model_package,
    "DeleteModelPackage": registry_packages.delete_model_package,
    "CreatePipeline": sagemaker_pipelines.create_pipeline,
    "UpdatePipeline": sagemaker_pipelines.update_pipeline,
    "DescribePipeline": sagemaker_pipelines.describe_pipeline,
    "DeletePipeline": sagemaker_pipelines.delete_pipeline,
    "ListPipelines": sagemaker_pipelines.list_pipelines,
    "ListPipelineVersions": sagemaker_pipelines.list_pipeline_versions,
    "UpdatePipelineVersion": sagemaker_pipelines.update_pipeline_version,
    "StartPipelineExecution": sagemaker_executions.start_pipeline_execution,
    "StopPipelineExecution": sagemaker_executions.stop_pipeline_execution,
    "RetryPipelineExecution": sagemaker_executions.retry_pipeline_execution,
    "DescribePipelineExecution": sagemaker_executions.describe_pipeline_execution,
    "UpdatePipelineExecution": sagemaker_executions.update_pipeline_execution,
    "ListPipelineExecutions": sagemaker_executions.list_pipeline_executions,
    "ListPipelineExecutionSteps": sagemaker_executions.list_pipeline_execution_steps,
    "ListPipelineParametersForExecution": sagemaker_executions.list_pipeline_parameters_for_execution,
    "DescribePipelineDefinitionForExecution": sagemaker_executions.describe_pipeline_definition_for_execution,
    "SendPipelineExecutionStepSuccess": pipeline_callbacks.send_success,
    "SendPipelineExecutionStepFailure": pipeline_callbacks.send_failure,
    "AddTags": sagemaker_tags.add_tags,
    "ListTags": sagemaker_tags.list_tags,
    "DeleteTags": sagemaker_tags.delete_tags,
}

needs = sagemaker_permissions.needs

#: Operations whose record is their whole effect.
SHAPE_ONLY = frozenset(("AddTags", "DeleteTags", "ListTags", "PutModelPackageGroupPolicy"))

NOTES = {
    "CreateModel": "one container, its model data an archive or files; VpcConfig is kept and has no effect; "
    "multi-model endpoints and inference pipelines refuse",
    "CreateEndpointConfig": "instances and weights; an instance is a process on this machine, whatever its type; "
    "serverless, asynchronous, shadow variants, data capture and explanations refuse",
    "CreateEndpoint": "any image but scikit-learn's ends in Failed; a requirements.txt is checked, not installed",
    "UpdateEndpoint": "all traffic at once; canary, linear and rolling updates, baking and alarms refuse",
    "UpdateEndpointWeightsAndCapacities": "an instance is a process on this machine",
    "CreateTrainingJob": "one instance, a process on this machine; scikit-learn's images; input modes File and "
    "FastFile (files are copied first); a requirements.txt is checked, not installed; spot capacity is a model; pipes, "
    "file systems, warm pools, debugger, experiments and MLflow refuse",
    "CreateProcessingJob": "one instance, a process on this machine; scikit-learn's images; S3 inputs as files, "
    "outputs at the end of the job; dataset definitions, feature store outputs and continuous upload refuse",
    "CreateTransformJob": "one process on this machine, whatever the instances; objects whole or by lines; filters and "
    "joins of CSV and JSON by lines; RecordIO and TFRecord, data capture refuse",
    "CreateModelPackage": "a package is kept as it is given: nothing is validated, no image is scanned; model cards "
    "and packages of algorithms refuse",
    "PutModelPackageGroupPolicy": "the policy is kept; other accounts do not exist here",
    "CreatePipeline": "steps of the types Processing, Training, Transform, Model, RegisterModel, Condition, Fail, "
    "Lambda and Callback, others refuse; PipelineExperimentConfig is kept, and no experiment is made; aliases of "
    "versions refuse",
    "StartPipelineExecution": "waits between retries are cut to 2 s",
}


def inventory(cloud: AwsCloud) -> dict[str, list[str]]:
    """The names of what a learner made, by kind, in every region. Jobs are not listed: they cannot be deleted."""
    found: dict[str, list[str]] = {title: [] for title in _LISTED.values()}
    for state in cloud.stores(State):
        with state.lock:
            for kind, title in _LISTED.items():
                found[title] += [each.name for each in state.by_kind[kind].values()]
    return {title: sorted(names) for title, names in found.items()}


_LISTED = {
    "model": "models",
    "endpoint-config": "endpoint configurations",
    "endpoint": "endpoints",
    "pipeline": "pipelines",
    "model-package-group": "model package groups",
    "model-package": "model packages",
}
