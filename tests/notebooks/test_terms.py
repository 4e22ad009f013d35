"""The labs of one project end with the same table of what each cloud calls each thing."""

from __future__ import annotations

import nbformat

from labkit import labs
from labkit.release import ROOT


def test_every_cloud_has_the_same_table() -> None:
    tables = {}
    for name in labs.matching(["beginner"]):
        notebook = nbformat.read(ROOT / "solutions" / f"{name}.ipynb", as_version=4)
        (tables[name],) = [cell.source for cell in notebook.cells if cell.id == "terms"]
    assert len(set(tables.values())) == 1
    header = next(line for line in tables["beginner/gcp"].splitlines() if line.startswith("|"))
    assert header == "| what it is | AWS | Azure | Google Cloud |"
