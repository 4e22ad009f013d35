"""The first project done right, on clouds of its own, for tests that then spoil one thing at a time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas
import pytest

from labkit.labs.task import Work

ROOT = Path(__file__).parents[3]
DATA = ROOT / "data"
SOLVED = ROOT / "solutions" / "beginner"


@pytest.fixture(scope="session")
def customers() -> tuple[pandas.DataFrame, pandas.Series]:
    """The features of all customers, and whether each left."""
    table = pandas.read_csv(DATA / "churn.csv")
    return table.drop(columns="churn"), table["churn"] == "yes"


@pytest.fixture(scope="session")
def model_file(customers: tuple[pandas.DataFrame, pandas.Series], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that passes the gate, saved."""
    import joblib
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    features, left = customers
    train, _, labels, _ = train_test_split(features, left, test_size=0.25, stratify=left, random_state=0)
    text = list(features.select_dtypes(exclude="number"))
    model = make_pipeline(
        make_column_transformer((OrdinalEncoder(), text), remainder="passthrough"),
        HistGradientBoostingClassifier(learning_rate=0.03, max_iter=150, max_leaf_nodes=8, random_state=0),
    ).fit(train, labels)
    file = tmp_path_factory.mktemp("model") / "churn.joblib"
    joblib.dump(model, file)
    return file


@pytest.fixture
def cloud(request: pytest.FixtureRequest) -> str:
    """Whose lab a module tests: its ``CLOUD``, or AWS's."""
    name: str = getattr(request.module, "CLOUD", "aws")
    return name


@pytest.fixture
def nothing(tmp_path: Path, cloud: str) -> Work:
    """A lab's folder before anything was done: only the files that the kit gives."""
    folder = tmp_path / cloud
    (folder / "build").mkdir(parents=True)
    shutil.copy(SOLVED / cloud / "sample.json", folder)
    return Work(folder, DATA)


@pytest.fixture
def work(nothing: Work, model_file: Path, cloud: str) -> Work:
    """A lab's folder with the model, the code and the client in it."""
    shutil.copy(model_file, nothing.folder / "build")
    made = shutil.ignore_patterns("build", "__pycache__")
    shutil.copytree(SOLVED / cloud, nothing.folder, dirs_exist_ok=True, ignore=made)
    return nothing


@pytest.fixture(scope="session")
def served_file(customers: tuple[pandas.DataFrame, pandas.Series], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes rows as Vertex AI's scikit-learn container sends them, and predicts probabilities."""
    return save_forest(customers, 100, tmp_path_factory.mktemp("served") / "model.joblib")


@pytest.fixture(scope="session")
def weaker_file(customers: tuple[pandas.DataFrame, pandas.Series], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another such model, with other answers."""
    return save_forest(customers, 20, tmp_path_factory.mktemp("weaker") / "model.joblib")


def save_forest(customers: tuple[pandas.DataFrame, pandas.Series], trees: int, file: Path) -> Path:
    """Trains a forest on rows of values and saves it."""
    import joblib
    import numpy
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

    features, left = customers
    train, _, labels, _ = train_test_split(features, left, test_size=0.25, stratify=left, random_state=0)
    columns = list(features)
    text = [columns.index(name) for name in features.select_dtypes(exclude="number")]
    numbers = [at for at in range(len(columns)) if at not in text]
    model = make_pipeline(
        make_column_transformer(
            (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), text),
            (FunctionTransformer(numpy.asarray, kw_args={"dtype": float}), numbers),
        ),
        RandomForestRegressor(trees, min_samples_leaf=3, random_state=0),
    ).fit(numpy.array(train.to_numpy().tolist()), labels)
    joblib.dump(model, file)
    return file


@pytest.fixture
def served(work: Work, served_file: Path) -> Work:
    """That folder with the model for Vertex AI's container too."""
    shutil.copy(served_file, work.folder / "build")
    return work
