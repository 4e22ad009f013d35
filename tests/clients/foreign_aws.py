"""A script as a stranger would write it from AWS's documentation: nothing in it knows of local clouds.

It uses boto3 and requests, names of its own, its own model, and signs a request by hand. Exits non-zero when the
endpoint's predictions are not those of the model in this process.
"""

import datetime
import hashlib
import hmac
import io
import json
import os
import tarfile
import tempfile
import time

import boto3
import joblib
import numpy as np
import requests
from sklearn.datasets import make_regression
from sklearn.linear_model import Ridge

REGION = "eu-central-1"
IMAGE = "492215442770.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
BUCKET = "sagemaker-herbarium-2207"

INFERENCE = """
import json, os
import joblib, numpy as np

def model_fn(model_dir):
    print("loading ridge")
    return joblib.load(os.path.join(model_dir, "ridge.joblib"))

def input_fn(request_body, request_content_type):
    if request_content_type == "application/json":
        return np.array(json.loads(request_body)["instances"])
    raise ValueError("unsupported: " + request_content_type)

def predict_fn(data, model):
    return model.predict(data)

def output_fn(prediction, accept):
    return json.dumps({"predictions": prediction.tolist()}), accept
"""


def sign(key, message):
    return hmac.new(key, message.encode(), hashlib.sha256).digest()


def post_signed(url, host, path, body):
    """Signature version 4 as its documentation spells it out."""
    access, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    now = datetime.datetime.now(datetime.UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    signed = "content-type;host;x-amz-date"
    headers = f"content-type:application/json\nhost:{host}\nx-amz-date:{stamp}\n"
    canonical = "\n".join(["POST", path, "", headers, signed, digest])
    scope = f"{day}/{REGION}/sagemaker/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = sign(sign(sign(sign(("AWS4" + secret).encode(), day), REGION), "sagemaker"), "aws4_request")
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    authorization = f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={signed}, Signature={signature}"
    sent = {"Content-Type": "application/json", "X-Amz-Date": stamp, "Authorization": authorization}
    return requests.post(url, data=body, headers=sent, timeout=250)


def main():
    x, y = make_regression(n_samples=600, n_features=7, noise=3.0, random_state=11)
    model = Ridge(alpha=0.3).fit(x[:400], y[:400])
    rows = x[400:600]

    folder = tempfile.mkdtemp()
    joblib.dump(model, os.path.join(folder, "ridge.joblib"))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(os.path.join(folder, "ridge.joblib"), arcname="ridge.joblib")
        code = tarfile.TarInfo("code/inference.py")
        code.size = len(INFERENCE.encode())
        tar.addfile(code, io.BytesIO(INFERENCE.encode()))

    session = boto3.Session(region_name=REGION)
    s3, iam, sm = session.client("s3"), session.client("iam"), session.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.upload_fileobj(io.BytesIO(archive.getvalue()), BUCKET, "ridge/v1/model.tar.gz")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    role = iam.create_role(RoleName="HerbariumRole", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.attach_role_policy(RoleName="HerbariumRole", PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")

    sm.create_model(
        ModelName="ridge-7f",
        ExecutionRoleArn=role,
        PrimaryContainer={
            "Image": IMAGE,
            "ModelDataUrl": f"s3://{BUCKET}/ridge/v1/model.tar.gz",
            "Environment": {
                "SAGEMAKER_PROGRAM": "inference.py",
                "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                "SAGEMAKER_REGION": REGION,
            },
        },
    )
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": "ridge-7f",
        "InitialInstanceCount": 2,
        "InstanceType": "ml.c5.large",
        "InitialVariantWeight": 1,
    }
    sm.create_endpoint_config(EndpointConfigName="ridge-7f-cfg", ProductionVariants=[variant])
    sm.create_endpoint(EndpointName="petal-length", EndpointConfigName="ridge-7f-cfg")
    sm.get_waiter("endpoint_in_service").wait(EndpointName="petal-length")

    body = json.dumps({"instances": rows.tolist()}).encode()
    runtime = session.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(
        EndpointName="petal-length", ContentType="application/json", Accept="application/json", Body=body
    )
    got = json.loads(answer["Body"].read())["predictions"]
    np.testing.assert_allclose(got, model.predict(rows), rtol=1e-12)
    assert answer["InvokedProductionVariant"] == "AllTraffic"

    host, path = f"runtime.sagemaker.{REGION}.amazonaws.com", "/endpoints/petal-length/invocations"
    raw = post_signed(f"https://{host}{path}", host, path, body)
    assert raw.status_code == 200, raw.text
    np.testing.assert_allclose(raw.json()["predictions"], model.predict(rows), rtol=1e-12)

    unsigned = requests.post(f"https://{host}{path}", data=body, timeout=250)
    assert unsigned.status_code == 403, unsigned.status_code

    logs = session.client("logs").filter_log_events(logGroupName="/aws/sagemaker/Endpoints/petal-length")["events"]
    assert any("loading ridge" in event["message"] for event in logs), logs

    now = time.time()
    figures = session.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="ModelLatency",
        Dimensions=[
            {"Name": "EndpointName", "Value": "petal-length"},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        StartTime=now - 600,
        EndTime=now + 60,
        Period=60,
        ExtendedStatistics=["p50", "p99"],
    )["Datapoints"]
    assert figures, "no latency was measured"
    assert all(0 < f["ExtendedStatistics"]["p50"] <= f["ExtendedStatistics"]["p99"] for f in figures)

    sm.delete_endpoint(EndpointName="petal-length")
    sm.delete_endpoint_config(EndpointConfigName="ridge-7f-cfg")
    sm.delete_model(ModelName="ridge-7f")
    assert sm.list_endpoints()["Endpoints"] == []
    print("200 predictions equal")


if __name__ == "__main__":
    main()
