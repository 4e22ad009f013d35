"""What the second project's labs check alike on every cloud: a measured AUC, a monthly schedule, why a run failed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from labkit.labs.beginner import churn
from labkit.labs.beginner.churn import quoted, shown
from labkit.labs.task import NotAttempted, Work, Wrong

PROBE = Path(__file__).with_name("probe.py")
SCORES = "what predict_proba has in its second column, the probabilities of leaving"
TO_LIST = "roc_curve(left, scores) returns both as arrays; .tolist() makes a list of each"
#: When the pipeline runs by itself: on the first of each month at this hour, by the clocks in this place.
ZONE, HOUR = "Europe/Berlin", 6
#: From when on a schedule is looked at that has no beginning of its own.
SINCE = datetime(2026, 1, 15, tzinfo=UTC)


def check_evaluation(work: Work, layout: Sequence[str], auc_at: str, curve_at: str) -> str:
    """Raises unless the learner's ``steps/evaluate.py`` measures a model that it has never seen; says what it found.

    ``layout`` is for :mod:`labkit.labs.intermediate.probe`. ``auc_at`` and ``curve_at`` say where in ``metrics.json``
    the AUC is, and the object with the two lists of rates: keys with dots between them.
    """
    file = work.folder / "steps" / "evaluate.py"
    expected = f"metrics.json with the AUC at {auc_at}, and the curve"
    if not file.is_file():
        raise NotAttempted(f"no file {shown(work, file)}", expected)
    answer = churn.probe(work, str(file), str(work.data / "churn.csv"), *layout, program=PROBE)
    if "error" in answer:
        if "'metrics' is not defined" in answer["error"]:
            raise NotAttempted(f"that {shown(work, file)} makes no metrics", expected)
        raise Wrong(f"that {shown(work, file)} fails ({answer['error']})", expected, _hint(answer["error"]))
    if answer["text"] is None:
        raise Wrong(f"no metrics.json in the folder that --{layout[2]} names after {shown(work, file)} ran", expected)
    try:
        metrics = json.loads(answer["text"])
        auc = _at(metrics, auc_at)
    except (ValueError, KeyError, TypeError):
        raise Wrong(f"the metrics.json {quoted(answer['text'])}", expected) from None
    check_auc(auc, answer)
    try:
        curve = _at(metrics, curve_at)
        rates = [curve[name] for name in ("false_positive_rates", "true_positive_rates")]
    except (KeyError, TypeError):
        rates = []
    if not rates or not all(isinstance(each, list) for each in rates) or not 3 <= len(rates[0]) == len(rates[1]):
        raise Wrong(
            "no curve in metrics.json",
            "false_positive_rates and true_positive_rates, lists of the same length",
            TO_LIST,
        )
    return f"an evaluate.py that finds the AUC of {auc:.3f} of a model that it has never seen, and its curve"


def _hint(error: str) -> str:
    if "not JSON serializable" in error:
        return TO_LIST
    if "format code" in error:
        return "the AUC is a number; text of one cannot be compared with a threshold"
    if error.startswith(("KeyError", "SyntaxError", "IndentationError", "NameError")):
        return "run the script by hand, with the cell below: it says in which line"
    return ""


def _at(found: Any, path: str) -> Any:
    for name in filter(None, path.split(".")):
        found = found[name]
    return found


def check_auc(auc: Any, measured: Mapping[str, Any], where: str = "", scores: str = SCORES) -> None:
    """Raises :class:`Wrong` for an AUC that is not the right one of what a probe has ``measured``.

    ``where`` it was found, as a phrase after the number; ``scores`` says of what it is to be measured. ``measured``
    holds the right ``auc`` and that ``of_labels``.
    """
    right, number = measured["auc"], isinstance(auc, (int, float))
    if number and math.isclose(auc, right, abs_tol=1e-6):
        return
    hint = ""
    if number and math.isclose(auc, measured["of_labels"], abs_tol=1e-6):
        hint = f"that is the AUC of yes and no; the scores have to be {scores}"
    elif number and math.isclose(auc, 1 - right, abs_tol=1e-6):
        hint = f"that is the AUC of staying; the scores have to be {scores}"
    at = f" {where}" if where else ""
    raise Wrong(f"the AUC {quoted(repr(auc), 60)}{at} for a model whose AUC is {right:.6f}", "the same", hint)


def check_monthly(
    fires: Callable[[datetime], datetime | None],
    plan: str,
    expected: str,
    hint: str,
    since: datetime = SINCE,
) -> None:
    """Raises :class:`Wrong` unless a schedule fires on the first of each month of a year, and then only.

    ``fires`` says when it fires next after an instant, ``plan`` how it was written, as a phrase; ``since`` is the
    instant from which on it is looked at.
    """
    place = ZoneInfo(ZONE)
    at = since.astimezone(place)
    for _ in range(12):
        first = at.replace(day=1, hour=HOUR, minute=0, second=0, microsecond=0)
        wanted = first if first > at else (first + timedelta(days=31)).replace(day=1)
        due = fires(at)
        local = due.astimezone(place) if due else None
        if local != wanted:
            when = f"{local:%A %d %B %Y at %H:%M}" if local else "never"
            raise Wrong(f"{plan}, which after {at:%d %B %Y} fires {when}", expected, hint)
        at = wanted


def explanation(work: Work, expected: str) -> tuple[str, str]:
    """The step that failed and the reason for it, as ``build/answers.json`` has them."""
    file = work.folder / "build" / "answers.json"
    if not file.is_file():
        raise NotAttempted(f"no file {shown(work, file)}", expected)
    try:
        answers = json.loads(file.read_text())
    except ValueError:
        hint = "json.dumps writes what can be read again"
        raise Wrong(f"a {shown(work, file)} that is no JSON", expected, hint) from None
    try:
        return str(answers["step"]), " ".join(str(answers["reason"]).split())
    except (KeyError, TypeError):
        raise Wrong(f"the file {shown(work, file)} without step or reason", expected) from None


def check_reason(reason: str, lines: Sequence[str], log: str, hint: str) -> str:
    """The last of a log's ``lines``, quoted; raises :class:`Wrong` where the reason does not hold it.

    ``log`` says whose last line it ought to be, as a phrase.
    """
    said = [line for each in lines if (line := " ".join(each.split()))]
    if not said:
        raise Wrong("no log of the step that failed", log, "start the broken run again")
    if said[-1] not in reason:
        raise Wrong(f"the reason {quoted(reason, 120)!r}", log, hint)
    return quoted(said[-1], 120).rstrip(".")
