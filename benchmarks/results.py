"""The lines that are measured, the machine that they were measured on, and how both are written down."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """One figure. ``ratio`` compares it with ``against``, measured in the same run; ``limit`` is the budget's."""

    part: str
    what: str
    value: float
    unit: str  #: "s", "ms", "MB", "1/s"
    ratio: float | None = None
    against: str = ""
    limit: float | None = None  #: on the ratio if there is one, else on the value
    series: str = ""  #: the curve of a plot that the figure belongs to
    x: float | None = None  #: where on it

    @property
    def kept(self) -> bool | None:
        """Whether the budget is kept; None for a line without one."""
        if self.limit is None:
            return None
        return (self.value if self.ratio is None else self.ratio) <= self.limit


def machine() -> dict[str, Any]:
    """What the figures depend on, and how busy the machine was with other work when they were begun."""
    import psutil

    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        named = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def written(line: Line) -> str:
    digits = 0 if line.value >= 100 or line.unit == "1/s" else 2
    return f"{line.value:,.{digits}f} {line.unit}"


def judged(line: Line) -> str:
    if line.limit is None:
        return ""
    unit = "x" if line.ratio is not None else f" {line.unit}"
    return f"at most {line.limit:g}{unit}: {'kept' if line.kept else '**not kept**'}"


def table(lines: Sequence[Line]) -> str:
    """The lines as Markdown, a table for each part."""
    out: list[str] = []
    for part in dict.fromkeys(line.part for line in lines):
        out += [f"### {part}", "", "| what | figure | ratio | budget |", "|---|---:|---|---|"]
        for line in lines:
            if line.part == part:
                ratio = "" if line.ratio is None else f"{line.ratio:.2f} x {line.against}"
                out.append(f"| {line.what} | {written(line)} | {ratio} | {judged(line)} |")
        out.append("")
    return "\n".join(out).rstrip() + "\n"


#: Between these, ``docs/performance.md`` is written by ``make bench``; the rest of it by hand.
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def write(lines: Sequence[Line], on: Mapping[str, Any], document: Path, pictures: Sequence[Path]) -> None:
    """Puts the lines into the document's measured part and, as JSON, into a file beside it."""
    said = (
        f"Measured {on['at']} on {on['processor']}, {on['cores']} cores, {on['memory_gb']} GB, {on['system']}, "
        f"Python {on['python']}; load of other work when it began: {on['load_before']}."
    )
    shown = [f"![{each.stem.replace('-', ' ')}](images/{each.name})" for each in pictures]
    measured = "\n\n".join([BEGIN, said, table(lines).rstrip(), *shown, END])
    text = document.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    document.write_text(head + measured + rest.partition(END)[2], encoding="utf-8")
    plain = {"machine": dict(on), "lines": [asdict(line) | {"kept": line.kept} for line in lines]}
    document.with_suffix(".json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
