"""A learner's first minutes, and the solved notebook from its first cell to its last, as the page shows them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Jupyter, Notebook

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Beginning:
    """A notebook's cells as far as its first picture, and what they show."""

    cells: int
    card: tuple[str, str]
    names: str


BEGINNINGS = {
    "aws": Beginning(6, ("local AWS", "arn:aws:iam::123456789012:user/learner"), "churn-lab-123456789012-us-east-1"),
    "azure": Beginning(8, ("local Azure", "the managed identity "), "the workspace mlops in eastus"),
    "gcp": Beginning(
        6, ("local Google Cloud", "learner@mlops-lab.iam.gserviceaccount.com"), "gs://mlops-lab-churn-lab"
    ),
}


@pytest.mark.parametrize("cloud", BEGINNINGS)
def test_the_learners_first_cells(page: Page, jupyter: Jupyter, cloud: str) -> None:
    beginning = BEGINNINGS[cloud]
    notebook = Notebook(page, jupyter, f"notebooks/beginner/{cloud}.ipynb")
    notebook.run_next(beginning.cells)
    picture = beginning.cells // 2 - 1
    expect(notebook.output(picture).locator("img, svg").first).to_be_visible()
    notebook.wait_for_run(picture - 1)
    card = notebook.output(0)
    for text in beginning.card:
        expect(card).to_contain_text(text)
    expect(card).to_contain_text(re.compile(r"0 of \d+ tasks, 0 of \d+ points"))
    expect(notebook.output(picture - 1)).to_contain_text(beginning.names)
    notebook.screenshot("learner" if cloud == "aws" else f"learner-{cloud}", at=notebook.code_cells.first)


def test_a_task_not_attempted_is_one_sentence(page: Page, jupyter: Jupyter) -> None:
    notebook = Notebook(page, jupyter, "notebooks/beginner/aws.ipynb")
    check = notebook.panel.locator(".jp-CodeCell", has_text='lab.check("train")').first
    number = [cell.inner_text() for cell in notebook.code_cells.all()].index(check.inner_text())
    notebook.run_all()
    expect(notebook.complaints.first).to_be_visible(timeout=200_000)
    expect(notebook.complaints).to_have_count(1)
    complaint = notebook.output(number)
    expect(complaint).to_contain_text("churn.joblib")
    expect(complaint).not_to_contain_text("Traceback")
    notebook.screenshot("not-attempted", at=notebook.code_cells.nth(number - 1))


def test_the_solved_notebook_runs_to_its_end(page: Page, jupyter: Jupyter) -> None:
    notebook = Notebook(page, jupyter, "solutions/beginner/aws.ipynb")
    notebook.run_all()
    notebook.wait_for_run(-1)
    card = notebook.output(-1)
    done = re.search(r"(\d+) of (\d+) tasks, (\d+) of (\d+) points", card.inner_text())
    assert done, card.inner_text()
    assert done[1] == done[2]
    assert done[3] == done[4]
    notebook.screenshot("solved", at=notebook.code_cells.last)
    notebook.screenshot("latency", at=notebook.panel.locator(".jp-CodeCell", has_text="left_axes.hist"))
