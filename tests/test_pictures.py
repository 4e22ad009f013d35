"""Architectures are drawn as they are described."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from labkit.pictures import STATES, architecture, pipeline

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


def test_a_pipeline_goes_from_left_to_right_in_the_colors_of_its_states() -> None:
    steps = {"train": ("2 s", "good"), "check": ("", "bad"), "register": ("", "left"), "refuse": ("", "running")}
    pipeline(steps, [("train", "check"), ("check", "register"), ("check", "refuse"), ("train", "refuse")])
    axes = pyplot.gcf().axes[0]
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert list(places) == ["train\n2 s", "check", "register", "refuse"]
    assert places["train\n2 s"][0] < places["check"][0] < places["register"][0] == places["refuse"][0]
    assert places["register"][1] > places["refuse"][1]
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    assert [to_hex(box.get_facecolor()) for box in boxes] == [STATES[state] for _, state in steps.values()]


def test_steps_that_wait_for_each_other_are_an_error() -> None:
    with pytest.raises(ValueError, match="in a circle"):
        pipeline({"a": ("", "good"), "b": ("", "good")}, [("a", "b"), ("b", "a")])
