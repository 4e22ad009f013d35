from __future__ import annotations

import re
from decimal import Decimal

import pytest

from labkit.cloud.engine.errors import NotFound
from labkit.cloud.engine.prices import price, prices


def test_a_price_is_found_with_its_date_and_source():
    found = price("aws", "SageMaker endpoint ml.m5.large")
    assert (found.usd, found.unit, found.region) == (Decimal("0.115"), "instance-hour", "us-east-1")
    assert price("aws", "SageMaker endpoint ml.m5.large", "us-east-1") is found
    assert str(found).startswith("$0.115 per instance-hour (SageMaker endpoint ml.m5.large, us-east-1, ")


@pytest.mark.parametrize(
    ("cloud", "item", "region", "message"),
    [
        ("aws", "nothing", None, "data/prices.csv has no price of nothing on aws."),
        (
            "aws",
            "SageMaker endpoint ml.m5.large",
            "eu-west-1",
            "data/prices.csv has no price of SageMaker endpoint ml.m5.large on aws in eu-west-1.",
        ),
    ],
)
def test_a_price_that_is_not_known_is_not_guessed(cloud, item, region, message):
    with pytest.raises(NotFound) as missing:
        price(cloud, item, region)
    assert missing.value.message == message


@pytest.mark.parametrize("each", prices(), ids=lambda each: f"{each.cloud} {each.item}")
def test_every_price_is_dated_and_sourced(each):
    assert each.cloud in ("aws", "azure", "gcp")
    assert each.usd > 0
    assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", each.as_of)
    assert each.source
    same = (each.cloud, each.item, each.region)
    assert [other for other in prices() if (other.cloud, other.item, other.region) == same] == [each]
