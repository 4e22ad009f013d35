from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from labkit.cloud.gcp.hosts import Target, resolve
from labkit.cloud.gcp.locations import REGIONS


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("us-central1-aiplatform.googleapis.com", Target("aiplatform", "us-central1")),
        ("EUROPE-WEST4-aiplatform.googleapis.com.", Target("aiplatform", "europe-west4")),
        ("aiplatform.europe-west12.rep.googleapis.com", Target("aiplatform", "europe-west12")),
        ("us-east1-prediction-aiplatform.googleapis.com", Target("aiplatform", "us-east1")),
        ("aiplatform.googleapis.com", Target("aiplatform")),
        ("storage.googleapis.com", Target("storage")),
        ("my.data.storage.googleapis.com", Target("storage", bucket="my.data")),
        ("monitoring.googleapis.com", Target("monitoring")),
        ("oauth2.googleapis.com", Target("oauth2")),
        ("iam.googleapis.com", Target("iam")),
        ("iamcredentials.googleapis.com", Target("iamcredentials")),
    ],
)
def test_served_hosts(host: str, target: Target) -> None:
    assert resolve(host) == target


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("us-moon1-aiplatform.googleapis.com", "us-moon1, which is no region"),
        ("compute.googleapis.com", "Compute Engine, which the local clouds do not serve"),
        ("sts.googleapis.com", "the Security Token Service"),
        ("us-central1-docker.pkg.dev", "Artifact Registry"),
        ("my-fn-abc-uc.a.run.app", "Cloud Run"),
        ("metadata.google.internal", "$GCE_METADATA_HOST"),
    ],
)
def test_hosts_of_googles_that_are_refused(host: str, says: str) -> None:
    found = resolve(host)
    assert isinstance(found, str)
    assert says in found


@pytest.mark.parametrize("host", ["googleapis.com.example.org", "example.org", "evilgoogleapis.com", "google.com"])
def test_other_hosts(host: str) -> None:
    assert resolve(host) is None


def test_every_region_that_the_installed_library_knows_is_one() -> None:
    # The file itself: its package takes 10 s to import.
    package = importlib.util.find_spec("google.cloud.aiplatform_v1")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parents[1] / "aiplatform" / "constants" / "base.py"
    spec = importlib.util.spec_from_file_location("constants", file)
    assert spec is not None
    assert spec.loader is not None
    constants = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(constants)
    assert constants.SUPPORTED_REGIONS - {"global"} <= REGIONS.keys()
