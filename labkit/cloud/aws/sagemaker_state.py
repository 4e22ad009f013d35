"""What SageMaker keeps in one account and region: models, endpoints, jobs, packages, pipelines."""

from __future__ import annotations

import threading
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from labkit.cloud.aws.errors import AwsError

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call
    from labkit.cloud.aws.pipeline_records import Pipeline
    from labkit.cloud.aws.registry_records import ModelPackage, PackageGroup
    from labkit.cloud.aws.sagemaker_hosting import Endpoint
    from labkit.cloud.aws.sagemaker_jobs import JobRecord

#: The kinds of jobs, as ARNs name them.
JOBS = ("training-job", "processing-job", "transform-job")


@dataclass
class Model:
    """A model: ``request`` is what CreateModel was given."""

    name: str
    arn: str
    created: datetime
    request: Mapping[str, Any]
    tags: dict[str, str] = field(default_factory=dict)
    of_package: Mapping[str, Any] | None = None

    @property
    def container(self) -> Mapping[str, Any]:
        """The model's only container; for a model of a model package, with what the package says of it."""
        return self.of_package or self.given

    @property
    def given(self) -> Mapping[str, Any]:
        """The model's only container as the request defines it."""
        return self.request.get("PrimaryContainer") or self.request["Containers"][0]

    @property
    def role(self) -> str:
        """The ARN of the execution role."""
        return str(self.request["ExecutionRoleArn"])


@dataclass
class EndpointConfig:
    """An endpoint configuration: ``request`` is what CreateEndpointConfig was given."""

    name: str
    arn: str
    created: datetime
    request: Mapping[str, Any]
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def variants(self) -> list[Mapping[str, Any]]:
        return list(self.request["ProductionVariants"])


class State:
    """The records of one account and region, by name in lower case: SageMaker tells no names apart by case.

    ``lock`` is held while records are looked up to be changed.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.models: dict[str, Model] = {}
        self.configs: dict[str, EndpointConfig] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.jobs: dict[str, dict[str, JobRecord]] = {kind: {} for kind in JOBS}
        self.groups: dict[str, PackageGroup] = {}
        self.packages: dict[str, ModelPackage] = {}
        self.pipelines: dict[str, Pipeline] = {}

    @property
    def by_kind(self) -> Mapping[str, dict[str, Any]]:
        """The records of each kind of resource, as ARNs name it."""
        return {
            "model": self.models,
            "endpoint-config": self.configs,
            "endpoint": self.endpoints,
            "model-package-group": self.groups,
            "model-package": self.packages,
            "pipeline": self.pipelines,
            **self.jobs,
        }

    def close(self) -> None:
        """Stops everything that runs; called at reset."""
        with self.lock:
            endpoints, pipelines = list(self.endpoints.values()), list(self.pipelines.values())
            jobs = [job for of_kind in self.jobs.values() for job in of_kind.values()]
            for records in self.by_kind.values():
                records.clear()
        for pipeline in pipelines:
            pipeline.close()
        for job in jobs:
            job.stop()
        for endpoint in endpoints:
            endpoint.close()


#: Kind of resource in an ARN -> what error messages call it.
KINDS = {
    "model": "model",
    "endpoint-config": "endpoint configuration",
    "endpoint": "endpoint",
    "model-package-group": "model package group",
    "model-package": "model package",
    "pipeline": "pipeline",
    "training-job": "training job",
    "processing-job": "processing job",
    "transform-job": "transform job",
}

R = TypeVar("R")


def arn(call: Call, kind: str, name: str) -> str:
    """A resource's ARN: names stand in lower case in SageMaker's ARNs."""
    return f"arn:aws:sagemaker:{call.region}:{call.account}:{kind}/{name.lower()}"


def get(call: Call, records: Mapping[str, R], kind: str, name: str) -> R:
    """The record with a name, or the error that SageMaker answers when there is none."""
    record = records.get(name.lower())
    if record is None:
        raise AwsError("ValidationException", f'Could not find {KINDS[kind]} "{arn(call, kind, name)}".')
    return record


def add(call: Call, records: MutableMapping[str, R], kind: str, name: str, record: R) -> None:
    """Keeps a new record; the error that SageMaker answers when the name is taken."""
    refuse_existing(call, records, kind, name)
    records[name.lower()] = record


def refuse_existing(call: Call, records: Mapping[str, Any], kind: str, name: str) -> None:
    if name.lower() in records:
        raise AwsError(
            "ValidationException", f'Cannot create already existing {KINDS[kind]} "{arn(call, kind, name)}".'
        )
