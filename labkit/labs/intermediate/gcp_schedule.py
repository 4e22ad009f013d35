"""Checks the monthly schedule of ``intermediate/gcp``: when it fires, what it starts and as whom."""

from __future__ import annotations

from labkit.cloud.engine import expressions
from labkit.cloud.engine.errors import CloudError
from labkit.labs.beginner.churn import quoted
from labkit.labs.beginner.gcp_cloud import Resource
from labkit.labs.intermediate import gcp_gate, retraining
from labkit.labs.intermediate.gcp_checks import check_run
from labkit.labs.intermediate.gcp_project import PIPELINE, SCHEDULE, Project, Run
from labkit.labs.intermediate.retraining import HOUR, ZONE
from labkit.labs.task import NotAttempted, Work, Wrong

CRON = f"TZ={ZONE} 0 {HOUR} 1 * *"


def schedule(_: Work) -> str:
    """The schedule starts the pipeline on the first of each month, on fresh data; what was due has been started."""
    project = Project()
    expected = f"the schedule {SCHEDULE}: {CRON}"
    found = project.named("schedules", SCHEDULE)
    if not found:
        raise NotAttempted(f"no schedule named {SCHEDULE}", expected)
    plan = found[0]
    _check_time(plan, expected)
    job = Run(plan["createPipelineJobRequest"]["pipelineJob"])
    data = str(job.parameter("data"))
    if data.rstrip("/") != project.months:
        raise Wrong(f"runs with data={data}", f"data={project.months}", 'parameter_values={"data": months}')
    check_run(project, job, "create_schedule(service_account=account): what it starts acts as that account")
    if gcp_gate.cached(job.described["pipelineSpec"], ["prepare"]):
        raise Wrong(
            "runs whose prepare may come from the cache",
            "runs that read the months that are there",
            "PipelineJob takes enable_caching=False: the folder's name is the same each month, its files are not",
        )
    started = int(plan.get("startedRunCount", 0))
    if not started:
        if said := plan.get("lastScheduledRunResponse", {}).get("runResponse"):
            hint = "it starts the run as the account in its request, which has to be there: the task role comes first"
            raise Wrong(f"a schedule that was due and started nothing ({quoted(said)})", "a run each month", hint)
        if plan["state"] != "ACTIVE":
            raise Wrong(f"a schedule that is {plan['state']} and has never started anything", "one that is ACTIVE")
    fired = f"; it has started {started} run{'s' if started != 1 else ''}" if started else ""
    return f"{plan['cron']}, which starts {PIPELINE}{fired}"


def _check_time(plan: Resource, expected: str) -> None:
    cron = str(plan.get("cron", ""))
    try:
        expression, place = expressions.cron_in_zone(cron)
    except CloudError as error:
        raise Wrong(f"the schedule {cron!r} ({error})", expected) from None
    if place.key != ZONE:
        raise Wrong(f"a schedule in the time zone {place.key}", ZONE, f"the expression begins with TZ={ZONE}")
    hint = "the fields are minutes, hours, day of the month, month and day of the week"
    retraining.check_monthly(lambda at: expression.next(at, place), cron, expected, hint)
    if str(plan.get("maxConcurrentRunCount")) != "1":
        raise Wrong(f"up to {plan.get('maxConcurrentRunCount')} runs at a time", "one", "max_concurrent_run_count=1")
    if most := int(plan.get("maxRunCount", 0)):
        raise Wrong(
            f"a schedule that ends after {most} run{'s' if most != 1 else ''}",
            "one without an end",
            "leave max_run_count out",
        )
    if "endTime" in plan:
        raise Wrong(f"a schedule that ends on {plan['endTime'][:10]}", "one without an end", "leave end_time out")
