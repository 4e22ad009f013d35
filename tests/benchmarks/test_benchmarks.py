"""What `make bench` writes, and one part of it measured quickly."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import plots
from benchmarks.results import BEGIN, END, Line, judged, table, write
from labkit.release import ROOT

LINES = [
    Line("Kernels", "start: stock", 2.0, "s", series="stock: start"),
    Line("Kernels", "start: forked", 0.5, "s", 0.25, "stock", None, "forked: start"),
    Line("Amazon", "one prediction", 6.0, "ms", 2.5, "uvicorn", 2.0),
    Line("Amazon", "1 clients: bare", 100.0, "1/s", None, "", None, "bare", 1),
    Line("Amazon", "8 clients: bare", 180.4, "1/s", None, "", None, "bare", 8),
    Line("Replicas", "2 replicas", 150.0, "1/s", 1.9, "one replica's", None, "replicas", 2),
]
ON = {
    "processor": "a processor",
    "cores": 2,
    "memory_gb": 24,
    "system": "Linux 6",
    "python": "3.11",
    "load_before": 0.1,
    "at": "then",
}


def test_a_budget_is_on_the_ratio_if_there_is_one_else_on_the_value() -> None:
    slow = LINES[2]
    assert slow.kept is False
    assert replace(slow, ratio=1.9).kept
    assert Line("a", "b", 1.9, "s", limit=2.0).kept
    assert LINES[0].kept is None
    assert judged(slow) == "at most 2x: **not kept**"
    assert judged(Line("a", "b", 1.9, "s", limit=2.0)) == "at most 2 s: kept"


def test_the_measured_part_of_the_document_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    for _ in range(2):
        write(LINES, ON, document, [tmp_path / "images" / "performance-kernels.png"])
    text = document.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "old" not in text
    assert "on a processor, 2 cores, 24 GB, Linux 6, Python 3.11" in text
    assert "| one prediction | 6.00 ms | 2.50 x uvicorn | at most 2x: **not kept** |" in text
    assert "![performance kernels](images/performance-kernels.png)" in text
    plain = json.loads((tmp_path / "performance.json").read_text())
    assert plain["machine"] == ON
    assert [line["kept"] for line in plain["lines"]] == [None, None, False, None, None, None]


def test_every_part_has_its_table() -> None:
    assert re.findall(r"^### (.*)$", table(LINES), re.MULTILINE) == ["Kernels", "Amazon", "Replicas"]


def test_the_pictures_are_drawn(tmp_path: Path) -> None:
    made = plots.draw(LINES, tmp_path)
    assert [each.stem for each in made] == ["performance-kernels", "performance-predictions", "performance-growth"]
    assert all(each.read_bytes().startswith(b"\x89PNG") for each in made)


def test_a_part_is_measured_quickly_and_nothing_is_written() -> None:
    document = ROOT / "docs" / "performance.md"
    before = document.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--part", "clouds"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 4
    assert all(re.search(r"\| [\d,.]+ (s|MB) \|", row) for row in rows)
    assert document.read_bytes() == before
