"""Draws architectures for the labs: named boxes, and arrows between them that say what goes along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import pyplot
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
        x, y = places[text]
        corner = (x - WIDTH / 2 + 0.1, y - HEIGHT / 2 + 0.1)
        style = "round,pad=0.1,rounding_size=0.12"
        box = FancyBboxPatch(corner, WIDTH - 0.2, HEIGHT - 0.2, style, facecolor=COLORS[kind], edgecolor="none")
        axes.add_patch(box)
        axes.text(x, y, text, ha="center", va="center", fontsize=9, color="black")
        drawn[text.partition("\n")[0]] = box, (x, y)
    for start, end, what in arrows:
        (from_box, here), (to_box, there) = drawn[start], drawn[end]
        axes.add_patch(
            FancyArrowPatch(
                here, there, patchA=from_box, patchB=to_box, arrowstyle="-|>", mutation_scale=11, color="#777777"
            )
        )
        label = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        middle = ((here[0] + there[0]) / 2, (here[1] + there[1]) / 2)
        axes.text(*middle, what, ha="center", va="center", fontsize=8, color="#333333", bbox=label, zorder=3)
