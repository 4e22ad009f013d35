"""Managed spot training: the job's container on a machine that may be taken away, and again on the next.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html
"""

from __future__ import annotations

from collections.abc import Callable

from labkit.cloud.aws.sagemaker_jobs import JobFailed, JobRecord
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.engine.jobs import Job as Process
from labkit.cloud.engine.jobs import JobSpec
from labkit.cloud.engine.spot import Pool, SpotOutcome, SpotRun


def run(job: JobRecord, spec: JobSpec, renew: Callable[[], None]) -> SpotOutcome:
    """Runs a job's container on spot capacity to its end; raises :class:`JobFailed` when it cannot start.

    ``renew`` makes the machine's folders as a new machine has them; it is called before each attempt but the first.
    """
    place = job.place
    pool = Pool("aws", job.request["ResourceConfig"].get("InstanceType", ""), f"{place.region}a")

    def start(attempt: int) -> Process:
        if attempt > 1:
            job.change("InProgress", "Interrupted", "Training job interrupted: its spot instance was taken away")
            job.change("InProgress", "Starting", "Launching requested ML instances")
            renew()
            job.change("InProgress", "Training", "Training image download completed. Training in progress.")
        try:
            return place.engine.jobs.start(spec)
        except CloudError as error:
            raise JobFailed(f"ClientError: {error.message}") from None

    longest = float(job.request["StoppingCondition"]["MaxWaitTimeInSeconds"])
    spot = SpotRun(job.name, pool, place.engine.clock, start, max_wait=longest, grace=spec.stop_grace)
    job.attach(spot)
    outcome = spot.run()
    place.engine.launcher.catch_up()
    return outcome
