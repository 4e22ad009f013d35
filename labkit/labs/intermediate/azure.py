"""The second project on Azure: a pipeline that retrains the churn model. Its tasks, their points and their hints."""

from __future__ import annotations

from labkit.labs.beginner.azure_checks import explain, whoami
from labkit.labs.intermediate import azure_account, azure_checks, azure_schedule
from labkit.labs.task import Definition, Task

LAB = Definition(
    name="intermediate/azure",
    title="A pipeline that retrains the churn model, on Azure",
    cloud="Azure",
    whoami=whoami,
    explain=explain,
    tasks=(
        Task(
            "role",
            "An identity with just enough",
            points=10,
            check=azure_account.role,
            hints=(
                "a version of a model is read with .../models/versions/read and made with .../models/versions/write",
                "make_role(role_name, actions) makes the role, give(role_name, workspace.id) gives it",
                'give("Storage Blob Data Reader", container_id) is the other one',
            ),
        ),
        Task(
            "evaluate",
            "Write the step that measures",
            points=10,
            check=azure_checks.evaluate,
            hints=(
                "predict_proba has two columns; the second is the probability of leaving",
                "roc_auc_score(left, scores), roc_curve(left, scores)",
                'metrics = {"auc": ..., "false_positive_rates": [...], "true_positive_rates": [...]}',
            ),
            in_files=True,
        ),
        Task(
            "gate",
            "Put a gate before the registry",
            points=20,
            check=azure_checks.gate,
            hints=(
                "what needs the gate's output cannot start before the gate has let the model pass",
                (
                    'step("gate", "--report ${{inputs.report}} --threshold ${{inputs.threshold}} --passed '
                    '${{outputs.passed}}", {"report": folder, "threshold": Input(type="number")}, '
                    '{"passed": Output(type="uri_folder")}) makes the component'
                ),
                "gate = gate_step(report=evaluate.outputs.report, threshold=auc_threshold)",
                "register_step(model=train.outputs.model, passed=gate.outputs.passed, name=model_name)",
            ),
        ),
        Task(
            "refused",
            "See a model refused",
            points=10,
            check=azure_checks.refused,
            hints=(
                "begin takes the parameters by name and returns the job; finished waits for its end",
                'refused = begin(kind="linear"), then print(finished(refused))',
            ),
        ),
        Task(
            "registered",
            "See a model registered",
            points=10,
            check=azure_checks.registered,
            hints=(
                "the forest is the default: the pipeline needs no parameters for it",
                "registered = begin(), then print(finished(registered))",
            ),
        ),
        Task(
            "trigger",
            "Start it from a terminal",
            points=5,
            check=azure_checks.trigger,
            hints=(
                "curl takes --request PUT, --header once for each header, and --data @FILE for a body from a file",
                (
                    '!curl --silent --request PUT "$URL" --data @azure/build/job.json --header "Content-Type: '
                    'application/json" --header "Authorization: Bearer $TOKEN"'
                ),
            ),
        ),
        Task(
            "schedule",
            "Let it run every month",
            points=10,
            check=azure_schedule.schedule,
            hints=(
                "a JobSchedule has a name, a trigger and create_job; begin_create_or_update(...).result() makes it",
                (
                    'RecurrenceTrigger(frequency="month", interval=1, schedule=RecurrencePattern(month_days=1, '
                    'hours=6, minutes=0), time_zone="W. Europe Standard Time")'
                ),
                "job.settings.force_rerun = True, before the schedule is made",
            ),
        ),
        Task(
            "approve",
            "Approve a version and deploy it",
            points=10,
            check=azure_checks.approve,
            hints=(
                "four steps: the version's stage and tag, the endpoint, the deployment, the traffic",
                (
                    'champion.stage = "Production", champion.tags["approved"] = "why", then '
                    "champion = ml.models.create_or_update(champion)"
                ),
                (
                    'ManagedOnlineDeployment(name="blue", endpoint_name=endpoint_name, model=champion, '
                    "environment=environment, code_configuration=code, instance_type=machine, instance_count=1)"
                ),
                'endpoint.traffic = {"blue": 100}, then ml.online_endpoints.begin_create_or_update(endpoint).result()',
            ),
        ),
        Task(
            "failure",
            "Say why a run failed",
            points=10,
            check=azure_checks.failure,
            hints=(
                "the run's message only names the step; the step's log has its own words",
                '{"step": child.display_name, "reason": lines[-1]}, written with json.dumps',
            ),
        ),
        Task(
            "cleanup",
            "Leave nothing behind",
            points=5,
            check=azure_account.cleanup,
            hints=(
                "begin with the endpoint; a schedule is deleted when it is disabled, a role when nobody has it",
                (
                    "ml.models.archive(model_name, version) archives one version; ml.components and ml.environments "
                    "have the same"
                ),
            ),
            after_cleanup=True,
        ),
    ),
)
