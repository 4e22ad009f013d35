"""What a batch prediction reads and writes: instances from files, predictions and errors into files.

https://cloud.google.com/vertex-ai/docs/predictions/get-batch-predictions#input_data_requirements
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from typing import Any

from labkit.cloud.engine.errors import CloudError

#: The files of a job's output directory.
RESULTS, ERRORS = "prediction.results-00000-of-00001", "prediction.errors_stats-00000-of-00001"


def read_lines(text: str, uri: str) -> list[Any]:
    """JSON Lines: an instance a line, of any JSON value. Raises :class:`CloudError` with the line's number."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise CloudError(f"Line {number} of {uri} is no JSON: {error}.") from None
    return found


def read_csv(text: str, uri: str) -> list[Any]:
    """CSV: a list a line, but for the first, which is the header; texts are in double quotes, all else are numbers."""
    rows = csv.reader(text.splitlines()[1:], quoting=csv.QUOTE_NONNUMERIC)
    try:
        return [row for row in rows if row]
    except (ValueError, csv.Error) as error:
        raise CloudError(f"Line {rows.line_num + 1} of {uri} is no CSV with texts in double quotes: {error}.") from None


#: ``instances_format`` -> what reads a file of it.
READERS: dict[str, Callable[[str, str], list[Any]]] = {"jsonl": read_lines, "csv": read_csv}


def results(predicted: Iterable[tuple[Any, Any]]) -> str:
    """The file of predictions, of (instance, prediction)."""
    return "".join(json.dumps({"instance": instance, "prediction": each}) + "\n" for instance, each in predicted)


def errors(failed: Iterable[tuple[Any, str]], code: int) -> str:
    """The file of errors, of (instance, message); ``code`` is a ``google.rpc.Code``."""
    return "".join(
        json.dumps({"instance": instance, "error": {"code": code, "message": message}}) + "\n"
        for instance, message in failed
    )
