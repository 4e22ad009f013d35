"""Architectures are drawn as they are described."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from matplotlib import pyplot
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from labkit.pictures import architecture

BOXES = {"notebook\n(boto3)": (0, 0, "you"), "S3": (1, 1, "storage")}


@pytest.fixture(autouse=True)
def off_screen() -> Iterator[None]:
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def test_each_box_and_each_arrow_is_in_the_picture() -> None:
    architecture(BOXES, [("notebook", "S3", "upload")])
    axes = pyplot.gcf().axes[0]
    assert [text.get_text() for text in axes.texts] == ["notebook\n(boto3)", "S3", "upload"]
    assert [type(patch) for patch in axes.patches] == [FancyBboxPatch, FancyBboxPatch, FancyArrowPatch]
    first, second = (text.get_position() for text in axes.texts[:2])
    assert first[0] < second[0]
    assert first[1] > second[1]


def test_an_arrow_to_nowhere_is_an_error() -> None:
    with pytest.raises(KeyError, match="EC2"):
        architecture(BOXES, [("notebook", "EC2", "upload")])
