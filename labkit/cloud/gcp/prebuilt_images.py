"""The container images that the kit serves: Vertex AI's prebuilt scikit-learn images for predictions.

The list is that of the Python SDK (``google.cloud.aiplatform.constants.prediction.SKLEARN_CONTAINER_URIS`` of 2.7.0),
which https://cloud.google.com/vertex-ai/docs/predictions/pre-built-containers#scikit-learn shows as a table. No image
is pulled: a replica runs the model with the scikit-learn that is installed here.
"""

from __future__ import annotations

import re

#: scikit-learn versions that there are images of, newest first.
VERSIONS = ("1.6", "1.5", "1.4", "1.3", "1.2", "1.0", "0.24", "0.23", "0.22", "0.20")
#: Where the images are kept.
MULTI_REGIONS = ("us", "europe", "asia")

_PREBUILT = re.compile(
    rf"({'|'.join(MULTI_REGIONS)})-docker\.pkg\.dev/vertex-ai/prediction/sklearn-cpu\.(?P<version>\d+-\d+):latest"
)


def uri(version: str, multi_region: str = "us") -> str:
    """The image with a version of scikit-learn."""
    return f"{multi_region}-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.{version.replace('.', '-')}:latest"


def scikit_learn_of(image: str) -> str | None:
    """The version of scikit-learn in a prebuilt image; None where ``image`` is none."""
    found = _PREBUILT.fullmatch(image)
    version = found["version"].replace("-", ".") if found else ""
    return version if version in VERSIONS else None


def refusal(image: str) -> str | None:
    """None when a replica can serve ``image``, else a sentence that names the images that are served."""
    if scikit_learn_of(image) is not None:
        return None
    return (
        f"The image '{image}' is not served by these local clouds, which run no containers: they serve Vertex AI's "
        f"prebuilt scikit-learn images, {uri(VERSIONS[0])} and its versions {', '.join(VERSIONS[1:])} (in us-, europe- "
        "and asia-docker.pkg.dev)."
    )
