"""What a check's outcome reads like, whatever it ran into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, ProxyConnectionError
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from labkit import labs
from labkit.labs.beginner.aws_checks import explain
from labkit.labs.task import (
    Definition,
    NotAttempted,
    Outcome,
    Result,
    Task,
    Work,
    Wrong,
    after_cleanup,
    run,
)

WORK = Work(Path("aws"), Path("data"))


def result_of(check: Callable[[Work], str]) -> Result:
    task = Task("bucket", "Make a bucket", 10, check, ("make one",))
    definition = Definition("beginner/aws", "A lab", "AWS", (task,), whoami=dict, explain=explain)
    return run(definition, task, WORK)


def raising(error: Exception) -> Callable[[Work], str]:
    def check(_: Work) -> str:
        raise error

    return check


def test_right() -> None:
    result = result_of(lambda _: "a bucket named b")
    assert (result.outcome, result.points) == (Outcome.RIGHT, 10)
    assert str(result) == "✓ bucket (10 points): a bucket named b."


def test_wrong_says_what_was_found_and_expected_and_hints() -> None:
    result = result_of(raising(Wrong("an open bucket", "a closed one", "close it")))
    assert (result.outcome, result.points) == (Outcome.WRONG, 0)
    assert str(result) == "✗ bucket is not right yet: found an open bucket; expected a closed one. Hint: close it."


def test_not_attempted_falls_back_on_the_tasks_first_hint() -> None:
    result = result_of(raising(NotAttempted("no bucket", "one")))
    assert (result.outcome, result.points) == (Outcome.NOT_ATTEMPTED, 0)
    assert str(result) == "✗ bucket is not attempted yet: found no bucket; expected one. Hint: make one."


def test_the_clouds_own_message_is_quoted() -> None:
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, "ListBuckets")
    assert "found that ListBuckets answered AccessDenied: Access Denied; " in str(result_of(raising(error)))


def test_a_cloud_that_cannot_be_reached_is_said_to_be_so() -> None:
    error = ProxyConnectionError(proxy_url="http://127.0.0.1:9")
    assert "found that AWS could not be asked (Failed to connect to proxy URL" in str(result_of(raising(error)))


def test_whatever_else_goes_wrong_is_a_sentence_too() -> None:
    result = result_of(raising(KeyError("Buckets")))
    assert result.outcome is Outcome.WRONG
    assert "found something that the check cannot read (KeyError: 'Buckets')" in str(result)


def test_what_was_expected_is_said_whatever_goes_wrong() -> None:
    assert "expected the outcome of 'Make a bucket'" in str(result_of(raising(KeyError("Buckets"))))
    assert "expected an answer to the check's own call" in str(result_of(raising(ProxyConnectionError(proxy_url="p"))))


@pytest.mark.parametrize(
    ("task", "clean", "outcome"),
    [
        ({}, True, Outcome.CLEANED_UP),
        ({}, False, Outcome.NOT_ATTEMPTED),
        ({"in_files": True}, True, Outcome.NOT_ATTEMPTED),
        ({"after_cleanup": True}, True, Outcome.NOT_ATTEMPTED),
    ],
)
def test_only_what_was_in_the_cloud_is_gone_after_a_clean_up(
    task: dict[str, bool], clean: bool, outcome: Outcome
) -> None:
    found = Result(
        Task("bucket", "Make a bucket", 10, lambda _: "", ("make one",), **task), Outcome.NOT_ATTEMPTED, "no"
    )
    assert after_cleanup(found, lambda: clean).outcome is outcome


def test_what_is_right_stays_right_after_a_clean_up() -> None:
    right = result_of(lambda _: "a bucket named b")
    assert after_cleanup(right, lambda: True) is right


@pytest.mark.parametrize("name", labs.names())
def test_every_lab_is_whole(name: str) -> None:
    lab = labs.load(name)
    assert lab.name == name
    assert lab.points == 100
    assert len({task.name for task in lab.tasks}) == len(lab.tasks)
    for task in lab.tasks:
        assert all(hint == " ".join(hint.split()) and not hint.endswith(".") for hint in task.hints)


def test_labs_are_found_by_prefix() -> None:
    assert labs.matching([]) == labs.names()
    assert labs.names()[:4] == ["foundations/aws", "foundations/azure", "foundations/gcp", "beginner/aws"]
    assert labs.matching(["beginner/aws"]) == ["beginner/aws"]
    assert "beginner/aws" in labs.matching(["beginner/", "beginner/aws"])
    with pytest.raises(LookupError, match=r"There is no lab at 'begin'; the labs are .*beginner/aws"):
        labs.matching(["begin"])


def test_a_result_shows_itself_and_is_not_its_cells_value() -> None:
    shell = InteractiveShell.instance()
    with capture_output() as shown:
        value = shell.display_formatter.format(result_of(lambda _: "a <bucket>"))
    InteractiveShell.clear_instance()
    assert value == ({}, {}), "nbgrader would take it for points"
    assert [output.data["text/plain"] for output in shown.outputs] == ["✓ bucket (10 points): a <bucket>."]
    assert "a &lt;bucket&gt;" in shown.outputs[0].data["text/html"]
