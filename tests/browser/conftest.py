"""JupyterLab as ``make lab`` starts it, on clouds of its own, and a headless Chromium to look at it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from labkit.cloud import client
from labkit.cloud.state import VARIABLE, Lab
from tools import chromium

ROOT = Path(__file__).parent.parent.parent
#: Screenshots of the last run; docs/images/lab.png is one of them.
OUTPUT = Path(__file__).parent / "output"
#: What keeps a headless Chromium from talking to the outside, and lets root start it.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: A busy machine with two cores is slow to start a kernel.
expect.set_options(timeout=200_000)
#: JupyterLab draws only the cells in sight; a test looks at all of them.
EVERY_CELL = {"windowingMode": "none"}


@dataclass(frozen=True)
class Jupyter:
    """A running JupyterLab: its address without the path, and its token."""

    address: str
    token: str

    def url(self, notebook: str) -> str:
        """The notebook in a workspace of its own, where no tab of an earlier page is opened again."""
        return f"{self.address}/lab/workspaces/{uuid4().hex}/tree/{notebook}?token={self.token}"


@pytest.fixture(scope="session")
def chromium_path() -> str:
    path = chromium.find()
    if path is None and os.environ.get("CI"):
        pytest.fail("There is no Chromium, and CI does not pass without the browser test.")
    if path is None:
        pytest.skip("There is no Chromium on this machine; Debian's package chromium is enough.")
    return path


@pytest.fixture(scope="session")
def jupyter(chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """Serves a copy of ``notebooks/`` and ``solutions/``, whatever the user's own Jupyter settings are."""
    folder = tmp_path_factory.mktemp("my labs")
    made = shutil.ignore_patterns("build", "__pycache__", ".ipynb_checkpoints")
    for name in ("notebooks", "solutions"):
        shutil.copytree(ROOT / name, folder / name, ignore=made)
    settings = folder / "config" / "lab" / "user-settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps(EVERY_CELL))
    state = folder / "state"
    environment = os.environ | {
        VARIABLE: str(state),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    command = [sys.executable, "-m", "tools.lab", "--no-browser", "--notebooks", str(folder)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield _wait_for_address(process)
    finally:
        process.terminate()
        said = process.communicate(timeout=250)[0]
        client.down(Lab(state))
    assert "JupyterLab has ended. The local clouds are still up" in said


def _wait_for_address(process: subprocess.Popen[str]) -> Jupyter:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/lab\?token=(\w+)", line):
            return Jupyter(found[1], found[2])
    raise AssertionError(f"JupyterLab ended before it said its address:\n{''.join(said)}")


@pytest.fixture(scope="session")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=OPTIONS)
        yield browser
        browser.close()


class Notebook:
    """A notebook that JupyterLab shows in a page, its kernel *Local clouds* ready."""

    def __init__(self, page: Page, jupyter: Jupyter, path: str) -> None:
        self.page = page
        page.goto(jupyter.url(path))
        self.panel = page.locator(".jp-NotebookPanel:visible")
        expect(self.panel.locator(".jp-Cell").first).to_be_visible()
        self.code_cells = self.panel.locator(".jp-CodeCell")

        expect(self.panel.locator(".jp-Toolbar-kernelName")).to_have_text("Local clouds")
        expect(self.panel.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_visible()

    def run_next(self, cells: int) -> None:
        """Runs the selected cell and those that follow it, as a learner does with Shift and Enter."""
        self._select_first_cell()
        for _ in range(cells):
            self.page.keyboard.press("Shift+Enter")

    def run_all(self) -> None:
        """Runs every cell from the menu, which acts on the notebook that has the focus; returns when it has begun."""
        self._select_first_cell()
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        expect(self.code_cells.first.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[[*\d]+\]:"))

    def _select_first_cell(self) -> None:
        self.panel.locator(".jp-Cell").first.locator(".jp-Cell-inputArea").click()

    def wait_for_run(self, code_cell: int, timeout: float = 300.0) -> None:
        """Waits until a code cell whose input is shown (a negative number counts from the end) and those before it
        have run, without a complaint."""
        cell = self.code_cells.nth(code_cell % self.code_cells.count())
        finished = cell.locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]:"))
        expect(finished.or_(self.complaints).first).to_be_attached(timeout=timeout * 1000)
        assert self.complaints.all_inner_texts() == []

    def output(self, code_cell: int) -> Locator:
        """What a code cell has shown; a negative number counts from the end."""
        return self.code_cells.nth(code_cell % self.code_cells.count()).locator(".jp-OutputArea-output")

    @property
    def complaints(self) -> Locator:
        """Tracebacks, and whatever else went to standard error."""
        kinds = [
            f".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.{kind}']" for kind in ("error", "stderr")
        ]
        return self.panel.locator(", ".join(kinds))

    def screenshot(self, name: str, at: Locator) -> None:
        """Keeps a picture of the page with ``at`` at the top of the notebook."""
        at.evaluate("element => element.scrollIntoView({block: 'start'})")
        OUTPUT.mkdir(exist_ok=True)
        self.page.screenshot(path=OUTPUT / f"{name}.png")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    page.set_default_timeout(200_000)
    yield page
    page.close()
