"""The variables by which the clouds' real host names lead to the local clouds: what the kernel and ``exec`` set.

Environment only, so every client works that reads it. Whatever the machine's owner had set for the real clouds is
taken out, never mixed in: a credential or a proxy that stayed could send something out, and cost money.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from labkit.cloud.aws import settings as aws
from labkit.cloud.azure import settings as azure
from labkit.cloud.gcp import settings as gcp
from labkit.cloud.state import VARIABLE, Lab

#: Telemetry opt-outs: the only variables that change what a client sends. Each with whom it silences.
TELEMETRY_OPT_OUTS = {
    "DO_NOT_TRACK": "1",  # many tools, by convention
    "OTEL_SDK_DISABLED": "true",  # OpenTelemetry, which azure-ai-ml and azure-monitor-opentelemetry send through
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "otel",  # OpenTelemetry's search for the machine that it runs on
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",  # azure-monitor-opentelemetry's figures about itself
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",  # more of them
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",  # its remote settings
    "AZURE_CORE_COLLECT_TELEMETRY": "no",  # the az command
    "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",  # the gcloud command
    "SAM_CLI_TELEMETRY": "0",  # the AWS SAM command
    "CDK_DISABLE_CLI_TELEMETRY": "true",  # the AWS CDK command
    "EVIDENTLY_DISABLE_TELEMETRY": "1",  # evidently
    "MLFLOW_DISABLE_TELEMETRY": "true",  # mlflow, which sagemaker brings
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, which sagemaker-serve brings
}

#: The SageMaker SDK reads its opt-out from a file.
_SAGEMAKER = """\
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""

#: Inherited variables that are taken out, as patterns over the whole name, each with the reason.
REMOVED = {
    r"AWS_.*|BOTO_CONFIG|BOTOCORE_.*": "profiles, sessions, roles and endpoints of a real AWS account",
    r"SAGEMAKER_(ADMIN|USER)_CONFIG_OVERRIDE": "defaults of a real AWS account",
    r"AZURE_.*|AZUREML_.*|ARM_.*|IDENTITY_(ENDPOINT|HEADER|SERVER_THUMBPRINT)|MSI_.*|IMDS_ENDPOINT": (
        "identities and endpoints of a real Azure tenant"
    ),
    r"APPLICATIONINSIGHTS_.*": "where programs report to in a real Azure subscription",
    r"GOOGLE_.*|GCLOUD_.*|CLOUDSDK_.*|GCE_METADATA_.*|NO_GCE_CHECK|GCP_PROJECT|CLOUD_ML_.*|.*_EMULATOR_HOST": (
        "identities and endpoints of a real Google Cloud project"
    ),
    r"FSSPEC_.*": "identities and endpoints that fsspec's file systems are given",
    r".*_PROXY|PROXY": "ways round the gateway",
    r"SSL_CERT_DIR|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NODE_EXTRA_CA_CERTS"
    r"|GRPC_DEFAULT_SSL_ROOTS_FILE_PATH|HTTPLIB2_CA_CERTS": "certificate authorities other than the lab's",
}
#: What those patterns would take, but says only how a command shows its answers.
KEPT = ("AWS_PAGER", "AWS_DEFAULT_OUTPUT")

#: What :func:`of` sets and only the learner's own programs may have: the ways to prove that they are the learner's.
LEARNERS_OWN = (
    VARIABLE,
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    *("IDENTITY_ENDPOINT", "IDENTITY_HEADER"),
    *("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT"),
)

_REMOVED = re.compile("|".join(f"(?:{pattern})" for pattern in REMOVED), re.IGNORECASE)
_LOOPBACK = "127.0.0.1,localhost,::1"


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without what leads to a real cloud, round the gateway, or to another trust."""
    return {name: value for name, value in environ.items() if not removed(name)}


def removed(name: str) -> bool:
    """Whether :func:`clean` takes the variable out."""
    return name.upper() not in KEPT and bool(_REMOVED.fullmatch(name))


def of(lab: Lab) -> dict[str, str]:
    """What is set, whether or not the clouds run; writes the small files that some of it names."""
    empty = lab.folder / "empty"
    sagemaker = empty / "sagemaker.yaml"
    with lab.usable():
        bundle = _bundle(lab)
        empty.mkdir(mode=0o700, exist_ok=True)
        for each in ("azure", "gcloud", "fsspec"):
            (empty / each).mkdir(exist_ok=True)
        for file, text in ((sagemaker, _SAGEMAKER), (empty / "sagemaker-admin.yaml", "SchemaVersion: '1.0'\n")):
            if not file.exists():
                file.write_text(text)
        for file in (empty / "aws-config", empty / "aws-credentials"):
            file.touch()
    variables = {
        VARIABLE: str(lab.folder),
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), lab.url),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), _LOOPBACK),
        "NODE_USE_ENV_PROXY": "1",
        **dict.fromkeys(
            (
                "AWS_CA_BUNDLE",
                "REQUESTS_CA_BUNDLE",
                "SSL_CERT_FILE",
                "CURL_CA_BUNDLE",
                "NODE_EXTRA_CA_CERTS",
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
                "HTTPLIB2_CA_CERTS",
                "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
            ),
            bundle,
        ),
        **aws.environment(lab),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(empty / "aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(empty / "aws-credentials"),
        "AZURE_CONFIG_DIR": str(empty / "azure"),
        **azure.environment(lab),
        "CLOUDSDK_CONFIG": str(empty / "gcloud"),
        "FSSPEC_CONFIG_DIR": str(empty / "fsspec"),
        **gcp.environment(lab),
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(empty / "sagemaker-admin.yaml"),
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(sagemaker),
    }
    return variables | TELEMETRY_OPT_OUTS


def of_code(lab: Lab) -> dict[str, str]:
    """What programs need that the clouds themselves start: as :func:`of`, without the learner's identity."""
    return {name: value for name, value in of(lab).items() if name not in LEARNERS_OWN}


def inside(lab: Lab, environ: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a command run in the lab: cleaned, set, and this environment's programs found first."""
    programs = str(Path(sys.executable).parent)
    path = [each for each in environ.get("PATH", os.defpath).split(os.pathsep) if each != programs]
    return clean(environ) | of(lab) | {"PATH": os.pathsep.join([programs, *path])}


def _bundle(lab: Lab) -> str:
    """The authorities to trust: the lab's, and the public ones where hosts outside are let through."""
    if not lab.pass_through():
        return str(lab.ca_file)
    import certifi

    bundle = lab.folder / "ca-and-public.pem"
    lab.write(bundle, lab.ca_certificate + Path(certifi.where()).read_text(encoding="ascii", errors="ignore"))
    return str(bundle)


def unset() -> list[str]:
    """The variables of this process's environment that :func:`clean` takes out."""
    return sorted(name for name in os.environ if removed(name))
