"""What tests wait with."""

from __future__ import annotations

import pytest

from tests.waiting import eventually


def test_waits_for_an_answer() -> None:
    answers = iter((0, "", None, "there"))
    assert eventually(lambda: next(answers)) == "there"


def test_says_what_it_waited_for_and_what_it_was_told() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"^waited 0 s for .*lambda: 3 > 4.*; the last answer was False$"):
        eventually(lambda: 3 > 4, 0)


def test_an_exception_is_no_answer_yet_where_it_may_come() -> None:
    def ask() -> str:
        tries.append("try")
        if len(tries) < 3:
            raise LookupError("not yet")
        return "there"

    tries: list[str] = []
    with pytest.raises(LookupError, match="not yet"):
        eventually(ask)
    with pytest.raises(pytest.fail.Exception, match=r"for <function .*ask.*answer was LookupError\('not yet'"):
        eventually(ask, 0, despite=LookupError)
    assert eventually(ask, despite=LookupError) == "there"
