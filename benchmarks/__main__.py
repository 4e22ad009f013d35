"""`make bench`: what the kit costs, as ratios in one run, because the machines that run this are noisy.

Everything is measured from outside, through unmodified clients: the clouds are started as `labkit exec --fresh` starts
them, and called with boto3, azure-ai-ml and google-cloud-aiplatform; the yardstick is the same model and inference
code behind a bare uvicorn app, called with a `requests` session. A part that fails is named and the others go on; an
interrupt leaves what was measured by then printed, and the document as it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.bare import HERE, ROOT
from benchmarks.results import Line, judged, machine, table, write, written
from labkit.kernels.threads import settings

DOCUMENT = ROOT / "docs" / "performance.md"


def train(folder: Path) -> list[dict[str, Any]]:
    """Leaves the churn pipeline and its inference code in the folder; returns customers to ask about."""
    import joblib
    import pandas as pd
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    data = pd.read_csv(ROOT / "data" / "churn.csv")
    features, churned = data.drop(columns="churn"), data["churn"] == "yes"
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_exclude="number")),
        remainder="passthrough",
    )
    model = make_pipeline(encode, HistGradientBoostingClassifier(learning_rate=0.03, max_iter=150, max_leaf_nodes=8))
    model.fit(features, churned)
    joblib.dump(model, folder / "model.joblib")
    (folder / "inference.py").write_bytes((HERE / "inference.py").read_bytes())
    customers: list[dict[str, Any]] = json.loads(features.head(100).to_json(orient="records"))
    return customers


def _aws(quick: bool) -> Iterator[Line]:
    from benchmarks import aws

    with tempfile.TemporaryDirectory() as folder:
        yield from aws.measure(Path(folder), train(Path(folder)), quick)


def _azure(quick: bool) -> Iterator[Line]:
    from benchmarks import azure

    with tempfile.TemporaryDirectory() as folder:
        yield from azure.measure(Path(folder), train(Path(folder)), quick)


def _gcp(quick: bool) -> Iterator[Line]:
    from benchmarks import gcp

    with tempfile.TemporaryDirectory() as folder:
        yield from gcp.measure(Path(folder), quick)


def _clouds(quick: bool) -> Iterator[Line]:
    from benchmarks import clouds

    yield from clouds.measure(quick)


def _kernels(quick: bool) -> Iterator[Line]:
    from benchmarks import kernels

    yield from kernels.measure(quick)


def _course(quick: bool) -> Iterator[Line]:
    from benchmarks import course

    yield from course.measure(quick)


#: Each part is measured in a process of its own, on clouds of its own.
PARTS: Mapping[str, Callable[[bool], Iterator[Line]]] = {
    "clouds": _clouds,
    "kernels": _kernels,
    "course": _course,
    "azure": _azure,
    "gcp": _gcp,
    "aws": _aws,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute of it, to see that everything can be measured")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be given again")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md as it is")
    parser.add_argument("--inside", choices=PARTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside:
        for line in PARTS[chosen.inside](chosen.quick):
            print(json.dumps(asdict(line)), flush=True)
        return 0
    on, lines, failed = machine(), [], []
    try:
        for part in chosen.part or PARTS:
            started = time.monotonic()
            for line in _measured(part, chosen.quick, failed):
                lines.append(line)
                _show(line)
            print(f"    ({part}: {time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        failed.append("interrupted")
    whole = not (failed or chosen.quick or chosen.part)
    print(f"\n{table(lines)}")
    if whole and not chosen.no_write:
        from benchmarks.plots import draw

        write(lines, on, DOCUMENT, draw(lines, DOCUMENT.parent / "images"))
        print(f"Written to {DOCUMENT.relative_to(ROOT)}, its JSON beside it and pictures in docs/images.")
    if failed:
        print(f"Not measured to the end: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def _show(line: Line) -> None:
    ratio = "" if line.ratio is None else f"  {line.ratio:.2f} x {line.against}"
    print(f"{line.part}: {line.what}: {written(line)}{ratio}  {judged(line)}".rstrip(), file=sys.stderr, flush=True)


def _measured(part: str, quick: bool, failed: list[str]) -> Iterator[Line]:
    """The lines of a part, as they come from its process."""
    command = [sys.executable, "-m", "benchmarks", "--inside", part, *(["--quick"] if quick else [])]
    process = subprocess.Popen(
        [sys.executable, "-m", "labkit", "exec", "--fresh", "--", *command],
        cwd=ROOT,
        # Models are trained here as in a kernel: threads that spin on a busy machine take minutes over it.
        env={**os.environ, **settings(os.environ)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        for text in process.stdout:
            if text.startswith('{"part"'):
                yield Line(**json.loads(text))
        if process.wait():
            failed.append(part)
    except BaseException:
        process.terminate()
        process.wait(30)
        raise


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        traceback.print_exc()
        sys.exit(1)
