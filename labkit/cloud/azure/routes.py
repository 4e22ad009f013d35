"""Resource Manager's operations as a table: method and path to function, with the action that a role must allow.

Paths are matched without regard to case, as Resource Manager matches them. A path's fixed parts and ``{names}`` follow
the published specifications (https://learn.microsoft.com/rest/api/azure/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

#: Answers one call, given the names in its path: a body (HTTP 200), a whole response, or None (HTTP 200, no body).
Function = Callable[["Call", dict[str, str]], Any]
Level = Literal["works", "shape"]

SUBSCRIPTION = "/subscriptions/{subscription}"
#: Begins the path of what can be asked of any resource, group or subscription, and of the tenant.
SCOPE = "/{scope}"
GROUP = f"{SUBSCRIPTION}/resourceGroups/{{group}}"
MACHINE_LEARNING = "Microsoft.MachineLearningServices"
WORKSPACES = f"{GROUP}/providers/{MACHINE_LEARNING}/workspaces"
WORKSPACE = f"{WORKSPACES}/{{workspace}}"

_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. ``level`` and ``note`` are what ``docs/fidelity.md`` says of it.

    ``action`` need be given only where it does not follow from the path, as ``versions`` (the kind of resource whose
    api-versions apply) need not.
    """

    method: str
    path: str
    function: Function
    level: Level = "works"
    note: str = ""
    action: str = ""
    read_only: bool = False

    @property
    def segments(self) -> list[str]:
        return self.path.strip("/").split("/")

    @property
    def namespace(self) -> str:
        """The resource provider, ``Microsoft.Resources`` for what is Resource Manager's own."""
        return _typed(self.segments)[0]

    @property
    def type(self) -> str:
        """The kind of resource that the path is about, without the namespace."""
        return _typed(self.segments)[1]

    @property
    def needs(self) -> str:
        """The action that a role must allow, such as ``Microsoft.MachineLearningServices/workspaces/read``."""
        if self.action:
            return self.action
        verb = _VERBS.get(self.method, "action")
        return f"{self.namespace}/{self.type}/{verb}"

    @property
    def lists_subscription(self) -> bool:
        """Whether the operation lists the resources of a whole subscription, of which each sees what it may."""
        kinds = self.type.removeprefix("subscriptions/")
        listed = self.method == "GET" and self.path.startswith(f"{SUBSCRIPTION}/") and not self.path.endswith("}")
        return listed and "{group}" not in self.path and "/" not in kinds

    @property
    def reads(self) -> bool:
        """Whether the operation changes nothing."""
        return self.read_only or self.method in ("GET", "HEAD")


def _typed(segments: list[str]) -> tuple[str, str]:
    """The namespace and type of a path's segments: those of the last ``providers`` in it."""
    low = [each.lower() for each in segments]
    if "providers" in low:
        at = len(low) - 1 - low[::-1].index("providers")
        rest = segments[at + 1 :]
        return (rest[0] if rest else ""), "/".join(rest[1::2])
    kinds = [segments[at] for at in range(0, len(segments), 2)]
    return "Microsoft.Resources", "/".join(kinds)


@dataclass(frozen=True, slots=True)
class Found:
    """A path's routes by method, and the names in it."""

    routes: dict[str, Route]
    names: dict[str, str]


@dataclass(slots=True)
class _Node:
    fixed: dict[str, _Node] = field(default_factory=dict)
    named: _Node | None = None
    routes: dict[str, Route] = field(default_factory=dict)


class Table:
    """All routes, as a tree of path segments; those below any scope, by what follows the last ``providers``."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = list(routes)
        self._root, self._scoped = _Node(), _Node()
        for route in self.routes:
            node, segments = self._root, route.segments
            if route.path.startswith(SCOPE):
                node, segments = self._scoped, segments[1:]
            for segment in segments:
                if segment.startswith("{"):
                    node.named = node.named or _Node()
                    node = node.named
                else:
                    node = node.fixed.setdefault(segment.lower(), _Node())
            if route.method in node.routes:
                raise ValueError(f"{route.method} {route.path} is in the table twice.")
            node.routes[route.method] = route

    def find(self, segments: list[str]) -> Found | None:
        """The routes of a path given as its segments, or None when there is none like it."""
        for node, values in _walk(self._root, segments, ()):
            if node.routes:
                template = next(iter(node.routes.values())).segments
                names = [segment[1:-1] for segment in template if segment.startswith("{")]
                return Found(node.routes, dict(zip(names, values, strict=True)))
        low = [segment.lower() for segment in segments]
        at = len(low) - 1 - low[::-1].index("providers") if "providers" in low else len(low)
        for node, values in _walk(self._scoped, segments[at:], ("/".join(segments[:at]),)):
            if node.routes:
                template = next(iter(node.routes.values())).segments
                names = [segment[1:-1] for segment in template if segment.startswith("{")]
                return Found(node.routes, dict(zip(names, values, strict=True)))
        return None


def _walk(node: _Node, segments: list[str], values: tuple[str, ...]) -> Iterator[tuple[_Node, tuple[str, ...]]]:
    """The nodes at the end of a path, those by fixed segments first."""
    if not segments:
        yield node, values
        return
    head, rest = segments[0], segments[1:]
    if (fixed := node.fixed.get(head.lower())) is not None:
        yield from _walk(fixed, rest, values)
    if node.named is not None:
        yield from _walk(node.named, rest, (*values, head))
