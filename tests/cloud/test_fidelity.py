"""docs/fidelity.md is written from the code, and up to date."""

from __future__ import annotations

from labkit.cloud import fidelity


def test_the_file_is_up_to_date() -> None:
    assert fidelity.FILE.read_text(encoding="utf-8") == fidelity.document(), "run `python -m labkit.cloud.fidelity`"


def test_every_cloud_has_its_part() -> None:
    text = fidelity.document()
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## AWS", "## Azure", "## Google Cloud"]
