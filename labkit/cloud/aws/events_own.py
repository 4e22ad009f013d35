"""The events of AWS's own services, from the engine to the default bus of their region."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.cloud.aws.place import Place
from labkit.cloud.engine.events import Event

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud


def listen(cloud: AwsCloud) -> Callable[[], None]:
    """Puts what AWS's services tell the engine on their region's default bus; returns what ends that."""

    def told(event: Event) -> None:
        # Imported with the first event: not what the server starts with.
        from labkit.cloud.aws import events_delivery

        name, *_, region = event.scope.split(":")
        if name == cloud.name:
            place = Place(cloud, region)
            events_delivery.publish(place, event.source, event.kind, event.detail, list(event.resources), event.at)

    return cloud.engine.events.listen(told)
