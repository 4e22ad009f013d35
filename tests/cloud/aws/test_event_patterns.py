"""Every operator of event patterns, and what a pattern may not say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labkit.cloud.aws.event_patterns import InvalidPattern, Pattern

EVENT: dict[str, Any] = {
    "source": "aws.sagemaker",
    "resources": ["arn:one", "arn:two"],
    "time": None,
    "detail": {
        "status": "Succeeded",
        "auc": 0.91,
        "ok": True,
        "count": 3,
        "empty": [],
        "ip": "10.0.0.17",
        "path": "a/b/model.tar.gz",
        "steps": [{"name": "train", "state": "Failed"}, {"name": "eval", "state": "Skipped"}],
    },
}


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ({"source": ["aws.sagemaker", "aws.s3"]}, True),
        ({"source": ["aws.s3"]}, False),
        ({"resources": ["arn:two"]}, True),
        ({"resources": ["arn:three"]}, False),
        ({"time": [None]}, True),
        ({"source": [None]}, False),
        ({"detail": {"ok": [True]}}, True),
        ({"detail": {"ok": [1]}}, False),
        ({"detail": {"count": [3.0]}}, True),
        ({"detail": {"count": ["3"]}}, False),
        ({"source": ["aws.sagemaker"], "detail": {"status": ["Failed"]}}, False),
        ({"source": [{"prefix": "aws."}]}, True),
        ({"source": [{"prefix": "AWS."}]}, False),
        ({"source": [{"prefix": {"equals-ignore-case": "AWS."}}]}, True),
        ({"detail": {"path": [{"suffix": ".gz"}]}}, True),
        ({"detail": {"path": [{"suffix": {"equals-ignore-case": ".GZ"}}]}}, True),
        ({"detail": {"status": [{"equals-ignore-case": "sUCCEEDED"}]}}, True),
        ({"detail": {"path": [{"wildcard": "a/*/model*gz"}]}}, True),
        ({"detail": {"path": [{"wildcard": "b*"}]}}, False),
        ({"detail": {"path": [{"wildcard": "a\\*"}]}}, False),
        ({"detail": {"status": [{"anything-but": "Failed"}]}}, True),
        ({"detail": {"status": [{"anything-but": ["Failed", "Succeeded"]}]}}, False),
        ({"detail": {"count": [{"anything-but": 3}]}}, False),
        ({"detail": {"missing": [{"anything-but": "x"}]}}, False),
        ({"detail": {"status": [{"anything-but": {"prefix": "Succ"}}]}}, False),
        ({"detail": {"status": [{"anything-but": {"suffix": ["x", "y"]}}]}}, True),
        ({"detail": {"status": [{"anything-but": {"equals-ignore-case": "SUCCEEDED"}}]}}, False),
        ({"detail": {"path": [{"anything-but": {"wildcard": "*.zip"}}]}}, True),
        ({"detail": {"auc": [{"numeric": [">", 0.85]}]}}, True),
        ({"detail": {"auc": [{"numeric": [">=", 0.85, "<", 0.9]}]}}, False),
        ({"detail": {"count": [{"numeric": ["=", 3]}]}}, True),
        ({"detail": {"ok": [{"numeric": ["=", 1]}]}}, False),
        ({"detail": {"auc": [{"exists": True}]}}, True),
        ({"detail": {"missing": [{"exists": False}]}}, True),
        ({"detail": {"missing": {"deeper": [{"exists": False}]}}}, True),
        ({"detail": {"empty": [{"exists": True}]}}, False),
        ({"detail": {"ip": [{"cidr": "10.0.0.0/24"}]}}, True),
        ({"detail": {"ip": [{"cidr": "10.0.1.0/24"}]}}, False),
        ({"detail": {"path": [{"cidr": "10.0.1.0/24"}]}}, False),
        ({"detail": {"steps": {"name": ["train"], "state": ["Failed"]}}}, True),
        ({"detail": {"steps": {"name": ["train"], "state": ["Skipped"]}}}, False),
        ({"detail": {"$or": [{"count": [4]}, {"auc": [{"numeric": [">", 0.9]}]}]}}, True),
        ({"detail": {"$or": [{"count": [4]}, {"auc": [{"numeric": ["<", 0.9]}]}], "ok": [True]}}, False),
        ({"$or": [{"source": ["x"]}, {"detail": {"ok": [True]}}]}, True),
    ],
)
def test_what_matches(pattern: dict[str, Any], wanted: bool) -> None:
    assert Pattern(json.dumps(pattern)).matches(EVENT) is wanted


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("no json", "Filter is not JSON"),
        ("[]", "Filter is not an object"),
        ("{}", "Empty objects are not allowed"),
        ('{"source": "aws.s3"}', '"source" must be an object or an array'),
        ('{"source": []}', "Empty arrays are not allowed"),
        ('{"source": [{"starts": "x"}]}', "Unrecognized match type starts"),
        ('{"source": [{"prefix": 7}]}', "prefix match pattern must be a string"),
        ('{"source": [{"prefix": "a", "suffix": "b"}]}', "Only one key allowed in match expression"),
        ('{"a": [{"numeric": ["!", 7]}]}', "Unrecognized numeric range operator: !"),
        ('{"a": [{"numeric": [">", 7, "<", 3]}]}', "Bottom must be less than top"),
        ('{"a": [{"numeric": [">", "7"]}]}', "Value of > must be numeric"),
        ('{"a": [{"exists": "yes"}]}', "exists match pattern must be either true or false."),
        ('{"a": [{"cidr": "x"}]}', "Malformed CIDR, one '/' required: x"),
        ('{"a": [{"wildcard": "a**"}]}', "Consecutive wildcard characters at pos 1"),
        ('{"a": [{"anything-but": {"cidr": "x"}}]}', "Unsupported anything-but pattern: cidr"),
        ('{"$or": [{"a": [1]}]}', "There must have at least 2 Objects in $or relationship."),
    ],
)
def test_what_is_no_pattern(pattern: str, reason: str) -> None:
    with pytest.raises(InvalidPattern) as caught:
        Pattern(pattern)
    assert str(caught.value) == reason
