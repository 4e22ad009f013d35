"""Rules that fire by time: rates and cron expressions, in UTC.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
"""

from __future__ import annotations

from datetime import datetime

from labkit.cloud.aws import schedule_expressions
from labkit.cloud.aws.background import Together, noting
from labkit.cloud.aws.events_delivery import envelope, trigger
from labkit.cloud.aws.events_state import Rule, invalid
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.schedule_expressions import Expression, InvalidExpression, Rate
from labkit.cloud.aws.schedule_timer import Timer
from labkit.cloud.engine.clock import Work


def parse(text: str) -> Expression:
    """Reads a rule's ScheduleExpression; raises :class:`AwsError`."""
    try:
        return schedule_expressions.parse(text, "cron rate")
    except InvalidExpression:
        raise invalid("Parameter ScheduleExpression is not valid.") from None


def start(place: Place, rule: Rule, expression: Expression) -> Timer:
    """Has a rule fire from now on: at the times of a cron expression, or a rate's length from now and again."""

    def fire(when: datetime) -> Work | None:
        with noting() as works:
            trigger(place, rule, envelope(place, "aws.events", "Scheduled Event", {}, [rule.arn], when))
        return Together(works) if works else None

    now = place.engine.clock.now()
    begun = now.replace(microsecond=0) if isinstance(expression, Rate) else now
    return Timer(place.engine.clock, expression, fire, f"rule {rule.name}", start=begun)
