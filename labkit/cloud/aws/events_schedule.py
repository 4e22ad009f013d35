"""Rules that fire by time: rates and cron expressions, in UTC.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
"""

from __future__ import annotations

import re
from datetime import datetime

from labkit.cloud.aws.background import Together, noting
from labkit.cloud.aws.events_delivery import envelope, trigger
from labkit.cloud.aws.events_state import Rule, invalid
from labkit.cloud.aws.place import Place
from labkit.cloud.engine import expressions
from labkit.cloud.engine.clock import Work
from labkit.cloud.engine.errors import Invalid
from labkit.cloud.engine.expressions import Expression
from labkit.cloud.engine.schedules import Schedule

#: One of a unit is written in the singular, several in the plural.
_RATE = re.compile(r"rate\((?:1 (?:minute|hour|day)|(?!1 )[1-9]\d* (?:minutes|hours|days))\)")


def parse(text: str, anchor: datetime | None = None) -> Expression:
    """Reads a rule's ScheduleExpression; raises :class:`AwsError`."""
    try:
        if text.startswith("cron(") or _RATE.fullmatch(text):
            return expressions.aws(text, anchor=anchor)
    except Invalid:
        # Told below, as EventBridge does.
        pass
    raise invalid("Parameter ScheduleExpression is not valid.")


def start(place: Place, rule: Rule, text: str) -> Schedule:
    """Has a rule fire from now on: at the times of a cron expression, or a rate's length from now and again."""

    def fire(when: datetime) -> Work | None:
        with noting() as works:
            trigger(place, rule, envelope(place, "aws.events", "Scheduled Event", {}, [rule.arn], when))
        return Together(works) if works else None

    expression = parse(text, place.engine.clock.now().replace(microsecond=0))
    return Schedule(place.engine.clock, expression, fire, name=f"rule {rule.name}")
