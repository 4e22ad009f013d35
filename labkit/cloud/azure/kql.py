"""A small part of the Kusto Query Language, evaluated over rows; the rest is refused by name.

``where``, ``project``, ``project-away``, ``extend``, ``distinct``, ``take``, ``top``, ``order by``, ``count`` and
``summarize`` with some aggregations. https://learn.microsoft.com/kusto/query/tabular-operators
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labkit.cloud.azure.kql_expressions import Expression, Reader, Row
from labkit.cloud.azure.kql_tokens import NotEvaluated, SemanticProblem, SyntaxProblem, tokens

#: The operators of the language that are not evaluated: a misspelt one is an error, these are refused.
_NOT_EVALUATED = frozenset(
    (
        "as",
        "consume",
        "evaluate",
        "externaldata",
        "facet",
        "find",
        "fork",
        "getschema",
        "invoke",
        "join",
        "lookup",
        "macro-expand",
        "make-graph",
        "make-series",
        "mv-apply",
        "mv-expand",
        "parse",
        "parse-kv",
        "parse-where",
        "partition",
        "print",
        "range",
        "reduce",
        "render",
        "sample",
        "sample-distinct",
        "scan",
        "search",
        "serialize",
        "top-hitters",
        "top-nested",
        "union",
    )
)
#: Statements that may stand before a query.
_STATEMENTS = ("let", "set", "declare", "alias", "restrict")


@dataclass(frozen=True, slots=True)
class Table:
    """Columns (name -> type, in order) and rows."""

    columns: dict[str, str]
    rows: list[Row]


def run(query: str, tables: Mapping[str, Callable[[], Table]], now: datetime) -> Table:
    """The result of a query. ``tables`` gives each table when it is asked for, ``now`` is what ``now()`` answers.

    Raises :class:`SyntaxProblem`, :class:`SemanticProblem` and :class:`NotEvaluated`.
    """
    reader = Reader(tokens(query), now)
    word = reader.next()
    if word.kind != "name":
        raise SyntaxProblem(word)
    if word.text in _STATEMENTS:
        raise NotEvaluated(f"the statement {word.text}")
    if word.text in _NOT_EVALUATED or reader.word.text == "(":
        raise NotEvaluated(f"the operator {word.text}")
    if word.text not in tables:
        raise SemanticProblem(f"Failed to resolve table or column expression named '{word.text}'")
    table = tables[word.text]()
    while not reader.takes(";"):
        if reader.word.kind == "end":
            return table
        reader.expect("|")
        reader.columns = table.columns
        table = _operator(reader)(reader, table)
    if reader.word.kind != "end":
        raise NotEvaluated("more than one statement")
    return table


def _operator(reader: Reader) -> Callable[[Reader, Table], Table]:
    word = reader.next()
    if word.kind != "name":
        raise SyntaxProblem(word)
    name = word.text
    while reader.word.text == "-" and reader.word.at == word.at + len(name):
        reader.next()
        name += f"-{reader.name()}"
    if name in ("order", "sort"):
        reader.expect("by")
    if (found := _OPERATORS.get(name)) is not None:
        return found
    if name in _NOT_EVALUATED or name.startswith("project-"):
        raise NotEvaluated(f"the operator {name}")
    raise SyntaxProblem(word)


def _where(reader: Reader, table: Table) -> Table:
    condition = reader.expression()
    if condition.type != "bool":
        raise SemanticProblem(f"'where' operator: a condition has to be of type bool, not {condition.type}")
    return Table(table.columns, [row for row in table.rows if condition.evaluate(row)])


def _project(reader: Reader, table: Table) -> Table:
    return _made(_list(reader, reader.named), table.rows, "Column")


def _project_away(reader: Reader, table: Table) -> Table:
    gone = {reader.column(name).name for name in _list(reader, reader.name)}
    columns = {name: kind for name, kind in table.columns.items() if name not in gone}
    return Table(columns, [{name: row.get(name) for name in columns} for row in table.rows])


def _extend(reader: Reader, table: Table) -> Table:
    added = _made(_list(reader, reader.named), table.rows, "Column")
    rows: list[Row] = [{**row, **more} for row, more in zip(table.rows, added.rows, strict=True)]
    return Table({**table.columns, **added.columns}, rows)


def _distinct(reader: Reader, table: Table) -> Table:
    if reader.takes("*"):
        chosen = Table(table.columns, table.rows)
    else:
        chosen = _made(_list(reader, reader.expression), table.rows, "Column")
    unique = {tuple(row.get(name) for name in chosen.columns): row for row in chosen.rows}
    return Table(chosen.columns, list(unique.values()))


def _take(reader: Reader, table: Table) -> Table:
    return Table(table.columns, table.rows[: reader.number()])


def _top(reader: Reader, table: Table) -> Table:
    count = reader.number()
    reader.expect("by")
    ordered = _sorted(table.rows, [_ordering(reader)])
    return Table(table.columns, ordered[:count])


def _order(reader: Reader, table: Table) -> Table:
    return Table(table.columns, _sorted(table.rows, _list(reader, lambda: _ordering(reader))))


def _count(reader: Reader, table: Table) -> Table:
    return Table({"Count": "long"}, [{"Count": len(table.rows)}])


def _summarize(reader: Reader, table: Table) -> Table:
    aggregations: list[tuple[str, str, _Aggregate]] = []
    if reader.word.text != "by":
        aggregations = _list(reader, lambda: _aggregation(reader))
    keys = _list(reader, reader.named) if reader.takes("by") else []
    keyed = _made(keys, table.rows, "Column")
    groups: dict[tuple[Any, ...], list[Row]] = {} if keys else {(): []}
    for row, key in zip(table.rows, keyed.rows, strict=True):
        groups.setdefault(tuple(key.values()), []).append(row)
    columns = {**keyed.columns, **{name: kind for name, kind, _ in aggregations}}
    rows: list[Row] = [
        {**dict(zip(keyed.columns, key, strict=True)), **{name: function(group) for name, _, function in aggregations}}
        for key, group in groups.items()
    ]
    return Table(columns, rows)


_OPERATORS: dict[str, Callable[[Reader, Table], Table]] = {
    "where": _where,
    "filter": _where,
    "project": _project,
    "project-away": _project_away,
    "extend": _extend,
    "distinct": _distinct,
    "take": _take,
    "limit": _take,
    "top": _top,
    "order": _order,
    "sort": _order,
    "count": _count,
    "summarize": _summarize,
}


def _list(reader: Reader, read: Callable[[], Any]) -> list[Any]:
    found = [read()]
    while reader.takes(","):
        found.append(read())
    return found


def _made(expressions: Sequence[Expression], rows: Sequence[Row], unnamed: str) -> Table:
    """A table whose columns are expressions over the rows of another."""
    named: dict[str, Expression] = {}
    for expression in expressions:
        name = expression.name or f"{unnamed}{len(named) + 1}"
        named[name] = expression
    columns = {name: expression.type for name, expression in named.items()}
    return Table(columns, [{name: each.evaluate(row) for name, each in named.items()} for row in rows])


def _ordering(reader: Reader) -> tuple[Expression, bool]:
    """What to order by, and whether from the largest down, which is how Kusto orders unless it is told otherwise."""
    by = reader.expression()
    descending = not reader.takes("asc")
    if descending:
        reader.takes("desc")
    if reader.word.text == "nulls":
        raise NotEvaluated("nulls first and nulls last")
    return by, descending


def _sorted(rows: Sequence[Row], orderings: Sequence[tuple[Expression, bool]]) -> list[Row]:
    ordered = list(rows)
    for by, descending in reversed(orderings):
        known = [row for row in ordered if by.evaluate(row) is not None]
        missing = [row for row in ordered if by.evaluate(row) is None]
        known.sort(key=by.evaluate, reverse=descending)
        ordered = [*known, *missing] if descending else [*missing, *known]
    return ordered


_Aggregate = Callable[[Sequence[Row]], Any]


def _aggregation(reader: Reader) -> tuple[str, str, _Aggregate]:
    """One aggregation of ``summarize``: its column's name and type, and what it is over a group of rows."""
    first = reader.name()
    name = ""
    if reader.takes("="):
        name, first = first, reader.name()
    reader.expect("(")
    arguments = [] if reader.takes(")") else _list(reader, reader.expression)
    if arguments:
        reader.expect(")")
    if first == "count" and not arguments:
        return name or "count_", "long", len
    if first not in _AGGREGATES:
        raise NotEvaluated(f"the aggregation {first}()")
    wanted = 2 if first == "percentile" else 1
    if len(arguments) != wanted:
        raise SemanticProblem(f"{first}(): function expects {wanted} argument(s).")
    of = arguments[0]
    if first == "countif":
        if of.type != "bool":
            raise SemanticProblem(f"countif(): a condition has to be of type bool, not {of.type}")
        return name or "countif_", "long", lambda rows: sum(bool(of.evaluate(row)) for row in rows)
    kind, function = _AGGREGATES[first]
    if first in ("sum", "avg", "percentile") and of.type not in ("int", "long", "real"):
        raise SemanticProblem(f"{first}(): argument of type {of.type} cannot be aggregated.")
    shown = name or f"{first}_{of.name}"
    if first == "percentile":
        share = arguments[1].evaluate({})
        if not isinstance(share, int | float):
            raise SemanticProblem("percentile(): the second argument has to be a number.")
        shown = name or f"percentile_{of.name}_{share:g}"
        return shown, of.type, lambda rows: _percentile(_values(of, rows), float(share))
    return shown, kind or of.type, lambda rows: function(_values(of, rows))


def _values(of: Expression, rows: Sequence[Row]) -> list[Any]:
    return [value for value in map(of.evaluate, rows) if value is not None]


def _percentile(values: Sequence[Any], share: float) -> Any:
    """The smallest value that at least this share, in per cent, of the values does not exceed."""
    return sorted(values)[max(math.ceil(len(values) * share / 100) - 1, 0)] if values else None


#: Name -> type of the result (empty: the argument's), function of the values that are not missing.
_AGGREGATES: dict[str, tuple[str, Callable[[Sequence[Any]], Any]]] = {
    "countif": ("long", len),
    "sum": ("", sum),
    "avg": ("real", lambda values: sum(values) / len(values) if values else None),
    "min": ("", lambda values: min(values, default=None)),
    "max": ("", lambda values: max(values, default=None)),
    "dcount": ("long", lambda values: len(set(values))),
    "percentile": ("", len),
}
