"""The container images that the kit serves: SageMaker's scikit-learn images, by region.

The registry accounts and versions are those of the SageMaker Python SDK's ``image_uri_config/sklearn.json``
(sagemaker-core 2.27.0), which is also what ``image_uris.retrieve("sklearn", region, version)`` answers from;
https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/sagemaker-algo-docker-registry-paths.html shows the same by
region. No image is pulled: a replica runs the learner's module with the scikit-learn that is installed here.
"""

from __future__ import annotations

import hashlib
import re

REPOSITORY = "sagemaker-scikit-learn"
#: ``{scikit-learn version}-{image version}``, oldest first.
VERSIONS = ("0.20.0", "0.23-1", "1.0-1", "1.2-1", "1.4-2", "1.4-2-py312", "1.9-0")
ACCOUNTS = {
    "af-south-1": "510948584623",
    "ap-east-1": "651117190479",
    "ap-northeast-1": "354813040037",
    "ap-northeast-2": "366743142698",
    "ap-northeast-3": "867004704886",
    "ap-south-1": "720646828776",
    "ap-south-2": "628508329040",
    "ap-southeast-1": "121021644041",
    "ap-southeast-2": "783357654285",
    "ap-southeast-3": "951798379941",
    "ap-southeast-4": "106583098589",
    "ca-central-1": "341280168497",
    "ca-west-1": "190319476487",
    "eu-central-1": "492215442770",
    "eu-central-2": "680994064768",
    "eu-north-1": "662702820516",
    "eu-south-1": "978288397137",
    "eu-south-2": "104374241257",
    "eu-west-1": "141502667606",
    "eu-west-2": "764974769150",
    "eu-west-3": "659782779980",
    "il-central-1": "898809789911",
    "me-central-1": "272398656194",
    "me-south-1": "801668240914",
    "sa-east-1": "737474898029",
    "us-east-1": "683313688378",
    "us-east-2": "257758044811",
    "us-west-1": "746614075791",
    "us-west-2": "246618743249",
}

_ECR_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[a-z0-9][a-z0-9._/-]*)(?::(?P<tag>[\w.-]+)|@(?P<digest>sha256:[0-9a-f]{64}))?"
)


def is_ecr(image: str) -> bool:
    """Whether an image path has the form of one in Amazon ECR, which CreateModel demands."""
    return _ECR_IMAGE.fullmatch(image) is not None


def uri(region: str, version: str) -> str:
    """The image's path in a region; raises KeyError for a region without these images."""
    return f"{ACCOUNTS[region]}.dkr.ecr.{region}.amazonaws.com/{REPOSITORY}:{version}-cpu-py3"


def refusal(image: str, region: str) -> str | None:
    """None when an endpoint in ``region`` can serve ``image``, else a sentence that names the images it can serve."""
    if region not in ACCOUNTS:
        return f"AWS has no {REPOSITORY} image in {region}: use a region such as us-east-1."
    if any(image == uri(region, version) for version in VERSIONS):
        return None
    example = uri(region, VERSIONS[-1])
    return (
        f"The image '{image}' is not served by these local clouds, which run no containers: in {region} they serve "
        f"{example} and its versions {', '.join(VERSIONS[:-1])}."
    )


def scikit_learn_of(image: str) -> str:
    """The version of scikit-learn in a served image, as far as its name tells it: ``1.2``, ``0.20.0``."""
    return image.rpartition(":")[2].partition("-")[0]


def resolved(image: str) -> str:
    """The form with a digest that DescribeEndpoint shows. Nothing is pulled, so the digest is of the path itself."""
    repository = image.partition(":")[0]
    return f"{repository}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"
