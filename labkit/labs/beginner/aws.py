"""The first project on AWS: a churn model behind a SageMaker endpoint. Its tasks, their points and their hints."""

from __future__ import annotations

from labkit.labs.beginner import aws_checks, churn
from labkit.labs.task import Definition, Task

LAB = Definition(
    name="beginner/aws",
    title="A churn model behind an API, on AWS",
    cloud="AWS",
    whoami=aws_checks.whoami,
    explain=aws_checks.explain,
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
            "inference",
            "Write what the container calls",
            points=15,
            check=aws_checks.inference,
            hints=(
                "model_fn gets the folder in which model.tar.gz was unpacked; input_fn gets the body as text",
                (
                    'both formats become the same table: json.loads(body)["instances"] into pd.DataFrame for '
                    "application/json, pd.read_csv(io.StringIO(body)) for text/csv"
                ),
                "the container's own input_fn would turn every value into float32, which 'KS' and 'yes' are not",
            ),
            in_files=True,
        ),
        Task(
            "package",
            "Pack model.tar.gz",
            points=10,
            check=aws_checks.package,
            hints=(
                "the model lies at the top of the archive, the code in a folder named code",
                "tarfile.open(file, 'w:gz'), then archive.add(source, arcname='code/inference.py')",
            ),
            in_files=True,
        ),
        Task(
            "upload",
            "Make a private bucket and upload",
            points=10,
            check=aws_checks.upload,
            hints=(
                "three calls: create_bucket, put_public_access_block, upload_file",
                "put_public_access_block takes four settings, all True",
                "s3.upload_file(str(build / 'model.tar.gz'), bucket, 'models/churn/model.tar.gz')",
            ),
        ),
        Task(
            "role",
            "Give SageMaker a role with just enough",
            points=15,
            check=aws_checks.role,
            hints=(
                "two documents: the trust policy says who may take the role, the permissions policy what it may do",
                (
                    "the container reads one object, writes logs below /aws/sagemaker/Endpoints/, publishes metrics "
                    "and pulls its image"
                ),
                (
                    "iam.create_role(RoleName=..., AssumeRolePolicyDocument=json.dumps(trust)), then "
                    "iam.put_role_policy(RoleName=..., PolicyName=..., PolicyDocument=json.dumps(permissions))"
                ),
            ),
        ),
        Task(
            "endpoint",
            "Model, endpoint configuration, endpoint",
            points=15,
            check=aws_checks.endpoint,
            hints=(
                "create_model, create_endpoint_config, create_endpoint: each names what the one before it made",
                (
                    "PrimaryContainer takes Image and ModelDataUrl; a production variant takes VariantName, ModelName, "
                    "InstanceType and InitialInstanceCount"
                ),
                "when the status is Failed, describe_endpoint has the FailureReason and the logs have the traceback",
            ),
        ),
        Task(
            "rest",
            "Call it without the SDK",
            points=10,
            check=aws_checks.rest,
            hints=(
                "a signature is computed over method, URL, headers and body: sign exactly what you send",
                (
                    'AWSRequest(method="POST", url=url, data=body, headers=...), then '
                    'SigV4Auth(credentials, "sagemaker", region).add_auth(request) puts it into request.headers'
                ),
            ),
        ),
        Task(
            "policies",
            "Write down who may do what",
            points=10,
            check=aws_checks.policies,
            hints=(
                "the caller needs one action on one ARN",
                "creating a model hands the role to SageMaker, which takes iam:PassRole on that role and on no other",
                "models have a time in their names: arn:aws:sagemaker:REGION:ACCOUNT:model/churn-* covers them",
            ),
        ),
        Task(
            "cleanup",
            "Leave nothing behind",
            points=5,
            check=aws_checks.cleanup,
            hints=(
                "delete in the reverse order of creation; a bucket must be empty before it goes",
                (
                    'models and configurations have a time in their names: list_models(NameContains="churn-") finds '
                    "them; log groups outlive their endpoints"
                ),
            ),
            after_cleanup=True,
        ),
    ),
)
