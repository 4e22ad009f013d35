"""Where something happens that no request asked for: a cloud, and a region of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from labkit.cloud.aws import moto_base

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud, Call
    from labkit.cloud.engine import Engine

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A region of the account, with what a :class:`~labkit.cloud.aws.front.Call` has of it."""

    cloud: AwsCloud
    region: str

    @classmethod
    def of(cls, call: Call) -> Place:
        return cls(call.cloud, call.region)

    @property
    def engine(self) -> Engine:
        return self.cloud.engine

    @property
    def account(self) -> str:
        return moto_base.ACCOUNT

    @property
    def scope(self) -> str:
        """The account and region as the engine keeps metrics and logs apart."""
        return f"aws:{self.account}:{self.region}"

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def store(self, kind: Callable[[], T]) -> T:
        """The one instance of ``kind`` for this account and region, made at first use and gone at reset."""
        return self.cloud.store(kind, self.account, self.region)
