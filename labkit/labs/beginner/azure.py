"""The first project on Azure: a churn model behind a managed online endpoint. Its tasks, points and hints."""

from __future__ import annotations

from labkit.labs.beginner import azure_checks, churn
from labkit.labs.task import Definition, Task

LAB = Definition(
    name="beginner/azure",
    title="A churn model behind an API, on Azure",
    cloud="Azure",
    whoami=azure_checks.whoami,
    explain=azure_checks.explain,
    tasks=(
        Task(
            "train",
            "Train a model that passes the gate",
            points=10,
            check=churn.train,
            hints=churn.TRAIN_HINTS,
            in_files=True,
        ),
        Task(
            "score",
            "Write what the server calls",
            points=15,
            check=azure_checks.score,
            hints=(
                "init runs once and keeps the model in a global variable; run gets the body of each request as text",
                'joblib.load(os.path.join(os.environ["AZUREML_MODEL_DIR"], "churn.joblib")) loads the model',
                (
                    'pd.DataFrame(json.loads(body)["instances"]) is the table; return a dictionary, since the server '
                    "writes it as JSON"
                ),
            ),
            in_files=True,
        ),
        Task(
            "register",
            "Register the model",
            points=10,
            check=azure_checks.register,
            hints=(
                "ml.models.create_or_update takes a Model, uploads its file and gives it the next version",
                'Model(name="churn", path=build / "churn.joblib", type="custom_model", tags={"auc": f"{auc:.3f}"})',
            ),
        ),
        Task(
            "environment",
            "Say what the code needs",
            points=10,
            check=azure_checks.environment,
            hints=(
                "a conda file lists the packages; here it is a dictionary with channels and dependencies",
                "f\"scikit-learn=={version('scikit-learn')}\" pins a package to the version that is installed here",
                'ml.environments.create_or_update(Environment(name="churn-env", image=image, conda_file=conda))',
            ),
        ),
        Task(
            "endpoint",
            "Make the endpoint",
            points=10,
            check=azure_checks.endpoint,
            hints=(
                "every begin_... returns a poller, and its result() waits",
                'ManagedOnlineEndpoint(name=endpoint_name, auth_mode="key") goes to begin_create_or_update',
            ),
        ),
        Task(
            "deployment",
            "Deploy, and send it the traffic",
            points=15,
            check=azure_checks.deployment,
            hints=(
                "two changes, each with a wait: the deployment, then the endpoint's traffic",
                (
                    'ManagedOnlineDeployment(name="blue", endpoint_name=endpoint_name, model=registered, '
                    "environment=environment, code_configuration=code, instance_type=..., instance_count=1)"
                ),
                'endpoint.traffic = {"blue": 100}, then ml.online_endpoints.begin_create_or_update(endpoint).result()',
            ),
        ),
        Task(
            "rest",
            "Call it without the SDK",
            points=10,
            check=azure_checks.rest,
            hints=(
                "a key and a token go into the same header, Authorization, as Bearer and then the secret",
                'DefaultAzureCredential().get_token("https://ml.azure.com/.default").token is the token',
            ),
        ),
        Task(
            "roles",
            "Write down who may do what",
            points=15,
            check=azure_checks.roles,
            hints=(
                "the caller needs one action, and the scope of the assignment says on which endpoint",
                "an action is provider/kind/verb, such as Microsoft.MachineLearningServices/workspaces/models/read",
                (
                    "the deployer writes versions of models, environments and codes, and reads, writes and deletes "
                    "onlineEndpoints and onlineEndpoints/deployments"
                ),
            ),
            in_files=True,
        ),
        Task(
            "cleanup",
            "Leave nothing behind",
            points=5,
            check=azure_checks.cleanup,
            hints=(
                "an endpoint takes its deployments with it: ml.online_endpoints.begin_delete(name).wait()",
                'for each version in ml.models.list("churn"): ml.models.archive("churn", version.version)',
                "a role can be deleted when nobody has it: the applications and the assignments go first",
            ),
            after_cleanup=True,
        ),
    ),
)
