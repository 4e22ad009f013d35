"""Google's host names: which API and region a host is, or a sentence that says why it is refused.

https://cloud.google.com/vertex-ai/docs/reference/rest#service-endpoint,
https://cloud.google.com/storage/docs/request-endpoints
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from labkit.cloud.gcp.locations import REGIONS

#: Hosts that stand for one API each. Those of the APIs with methods follow from their names.
WHOLE = {
    "aiplatform.googleapis.com": "aiplatform",
    "monitoring.googleapis.com": "monitoring",
    "logging.googleapis.com": "logging",
    "cloudscheduler.googleapis.com": "cloudscheduler",
    "cloudfunctions.googleapis.com": "cloudfunctions",
    "cloudresourcemanager.googleapis.com": "cloudresourcemanager",
    "iam.googleapis.com": "iam",
    "iamcredentials.googleapis.com": "iamcredentials",
    "storage.googleapis.com": "storage",
    "www.googleapis.com": "storage",
    "oauth2.googleapis.com": "oauth2",
}
#: The modules that answer requests over HTTP of an API that is not protobuf's.
FRONTS = {"storage": "storage", "oauth2": "oauth2"}
#: What the gRPC server's certificate covers.
WILDCARDS = ("*.googleapis.com", *(f"*.{region}.rep.googleapis.com" for region in REGIONS))

#: The gcloud command sends predictions to a host of their own.
_REGIONAL = re.compile(
    r"(?P<region>[a-z0-9-]+?)(-prediction)?-aiplatform\.googleapis\.com"
    r"|aiplatform\.(?P<rep>[a-z0-9-]+)\.rep\.googleapis\.com"
)
_BUCKET = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9._-]+)\.storage\.googleapis\.com")

#: Ends of host names that belong to Google Cloud and are not served, with what they are.
_NOT_SERVED = {
    "sts.googleapis.com": "the Security Token Service",
    "accounts.google.com": "Google's sign-in page",
    "artifactregistry.googleapis.com": "Artifact Registry",
    "bigquery.googleapis.com": "BigQuery",
    "compute.googleapis.com": "Compute Engine",
    "pubsub.googleapis.com": "Pub/Sub",
    "run.googleapis.com": "Cloud Run",
    "secretmanager.googleapis.com": "Secret Manager",
    "cloudbuild.googleapis.com": "Cloud Build",
    "serviceusage.googleapis.com": "Service Usage",
    ".googleapis.com": "this API of Google Cloud",
    ".run.app": "a service of Cloud Run",
    ".cloudfunctions.net": "a function of Cloud Run functions",
    ".vertexai.goog": "a dedicated endpoint of Vertex AI",
    ".pkg.dev": "Artifact Registry",
    ".gcr.io": "Container Registry",
    "gcr.io": "Container Registry",
    "console.cloud.google.com": "the Google Cloud console, a web site",
    "storage.cloud.google.com": "Cloud Storage's downloads for signed-in browsers",
    ".cloud.google.com": "this part of Google Cloud",
}
_METADATA = ("metadata.google.internal", "metadata", "169.254.169.254")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. ``bucket`` is the one that Cloud Storage's host name holds, or ``""``."""

    api: str
    region: str = ""
    bucket: str = ""


def resolve(host: str) -> Target | str | None:
    """The target of a host name; a sentence when it is Google's and not served; None when it is not Google's."""
    host = host.lower().rstrip(".")
    if api := WHOLE.get(host):
        return Target(api)
    if found := _REGIONAL.fullmatch(host):
        region = found["region"] or found["rep"]
        if region not in REGIONS:
            return f"{host} names {region}, which is no region of Vertex AI; name one that exists, such as us-central1."
        return Target("aiplatform", region)
    if found := _BUCKET.fullmatch(host):
        return Target("storage", bucket=found["bucket"])
    if host in _METADATA:
        return (
            f"{host} is the metadata server, which this lab has at $GCE_METADATA_HOST, where Google's clients find it."
        )
    for suffix, what in _NOT_SERVED.items():
        if host == suffix or (suffix.startswith(".") and host.endswith(suffix)):
            return f"{host} is {what}, which the local clouds do not serve yet; see docs/fidelity.md."
    return None
