"""List prices, from ``data/prices.csv``: what the labs calculate costs with, and what a job's bill is made of."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from labkit.cloud.engine.errors import NotFound

FILE = Path(__file__).parents[3] / "data" / "prices.csv"


@dataclass(frozen=True)
class Price:
    """What one ``unit`` of an ``item`` costs in US dollars, as known in ``as_of`` from ``source``."""

    cloud: str
    item: str
    unit: str
    usd: Decimal
    region: str
    as_of: str
    source: str

    def __str__(self) -> str:
        return f"${self.usd} per {self.unit} ({self.item}, {self.region}, {self.as_of}, {self.source})"


def price(cloud: str, item: str, region: str | None = None) -> Price:
    """The price of an item of a cloud; raises :class:`NotFound`. Without a region, the one that the table has."""
    for each in prices():
        if (each.cloud, each.item) == (cloud, item) and region in (None, each.region):
            return each
    where = f" in {region}" if region else ""
    raise NotFound(f"data/prices.csv has no price of {item} on {cloud}{where}.")


@cache
def prices() -> tuple[Price, ...]:
    """Every price, in the table's order. The table is read once."""
    with FILE.open(newline="", encoding="utf-8") as table:
        return tuple(Price(usd=Decimal(row.pop("usd")), **row) for row in csv.DictReader(table))
