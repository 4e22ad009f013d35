"""A stranger's script: pipelines, experiments and custom jobs of Vertex AI, with the unmodified SDK and KFP.

Run it with ``labkit exec --fresh -- python tests/clients/foreign_gcp_pipelines.py``.
"""

import os
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

from google.cloud import aiplatform, storage  # noqa: E402 after the warnings are off
from kfp import compiler, dsl  # noqa: E402

PROJECT, REGION = os.environ["GOOGLE_CLOUD_PROJECT"], "europe-west4"
BUCKET = f"{PROJECT}-stranger-pipelines"


@dsl.component(base_image="python:3.11", packages_to_install=["scikit-learn", "pandas"])
def fit(rows: int, depth: int, model: dsl.Output[dsl.Model], scores: dsl.Output[dsl.Metrics]) -> float:
    import os

    import joblib
    from sklearn.datasets import make_classification
    from sklearn.tree import DecisionTreeClassifier

    features, label = make_classification(n_samples=rows, random_state=1)
    tree = DecisionTreeClassifier(max_depth=depth, random_state=1).fit(features, label)
    os.makedirs(model.path, exist_ok=True)
    joblib.dump(tree, os.path.join(model.path, "model.joblib"))
    accuracy = float(tree.score(features, label))
    scores.log_metric("accuracy", accuracy)
    return accuracy


@dsl.component(base_image="python:3.11", packages_to_install=["google-cloud-aiplatform"])
def register(model: dsl.Input[dsl.Model], region: str, name: str) -> str:
    from google.cloud import aiplatform

    aiplatform.init(location=region)
    known = aiplatform.Model.list(filter=f'display_name="{name}"')
    uploaded = aiplatform.Model.upload(
        display_name=name,
        artifact_uri=model.uri,
        parent_model=known[0].resource_name if known else None,
        version_aliases=["candidate"],
        serving_container_image_uri="us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest",
    )
    return f"{uploaded.resource_name}@{uploaded.version_id}"


@dsl.pipeline(name="stranger-tree")
def tree(rows: int = 200, depth: int = 2, gate: float = 0.9):
    fitted = fit(rows=rows, depth=depth)
    with dsl.If(fitted.outputs["Output"] > gate, name="good-enough"):
        register(model=fitted.outputs["model"], region=REGION, name="stranger-tree")


def states(job: aiplatform.PipelineJob) -> dict[str, str]:
    return {task.task_name: task.state.name for task in job.task_details}


def pipelines(template: str) -> None:
    def run(**parameters: float) -> aiplatform.PipelineJob:
        job = aiplatform.PipelineJob(display_name="tree", template_path=template, parameter_values=parameters)
        job.submit(experiment="stranger-trees")
        job.wait()
        return job

    weak, good = run(depth=1), run(depth=6)
    assert weak.state.name == good.state.name == "PIPELINE_STATE_SUCCEEDED"
    assert states(weak)["good-enough"] == "NOT_TRIGGERED"
    assert "register" not in states(weak)
    assert states(good)["register"] == "SUCCEEDED"

    model = aiplatform.Model.list(filter='display_name="stranger-tree"')[0]
    assert set(model.version_aliases) == {"candidate", "default"}
    run(depth=7)
    versions = aiplatform.models.ModelRegistry(model).list_versions()
    assert [each.version_aliases for each in versions if "candidate" in each.version_aliases]
    assert len(versions) == 2

    frame = aiplatform.get_pipeline_df("stranger-tree")
    assert len(frame) == 3, frame
    assert set(frame["param.input:depth"]) == {1, 6, 7}
    experiment = aiplatform.get_experiment_df("stranger-trees")
    assert set(experiment["param.depth"]) == {1, 6, 7}
    assert experiment["metric.accuracy"].max() > 0.9
    assert {each.display_name for each in aiplatform.PipelineJob.list()} == {"tree"}

    endpoint = model.deploy(machine_type="n1-standard-2")
    assert len(endpoint.predict([[0.0] * 20]).predictions) == 1
    endpoint.delete(force=True)


def custom_jobs(folder: Path) -> None:
    script = folder / "task.py"
    script.write_text(
        "import os, sys\n"
        "print('arguments', sys.argv[1:])\n"
        "path = os.environ['AIP_MODEL_DIR'].replace('gs://', '/gcs/')\n"
        "os.makedirs(path, exist_ok=True)\n"
        "open(os.path.join(path, 'made.txt'), 'w').write(open('/gcs/" + BUCKET + "/given.txt').read().upper())\n"
    )
    storage.Client().bucket(BUCKET).blob("given.txt").upload_from_string("from the bucket")
    job = aiplatform.CustomJob.from_local_script(
        display_name="upper",
        script_path=str(script),
        container_uri="us-docker.pkg.dev/vertex-ai/training/sklearn-cpu.1-6:latest",
        args=["--loud"],
        machine_type="n1-standard-4",
        base_output_dir=f"gs://{BUCKET}/upper",
    )
    job.run()
    assert job.state.name == "JOB_STATE_SUCCEEDED"
    assert storage.Client().bucket(BUCKET).blob("upper/model/made.txt").download_as_text() == "FROM THE BUCKET"

    broken = aiplatform.CustomJob(
        display_name="broken",
        worker_pool_specs=[
            {
                "machine_spec": {"machine_type": "n1-standard-4"},
                "replica_count": 1,
                "container_spec": {"image_uri": "python:3.11", "command": ["python3", "-c", "import sys; sys.exit(3)"]},
            }
        ],
    )
    said = "it was reported as done"
    try:
        broken.run()
    except RuntimeError as error:
        said = str(error)
    assert "exited with a non-zero status of 3" in said, said


def training_pipelines(folder: Path) -> None:
    script = folder / "train.py"
    script.write_text(
        "import argparse, os, joblib\n"
        "from sklearn.dummy import DummyClassifier\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--answer', type=int)\n"
        "options = parser.parse_args()\n"
        "model = DummyClassifier(strategy='constant', constant=options.answer).fit([[0], [1]], [options.answer] * 2)\n"
        "folder = os.environ['AIP_MODEL_DIR'].replace('gs://', '/gcs/')\n"
        "os.makedirs(folder, exist_ok=True)\n"
        "joblib.dump(model, os.path.join(folder, 'model.joblib'))\n"
    )
    job = aiplatform.CustomTrainingJob(
        display_name="constant",
        script_path=str(script),
        container_uri="us-docker.pkg.dev/vertex-ai/training/sklearn-cpu.1-6:latest",
        model_serving_container_image_uri="us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest",
    )
    model = job.run(
        args=["--answer", "7"],
        model_display_name="constant",
        machine_type="n1-standard-4",
        scheduling_strategy=aiplatform.compat.types.custom_job.Scheduling.Strategy.SPOT,
    )
    endpoint = model.deploy(machine_type="n1-standard-2")
    assert endpoint.predict([[0.0]]).predictions == [7.0]
    endpoint.delete(force=True)


def schedules(template: str) -> None:
    job = aiplatform.PipelineJob(display_name="tree", template_path=template, parameter_values={"depth": 1})
    schedule = job.create_schedule(
        display_name="monthly", cron="TZ=Europe/Berlin 0 6 1 * *", max_concurrent_run_count=1
    )
    subprocess.run(["labkit", "clock", "advance", "32d"], check=True, capture_output=True)
    assert len(schedule.list_jobs()) in (1, 2)
    schedule.pause()
    assert schedule.state.name == "PAUSED"
    schedule.resume()
    schedule.update(cron="0 6 2 * *")
    schedule.delete()


if __name__ == "__main__":
    began = time.time()
    storage.Client().create_bucket(BUCKET, location=REGION)
    aiplatform.init(project=PROJECT, location=REGION, staging_bucket=f"gs://{BUCKET}")
    with tempfile.TemporaryDirectory() as scratch:
        template = str(Path(scratch) / "tree.json")
        compiler.Compiler().compile(tree, template)
        pipelines(template)
        custom_jobs(Path(scratch))
        training_pipelines(Path(scratch))
        schedules(template)
    print(f"all of it in {time.time() - began:.1f} s")
