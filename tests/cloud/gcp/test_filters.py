"""Filter expressions: how they are read, and what they match."""

from __future__ import annotations

import pytest

from labkit.cloud.gcp.filters import And, Comparison, FilterError, Function, Leaf, Not, Or, Term, leaves, matches, parse

A, B, C = (Comparison((name,), "=", "1") for name in "abc")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", None),
        ("  ", None),
        ("a=1", A),
        ("a = 1 AND b = 1", And((A, B))),
        ("a=1 b=1", And((A, B))),
        ("a=1 OR b=1 AND c=1", And((Or((A, B)), C))),
        ("a=1 OR (b=1 AND c=1)", Or((A, And((B, C))))),
        ("NOT a=1 b=1", And((Not(A), B))),
        ("-a=1", Not(A)),
        ('labels."a.b"=x', Comparison(("labels", "a.b"), "=", "x")),
        ("labels.team:*", Comparison(("labels", "team"), ":", "*")),
        ('name != "say \\"a b\\""', Comparison(("name",), "!=", 'say "a b"', quoted=True)),
        ("metric.type = 'a/b'", Comparison(("metric", "type"), "=", "a/b", quoted=True)),
        ('x.y = one_of("1", "2")', Comparison(("x", "y"), "=", Function("one_of", ("1", "2")))),
        ("x >= -0.5", Comparison(("x",), ">=", "-0.5")),
        ('error "out of memory"', And((Term("error"), Term("out of memory")))),
        ("error (memory)", And((Term("error"), Term("memory")))),
        ('log_id("a/b")', Function("log_id", ("a/b",))),
        ("NOT(a=1)", Not(A)),
        ("-(a=1)", Not(A)),
        ("a=(1 OR NOT 2)", Or((A, Not(Comparison(("a",), "=", "2"))))),
    ],
)
def test_an_expression_becomes_a_tree(text: str, tree: object) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    "text", ["a=", "(a=1", "a=1)", "a=1 AND", "OR a=1", 'a="b', "=1", "a=f(", "(" * 200, "a=(b=1)"]
)
def test_what_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(FilterError, match=r"^The filter "):
        parse(text)


@pytest.mark.parametrize(
    ("text", "held", "expected"),
    [
        ("", {}, True),
        ("a=1 b=1", {"a": "1", "b": "1"}, True),
        ("a=1 b=1", {"a": "1", "b": "2"}, False),
        ("a=1 OR b=1", {"a": "2", "b": "1"}, True),
        ("NOT (a=1 OR b=1)", {"a": "2", "b": "2"}, True),
        ("-a=1", {"a": "1"}, False),
    ],
)
def test_a_tree_matches_as_its_operators_say(text: str, held: dict[str, str], expected: bool) -> None:
    def judge(leaf: Leaf) -> bool:
        assert isinstance(leaf, Comparison)
        return held[leaf.name] == leaf.value

    assert matches(parse(text), judge) is expected


def test_the_leaves_come_in_order() -> None:
    assert leaves(parse("a=1 OR NOT (b=1 c=1)")) == [A, B, C]
