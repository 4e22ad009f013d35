"""A script as a stranger would write it from Google Cloud's documentation: nothing in it knows of local clouds.

It trains two models, uploads them to regions of its own choice, moves aliases, serves both behind one endpoint and one
of them behind another, divides traffic, calls with curl's plain REST too, and reads metrics and logs. Exits non-zero
when a prediction is not the local model's or anything else is not as Google documents it.
"""

import json
import math
import pickle
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import google.auth
import google.auth.transport.requests
import joblib
import numpy as np
import requests
from google.api_core import exceptions
from google.cloud import aiplatform, logging, monitoring_v3, storage
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge

PROJECT, REGION, OTHER = "prices-of-houses", "europe-west4", "asia-northeast1"
IMAGE = "europe-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest"
rows = np.random.default_rng(11).normal(size=(200, 6))
prices = rows @ np.arange(1, 7) + 3
forest, line = RandomForestRegressor(n_estimators=20, random_state=1).fit(rows, prices), Ridge().fit(rows, prices)
equal = 0


def same(predictions, model) -> None:
    global equal
    assert np.allclose(predictions, model.predict(rows)), "predictions differ"
    equal += len(predictions)


def refused(kind, action, text: str) -> None:
    try:
        action()
    except kind as error:
        said = str(error)
    else:
        said = "nothing was raised"
    assert text in said, said


bucket = storage.Client(project=PROJECT).create_bucket("prices-of-houses-models", location="EU")
with tempfile.TemporaryDirectory() as folder:
    joblib.dump(forest, Path(folder, "model.joblib"))
    bucket.blob("forest/model.joblib").upload_from_filename(str(Path(folder, "model.joblib")))
bucket.blob("line/model.pkl").upload_from_string(pickle.dumps(line))

# One model with two versions, over gRPC.
aiplatform.init(project=PROJECT, location=REGION)
first = aiplatform.Model.upload(
    display_name="prices",
    model_id="prices",
    artifact_uri=f"gs://{bucket.name}/forest",
    serving_container_image_uri=IMAGE,
    labels={"team": "houses"},
    version_aliases=["champion"],
)
second = aiplatform.Model.upload(
    display_name="prices",
    parent_model="prices",
    is_default_version=False,
    artifact_uri=f"gs://{bucket.name}/line",
    serving_container_image_uri=IMAGE,
)
registry = aiplatform.models.ModelRegistry("prices")
registry.add_version_aliases(["champion"], second.version_id)
assert {each.version_id: sorted(each.version_aliases) for each in registry.list_versions()} == {
    "1": ["default"],
    "2": ["champion"],
}
assert aiplatform.Model("prices@champion").version_id == "2"
assert [each.name for each in aiplatform.Model.list(filter="labels.team=houses")] == ["prices"]

endpoint = aiplatform.Endpoint.create(display_name="prices", labels={"team": "houses"})
endpoint.deploy(first, machine_type="n1-standard-4", deployed_model_display_name="forest")
(forest_id,) = endpoint.traffic_split
same(endpoint.predict(rows.tolist()).predictions, forest)
endpoint.deploy(second, machine_type="n1-standard-4", traffic_split={"0": 30, forest_id: 70})
(line_id,) = set(endpoint.traffic_split) - {forest_id}
seen = Counter(endpoint.predict(rows[:1].tolist()).deployed_model_id for _ in range(300))
assert abs(seen[forest_id] - 210) < 4 * math.sqrt(300 * 0.7 * 0.3), seen
refused(exceptions.BadRequest, lambda: endpoint.update(traffic_split={forest_id: 70, line_id: 70}), "add up to 100")
endpoint.update(traffic_split={forest_id: 0, line_id: 100})
same(endpoint.predict(rows.tolist()).predictions, line)
refused(exceptions.FailedPrecondition, first.delete, "is deployed or being deployed at the following Endpoint(s)")
refused(exceptions.FailedPrecondition, lambda: endpoint.predict([[1.0], [2.0, 3.0]]), "Prediction failed")

# Another region, over REST; called with curl.
aiplatform.init(project=PROJECT, location=OTHER, api_transport="rest")
assert aiplatform.Model.list() == []
other = aiplatform.Model.upload(
    display_name="line", artifact_uri=f"gs://{bucket.name}/line", serving_container_image_uri=IMAGE
).deploy(machine_type="e2-standard-2", sync=True)
credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
credentials.refresh(google.auth.transport.requests.Request())
url = f"https://{OTHER}-aiplatform.googleapis.com/v1/{other.resource_name}"
body = json.dumps({"instances": rows.tolist()})
command = ["curl", "-sS", "-X", "POST", f"{url}:predict", "-d", "@-", "-H", "Content-Type: application/json"]
command += ["-H", f"Authorization: Bearer {credentials.token}"]
same(
    json.loads(subprocess.run(command, input=body, capture_output=True, text=True, check=True).stdout)["predictions"],
    line,
)
assert requests.post(f"{url}:predict", data=body, timeout=250).status_code == 401
same(other.raw_predict(body.encode(), {"Content-Type": "application/json"}).json()["predictions"], line)

# What was measured and logged.
now = int(time.time())
series = monitoring_v3.MetricServiceClient().list_time_series(
    request={
        "name": f"projects/{PROJECT}",
        "filter": 'metric.type = "aiplatform.googleapis.com/prediction/online/prediction_count" AND '
        f'resource.labels.endpoint_id = "{endpoint.name}"',
        "interval": {"start_time": {"seconds": now - 3600}, "end_time": {"seconds": now + 1}},
        "aggregation": {
            "alignment_period": {"seconds": 3600},
            "per_series_aligner": monitoring_v3.Aggregation.Aligner.ALIGN_DELTA,
            "cross_series_reducer": monitoring_v3.Aggregation.Reducer.REDUCE_SUM,
        },
    }
)
assert [point.value.int64_value for each in series for point in each.points] == [700]
entries = logging.Client(project=PROJECT).list_entries(
    filter_=f'resource.labels.endpoint_id="{endpoint.name}" AND severity>=ERROR'
)
# Cloud Audit Logs have entries of the endpoint too, with a message of their own kind.
texts = [entry.payload.get("message", "") for entry in entries]
assert any("inhomogeneous" in text for text in texts)

for each in (endpoint, other):
    each.undeploy_all()
    each.delete()
first.delete()
refused(
    exceptions.NotFound, lambda: aiplatform.Model(first.resource_name, location=REGION), "The Model does not exist."
)
print(f"{equal} predictions equal")
