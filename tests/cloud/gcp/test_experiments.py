"""Experiments through the unmodified SDK: parameters, metrics and series of runs, read back as a table."""

from __future__ import annotations

import warnings

import pytest

from labkit.cloud.state import Lab


def test_runs_of_an_experiment_are_a_table(clouds: Lab) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from google.cloud import aiplatform
    aiplatform.init(project="mlops-lab", location="us-central1", experiment="churn-trials")
    for name, auc in (("logistic", 0.82), ("boosting", 0.92)):
        with aiplatform.start_run(name) as run:
            run.log_params({"model": name, "rows": 3750})
            run.log_metrics({"auc": auc})
            for step in (1, 2, 3):
                run.log_time_series_metrics({"loss": 1.0 / step}, step=step)
    table = aiplatform.get_experiment_df("churn-trials").set_index("run_name")
    assert table.loc["logistic", "metric.auc"] == 0.82
    assert table.loc["boosting", "param.model"] == "boosting"
    assert table.loc["boosting", "time_series_metric.loss"] == pytest.approx(1 / 3)
    series = aiplatform.ExperimentRun("boosting", experiment="churn-trials").get_time_series_data_frame()
    assert list(series["step"]) == [1, 2, 3]
    aiplatform.Experiment("churn-trials").delete(delete_backing_tensorboard_runs=True)
    assert "churn-trials" not in [each.name for each in aiplatform.Experiment.list()]
