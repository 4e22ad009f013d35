"""Scripts written from the vendors' documentation alone run unchanged on fresh clouds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.timeout(600)
def test_a_strangers_script_gets_its_own_models_predictions():
    command = [sys.executable, "-m", "labkit", "exec", "--fresh", "--", "python", str(HERE / "foreign_aws.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("200 predictions equal\n")


@pytest.mark.timeout(600)
def test_the_aws_command_line_on_fresh_clouds():
    command = [sys.executable, "-m", "labkit", "exec", "--fresh", "--", "aws", "sagemaker", "list-endpoints"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"Endpoints": []' in done.stdout


@pytest.mark.timeout(600)
def test_a_strangers_script_keeps_files_and_models_in_azure():
    script = str(HERE / "foreign_azure_blobs.py")
    command = [sys.executable, "-m", "labkit", "exec", "--fresh", "--", "python", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("everything came back\n")


@pytest.mark.timeout(600)
def test_a_strangers_models_behind_endpoints_of_azure():
    script = str(HERE / "foreign_azure_endpoints.py")
    command = [sys.executable, "-m", "labkit", "exec", "--fresh", "--", "python", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("600 predictions equal\n")


@pytest.mark.timeout(600)
def test_a_strangers_models_in_two_regions_of_google_cloud():
    script = str(HERE / "foreign_gcp.py")
    command = [sys.executable, "-m", "labkit", "exec", "--fresh", "--", "python", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("800 predictions equal\n")


@pytest.mark.timeout(600)
def test_a_strangers_pipelines_and_jobs_on_vertex_ai():
    script = str(HERE / "foreign_gcp_pipelines.py")
    command = [sys.executable, "-m", "labkit", "exec", "--fresh", "--", "python", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    assert "all of it in" in done.stdout


@pytest.mark.timeout(600)
def test_a_strangers_pipelines_in_azure():
    script = str(HERE / "foreign_azure_pipelines.py")
    command = [sys.executable, "-m", "labkit", "exec", "--fresh", "--", "python", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("300 predictions equal\n")


@pytest.mark.timeout(600)
def test_a_strangers_pipeline_registers_the_model_that_its_scripts_make_by_hand():
    script, data = str(HERE / "foreign_aws_pipelines.py"), str(HERE.parents[1] / "data" / "churn.csv")
    command = [sys.executable, "-m", "labkit", "exec", "--fresh", "--", "python", script, data]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("1250 predictions equal\n")
