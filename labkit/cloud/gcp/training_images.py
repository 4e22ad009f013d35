"""The container images in which the local clouds run code for Vertex AI: a Python to run it with, or a plain system.

Nothing is pulled: the code runs in this environment's Python, with its packages, and a command with this machine's
programs.
https://cloud.google.com/vertex-ai/docs/training/pre-built-containers,
https://cloud.google.com/deep-learning-containers/docs/choosing-container
"""

from __future__ import annotations

import re

from labkit.cloud.gcp import prebuilt_images

_SERVED = (
    re.compile(
        r"(?:(?:docker\.io|mirror\.gcr\.io|public\.ecr\.aws/docker)/)?(?:library/)?"
        r"(?:python(?::(?:latest|slim|3(?:\.\d+)*(?:-slim)?|(?:3(?:\.\d+)*-)?(?:slim-)?(?:alpine|[a-z]{6,8})[\d.]*))?"
        r"|(?:alpine|bash|busybox|debian|ubuntu)(?::[\w.-]+)?)"
    ),
    re.compile(r"registry\.access\.redhat\.com/ubi\d+/python-3\d+(?::[\w.-]+)?"),
    re.compile(
        r"(?:us|europe|asia)-docker\.pkg\.dev/vertex-ai/training/(?:sklearn|scikit-learn|xgboost|tf)-cpu[.\w-]*(?::[\w.-]+)?"
    ),
    re.compile(r"gcr\.io/deeplearning-platform-release/(?:base|sklearn|tf\w*)-cpu[.\w-]*(?::[\w.-]+)?"),
    re.compile(
        r"(?:us|europe|asia)-docker\.pkg\.dev/deeplearning-platform-release/gcr\.io/base-cpu[.\w-]*(?::[\w.-]+)?"
    ),
)
#: Programs that call Vertex AI for a pipeline: https://cloud.google.com/vertex-ai/docs/pipelines/gcpc-list
_COMPONENTS = "gcr.io/ml-pipeline/google-cloud-pipeline-components:"


def refusal(image: str) -> str:
    """Why code cannot be run in this image here, or ``""``."""
    if image.startswith(_COMPONENTS):
        return (
            f"The local clouds do not run Google Cloud Pipeline Components ({image}), whose programs need a "
            "google-cloud-aiplatform before version 2: call google.cloud.aiplatform in a component of your own."
        )
    if any(each.fullmatch(image) for each in _SERVED) or not prebuilt_images.refusal(image):
        return ""
    return (
        f"The local clouds have no registry and pull no images, and {image} is not one that they stand in for; use "
        "python:3.11 or us-docker.pkg.dev/vertex-ai/training/sklearn-cpu.1-6:latest."
    )
