"""What a test of jobs and pipelines needs around it: scripts in S3, steps in a line, executions to their end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.cloud.aws.sagemaker_world import IMAGE, World, archive
from tests.waiting import eventually


def channel(name: str, url: Any, data_type: str = "S3Prefix") -> dict[str, Any]:
    """A training job's channel."""
    source = {"S3DataType": data_type, "S3Uri": url, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


class Pipelines(World):
    """A :class:`World` with jobs and pipelines."""

    # -- jobs ------------------------------------------------------------------------------------------------------

    def training(
        self, script: str, *, inputs: Mapping[str, str] = {}, parameters: Mapping[str, str] = {}, **more: Any
    ) -> dict[str, Any]:
        """A training job's request in script mode; ``inputs`` are S3 addresses by channel."""
        source = self.upload(f"code/{abs(hash(script))}.tar.gz", archive({"train.py": script, **more.pop("files", {})}))
        return {
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                **more.pop("algorithm", {}),
            },
            "HyperParameters": {
                "sagemaker_program": '"train.py"',
                "sagemaker_submit_directory": json.dumps(source),
                **parameters,
            },
            "RoleArn": self.role,
            **({"InputDataConfig": [channel(name, url) for name, url in inputs.items()]} if inputs else {}),
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/models"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            **more,
        }

    def processing(
        self,
        script: str,
        *,
        inputs: Mapping[str, Any] = {},
        outputs: Sequence[str] = (),
        arguments: Sequence[Any] = (),
        **more: Any,
    ) -> dict[str, Any]:
        """A processing job's request: ``script`` with inputs and outputs in folders of their names."""
        code = self.upload(f"code/{abs(hash(script))}/job.py", script.encode())
        base = "/opt/ml/processing"
        return {
            "AppSpecification": {
                "ImageUri": IMAGE,
                "ContainerEntrypoint": ["python3", f"{base}/input/code/job.py"],
                **({"ContainerArguments": list(arguments)} if arguments else {}),
            },
            "ProcessingInputs": [
                {
                    "InputName": name,
                    "S3Input": {
                        "S3Uri": url,
                        "LocalPath": f"{base}/{'input/code' if name == 'code' else name}",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
                for name, url in {"code": code, **inputs}.items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": name,
                        "S3Output": {
                            "S3Uri": f"s3://{self.bucket}/out/{name}",
                            "LocalPath": f"{base}/{name}",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                    for name in outputs
                ]
            },
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}
            },
            "RoleArn": self.role,
            **more,
        }

    def train(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Runs a training job to its end; returns its description."""
        self.sm.create_training_job(TrainingJobName=self.name(name), **request)
        return self.ended(lambda: self.sm.describe_training_job(TrainingJobName=self.name(name)), "TrainingJobStatus")

    def process(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Runs a processing job to its end; returns its description."""
        self.sm.create_processing_job(ProcessingJobName=self.name(name), **request)
        return self.ended(
            lambda: self.sm.describe_processing_job(ProcessingJobName=self.name(name)), "ProcessingJobStatus"
        )

    def ended(self, describe: Any, member: str) -> dict[str, Any]:
        """The description of something once it is under way no more."""

        def done() -> dict[str, Any] | None:
            described: dict[str, Any] = describe()
            return None if described[member] in ("InProgress", "Stopping", "Executing") else described

        return eventually(done)

    def read(self, url: str) -> bytes:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    # -- pipelines -------------------------------------------------------------------------------------------------

    def pipeline(
        self, name: str, steps: Sequence[Mapping[str, Any]], parameters: Sequence[Mapping[str, Any]] = (), **more: Any
    ) -> str:
        """Makes a pipeline; returns its name."""
        document = {
            "Version": "2020-12-01",
            "Metadata": {},
            "Parameters": list(parameters),
            "Steps": list(steps),
            **more,
        }
        self.sm.create_pipeline(
            PipelineName=self.name(name), PipelineDefinition=json.dumps(document), RoleArn=self.role
        )
        return self.name(name)

    def start(self, pipeline: str, parameters: Mapping[str, str] = {}, **more: Any) -> str:
        """Starts an execution; returns its ARN."""
        given = [{"Name": name, "Value": value} for name, value in parameters.items()]
        started = self.sm.start_pipeline_execution(PipelineName=pipeline, PipelineParameters=given, **more)
        return str(started["PipelineExecutionArn"])

    def execute(self, pipeline: str, parameters: Mapping[str, str] = {}, **more: Any) -> str:
        """Runs an execution to its end; returns its ARN."""
        arn = self.start(pipeline, parameters, **more)
        self.settled(arn)
        return arn

    def settled(self, execution: str) -> dict[str, Any]:
        """The execution's description once it has ended."""
        return self.ended(
            lambda: self.sm.describe_pipeline_execution(PipelineExecutionArn=execution), "PipelineExecutionStatus"
        )

    def steps(self, execution: str) -> dict[str, dict[str, Any]]:
        """The steps of an execution by name."""
        listed = self.sm.list_pipeline_execution_steps(PipelineExecutionArn=execution, MaxResults=100)
        return {each["StepName"]: each for each in listed["PipelineExecutionSteps"]}

    def statuses(self, execution: str) -> dict[str, str]:
        return {name: each["StepStatus"] for name, each in self.steps(execution).items()}
