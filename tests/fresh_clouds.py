"""A plugin of pytest's, ``-p tests.fresh_clouds``: each process that runs tests has clouds of its own.

nbval's notebooks of one process share them, and what several processes run at once does not meet: advancing one's
clock moves nobody else's.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from labkit.cloud import client, environment


def pytest_configure(config: pytest.Config) -> None:
    """Starts them, where tests are run and not only handed out, and leads this process and its kernels to them."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    clouds = ExitStack()
    config.add_cleanup(clouds.close)
    lab = clouds.enter_context(client.fresh())
    variables = environment.inside(lab, os.environ)
    os.environ.clear()
    os.environ.update(variables)
