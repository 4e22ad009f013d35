"""The api-versions that each resource provider has published, as far as its resources are served here.

One client mixes many: azure-ai-ml alone sends a dozen. A version in the list answers in the shape of the newest; one
that was never published is refused as Resource Manager refuses it.
https://github.com/Azure/azure-rest-api-specs lists them by provider.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from labkit.cloud.azure import locations
from labkit.cloud.azure.errors import AzureError

_SHAPE = re.compile(r"\d{4}-\d{2}-\d{2}(-(preview|alpha|beta|privatepreview))?")

_RESOURCES = (
    "2014-04-01-preview 2014-04-01 2015-01-01 2015-11-01 2016-02-01 2016-06-01 2016-07-01 2016-09-01 2017-05-10"
    " 2018-02-01 2018-05-01 2018-06-01 2018-09-01-preview 2019-03-01 2019-05-01 2019-05-10 2019-06-01 2019-07-01"
    " 2019-08-01 2019-09-01 2019-10-01 2019-11-01 2020-01-01 2020-06-01 2020-08-01 2020-09-01 2020-10-01 2021-01-01"
    " 2021-04-01 2021-10-01 2022-09-01 2022-12-01 2023-07-01 2024-03-01 2024-07-01 2024-11-01 2025-03-01 2025-04-01"
)
#: By namespace in lower case, the oldest first.
PUBLISHED: dict[str, tuple[str, ...]] = {
    namespace.lower(): tuple(text.split())
    for namespace, text in {
        "Microsoft.Resources": _RESOURCES,
        "Microsoft.MachineLearningServices": (
            "2018-03-01-preview 2018-11-19 2019-05-01 2019-06-01 2019-11-01 2020-01-01 2020-02-18-preview 2020-03-01"
            " 2020-04-01 2020-05-01-preview 2020-05-15-preview 2020-06-01 2020-08-01 2020-09-01-preview 2021-01-01"
            " 2021-03-01-preview 2021-04-01 2021-07-01 2021-10-01 2022-01-01-preview 2022-02-01-preview 2022-05-01"
            " 2022-06-01-preview 2022-10-01 2022-10-01-preview 2022-12-01-preview 2023-02-01-preview 2023-04-01"
            " 2023-04-01-preview 2023-06-01-preview 2023-08-01-preview 2023-10-01 2024-01-01-preview 2024-04-01"
            " 2024-04-01-preview 2024-07-01-preview 2024-10-01 2024-10-01-preview 2025-01-01-preview"
            " 2025-04-01-preview 2025-06-01 2025-07-01-preview 2025-09-01 2025-10-01-preview 2025-12-01"
        ),
        "Microsoft.Storage": (
            "2015-05-01-preview 2015-06-15 2016-01-01 2016-05-01 2016-12-01 2017-06-01 2017-10-01 2018-02-01"
            " 2018-03-01-preview 2018-07-01 2018-11-01 2019-04-01 2019-06-01 2020-08-01-preview 2021-01-01 2021-02-01"
            " 2021-04-01 2021-06-01 2021-08-01 2021-09-01 2022-05-01 2022-09-01 2023-01-01 2023-04-01 2023-05-01"
            " 2024-01-01 2025-01-01 2025-06-01 2025-08-01"
        ),
        "Microsoft.KeyVault": (
            "2015-06-01 2016-10-01 2018-02-14 2018-02-14-preview 2019-09-01 2020-04-01-preview 2021-04-01-preview"
            " 2021-06-01-preview 2021-10-01 2021-11-01-preview 2022-07-01 2022-11-01 2023-02-01 2023-07-01"
            " 2024-04-01-preview 2024-11-01 2025-05-01"
        ),
        "Microsoft.Insights": (
            "2014-04-01 2015-04-01 2015-05-01 2017-03-01-preview 2017-12-01-preview 2018-01-01 2018-05-01-preview"
            " 2019-07-01 2020-02-02 2020-02-02-preview 2021-05-01 2023-10-01 2024-02-01"
        ),
        "Microsoft.Authorization": (
            "2014-07-01-preview 2014-10-01-preview 2015-05-01-preview 2015-06-01 2015-07-01 2016-07-01 2017-05-01"
            " 2017-10-01-preview 2018-01-01-preview 2018-05-01-preview 2018-07-01 2018-07-01-preview"
            " 2018-09-01-preview 2020-03-01-preview 2020-04-01-preview 2020-08-01-preview 2020-10-01"
            " 2020-10-01-preview 2021-04-01-preview 2022-01-01-preview 2022-04-01 2022-05-01-preview"
        ),
        "Microsoft.ManagedIdentity": (
            "2015-08-31-preview 2018-11-30 2021-09-30-preview 2022-01-31-preview 2023-01-31 2023-07-31-preview"
            " 2024-11-30 2025-01-31-preview 2025-05-31-preview"
        ),
        "Microsoft.OperationalInsights": (
            "2015-03-20 2015-11-01-preview 2017-01-01-preview 2017-03-03-preview 2017-03-15-preview 2017-04-26-preview"
            " 2020-03-01-preview 2020-08-01 2020-10-01 2021-06-01 2021-12-01-preview 2022-10-01 2023-09-01 2025-02-01"
            " 2025-07-01"
        ),
    }.items()
}


def check(version: str, namespace: str, kind: str) -> None:
    """Raises Resource Manager's error for a version that is missing, malformed or unknown to the provider."""
    if not version:
        raise AzureError(
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
            400,
        )
    known = PUBLISHED.get(namespace.lower(), ())
    if not _SHAPE.fullmatch(version) or (version not in known and namespace == "Microsoft.Resources"):
        raise AzureError(
            "InvalidApiVersionParameter",
            f"The api-version '{version}' is invalid. The supported versions are "
            f"'{','.join(reversed(known or PUBLISHED['microsoft.resources']))}'.",
            400,
        )
    if version not in known:
        raise unregistered(version, kind, known)


def unregistered(version: str, kind: str, known: Sequence[str], location: str = "") -> AzureError:
    """What Resource Manager answers when a provider has no such version."""
    where = f"location '{location}' and API version" if location else "API version"
    return AzureError(
        "NoRegisteredProviderFound",
        f"No registered resource provider found for {where} '{version}' for type '{kind}'. The supported api-versions "
        f"are '{', '.join(known)}'. The supported locations are '{', '.join(locations.DISPLAY_NAMES)}'.",
        400,
    )
