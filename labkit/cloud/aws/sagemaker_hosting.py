"""An endpoint and its variants: created, changed under load, at last given up.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import sagemaker_events, sklearn_images
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.sagemaker_deployment import Variant, Wanted, discard, no_ping, prepare
from labkit.cloud.engine import serving
from labkit.cloud.engine.errors import CloudError, StartFailed
from labkit.cloud.engine.serving import VariantSpec, VariantState

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

_log = logging.getLogger(__name__)

#: FailureReason holds this many characters at most.
_LONGEST_REASON = 1024


@dataclass
class Endpoint:
    """An endpoint. ``settled`` is set while nothing is under way; its parts change under ``lock``.

    ``instances`` counts, by instance type, what it has or is about to have.
    """

    name: str
    arn: str
    config_name: str
    created: datetime
    modified: datetime
    serving: serving.Endpoint
    tags: dict[str, str]
    status: str = "Creating"
    failure: str = ""
    variants: list[Variant] = field(default_factory=list)
    instances: Counter[str] = field(default_factory=Counter)
    deployment: Mapping[str, Any] | None = None
    pending: Mapping[str, Any] | None = None
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    settled: threading.Event = field(default_factory=threading.Event, repr=False)
    _closed: bool = False

    def work(self, call: Call, what: Callable[[], None]) -> None:
        """Does something to the endpoint in a thread of its own; it is not settled until that is over.

        ``what`` raises to fail. A failed creation leaves the endpoint Failed; a failed change leaves it InService as
        it was before, with a FailureReason.
        """
        with self.lock:
            self.settled.clear()
            creating = self.status == "Creating"
            self.status = "Creating" if creating else "Updating"
            self.modified = call.engine.clock.now()
        sagemaker_events.endpoint_changed(Place.of(call), self)

        def run() -> None:
            failure = _failure_of(what)
            with self.lock:
                self.failure = failure[:_LONGEST_REASON]
                self.status = "Failed" if failure and creating else "InService"
                self.pending = None
                self.modified = call.engine.clock.now()
                self.instances = Counter()
                for variant in self.variants:
                    self.instances[variant.wanted.instance_type] += variant.wanted.count
                closed = self._closed
            if closed:
                self.close()
            else:
                sagemaker_events.endpoint_changed(Place.of(call), self)
            self.settled.set()

        threading.Thread(target=run, name=f"endpoint-{self.name}", daemon=True).start()

    def deploy(self, call: Call, wanted: Sequence[Wanted]) -> None:
        """Makes these the endpoint's variants.

        Blocks; requests are served by the old variants until the new ones are ready. Raises
        :class:`DeploymentFailed` or :class:`StartFailed`; then nothing has changed.
        """
        fresh: list[Variant] = []
        try:
            specs = []
            for each in wanted:
                variant, server = prepare(call, self.name, each)
                fresh.append(variant)
                specs.append(VariantSpec(each.name, server, each.count, each.weight))
            self.serving.deploy(specs)
        except BaseException:
            discard(fresh)
            raise
        with self.lock:
            old, self.variants = self.variants, fresh
        discard(old)

    def resize(self, wanted: Sequence[Wanted]) -> None:
        """Gives the variants other weights and numbers of instances. Raises :class:`StartFailed`."""
        self.serving.scale({each.name: each.count for each in wanted})
        self.serving.set_weights({each.name: each.weight for each in wanted})
        with self.lock:
            for variant, each in zip(self.variants, wanted, strict=True):
                variant.wanted = each

    def describe_variants(self) -> list[dict[str, Any]]:
        """ProductionVariants of DescribeEndpoint."""
        states = {state.name: state for state in self.serving.variants()}
        with self.lock:
            return [_describe(variant, states.get(variant.name)) for variant in self.variants]

    def close(self) -> None:
        """Stops the replicas and gives back what they used."""
        with self.lock:
            self._closed = True
            variants, self.variants = self.variants, []
        self.serving.close()
        discard(variants)


def _failure_of(what: Callable[[], None]) -> str:
    try:
        what()
    except StartFailed as error:
        return no_ping(error.variant)
    except CloudError as error:
        return error.message
    except Exception:
        _log.exception("An endpoint could not be changed")
        return "Request to service failed. If failure persists after retry, contact customer support."
    return ""


def _describe(variant: Variant, state: VariantState | None) -> dict[str, Any]:
    return {
        "VariantName": variant.name,
        "DeployedImages": [
            {
                "SpecifiedImage": variant.wanted.image,
                "ResolvedImage": sklearn_images.resolved(variant.wanted.image),
                "ResolutionTime": variant.started,
            }
        ],
        "CurrentWeight": state.weight if state else variant.wanted.weight,
        "DesiredWeight": variant.wanted.weight,
        "CurrentInstanceCount": state.healthy if state else 0,
        "DesiredInstanceCount": variant.wanted.count,
        "RoutingConfig": variant.wanted.config.get("RoutingConfig"),
    }
