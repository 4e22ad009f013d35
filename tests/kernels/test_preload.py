"""What the warm process imports, and what those imports take from the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.cloud import environment, state
from labkit.cloud.state import Lab
from labkit.kernels import preload, warm
from labkit.kernels.threads import settings
from tests.kernels.warm_kernels import Kernel, nursery
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(not warm.wanted({}), reason="kernels are forked on Linux only")

#: Variables that the imports read and neither keep for later nor need: what they decide is the same for every kernel
#: of a machine, is only looked at (terminals, documentation builds, pagers), or is read again when it is used.
HARMLESS = {
    "ANDROID_DATA", "APPDATA", "BROWSER", "COLORTERM", "COLUMNS", "DISPLAY", "EDITOR", "FORCE_COLOR", "IN_SPHINX_RUN",
    "LINES", "NO_COLOR", "PAGER", "PATH", "SHELL", "SOURCE_DATE_EPOCH", "SPHINX_BUILD", "TERM", "VISUAL",
    "WAYLAND_DISPLAY",
    "TF_CLI_CONFIG_FILE", "RUAMELDEBUG", "PY_SAX_PARSER", "HTTPLIB2_CA_CERTS", "FROZENLIST_NO_EXTENSIONS",
    "MULTIDICT_NO_EXTENSIONS", "PROPCACHE_NO_EXTENSIONS", "YARL_NO_EXTENSIONS", "AIOHTTP_NO_EXTENSIONS",
    "MSGPACK_PUREPYTHON", "PYPARSINGENABLEALLWARNINGS", "_PYTHON_PROJECT_BASE", "_PYTHON_SYSCONFIGDATA_NAME",
}  # fmt: skip
#: Read by imports from an empty folder in the warm process as in every kernel.
EMPTY = {"CLOUDSDK_CONFIG"}
#: Read by imports, and again by :func:`preload.thaw` or by ipykernel's options that the kernel is given.
THAWED = {
    "JPY_PARENT_PID", "JPY_INTERRUPT_EVENT", "MPLBACKEND", "GCE_METADATA_HOST", "GCE_METADATA_ROOT",
    "GCE_METADATA_IP", "GCE_METADATA_TIMEOUT", "GCE_METADATA_DETECT_RETRIES", "NO_GCE_CHECK",
}  # fmt: skip

RECORD = """
import json, os, sys
read, kind = set(), type(os.environ)
plain = kind.__getitem__
def get(self, name):
    read.add(os.fsdecode(name))
    return plain(self, name)
kind.__getitem__ = get
kind.__iter__ = lambda self: iter(())  # copies of the whole environment are for children and messages
from labkit.kernels import preload
read.clear()
done = list(preload.steps())
kind.__getitem__ = plain
import boto3, threading
print(json.dumps([sorted(read), done, boto3.DEFAULT_SESSION is None, [t.name for t in threading.enumerate()]]))
"""


def test_what_the_imports_read_is_seen_to(clouds: Lab) -> None:
    done = subprocess.run([sys.executable, "-c", RECORD], capture_output=True, text=True, cwd=state.checkout())
    assert done.returncode == 0, done.stderr
    read, modules, no_session, threads = json.loads(done.stdout.splitlines()[-1])
    assert modules == list(preload.MODULES)
    assert "cannot be imported" not in done.stderr
    set_by_the_kit = environment.of(clouds)
    # What is taken out of every kernel's environment cannot differ between two of them.
    gone = {name for name in read if environment.removed(name) and name not in set_by_the_kit}
    unseen = {name for name in read if not preload.FROZEN.fullmatch(name)} - gone - HARMLESS - EMPTY - THAWED
    assert not unseen
    assert no_session
    assert threads == ["MainThread"]


def test_no_variable_of_the_clouds_is_part_of_a_warm_process(clouds: Lab) -> None:
    assert not [name for name in environment.of(clouds) if preload.FROZEN.fullmatch(name)]


@pytest.fixture(scope="module")
def warmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Callable[..., Kernel], Path]]:
    """Starts kernels from one warm process with everything imported."""
    folder = tmp_path_factory.mktemp("warm")
    environ = {**os.environ, "XDG_STATE_HOME": str(folder)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        with nursery(folder, environ) as start:
            warm.start(environ)
            lock = warm.files(warm.mark({**environ, **settings(environ)}, sys.executable))[1]
            eventually(lambda: lock.exists() and lock.read_text() == "warm", 200)
            yield start, folder


CLOUDS = """
import os, warnings; warnings.simplefilter("ignore")
import boto3
boto3.client("s3").create_bucket(Bucket="{name}")
print([each["Name"] for each in boto3.client("s3").list_buckets()["Buckets"]])

from azure.identity import DefaultAzureCredential
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Workspace
client = MLClient(DefaultAzureCredential(), os.environ["AZURE_SUBSCRIPTION_ID"], os.environ["AZURE_RESOURCE_GROUP"])
client.workspaces.begin_create(Workspace(name="{name}", location="eastus")).result()
print(sorted(each.name for each in client.workspaces.list() if each.name != os.environ["AZURE_ML_WORKSPACE"]))

from google.cloud import aiplatform, storage
storage.Client().create_bucket("{name}-store")
print([each.name for each in storage.Client().list_buckets()])
for transport in ("grpc", "rest"):
    aiplatform.init(project=os.environ["GOOGLE_CLOUD_PROJECT"], location="us-central1", api_transport=transport)
    aiplatform.Endpoint.create(display_name="{name}-" + transport, sync=True)
    print(sorted(each.display_name for each in aiplatform.Endpoint.list()))
"""


def test_two_sets_of_clouds_and_three_sdks_from_one_warm_process(
    warmed: tuple[Callable[..., Kernel], Path], fresh_clouds: Callable[[], Lab]
) -> None:
    start, _ = warmed
    kernels = []
    for name in ("first", "second"):
        lab = fresh_clouds()
        kernels.append((name, start(LABKIT_STATE=str(lab.folder))))
    assert all(kernel.forked for _, kernel in kernels)
    for name, kernel in kernels:
        said = kernel.run(CLOUDS.format(name=name)).splitlines()
        printed = [line for line in said if line.startswith("[")]
        assert printed == [
            f"['{name}']",
            f"['{name}']",
            f"['{name}-store']",
            f"['{name}-grpc']",
            f"['{name}-grpc', '{name}-rest']",
        ], said


WORK = (
    "import os, sys; print(os.getcwd(), sys.argv[0].rsplit('/', 1)[-1], sys.argv[1], __name__, os.umask(18), sys.path)",
    "import signal; print([signal.getsignal(n) for n in (signal.SIGCHLD, signal.SIGTERM)], os.getpid() - os.getsid(0))",
    "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show(); print(plt.get_backend())",
    "from tqdm.auto import tqdm\nfor _ in tqdm(range(3), disable=None, bar_format='{n}'): pass",
    "print('typed', input('? '))",
    "import threading; t = threading.Thread(target=lambda: print('thread')); t.start(); t.join()",
    "from joblib import Parallel, delayed; print(Parallel(n_jobs=2)(delayed(abs)(-n) for n in range(4)))",
    "import multiprocessing as mp\nwith mp.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, -2]))",
    "import numpy as np; from sklearn.ensemble import HistGradientBoostingClassifier as H; "  # noqa: ISC004
    "x = np.arange(2000.0).reshape(-1, 1); print(H(max_iter=5).fit(x, x[:, 0] > 9).score(x, x[:, 0] > 9))",
    "!echo child",
    "print(sorted(set(os.environ) - {'LABKIT_WARM'}), os.environ['OMP_NUM_THREADS'])",
    "from google.cloud.aiplatform import base; base.Logger('google.cloud.aiplatform.models').info('kept its stream')",
    "import logging; logging.warning('logged')",
    "1 / 0",
)


def test_a_forked_kernel_shows_what_a_stock_one_shows(warmed: tuple[Callable[..., Kernel], Path], clouds: Lab) -> None:
    start, _ = warmed
    shown = []
    for value in ("1", "0"):
        kernel = start(LABKIT_STATE=str(clouds.folder), LABKIT_WARM=value)
        assert kernel.forked == (value == "1")
        shown.append([kernel.run(code, answer="this").replace(kernel.manager.connection_file, "FILE") for code in WORK])
        kernel.manager.shutdown_kernel()
    for forked, stock, code in zip(*shown, WORK, strict=True):
        assert forked == stock, code
    assert "image/png" in shown[0][2]
    assert "typed this" in shown[0][4]
    assert "kept its stream" in shown[0][-3]


def test_the_debugger_attaches(warmed: tuple[Callable[..., Kernel], Path], clouds: Lab) -> None:
    start, _ = warmed
    kernel = start(LABKIT_STATE=str(clouds.folder))
    control = kernel.client.control_channel
    arguments = {"clientID": "lab", "adapterID": "", "pathFormat": "path"}
    for number, (command, given) in enumerate((("initialize", arguments), ("attach", {})), start=1):
        message = kernel.client.session.msg(
            "debug_request", {"type": "request", "seq": number, "command": command, "arguments": given}
        )
        control.send(message)
        answer = kernel.client.get_control_msg(timeout=250)
        assert answer["content"]["success"], answer
