from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.cloud import environment
from labkit.cloud.state import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "a lab")


#: What people have set for real clouds, proxies and authorities: each would lead out, or to the wrong trust.
FOREIGN_NAMES = """
AWS_PROFILE AWS_DEFAULT_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_REGION
AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME AWS_ROLE_ARN AWS_ROLE_SESSION_NAME
AWS_WEB_IDENTITY_TOKEN_FILE AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
AWS_CONTAINER_AUTHORIZATION_TOKEN AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_CA_BUNDLE AWS_USE_FIPS_ENDPOINT
AWS_USE_DUALSTACK_ENDPOINT AWS_EC2_METADATA_SERVICE_ENDPOINT BOTO_CONFIG SAGEMAKER_USER_CONFIG_OVERRIDE
AZURE_CLIENT_ID AZURE_CLIENT_SECRET AZURE_TENANT_ID AZURE_FEDERATED_TOKEN_FILE AZURE_CONFIG_DIR AZUREML_RUN_ID
ARM_CLIENT_SECRET ARM_CLOUD_METADATA_URL IDENTITY_ENDPOINT IDENTITY_HEADER MSI_ENDPOINT MSI_SECRET
GOOGLE_APPLICATION_CREDENTIALS GOOGLE_CLOUD_PROJECT GOOGLE_API_KEY GCLOUD_PROJECT CLOUDSDK_CONFIG
CLOUDSDK_CORE_PROJECT CLOUD_ML_PROJECT_ID GCE_METADATA_HOST GCE_METADATA_IP STORAGE_EMULATOR_HOST PUBSUB_EMULATOR_HOST
HTTP_PROXY HTTPS_PROXY http_proxy https_proxy ALL_PROXY all_proxy NO_PROXY no_proxy FTP_PROXY grpc_proxy no_grpc_proxy
FSSPEC_GCS FSSPEC_GCS_TOKEN FSSPEC_CONFIG_DIR
npm_config_https_proxy SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE NODE_EXTRA_CA_CERTS
GRPC_DEFAULT_SSL_ROOTS_FILE_PATH HTTPLIB2_CA_CERTS
"""
FOREIGN = FOREIGN_NAMES.split()

KEPT = ["PATH", "HOME", "LANG", "PYTHONPATH", "AWS_PAGER", "AWS_DEFAULT_OUTPUT", "MY_AWS_THING", "LAWS", "ALARM_X"]


@pytest.mark.parametrize("name", FOREIGN)
def test_what_leads_elsewhere_is_taken_out(name: str) -> None:
    assert environment.clean({name: "x"}) == {}


@pytest.mark.parametrize("name", KEPT)
def test_everything_else_stays(name: str) -> None:
    assert environment.clean({name: "x"}) == {name: "x"}


def test_every_pattern_and_every_opt_out_has_its_reason() -> None:
    assert all(environment.REMOVED.values())
    source = Path(environment.__file__).read_text()
    for name, value in environment.TELEMETRY_OPT_OUTS.items():
        assert re.search(rf'"{name}": "{value}",  # \w', source)


def test_what_is_set_needs_no_running_clouds(lab: Lab) -> None:
    variables = environment.of(lab)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        assert variables[name] == f"http://127.0.0.1:{lab.port}"
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        assert variables[name] == str(lab.ca_file)
    assert variables["AWS_ACCESS_KEY_ID"] == lab.access_key_id
    assert variables["AWS_SECRET_ACCESS_KEY"] == lab.secret_access_key
    assert variables["AWS_DEFAULT_REGION"] == "us-east-1"
    assert variables["LABKIT_STATE"] == str(lab.folder)
    assert variables == environment.of(Lab(lab.folder))


def test_every_file_and_folder_that_is_named_exists(lab: Lab) -> None:
    paths = [Path(value) for value in environment.of(lab).values() if value.startswith("/")]
    assert len(paths) > 8
    assert all(path.exists() and lab.folder in (path, *path.parents) for path in paths)


def test_no_variable_is_both_set_and_left_to_chance(lab: Lab) -> None:
    # A name in another case would be another variable, and the inherited one might win.
    inherited = {name.swapcase(): "inherited" for name in environment.of(lab) if name.lower().endswith("_proxy")}
    assert "inherited" not in environment.inside(lab, inherited).values()


def test_the_environments_own_programs_come_first(lab: Lab) -> None:
    programs = str(Path(sys.executable).parent)
    inside = environment.inside(lab, {"PATH": f"/usr/bin:{programs}:/bin"})
    assert inside["PATH"] == f"{programs}:/usr/bin:/bin"
    assert environment.inside(lab, {})["PATH"].startswith(f"{programs}:")


def test_boto3_finds_nothing_but_the_lab(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import boto3

    aws = tmp_path / "home" / ".aws"
    aws.mkdir(parents=True)
    (aws / "credentials").write_text("[default]\naws_access_key_id = REAL\naws_secret_access_key = REAL\n")
    (aws / "config").write_text("[default]\nregion = eu-north-1\nendpoint_url = https://real.example\n")
    outside = {"HOME": str(tmp_path / "home"), "AWS_PROFILE": "default", "AWS_ENDPOINT_URL": "https://real.example"}
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.inside(lab, outside).items():
        monkeypatch.setenv(name, value)
    session = boto3.Session()
    credentials = session.get_credentials()
    assert credentials is not None
    assert credentials.access_key == lab.access_key_id
    client = session.client("sagemaker")
    assert client.meta.endpoint_url == "https://api.sagemaker.us-east-1.amazonaws.com"


def test_public_authorities_are_trusted_only_where_hosts_are_let_through(lab: Lab) -> None:
    def trusted() -> int:
        return len(ssl.create_default_context(cafile=environment.of(lab)["SSL_CERT_FILE"]).get_ca_certs())

    assert trusted() == 1
    settings = json.loads(lab.settings_file.read_text())
    lab.settings_file.write_text(json.dumps(settings | {"pass_through": ["pypi.org"]}))
    assert trusted() > 50


def test_programs_of_the_clouds_do_not_get_the_learners_identity(lab: Lab) -> None:
    assert not environment.of_code(lab).keys() & set(environment.LEARNERS_OWN)
    assert environment.of_code(lab)["HTTPS_PROXY"] == lab.url


def test_googles_libraries_find_nothing_but_the_lab(lab: Lab) -> None:
    variables = environment.of(lab)
    assert (variables["GOOGLE_CLOUD_PROJECT"], variables["GOOGLE_CLOUD_REGION"]) == ("mlops-lab", "us-central1")
    assert list(Path(variables["CLOUDSDK_CONFIG"]).iterdir()) == []
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT"):
        assert variables[name].startswith(f"127.0.0.1:{lab.port}/_gcp/metadata/")
    code = (
        "from google.auth.compute_engine import _metadata as m; from google.auth import environment_vars;"
        "print(m._get_metadata_root(False), m._get_metadata_ip_root(False))"
    )
    said = subprocess.check_output([sys.executable, "-c", code], env=environment.inside(lab, {}), text=True)
    address = f"http://{variables['GCE_METADATA_HOST']}"
    assert said.split() == [f"{address}/computeMetadata/v1/", address]
