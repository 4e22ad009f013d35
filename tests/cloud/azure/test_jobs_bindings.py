"""Expressions in commands and between steps."""

from __future__ import annotations

import pytest

from labkit.cloud.azure import jobs_bindings

VALUES = {"inputs.rows": "5", "inputs.data": "/in", "outputs.model": "/out"}


def test_a_command_is_filled_in() -> None:
    text = "python a.py --n ${{inputs.rows}} --data ${{ inputs.data }} > ${{outputs.model}}/x"
    assert jobs_bindings.command(text, VALUES) == "python a.py --n 5 --data /in > /out/x"


def test_an_optional_part_goes_when_its_input_was_not_given() -> None:
    text = "run $[[--n ${{inputs.rows}}]] $[[--k ${{inputs.k}} --n ${{inputs.rows}}]] end"
    assert jobs_bindings.command(text, VALUES) == "run --n 5  end"


def test_an_unknown_expression_is_told() -> None:
    with pytest.raises(jobs_bindings.Unbound) as caught:
        jobs_bindings.command("run ${{inputs.k}}", VALUES)
    assert caught.value.name == "inputs.k"


def test_an_expression_that_is_the_whole_text() -> None:
    assert jobs_bindings.whole(" ${{parent.jobs.a.outputs.b}} ") == "parent.jobs.a.outputs.b"
    assert jobs_bindings.whole("x ${{parent.inputs.b}}") == ""
    assert jobs_bindings.whole(None) == ""


def test_what_a_command_cannot_do_without() -> None:
    assert jobs_bindings.required("a ${{inputs.x}} $[[--y ${{inputs.y}}]] ${{outputs.z}}") == {"inputs.x", "outputs.z"}
