"""The first project on Google Cloud: a churn model behind a Vertex AI endpoint. Its tasks, points and hints."""

from __future__ import annotations

from labkit.labs.beginner import churn, gcp_checks, gcp_cloud
from labkit.labs.task import Definition, Task

LAB = Definition(
    name="beginner/gcp",
    title="A churn model behind an API, on Google Cloud",
    cloud="Google Cloud",
    whoami=gcp_cloud.whoami,
    explain=gcp_cloud.explain,
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
            "container",
            "Make it fit the container",
            points=15,
            check=gcp_checks.container,
            hints=(
                "choose columns by position: make_column_transformer takes lists of numbers as well as of names",
                (
                    "text_at goes to an OrdinalEncoder, numbers_at to "
                    'FunctionTransformer(np.asarray, kw_args={"dtype": float})'
                ),
                (
                    "RandomForestRegressor(min_samples_leaf=3) learns y_train as 0 and 1, so its predict answers "
                    'probabilities; joblib.dump(served, build / "model.joblib") saves the pipeline'
                ),
            ),
            in_files=True,
        ),
        Task(
            "upload",
            "Make a private bucket and upload",
            points=10,
            check=gcp_checks.upload,
            hints=(
                "set the two attributes of bucket.iam_configuration first, then bucket.create(location=region)",
                (
                    'public_access_prevention is the text "enforced", uniform_bucket_level_access_enabled is True; '
                    "after a bucket has been made, bucket.patch() sends what has changed"
                ),
                'bucket.blob(f"{folder}/model.joblib").upload_from_filename(build / "model.joblib")',
            ),
        ),
        Task(
            "register",
            "Put it into the Model Registry",
            points=15,
            check=gcp_checks.register,
            hints=(
                "aiplatform.Model.upload takes the folder, the image, labels and version_aliases",
                'artifact_uri=f"gs://{bucket_name}/{folder}", serving_container_image_uri=image',
                'labels={"team": "retention"}, version_aliases=["champion"]',
            ),
        ),
        Task(
            "endpoint",
            "Endpoint and deployed model",
            points=15,
            check=gcp_checks.endpoint,
            hints=(
                "aiplatform.Endpoint.create(display_name=...), then registered.deploy(endpoint=endpoint, ...)",
                (
                    'deploy takes machine_type="n1-standard-2", min_replica_count=1, traffic_percentage=100 and '
                    "service_account=account"
                ),
                "when deploy raises, the container did not start: Cloud Logging has the traceback (section 11)",
            ),
        ),
        Task(
            "rest",
            "Call it without the SDK",
            points=10,
            check=gcp_checks.rest,
            hints=(
                "three lines: get the credentials, refresh them, and return the header",
                (
                    'google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"]) returns the '
                    'credentials and the project; the header is {"Authorization": f"Bearer {credentials.token}"}'
                ),
            ),
        ),
        Task(
            "access",
            "Write down who may do what",
            points=20,
            check=gcp_checks.access,
            hints=(
                "the table above the cell says which role which account needs on which resource",
                'write_policy("project", {"roles/aiplatform.user": [member("deployer")]}) writes one of the four',
                (
                    "the role that a deployer needs to hand an account to a model is bound on that account: "
                    'write_policy("account", {"roles/iam.serviceAccountUser": [member("deployer")]})'
                ),
            ),
            in_files=True,
        ),
        Task(
            "cleanup",
            "Leave nothing behind",
            points=5,
            check=gcp_checks.cleanup,
            hints=(
                "delete in the reverse order of creation: endpoint, models, bucket, service accounts",
                "endpoint.delete(force=True) undeploys its models first; bucket.delete(force=True) deletes its objects",
            ),
            after_cleanup=True,
        ),
    ),
)
