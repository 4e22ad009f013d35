"""Conditions of role bindings: the part of the Common Expression Language that is evaluated here.

https://cloud.google.com/iam/docs/conditions-attribute-reference. Attributes: ``request.time``, ``resource.name``,
``resource.type``, ``resource.service``. Strings have ``startsWith``, ``endsWith`` and ``extract``; times have
``getHours("Europe/Berlin")`` and its like; there are ``timestamp()``, ``duration()``, comparisons, ``in``, ``+``,
``-``, ``!``, ``&&``, ``||``. Anything else refuses by its name when the policy is set, so no condition is ever ignored.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from labkit.cloud.gcp.errors import GcpError, invalid, refusal

#: What a condition may ask about, with its type.
ATTRIBUTES = {
    "request.time": "time",
    "resource.name": "string",
    "resource.type": "string",
    "resource.service": "string",
}
#: Characters that an expression may have. https://cloud.google.com/iam/docs/conditions-overview#cel
LONGEST = 2600
#: How deep an expression may be nested.
_DEEPEST = 40

Values = Mapping[str, Any]
Evaluate = Callable[[Values], Any]

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<number>-?\d+(?![\w.]))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
    | (?P<mark>\|\||&&|==|!=|<=|>=|[<>!()\[\],+.-]))""",
    re.VERBOSE,
)
_DURATION = re.compile(r"(-?\d+(?:\.\d+)?)(h|m|s|ms)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_PARTS: dict[str, Callable[[datetime], int]] = {
    "getFullYear": lambda at: at.year,
    "getMonth": lambda at: at.month - 1,
    "getDate": lambda at: at.day,
    "getDayOfMonth": lambda at: at.day - 1,
    "getDayOfWeek": lambda at: at.isoweekday() % 7,
    "getDayOfYear": lambda at: at.timetuple().tm_yday - 1,
    "getHours": lambda at: at.hour,
    "getMinutes": lambda at: at.minute,
    "getSeconds": lambda at: at.second,
    "getMilliseconds": lambda at: at.microsecond // 1000,
}
_OF_TEXT = ("startsWith", "endsWith", "extract")


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression that was read: its type, and what it is for given attributes."""

    kind: str
    value: Evaluate


class Condition:
    """A binding's condition; raises :class:`GcpError` for an expression that cannot be read or is not evaluated."""

    def __init__(self, expression: str) -> None:
        if len(expression) > LONGEST:
            raise invalid(f"The condition's expression has more than {LONGEST} characters.", "condition.expression")
        self.expression = expression
        parser = _Parser(expression)
        node = parser.disjunction()
        parser.end()
        if node.kind != "bool":
            raise parser.wrong(f"it is a {node.kind}, and has to be true or false")
        self._holds = node.value

    def holds(self, attributes: Values) -> bool:
        """Whether the condition is met; ``attributes`` has a value for each of :data:`ATTRIBUTES`."""
        return bool(self._holds(attributes))


def extract(text: str, template: str) -> str:
    """What of ``text`` is at ``{name}`` in ``template``, or ``""``.

    https://cloud.google.com/iam/docs/conditions-attribute-reference#extract
    """
    before, _, rest = template.partition("{")
    after = rest.partition("}")[2]
    start = text.find(before)
    if start < 0:
        return ""
    start += len(before)
    end = text.find(after, start) if after else len(text)
    return text[start:end] if end >= 0 else ""


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        self._at = self._depth = 0
        at, end = 0, len(text.rstrip())
        while at < end:
            found = _TOKEN.match(text, at)
            if found is None and (sign := text[at:].lstrip()[0]) in "?:*/%{}":
                raise self._unserved(f"the operator {sign}")
            if found is None:
                raise self.wrong(f"it cannot be read from {text[at:].strip()[:20]!r} on")
            self._tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            at = found.end()

    def wrong(self, why: str) -> GcpError:
        return invalid(
            f"Condition expression compilation failed. Expression: {self._text!r}: {why}.", "condition.expression"
        )

    def _unserved(self, what: str) -> GcpError:
        return refusal(what, f"The local clouds do not evaluate {what} in conditions yet; see docs/fidelity.md.")

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self, *marks: str) -> str:
        kind, text = self._next()
        if kind in ("mark", "name") and text in marks:
            self._at += 1
            return text
        return ""

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            raise self.wrong(f"{mark!r} is expected before {self._next()[1] or 'its end'!r}")

    def end(self) -> None:
        if self._next()[0] != "end":
            raise self.wrong(f"it does not go on with {self._next()[1]!r}")

    def disjunction(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self.wrong("it is nested too deeply")
        node = self._conjunction()
        while self._take("||"):
            node = self._both(node, self._conjunction(), any)
        self._depth -= 1
        return node

    def _conjunction(self) -> Node:
        node = self._comparison()
        while self._take("&&"):
            node = self._both(node, self._comparison(), all)
        return node

    def _both(self, left: Node, right: Node, join: Callable[[Any], bool]) -> Node:
        if (left.kind, right.kind) != ("bool", "bool"):
            raise self.wrong("&& and || join what is true or false")
        return Node("bool", lambda values: join(each.value(values) for each in (left, right)))

    def _comparison(self) -> Node:
        left = self._sum()
        if self._take("in"):
            right = self._sum()
            if right.kind != f"list of {left.kind}":
                raise self.wrong(f"a {left.kind} is not looked for in a {right.kind}")
            return Node("bool", lambda values: left.value(values) in right.value(values))
        if mark := self._take(*_COMPARE):
            right, compare = self._sum(), _COMPARE[mark]
            if left.kind != right.kind or left.kind.startswith("list"):
                raise self.wrong(f"no matching overload for {mark}: a {left.kind} and a {right.kind}")
            return Node("bool", lambda values: compare(left.value(values), right.value(values)))
        return left

    def _sum(self) -> Node:
        node = self._unary()
        while mark := self._take("+", "-"):
            right, left = self._unary(), node
            kinds = {
                ("time", "+", "duration"): "time",
                ("time", "-", "duration"): "time",
                ("time", "-", "time"): "duration",
                ("duration", "+", "duration"): "duration",
                ("duration", "-", "duration"): "duration",
                ("string", "+", "string"): "string",
                ("int", "+", "int"): "int",
                ("int", "-", "int"): "int",
            }
            kind = kinds.get((left.kind, mark, right.kind))
            if kind is None:
                raise self.wrong(f"no matching overload for {mark}: a {left.kind} and a {right.kind}")
            node = self._joined(kind, operator.add if mark == "+" else operator.sub, left, right)
        return node

    def _joined(self, kind: str, join: Callable[[Any, Any], Any], left: Node, right: Node) -> Node:
        return Node(kind, lambda values: join(left.value(values), right.value(values)))

    def _unary(self) -> Node:
        if self._take("!"):
            node = self._unary()
            if node.kind != "bool":
                raise self.wrong("! is for what is true or false")
            return Node("bool", lambda values: not node.value(values))
        node = self._primary()
        while self._take("."):
            kind, name = self._next()
            self._at += 1
            if kind != "name":
                raise self.wrong("a name is expected after '.'")
            node = self._method(node, name)
        return node

    def _primary(self) -> Node:
        kind, text = self._next()
        self._at += 1
        if kind == "string":
            said = re.sub(r"\\(.)", r"\1", text[1:-1])
            return Node("string", lambda _: said)
        if kind == "number":
            number = int(text)
            return Node("int", lambda _: number)
        if kind == "name":
            return self._named(text)
        self._at -= 1
        if self._take("("):
            node = self.disjunction()
            self._expect(")")
            return node
        if self._take("["):
            return self._list()
        raise self.wrong(f"it does not go on with {text!r}" if text else "it is not whole")

    def _list(self) -> Node:
        items = self._arguments("]")
        kinds = {each.kind for each in items}
        if len(kinds) != 1:
            raise self.wrong("the items of a list are of one type")
        return Node(f"list of {kinds.pop()}", lambda values: [each.value(values) for each in items])

    def _arguments(self, closing: str) -> list[Node]:
        items: list[Node] = []
        while not self._take(closing):
            if items:
                self._expect(",")
            items.append(self.disjunction())
        return items

    def _named(self, name: str) -> Node:
        if name in ("true", "false"):
            return Node("bool", lambda _: name == "true")
        if name in ("timestamp", "duration") and self._take("("):
            return self._made(name, self._arguments(")"))
        if name in ATTRIBUTES:
            return Node(ATTRIBUTES[name], lambda values: values[name])
        beginning, _, method = name.rpartition(".")
        if beginning in ATTRIBUTES:
            attribute = Node(ATTRIBUTES[beginning], lambda values: values[beginning])
            return self._method(attribute, method)
        raise self._unserved(name)

    def _made(self, name: str, arguments: list[Node]) -> Node:
        if [each.kind for each in arguments] != ["string"]:
            raise self.wrong(f"{name}() takes one string")
        text = arguments[0].value({})
        try:
            made = _instant(text) if name == "timestamp" else _duration(text)
        except ValueError:
            raise self.wrong(f"{text!r} is no {name}") from None
        return Node("time" if name == "timestamp" else "duration", lambda _: made)

    def _method(self, of: Node, name: str) -> Node:
        """A method's call: ``resource.name.startsWith("projects/")``."""
        if not self._take("("):
            raise self._unserved(f"the field {name}")
        arguments = self._arguments(")")
        kinds = [each.kind for each in arguments]
        if of.kind == "string" and name in _OF_TEXT and kinds == ["string"]:
            return self._of_text(of, name, arguments[0])
        if of.kind == "time" and name in _PARTS and kinds in ([], ["string"]):
            zone = _zone(arguments[0].value({})) if arguments else UTC
            if zone is None:
                raise self.wrong(f"{arguments[0].value({})!r} is no time zone")
            part = _PARTS[name]
            return Node("int", lambda values: part(of.value(values).astimezone(zone)))
        raise self._unserved(f"{name}() of a {of.kind}")

    def _of_text(self, of: Node, name: str, argument: Node) -> Node:
        if name == "startsWith":
            return Node("bool", lambda values: of.value(values).startswith(argument.value(values)))
        if name == "endsWith":
            return Node("bool", lambda values: of.value(values).endswith(argument.value(values)))
        return Node("string", lambda values: extract(of.value(values), argument.value(values)))


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(text)
    return at


def _duration(text: str) -> timedelta:
    found = _DURATION.findall(text)
    if not found or "".join(f"{number}{unit}" for number, unit in found) != text:
        raise ValueError(text)
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in found))


def _zone(name: str) -> Any:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
