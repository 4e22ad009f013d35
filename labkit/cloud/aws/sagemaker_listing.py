"""What SageMaker's List operations share: filters, order and pages.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListEndpoints.html and its likes.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from labkit.cloud.aws.errors import AwsError

#: Records in a page when MaxResults is not given.
PAGE = 10

#: Filter -> (what it looks at, whether a record's value passes it).
_FILTERS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "NameContains": ("name", lambda value, wanted: wanted.lower() in value.lower()),
    "CreationTimeAfter": ("created", lambda value, wanted: value > wanted),
    "CreationTimeBefore": ("created", lambda value, wanted: value < wanted),
    "LastModifiedTimeAfter": ("modified", lambda value, wanted: value > wanted),
    "LastModifiedTimeBefore": ("modified", lambda value, wanted: value < wanted),
    "StatusEquals": ("status", lambda value, wanted: value == wanted),
}
_SORT_KEYS: dict[str, Callable[[Any], str]] = {
    "Name": lambda record: record.name.lower(),
    "CreationTime": lambda record: f"{record.created.timestamp():020.6f}",
    "Status": lambda record: record.status,
}


def page(parameters: Mapping[str, Any], records: Iterable[Any]) -> tuple[list[Any], str | None]:
    """The records of the page asked for, and the token of the next page.

    Records have ``name`` and ``created``, endpoints ``modified`` and ``status``. The newest come first unless the
    parameters say otherwise. A token says where the page ended, so that records made or deleted meanwhile move nothing.
    """
    for name, (attribute, passes) in _FILTERS.items():
        if name in parameters:
            records = [each for each in records if passes(getattr(each, attribute), parameters[name])]
    key = _SORT_KEYS[parameters.get("SortBy", "CreationTime")]
    descending = parameters.get("SortOrder", "Descending") == "Descending"
    ordered = sorted(((key(each), each.name) for each in records), reverse=descending)
    by_name = {each.name: each for each in records}
    if token := parameters.get("NextToken"):
        last = _read(token)
        ordered = [place for place in ordered if (place < last if descending else place > last)]
    size = parameters.get("MaxResults", PAGE)
    shown = [by_name[name] for _, name in ordered[:size]]
    more = len(ordered) > size
    return shown, urlsafe_b64encode(json.dumps(ordered[size - 1]).encode()).decode() if more else None


def _read(token: str) -> tuple[str, str]:
    try:
        key, name = json.loads(urlsafe_b64decode(token))
        return str(key), str(name)
    except (ValueError, TypeError):
        raise AwsError("ValidationException", "Invalid NextToken: use the one that the last page came with.") from None
