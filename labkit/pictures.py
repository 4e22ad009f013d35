"""Draws for the labs: architectures, as boxes and arrows that say what goes along, and pipelines with their states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

#: A box's color by what it stands for: the learner's own code, storage, identity, serving, observation.
COLORS = {"you": "#f2c14e", "storage": "#7fb685", "identity": "#e3a39b", "serving": "#7cb5e8", "watching": "#b9a5dd"}
#: A box, and the distance from one column or row to the next, in inches.
WIDTH, HEIGHT = 1.6, 0.55
COLUMN, ROW = 2.4, 1.0


def architecture(boxes: Mapping[str, tuple[float, float, str]], arrows: Sequence[tuple[str, str, str]]) -> None:
    """Draws ``boxes`` (text: column, row from the top, kind) and ``arrows`` (from, to, what goes along).

    A box's text may have several lines; an arrow names its two boxes by their first lines. A name that no box has is a
    ``KeyError``.
    """
    places = {text: (column * COLUMN, -row * ROW) for text, (column, row, _) in boxes.items()}
    left, right = min(x for x, _ in places.values()) - WIDTH / 2, max(x for x, _ in places.values()) + WIDTH / 2
    bottom, top = min(y for _, y in places.values()) - HEIGHT / 2, max(y for _, y in places.values()) + HEIGHT / 2
    figure = pyplot.figure(figsize=(right - left + 0.2, top - bottom + 0.2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(left - 0.1, right + 0.1), ylim=(bottom - 0.1, top + 0.1))
    axes.axis("off")
    drawn = {}
    for text, (_, _, kind) in boxes.items():
        drawn[text.partition("\n")[0]] = _box(axes, text, places[text], COLORS[kind]), places[text]
    for start, end, what in arrows:
        (_, here), (_, there) = drawn[start], drawn[end]
        _arrow(axes, drawn[start], drawn[end])
        label = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        middle = ((here[0] + there[0]) / 2, (here[1] + there[1]) / 2)
        axes.text(*middle, what, ha="center", va="center", fontsize=8, color="#333333", bbox=label, zorder=3)


#: A step's color by how it ended, whatever the cloud calls it.
STATES = {"good": "#7fb685", "bad": "#d1495b", "running": "#f2c14e", "cached": "#7cb5e8", "left": "#cccccc"}


def pipeline(steps: Mapping[str, tuple[str, str]], after: Sequence[tuple[str, str]]) -> None:
    """Draws a pipeline's graph: ``steps`` (name: text below it, a key of :data:`STATES`) and who comes ``after`` whom.

    ``after`` holds pairs (step, the step that follows it). A name that is no step is a ``KeyError``; steps that wait
    for each other in a circle are a ``ValueError``.
    """
    column = dict.fromkeys(steps, 0)
    for _ in steps:
        for start, end in after:
            column[end] = max(column[end], column[start] + 1)
    if any(column[end] >= len(steps) for _, end in after):
        raise ValueError("steps wait for each other in a circle")
    places: dict[str, tuple[float, float]] = {}
    for number in range(max(column.values(), default=0) + 1):
        names = [name for name in steps if column[name] == number]
        places |= {name: (number, at - (len(names) - 1) / 2) for at, name in enumerate(names)}
    rows = [y for _, y in places.values()]
    width, height = (max(column.values()) + 1) * COLUMN, (max(rows) - min(rows) + 1) * ROW
    figure = pyplot.figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-COLUMN / 2, width - COLUMN / 2), ylim=(-(max(rows) + 0.5) * ROW, -(min(rows) - 0.5) * ROW))
    axes.axis("off")
    drawn = {}
    for name, (text, state) in steps.items():
        place = places[name][0] * COLUMN, -places[name][1] * ROW
        drawn[name] = _box(axes, f"{name}\n{text}" if text else name, place, STATES[state]), place
    for start, end in after:
        _arrow(axes, drawn[start], drawn[end])


def _box(axes: Axes, text: str, place: tuple[float, float], color: str) -> FancyBboxPatch:
    corner = (place[0] - WIDTH / 2 + 0.1, place[1] - HEIGHT / 2 + 0.1)
    style = "round,pad=0.1,rounding_size=0.12"
    box = FancyBboxPatch(corner, WIDTH - 0.2, HEIGHT - 0.2, style, facecolor=color, edgecolor="none")
    axes.add_patch(box)
    axes.text(*place, text, ha="center", va="center", fontsize=9, color="black")
    return box


def _arrow(
    axes: Axes, start: tuple[FancyBboxPatch, tuple[float, float]], end: tuple[FancyBboxPatch, tuple[float, float]]
) -> None:
    """An arrow from one box's edge to another's; it goes behind what stands between them."""
    (from_box, here), (to_box, there) = start, end
    axes.add_patch(
        FancyArrowPatch(
            here,
            there,
            patchA=from_box,
            patchB=to_box,
            arrowstyle="-|>",
            mutation_scale=11,
            color="#777777",
            zorder=0.5,
        )
    )
