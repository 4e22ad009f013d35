"""The second project on Google Cloud: a pipeline that retrains the churn model. Its tasks, points and hints."""

from __future__ import annotations

from labkit.labs.beginner.gcp_cloud import explain, whoami
from labkit.labs.intermediate import gcp_access, gcp_checks, gcp_gate, gcp_schedule
from labkit.labs.task import Definition, Task

LAB = Definition(
    name="intermediate/gcp",
    title="A pipeline that retrains the churn model, on Google Cloud",
    cloud="Google Cloud",
    whoami=whoami,
    explain=explain,
    tasks=(
        Task(
            "role",
            "An account with just enough",
            points=10,
            check=gcp_access.role,
            hints=(
                "three calls: create_service_account, and for each policy get_iam_policy and set_iam_policy",
                'accounts.create_service_account(request={"name": f"projects/{project}", "account_id": ...})',
                (
                    'policy.bindings.append({"role": "roles/storage.objectAdmin", "members": {member}}) in the '
                    "bucket's; policy.bindings.add(role=\"roles/aiplatform.user\", members=[member]) in the project's"
                ),
            ),
        ),
        Task(
            "evaluate",
            "Write the step that measures",
            points=10,
            check=gcp_checks.evaluate,
            hints=(
                "scores = pipeline.predict(rows), with the rows as one array and without the column churn",
                "np.array(customers.drop(columns='churn').to_numpy().tolist()) are the rows",
                '(Path(report.path) / "metrics.json").write_text(json.dumps({"auc": auc}))',
            ),
            in_files=True,
        ),
        Task(
            "gate",
            "Put a gate before the registry",
            points=20,
            check=gcp_checks.gate,
            hints=(
                "dsl.If is used with with: what is called below it belongs to the branch",
                gcp_gate.HINT,
                'steps["register"](model=trained.outputs["model"], name=model_name, region=region, auc=auc)',
            ),
            in_files=True,
        ),
        Task(
            "refused",
            "See a model refused",
            points=10,
            check=gcp_checks.refused,
            hints=(
                "begin takes the parameters by name and returns the run; finished waits for its end",
                'refused = begin(data=history, kind="linear"), then finished(refused)',
            ),
        ),
        Task(
            "registered",
            "See a model registered",
            points=10,
            check=gcp_checks.registered,
            hints=(
                "the forest is the default: the pipeline needs only data",
                "registered = begin(data=history), then finished(registered)",
            ),
        ),
        Task(
            "trigger",
            "Start it from a terminal",
            points=5,
            check=gcp_checks.trigger,
            hints=(
                "curl takes --request POST, --header twice, --data @file and the URL in quotes",
                (
                    'curl --request POST --header "Authorization: Bearer $token" '
                    '--header "Content-Type: application/json" --data @$request_file "$url"'
                ),
            ),
        ),
        Task(
            "schedule",
            "Let it run every month",
            points=10,
            check=gcp_schedule.schedule,
            hints=(
                "job.create_schedule takes display_name, cron, max_concurrent_run_count and service_account",
                'parameter_values={"data": months} and enable_caching=False in PipelineJob(...)',
                'cron="TZ=Europe/Berlin 0 6 1 * *"',
            ),
        ),
        Task(
            "approve",
            "Make a version the champion and deploy it",
            points=10,
            check=gcp_checks.approve,
            hints=(
                "three calls: add_version_aliases, Endpoint.create, endpoint.deploy",
                (
                    'made = tasks_of(registered)["register"].execution.metadata["output:Output"] is ID@VERSION; '
                    'aiplatform.models.ModelRegistry(model=ID).add_version_aliases(["champion"], version=VERSION)'
                ),
                (
                    'endpoint.deploy(aiplatform.Model("ID@champion"), machine_type="n1-standard-2", '
                    "traffic_percentage=100)"
                ),
            ),
        ),
        Task(
            "failure",
            "Say why a run failed",
            points=10,
            check=gcp_checks.failure,
            hints=(
                "the run's error only names the task; the log of the task's job has its own words",
                'json.dumps({"step": step, "reason": lines[-1]})',
            ),
        ),
        Task(
            "cleanup",
            "Leave nothing behind",
            points=5,
            check=gcp_access.cleanup,
            hints=(
                "delete in the reverse order of creation: endpoint, model, schedule, runs, job, account, bucket",
                "a run has to end before it can be deleted; take the account out of the policies before it goes",
            ),
            after_cleanup=True,
        ),
    ),
)
