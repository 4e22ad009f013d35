"""The part of the Kusto Query Language that is evaluated, what is wrong in it, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labkit.cloud.azure import kql
from labkit.cloud.azure.kql_tokens import NotEvaluated, SemanticProblem, SyntaxProblem, position, tokens

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = {"TimeGenerated": "datetime", "Name": "string", "Code": "int", "Took": "int", "Share": "real"}
ROWS: list[dict[str, Any]] = [
    {"TimeGenerated": NOW - timedelta(minutes=90), "Name": "blue", "Code": 200, "Took": 10, "Share": 0.5},
    {"TimeGenerated": NOW - timedelta(minutes=20), "Name": "Blue-Green", "Code": 424, "Took": 30, "Share": 1.5},
    {"TimeGenerated": NOW - timedelta(minutes=10), "Name": "green", "Code": 200, "Took": 20, "Share": None},
    {"TimeGenerated": NOW - timedelta(minutes=5), "Name": "", "Code": 404, "Took": 40, "Share": 2.5},
]


def run(query: str) -> kql.Table:
    return kql.run(query, {"T": lambda: kql.Table(COLUMNS, list(ROWS))}, NOW)


def values(query: str) -> list[Any]:
    """The rows of a result as tuples, those of one column as their values."""
    table = run(query)
    rows = [tuple(row.get(name) for name in table.columns) for row in table.rows]
    return [row[0] for row in rows] if len(table.columns) == 1 else rows


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("Code == 200", [10, 20]),
        ("Code != 200", [30, 40]),
        ('Code != "200"', [30, 40]),
        ("Code >= 400 and Took < 40", [30]),
        ("Code == 404 or Took == 10", [10, 40]),
        ("Code == 404 or Took == 10 and Code == 424", [40]),
        ("(Code == 404 or Took == 10) and Code == 404", [40]),
        ("not(Code == 200)", [30, 40]),
        ("Code in (424, 404)", [30, 40]),
        ("Code !in (424, 404)", [10, 20]),
        ('Name in~ ("BLUE", "GREEN")', [10, 20]),
        ('Name !in~ ("BLUE", "GREEN")', [30, 40]),
        ("Took between (20 .. 30)", [30, 20]),
        ("Took between (20..30)", [30, 20]),
        ('Name =~ "BLUE"', [10]),
        ('Name !~ "BLUE"', [30, 20, 40]),
        ('Name == "BLUE"', []),
        ('Name contains "GREEN"', [30, 20]),
        ('Name contains_cs "Green"', [30]),
        ('Name !contains "green"', [10, 40]),
        ('Name startswith "blue"', [10, 30]),
        ('Name !startswith "blue"', [20, 40]),
        ('Name startswith_cs "Blue"', [30]),
        ('Name endswith "een"', [30, 20]),
        ('Name has "green"', [30, 20]),
        ('Name has "gree"', []),
        ("isempty(Name)", [40]),
        ("isnotempty(Name)", [10, 30, 20]),
        ("isnull(Share)", [20]),
        ("Share > 1", [30, 40]),
        ("Share != 1.5", [10, 20, 40]),
        ("true", [10, 30, 20, 40]),
        ("TimeGenerated > ago(30m)", [30, 20, 40]),
        ("TimeGenerated >= now() - 10m", [20, 40]),
        ("TimeGenerated between (datetime(2026-03-01T11:00) .. datetime(2026-03-01 11:45:00Z))", [30]),
        ("now() - TimeGenerated < 0.5h", [30, 20, 40]),
        ("Took + 10 * 2 == 30", [10]),
        ("Took / 3 == 3 and Took % 3 == 1", [10]),
        ("-Took == -10", [10]),
        ("strlen(Name) == 4", [10]),
        ('tolower(Name) == "blue-green"', [30]),
        ('toint("20") == Took', [20]),
    ],
)
def test_conditions(condition: str, kept: list[int]) -> None:
    assert values(f"T | where {condition} | project Took") == kept


def test_columns_are_projected_renamed_added_and_taken_away() -> None:
    table = run("T | project Name, Status = Code, Took * 2, Double = Took * 2.5")
    assert table.columns == {"Name": "string", "Status": "int", "Column3": "long", "Double": "real"}
    assert table.rows[0] == {"Name": "blue", "Status": 200, "Column3": 20, "Double": 25.0}
    table = run("T | extend Slow = Took > 20, Name = toupper(Name) | project-away Share, TimeGenerated")
    assert table.columns == {"Name": "string", "Code": "int", "Took": "int", "Slow": "bool"}
    assert table.rows[1] == {"Name": "BLUE-GREEN", "Code": 424, "Took": 30, "Slow": True}


def test_rows_are_ordered_taken_counted_and_made_distinct() -> None:
    assert values("T | order by Took | project Took") == [40, 30, 20, 10]
    assert values("T | sort by Code asc, Took desc | project Code, Took") == [
        (200, 20),
        (200, 10),
        (404, 40),
        (424, 30),
    ]
    assert values("T | order by Share | project Share") == [2.5, 1.5, 0.5, None]
    assert values("T | order by Share asc | project Share") == [None, 0.5, 1.5, 2.5]
    assert values("T | top 2 by TimeGenerated desc | project Took") == [40, 20]
    assert values("T | take 1 | project Took") == values("T | limit 1 | project Took") == [10]
    assert values("T | count") == [4]
    assert run("T | where false | count").rows == [{"Count": 0}]
    assert values("T | distinct Code") == [200, 424, 404]
    assert len(values("T | distinct *")) == 4


def test_rows_are_summarized() -> None:
    assert values("T | summarize count()") == [4]
    table = run("T | summarize Requests = count(), avg(Took), max(Took), dcount(Name), sum(Share) by Code")
    assert table.columns == {
        "Code": "int",
        "Requests": "long",
        "avg_Took": "real",
        "max_Took": "int",
        "dcount_Name": "long",
        "sum_Share": "real",
    }
    assert tuple(table.rows[0].values()) == (200, 2, 15.0, 20, 2, 0.5)
    assert values("T | summarize countif(Code >= 400), percentile(Took, 50), min(TimeGenerated)") == [
        (2, 20, ROWS[0]["TimeGenerated"])
    ]
    hours = values("T | summarize count() by bin(TimeGenerated, 1h)")
    assert hours == [(NOW - timedelta(hours=2), 1), (NOW - timedelta(hours=1), 3)]
    assert values("T | where false | summarize count(), avg(Took)") == [(0, None)]
    assert values("T | where false | summarize count() by Code") == []
    assert values("T | summarize by Code") == [200, 424, 404]


def test_literals_comments_and_an_end_mark() -> None:
    query = """
        T // the only table
        | where Name != 'it\\'s' and Name != @"a\\b" // nothing is
        | extend Text = "a\\tb", Wait = 1.5m, Long = 2d
        | take 1 | project Text, Wait, Long;
    """
    assert values(query) == [("a\tb", timedelta(seconds=90), timedelta(days=2))]


@pytest.mark.parametrize(
    ("query", "word", "place"),
    [
        ("T | wher Code == 200", "wher", (1, 4)),
        ("T\n| where Code ==", "<EOF>", (2, 15)),
        ("T | where Code == 'open", "'", (1, 18)),
        ("T where Code == 200", "where", (1, 2)),
        ("T | take x", "x", (1, 9)),
        ("T | project Name Code", "Code", (1, 17)),
        ("| take 1", "|", (1, 0)),
        ("T | top 1 Took", "Took", (1, 10)),
        ("T | where Code ~ 3", "~", (1, 15)),
        ("T | where datetime(2026", "<EOF>", (1, 23)),
    ],
)
def test_what_cannot_be_read_is_pointed_at(query: str, word: str, place: tuple[int, int]) -> None:
    with pytest.raises(SyntaxProblem, match="could not be parsed at") as caught:
        run(query)
    assert (caught.value.token.text or "<EOF>", position(query, caught.value.token.at)) == (word, place)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("Unknown | take 1", "Failed to resolve table or column expression named 'Unknown'"),
        ("T | where Missing == 1", "Failed to resolve column or scalar expression named 'Missing'"),
        ("T | project Code | where Took > 1", "named 'Took'"),
        ("T | where Took", "type bool, not int"),
        ("T | where Took and true", "type bool, not int"),
        ('T | where TimeGenerated > "2026"', "Cannot compare values of types datetime and string"),
        ('T | where Code > "200"', "Cannot compare values of types int and string"),
        ('T | where Name + 1 == "x"', r"operator \+ does not take values of types string and long"),
        ("T | where TimeGenerated + TimeGenerated == now()", "datetime and datetime"),
        ("T | extend X = -Name", "does not take a value of type string"),
        ("T | where TimeGenerated > ago(3)", "ago.*: argument of type long"),
        ("T | where bin(Name, 1) == 1", "bin.*: argument of type string"),
        ("T | where isempty(Name, Code)", r"isempty\(\): function expects 1"),
        ("T | where TimeGenerated > datetime(yesterday)", "is no date"),
        ("T | summarize sum(Name)", "sum.*type string"),
        ("T | summarize countif(Took)", "countif.*type bool, not int"),
        ("T | summarize percentile(Took)", "percentile.*expects 2"),
        ('T | summarize percentile(Took, "x")', "has to be a number"),
    ],
)
def test_what_makes_no_sense(query: str, message: str) -> None:
    with pytest.raises(SemanticProblem, match=message):
        run(query)


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("T | join T on Code", "the operator join"),
        ("union T, T", "the operator union"),
        ("T | mv-expand Name", "the operator mv-expand"),
        ("T | project-rename A = Name", "the operator project-rename"),
        ("T | render timechart", "the operator render"),
        ("let x = 1; T", "the statement let"),
        ("T | where strcat(Name) == 'x'", r"the function strcat\(\)"),
        ("T | where Name matches regex 'x'", "the operator matches"),
        ("T | summarize make_list(Name)", r"the aggregation make_list\(\)"),
        ("T | order by Took nulls first", "nulls first"),
        ("T; T", "more than one statement"),
    ],
)
def test_the_rest_of_the_language_is_refused_by_name(query: str, what: str) -> None:
    with pytest.raises(NotEvaluated, match=what):
        run(query)


def test_a_table_is_read_only_when_it_is_asked_for() -> None:
    def unread() -> kql.Table:
        raise AssertionError("read")

    tables = {"T": lambda: kql.Table(COLUMNS, []), "Other": unread}
    assert kql.run("T", tables, NOW).columns == COLUMNS


def test_words_know_where_they_are() -> None:
    assert [(token.text, token.at) for token in tokens("T | where x!=2")] == [
        ("T", 0),
        ("|", 2),
        ("where", 4),
        ("x", 10),
        ("!=", 11),
        ("2", 13),
        ("", 14),
    ]
