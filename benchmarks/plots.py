"""The pictures of ``docs/performance.md``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Line


def draw(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Draws what the lines allow into PNG files; returns these."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    made = []
    for name, figure in _figures(lines, plt):
        figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})
        plt.close(figure)
        made.append(folder / f"{name}.png")
    return made


def _figures(lines: Sequence[Line], plt: Any) -> Iterator[tuple[str, Any]]:
    if kernels := [line for line in lines if line.part == "Kernels" and line.series]:
        yield "performance-kernels", _bars(kernels, plt)
    curves = [line for line in lines if line.unit == "1/s" and line.series and line.x and line.part != "Replicas"]
    if curves:
        yield "performance-predictions", _predictions(curves, plt)
    parts = [
        ("Replicas", "replicas", "predictions a second"),
        ("Memory for each open kernel", "open kernels", "MB each"),
    ]
    shown = [(part, x, y) for part, x, y in parts if any(line.part == part for line in lines)]
    if shown:
        figure, axes = plt.subplots(1, len(shown), figsize=(4.5 * len(shown), 3.4), layout="constrained", squeeze=False)
        for axis, (part, x, y) in zip(axes[0], shown, strict=True):
            _curves(axis, [line for line in lines if line.part == part])
            axis.set(title=part, xlabel=x, ylabel=y, ylim=(0, None))
        yield "performance-growth", figure


def _bars(lines: Sequence[Line], plt: Any) -> Any:
    names = list(dict.fromkeys(line.series.partition(": ")[2] for line in lines))
    figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
    for offset, kind in ((0.2, "stock"), (-0.2, "forked")):
        values = [next(line.value for line in lines if line.series == f"{kind}: {name}") for name in names]
        bars = axis.barh([n + offset for n in range(len(names))], values, 0.38, label=kind)
        axis.bar_label(bars, fmt="%.2f s", padding=3)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set(xlabel="seconds", title="Kernels: stock, and forked from the warm process")
    axis.margins(x=0.12)
    axis.legend()
    return figure


def _predictions(lines: Sequence[Line], plt: Any) -> Any:
    parts = list(dict.fromkeys(line.part for line in lines))
    figure, axes = plt.subplots(1, len(parts), figsize=(4.2 * len(parts), 3.8), layout="constrained", squeeze=False)
    for axis, part in zip(axes[0], parts, strict=True):
        _curves(axis, [line for line in lines if line.part == part])
        axis.set(title=part, xlabel="clients at once", ylabel="predictions a second", ylim=(0, None))
        axis.set_xscale("log", base=2)
        axis.set_xticks(sorted({line.x for line in lines}), [f"{x:g}" for x in sorted({line.x or 0 for line in lines})])
        axis.legend(fontsize=7)
    return figure


def _curves(axis: Any, lines: Sequence[Line]) -> None:
    for series in dict.fromkeys(line.series for line in lines):
        points = [(line.x, line.value) for line in lines if line.series == series]
        axis.plot(*zip(*points, strict=True), marker="o", label=series)
    if len({line.series for line in lines}) > 1:
        axis.legend(fontsize=7)
