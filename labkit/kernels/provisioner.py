"""Starts the *Local clouds* kernel for Jupyter: forked from the warm process where that is possible, else as ever.

Registered as an entry point of ``jupyter_client.kernel_provisioners`` and named in the kernel's specification.
"""

from __future__ import annotations

import os
import subprocess
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from labkit.kernels import warm
from labkit.kernels.threads import settings

#: What a forked kernel can be given; with anything else it is started as ever.
_KNOWN = {"env", "cwd", "stdin", "stdout", "stderr", "independent", "kernel_id", "extra_arguments"}


class WarmProvisioner(LocalProvisioner):
    """As its parent in all but how the process comes to be."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        environ = kwargs["env"] = dict(os.environ if kwargs.get("env") is None else kwargs["env"])
        environ |= settings(environ)
        try:
            process = self._fork(cmd, kwargs)
        except warm.NoFork as why:
            self.log.info("The kernel is started without a fork: %s.", why)
            return await super().launch_kernel(cmd, **kwargs)
        self.process = process  # type: ignore[assignment]  # all of Popen that is used
        self.pid = self.pgid = process.pid
        self.cwd = kwargs.get("cwd") or os.getcwd()
        return self.connection_info

    def _fork(self, cmd: list[str], kwargs: dict[str, Any]) -> warm.Forked:
        python, *rest = cmd
        environ = kwargs["env"]
        if not warm.wanted(environ):
            raise warm.NoFork(f"only Linux forks kernels, and {warm.VARIABLE}=0 says not to")
        if rest[:2] != ["-m", "labkit.kernels.launch"] or not kwargs.keys() <= _KNOWN:
            raise warm.NoFork("it is started in a way of its own")
        if not kwargs.get("independent"):
            environ["JPY_PARENT_PID"] = str(os.getpid())
        nothing, closed = os.pipe()
        os.close(closed)
        try:
            given = (kwargs.get("stdin"), kwargs.get("stdout"), kwargs.get("stderr"))
            streams = tuple(_descriptor(each, own) for each, own in zip(given, (nothing, 1, 2), strict=True))
            folder = os.path.abspath(kwargs.get("cwd") or os.curdir)
            return warm.fork(rest[2:], environ, folder, streams, python)  # type: ignore[arg-type]  # three of them
        finally:
            os.close(nothing)


def _descriptor(stream: Any, own: int) -> int:
    """The file descriptor of a stream as :class:`subprocess.Popen` takes it, ``own`` for None."""
    if stream is None:
        return own
    number = stream if isinstance(stream, int) else stream.fileno()
    if number in (subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL):
        raise warm.NoFork("its output is to go through a pipe of its starter's")
    return int(number)
