"""What the warm process imports for the kernels that are forked from it, and what those imports keep of an environment.

A library that reads a variable when it is imported has the warm process's value in every kernel. Each is seen to in
one of three ways: variables that :data:`FROZEN` matches are part of what a warm process is made for, so that a kernel
with another value is forked from another process; :func:`thaw` reads the others anew in the kernel; all the rest is
read when it is used. ``tests/kernels/test_preload.py`` records the variables that the imports read.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module, reload
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

#: Imported in this order; kernels can be forked as soon as the first is there. Not among them: ``sagemaker.serve`` and
#: ``sagemaker.mlops``, which make clients, with a region and credentials, when they are imported.
MODULES = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "ipykernel.debugger",
    "labkit.kernels.kernel",
    "numpy",
    "pandas",
    "scipy.sparse",
    "scipy.stats",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "matplotlib.pyplot",
    "matplotlib.backends.registry",
    "IPython.core.pylabtools",
    "requests",
    "boto3",
    "botocore.awsrequest",
    "tqdm.auto",
    "labkit",
    "labkit.lab",
    "labkit.pictures",
    "azure.identity",
    "azure.storage.blob",
    "azure.ai.ml",
    "azure.ai.ml.entities",
    "azure.monitor.query",
    "azure.monitor.querymetrics",
    "grpc",
    "google.auth.compute_engine",
    "google.cloud.storage",
    "google.cloud.aiplatform_v1",
    "google.cloud.aiplatform",
    "google.cloud.monitoring_v3",
    "google.cloud.logging",
    "pydantic",
    "sagemaker.core.shapes",
    "sagemaker.core.resources",
    "sagemaker.train",
    "kfp",
    "kfp.compiler",
)

_BY_PREFIX = (
    *("PYTHON", "LD_", "DYLD_", "MALLOC_", "LC_", "XDG_", "PYDEV", "PYCHARM_", "DEBUGPY_", "DEBUG_PYDEVD_"),
    *("GEVENT_", "PATHS_FROM_ECLIPSE_", "API_ENDPOINT_OVERRIDE", "API_VERSION_OVERRIDE", "ENABLE_GCS_PYTHON_"),
    *("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "BLIS_", "GOTO_", "NUMEXPR_", "VECLIB_", "JOBLIB_", "LOKY_"),
    *("NUMPY_", "NPY_", "PANDAS_", "SCIPY_", "SKLEARN_", "ARROW_", "PILLOW_", "MPLCONFIG", "MATPLOTLIB"),
    *("JUPYTER_ALLOW_", "JUPYTER_PLATFORM_", "JUPYTER_USE_", "JUPYTER_WIDGETS_"),
    *("IPYTHON", "TRAITLETS_", "TORNADO_", "PYZMQ_", "PSUTIL_", "PYDANTIC_", "WRAPT_", "TQDM_"),
    *("PROTOCOL_BUFFERS_", "TEMPORARILY_DISABLE_PROTOBUF_", "GRPC_PYTHON_", "GRPC_ENABLE_", "GRPC_VERBOSITY"),
    *("GRPC_TRACE", "GRPC_SINGLE_", "GRPC_ASYNCIO_", "OTEL_PROPAGATORS", "OTEL_PYTHON_", "KFP_", "_KFP_"),
    *("SAGEMAKER_ENABLE_", "SAGEMAKER_LOCAL_", "KUBECONFIG", "SSLKEYLOGFILE", "IS_IN_CI_PIPELINE"),
)
_WHOLE = ("HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP")
#: Variables that Python, the numerical libraries and the SDKs read once, when they are loaded.
FROZEN = re.compile("|".join([*(f"{prefix}.*" for prefix in _BY_PREFIX), *_WHOLE]))


def steps() -> Iterator[str]:
    """Imports what there is of :data:`MODULES`, one at a time; gives each name after its import."""
    for name in MODULES:
        if find_spec(name.partition(".")[0]) is not None:
            try:
                import_module(name)
            except Exception as error:
                # The notebook that needs it meets the same error, and others do not.
                print(f"{name} cannot be imported ahead: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            yield name
    if registry := sys.modules.get("matplotlib.backends.registry"):
        registry.backend_registry.list_all()  # which it would look for among the installed packages in every kernel


class Stream(io.TextIOBase):
    """Stands for ``sys.stdout`` or ``sys.stderr`` while modules are imported, for those that keep it (log handlers).

    What is written to it goes to the warm process's own stream, and in a kernel to the cell's output.
    """

    def __init__(self, target: TextIO) -> None:
        self.target = target

    @property
    def encoding(self) -> str:  # type: ignore[override]  # of the stream that it stands for
        return self.target.encoding

    def write(self, text: str) -> int:
        return self.target.write(text)

    def flush(self) -> None:
        self.target.flush()

    def isatty(self) -> bool:
        return self.target.isatty()

    def fileno(self) -> int:
        return self.target.fileno()

    def writable(self) -> bool:
        return True


def left_by_imports(before: Mapping[str, str]) -> dict[str, str]:
    """The variables that imports have set since the environment was as ``before``, for programs that they start."""
    return {name: value for name, value in os.environ.items() if before.get(name) != value}


def thaw() -> None:
    """Reads anew, from the environment and working directory in force, what the preloaded modules took at import."""
    if boto3 := sys.modules.get("boto3"):
        boto3.DEFAULT_SESSION = None  # type: ignore[attr-defined]  # its credentials and region
    if metadata := sys.modules.get("google.auth.compute_engine._metadata"):
        reload(metadata)  # its address
    if matplotlib := sys.modules.get("matplotlib"):
        own = Path("matplotlibrc")
        if own.is_file():
            matplotlib.rc_file(str(own))
        # ipykernel sets the variable before Matplotlib would be imported.
        backend = os.environ.get("MPLBACKEND") or "module://matplotlib_inline.backend_inline"
        matplotlib.rcParams["backend"] = backend
