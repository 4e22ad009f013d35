"""Host names: served, refused with a reason, or not Azure's."""

from __future__ import annotations

import json

import pytest

from labkit.cloud.azure import AzureCloud
from labkit.cloud.azure.hosts import Target, resolve
from tests.cloud.azure.in_process import call


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("management.azure.com", Target("arm")),
        ("Management.Azure.Com.", Target("arm")),
        ("login.microsoftonline.com", Target("login")),
        ("somedata1.blob.core.windows.net", Target("blob", "somedata1")),
        ("churn-api.westeurope.inference.ml.azure.com", Target("scoring", "churn-api", "westeurope")),
        ("eastus2.metrics.monitor.azure.com", Target("metrics", region="eastus2")),
        ("api.loganalytics.io", Target("log-analytics")),
    ],
)
def test_served_hosts(host: str, target: Target) -> None:
    assert resolve(host) == target


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("data.dfs.core.windows.net", "Azure Data Lake Storage Gen2"),
        ("data.file.core.windows.net", "Azure Files"),
        ("secrets.vault.azure.net", "Azure Key Vault"),
        ("ml.azure.com", "a web site"),
        ("churn-api.nowhere.inference.ml.azure.com", "no Azure region"),
        ("westus2-0.in.applicationinsights.azure.com", "collects telemetry"),
        ("westus2.livediagnostics.monitor.azure.com", "collects telemetry"),
        ("management.chinacloudapi.cn", "Azure China"),
        ("management.usgovcloudapi.net", "Azure Government"),
        ("something.azure.com", "do not serve"),
    ],
)
def test_refused_hosts_say_why(host: str, reason: str) -> None:
    answer = resolve(host)
    assert isinstance(answer, str)
    assert reason in answer
    assert host in answer


@pytest.mark.parametrize("host", ["example.com", "notazure.com", "sts.amazonaws.com", "blob.core.windows.net.evil.org"])
def test_other_hosts_are_not_azures(host: str) -> None:
    assert resolve(host) is None


def test_a_refused_host_answers_with_the_reason(cloud: AzureCloud) -> None:
    answer = call(cloud, "GET", "https://data.dfs.core.windows.net/files")
    assert answer.status == 501
    assert "Azure Data Lake Storage Gen2" in json.loads(bytes(answer.body))["error"]["message"]


def test_an_account_that_does_not_exist(cloud: AzureCloud) -> None:
    answer = call(cloud, "GET", "https://nosuchaccount.blob.core.windows.net/?comp=list")
    assert (answer.status, dict(answer.headers)["x-ms-error-code"]) == (404, "ResourceNotFound")
    assert b"nosuchaccount" in bytes(answer.body)
