"""The second project on AWS: a pipeline that retrains the churn model. Its tasks, their points and their hints."""

from __future__ import annotations

from labkit.labs.beginner.aws_checks import explain, whoami
from labkit.labs.intermediate import aws_account, aws_checks, aws_gate, aws_schedule
from labkit.labs.task import Definition, Task

LAB = Definition(
    name="intermediate/aws",
    title="A pipeline that retrains the churn model, on AWS",
    cloud="AWS",
    whoami=whoami,
    explain=explain,
    tasks=(
        Task(
            "role",
            "Two roles with just enough",
            points=10,
            check=aws_account.role,
            hints=(
                "make_role takes a name, the service that may assume the role, and a list of statements",
                (
                    "whoever starts a job hands it a role: without iam:PassRole on its own ARN, the pipeline cannot "
                    "hand over even the role that it acts as"
                ),
                aws_account.PASS_ITSELF,
            ),
        ),
        Task(
            "evaluate",
            "Write the step that measures",
            points=10,
            check=aws_checks.evaluate,
            hints=(
                "predict_proba has two columns; the second is the probability of leaving",
                "roc_auc_score(left, scores), roc_curve(left, scores)",
                (
                    'metrics = {"binary_classification_metrics": {"auc": {"value": ...}, '
                    '"receiver_operating_characteristic_curve": {"false_positive_rates": [...], '
                    '"true_positive_rates": [...]}}}'
                ),
            ),
            in_files=True,
        ),
        Task(
            "gate",
            "Put a gate before the registry",
            points=20,
            check=aws_checks.gate,
            hints=(
                "a condition step has conditions, steps for when all of them hold, and steps for when they do not",
                aws_gate.HINT,
                "Pipeline(name=..., parameters=parameters, steps=[prepare, train, evaluate, gate], ...).upsert(...)",
            ),
        ),
        Task(
            "refused",
            "See a model refused",
            points=10,
            check=aws_checks.refused,
            hints=(
                "start takes the parameters by name and returns the execution's ARN; finished waits for its end",
                'refused = start(Model="logistic"), then finished(refused)',
            ),
        ),
        Task(
            "registered",
            "See a model registered",
            points=10,
            check=aws_checks.registered,
            hints=(
                "boosting is the default: the pipeline needs no parameters for it",
                "registered = start(), then finished(registered)",
            ),
        ),
        Task(
            "trigger",
            "Start it from a terminal",
            points=5,
            check=aws_checks.trigger,
            hints=(
                "aws sagemaker start-pipeline-execution help lists the options",
                (
                    "aws sagemaker start-pipeline-execution --pipeline-name churn-monthly "
                    "--pipeline-execution-display-name from-the-shell --pipeline-parameters Name=Iterations,Value=100"
                ),
            ),
        ),
        Task(
            "schedule",
            "Let it run every month",
            points=10,
            check=aws_schedule.schedule,
            hints=(
                (
                    "scheduler.create_schedule takes Name, ScheduleExpression, ScheduleExpressionTimezone, "
                    "FlexibleTimeWindow and Target"
                ),
                "a target is an Arn, a RoleArn and, for a pipeline, SageMakerPipelineParameters",
                ('"SageMakerPipelineParameters": {"PipelineParameterList": [{"Name": "InputData", "Value": months}]}'),
            ),
        ),
        Task(
            "approve",
            "Approve a version and deploy it",
            points=10,
            check=aws_checks.approve,
            hints=(
                "four calls: update_model_package, create_model, create_endpoint_config, create_endpoint",
                (
                    "Containers=[{'ModelPackageName': package}] in create_model: image, model and environment come "
                    "from the version"
                ),
            ),
        ),
        Task(
            "failure",
            "Say why a run failed",
            points=10,
            check=aws_checks.failure,
            hints=(
                "the step's FailureReason only points to the log; the log has the job's own words",
                'json.dumps({"step": step["StepName"], "reason": lines[-1]["message"]})',
            ),
        ),
        Task(
            "cleanup",
            "Leave nothing behind",
            points=5,
            check=aws_account.cleanup,
            hints=(
                "delete in the reverse order of creation: endpoint, schedule, versions, pipeline, roles, bucket",
                (
                    "a group goes only when its versions have gone, a role when its policies have, a bucket when it is "
                    "empty; log groups outlive their jobs"
                ),
            ),
            after_cleanup=True,
        ),
    ),
)
