"""Registers the *Local clouds* kernel in the environment that runs this: ``python -m labkit.kernels.install``."""

from __future__ import annotations

import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager

#: What notebooks name in their metadata, and the folder with the kernel's specification.
NAME = "local-clouds"
RESOURCES = Path(__file__).parent / NAME


def install(prefix: str = sys.prefix) -> str:
    """Copies the specification into ``prefix``; returns the folder. An older copy is replaced."""
    installed: str = KernelSpecManager().install_kernel_spec(str(RESOURCES), NAME, prefix=prefix)
    return installed


if __name__ == "__main__":
    print(install())
