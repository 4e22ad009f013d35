"""The steps of the churn pipeline: each function becomes a container of its own."""

from kfp import dsl

IMAGE = "us-docker.pkg.dev/vertex-ai/training/sklearn-cpu.1-6:latest"
PACKAGES = ["pandas", "scikit-learn"]


@dsl.component(base_image=IMAGE, packages_to_install=PACKAGES)
def prepare(
    data: str, train_table: dsl.Output[dsl.Dataset], test_table: dsl.Output[dsl.Dataset]
) -> int:
    """Step 1: every month's file becomes one table for training and one for the test."""
    from pathlib import Path

    import pandas as pd
    from sklearn.model_selection import train_test_split

    folder = Path(data.replace("gs://", "/gcs/"))  # buckets are mounted below /gcs
    months = sorted(folder.glob("*.csv"))
    customers = pd.concat([pd.read_csv(month) for month in months], ignore_index=True)
    missing = {"state", "total_day_minutes", "churn"} - set(customers.columns)
    if missing:
        raise ValueError(f"The data has no column {', '.join(sorted(missing))}.")
    train, test = train_test_split(
        customers, test_size=0.25, stratify=customers["churn"], random_state=0
    )
    train.to_csv(train_table.path, index=False)
    test.to_csv(test_table.path, index=False)
    print(f"{len(months)} months, {len(train):,} customers to learn from, {len(test):,} to test")
    return len(customers)


@dsl.component(base_image=IMAGE, packages_to_install=PACKAGES)
def train(train_table: dsl.Input[dsl.Dataset], model: dsl.Output[dsl.Model], kind: str, trees: int):
    """Step 2: a pipeline that Vertex AI's prebuilt container can ask, saved as model.joblib."""
    from pathlib import Path

    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

    customers = pd.read_csv(train_table.path)
    features, left = customers.drop(columns="churn"), customers["churn"] == "yes"
    text = [at for at, name in enumerate(features) if features[name].dtype.kind not in "if"]
    numbers = [at for at in range(features.shape[1]) if at not in text]
    as_numbers = FunctionTransformer(np.asarray, kw_args={"dtype": float})
    if kind == "linear":
        encoder = OneHotEncoder(handle_unknown="ignore")
        learner = LinearRegression()
    else:
        encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        learner = RandomForestRegressor(n_estimators=trees, min_samples_leaf=3, random_state=0)
    encode = make_column_transformer((encoder, text), (as_numbers, numbers))
    rows = np.array(features.to_numpy().tolist())
    pipeline = make_pipeline(encode, learner).fit(rows, left.astype(float))
    Path(model.path).mkdir(parents=True, exist_ok=True)
    joblib.dump(pipeline, Path(model.path) / "model.joblib")
    model.metadata["kind"] = kind
    print(f"{kind}: learned from {len(customers):,} customers")


@dsl.component(base_image=IMAGE, packages_to_install=PACKAGES)
def evaluate(
    model: dsl.Input[dsl.Model],
    test_table: dsl.Input[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    curve: dsl.Output[dsl.ClassificationMetrics],
    report: dsl.Output[dsl.Artifact],
) -> float:
    """Step 3: how good is the model on customers that it has never seen?"""
    import json
    from pathlib import Path

    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.metrics import roc_auc_score, roc_curve

    pipeline = joblib.load(Path(model.path) / "model.joblib")
    customers = pd.read_csv(test_table.path)
    left = customers["churn"] == "yes"
    Path(report.path).mkdir(parents=True, exist_ok=True)
    ### BEGIN SOLUTION
    scores = pipeline.predict(np.array(customers.drop(columns="churn").to_numpy().tolist()))
    auc = float(roc_auc_score(left, scores))
    metrics.log_metric("auc", auc)
    (Path(report.path) / "metrics.json").write_text(json.dumps({"auc": auc}))
    ### END SOLUTION
    false_positives, true_positives, thresholds = roc_curve(left, scores)
    points = (false_positives, true_positives, np.nan_to_num(thresholds, posinf=1.0))
    curve.log_roc_curve(*(each.tolist() for each in points))
    print(f"AUC {auc:.4f} on {len(customers):,} customers")
    return auc


@dsl.component(base_image=IMAGE, packages_to_install=["google-cloud-aiplatform"])
def register(model: dsl.Input[dsl.Model], name: str, region: str, auc: float) -> str:
    """Behind the gate: a version of the model in the registry, with the alias candidate."""
    from google.cloud import aiplatform

    aiplatform.init(location=region)
    known = aiplatform.Model.list(filter=f'display_name="{name}"')
    version = aiplatform.Model.upload(
        display_name=name,
        parent_model=known[0].resource_name if known else None,
        artifact_uri=model.uri,
        serving_container_image_uri="us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest",
        version_aliases=["candidate"],
        version_description=f"AUC {auc:.4f}",
    )
    return f"{version.resource_name}@{version.version_id}"
