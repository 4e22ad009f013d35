"""A plugin of pytest's, ``-p tests.fresh_clouds``: clouds of its own for every file of tests, a notebook under nbval.

What one leaves or makes of the clock (a pipeline's lab lets months pass) meets no other, so files may run at once.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from labkit.cloud import client, environment


class FreshClouds:
    """The clouds of the file whose tests run, with this process's environment leading to them."""

    def __init__(self) -> None:
        self._before = dict(os.environ)
        self._clouds = ExitStack()
        self._file: Path | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Starts them before a file's first test, and so before its kernel."""
        if item.path == self._file:
            return
        self._clouds.close()
        lab = self._clouds.enter_context(client.fresh())
        os.environ.clear()
        os.environ.update(environment.inside(lab, self._before))
        self._file = item.path

    def pytest_unconfigure(self) -> None:
        """Ends the last ones."""
        self._clouds.close()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FreshClouds(), "fresh-clouds")
