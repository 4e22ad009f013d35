"""Jobs in real processes: how they end, what they see, and that nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from labkit.cloud.engine import mounts
from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.errors import Invalid, StartFailed, Unavailable
from labkit.cloud.engine.jobs import TAIL, Job, Jobs, JobSpec
from labkit.cloud.engine.launcher import Launcher

#: Preloaded as the clouds do, so that warm jobs are what they are there.
PRELOAD = ("psutil", "labkit.cloud.engine.job_worker")
#: A variable that only a new interpreter can honor: a job with it is executed.
COLD = {"PYTHONHASHSEED": "0"}


@pytest.fixture(scope="module")
def launcher():
    launcher = Launcher(preload=PRELOAD)
    yield launcher
    launcher.close()


@pytest.fixture(scope="module")
def clock():
    clock = Clock()
    yield clock
    clock.close()


@pytest.fixture
def jobs(clock, launcher):
    jobs = Jobs(clock, launcher)
    yield jobs
    jobs.close()


class Run:
    """A job that was run, and what it wrote."""

    def __init__(self, jobs: Jobs, folder: Path, command: list[str], env: dict[str, str] | None = None, **options):
        self.lines: list[str] = []
        self.spoke = threading.Event()
        env = {"PATH": os.environ["PATH"], "HOME": str(folder), **(env or {})}
        self.job = jobs.start(JobSpec("step", command, env, folder, self._line, **options))

    def _line(self, line: str) -> None:
        self.lines.append(line)
        self.spoke.set()

    def ended(self) -> Job:
        assert self.job.wait(120), "the job has not ended"
        return self.job

    @property
    def text(self) -> str:
        self.ended()
        return "\n".join(self.lines)


@pytest.fixture
def run(jobs, tmp_path):
    return lambda *command, **options: Run(jobs, options.pop("folder", tmp_path), list(command), **options)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("env", [{}, COLD], ids=["warm", "executed"])
def test_a_job_runs_its_command_in_its_folder_and_environment(run, tmp_path, env):
    (tmp_path / "step.py").write_text(
        "import os, sys\nprint(sys.argv, os.getcwd(), os.environ['MINE'])\nprint('to err', file=sys.stderr)\n"
        "open('out.txt', 'w').write('done')\n"
    )
    ran = run("python", "step.py", "--depth", "3", env={"MINE": "1", **env})
    assert ran.ended().state == "Succeeded"
    assert sorted(ran.lines) == sorted([f"['step.py', '--depth', '3'] {tmp_path} 1", "to err"])
    assert (tmp_path / "out.txt").read_text() == "done"
    job = ran.job
    assert (job.exit_code, job.reason) == (0, "")
    assert job.started_at <= job.ended_at <= job._clock.now()
    assert 0 < job.seconds < 60


@pytest.mark.parametrize(
    ("env", "threads"), [({}, str(max((os.cpu_count() or 1) // 2, 1))), ({"OMP_NUM_THREADS": "7"}, "7")]
)
def test_a_job_leaves_half_the_processors_to_others_unless_told(run, env, threads):
    ran = run("python", "-c", "import os; print(os.environ['OMP_NUM_THREADS'])", env=env)
    assert ran.ended().state == "Succeeded"
    assert ran.lines == [threads]


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        (["python", "-c", "raise SystemExit(7)"], 7, "It ended with exit code 7."),
        (["bash", "-c", "exit 3"], 3, "It ended with exit code 3."),
        (["python", "-c", "1/0"], 1, "It ended with exit code 1."),
        (["nothing-of-this-name"], 127, "It ended with exit code 127."),
        (["./data.txt"], 126, "It ended with exit code 126."),
        (
            ["bash", "-c", "kill -SEGV $$"],
            128 + signal.SIGSEGV,
            "It ended with signal 11, SIGSEGV.",
        ),
        (
            ["python", "-c", "import os; os.kill(os.getpid(), 9)"],
            137,
            "It was killed from outside (signal 9, SIGKILL), as a system does to a process when memory runs out.",
        ),
    ],
)
def test_how_a_failed_job_ended_is_told(run, tmp_path, command, code, reason):
    (tmp_path / "data.txt").write_text("not a program")
    job = run(*command).ended()
    assert (job.state, job.exit_code, job.reason) == ("Failed", code, reason)


@pytest.mark.parametrize("env", [{}, COLD], ids=["warm", "executed"])
def test_a_job_that_asks_for_more_memory_than_it_may_have_is_told_so(run, env):
    job = run("python", "-c", "x = bytearray(3 << 30)", env=env, memory_mb=1024).ended()
    assert job.state == "Failed"
    assert job.reason == (
        "It ran out of memory: it asked for more than the 1024 MB that each of its processes may use (exit code 1)."
    )


def test_the_last_lines_are_kept(run):
    ran = run("python", "-c", f"for n in range({TAIL + 30}): print(n)")
    ran.ended()
    assert ran.lines == [str(n) for n in range(TAIL + 30)]
    assert ran.job.tail == [str(n) for n in range(30, TAIL + 30)]


def test_output_arrives_while_the_job_runs(run, tmp_path):
    ran = run("python", "-c", "print('begun'); import time; time.sleep(600)")
    assert ran.spoke.wait(60)
    assert ran.job.state == "Running"
    ran.job.stop()
    assert ran.ended().state == "Stopped"


def test_stopping_asks_first_and_reaches_the_group(run):
    program = (
        "import os, signal, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        # Written without print: the signal may come while the line before is still being flushed.
        "def end(*_):\n    os.write(1, f'asked {child.wait(60)}\\n'.encode())\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('ready')\ntime.sleep(600)\n"
    )
    ran = run("python", "-c", program, stop_grace=120.0)
    assert ran.spoke.wait(60)
    ran.job.stop()
    job = ran.ended()
    assert ran.lines == ["ready", f"asked -{int(signal.SIGTERM)}"]
    assert (job.state, job.exit_code, job.reason) == ("Stopped", 0, "It was stopped.")


def test_a_job_that_does_not_listen_is_killed_with_everything_it_started(run):
    program = (
        "import signal, subprocess, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)\ntime.sleep(600)\n"
    )
    ran = run("python", "-c", program, stop_grace=0.2)
    assert ran.spoke.wait(60)
    ran.job.stop()
    job = ran.ended()
    assert (job.state, job.exit_code) == ("Stopped", 137)
    assert gone(int(ran.lines[0]))


def test_a_time_out_ends_a_job(run):
    job = run("bash", "-c", "sleep 600", timeout=0.2).ended()
    assert job.state == "TimedOut"
    assert job.reason == "It ran longer than the 0.2 s that it may take, and was stopped."
    assert 0.2 <= job.seconds < 600


def test_a_job_that_has_ended_stays_as_it_ended(run):
    ran = run("true", timeout=30.0)
    ran.ended()
    ran.job.stop()
    assert ran.job.state == "Succeeded"


def test_who_waits_for_the_end_is_called_in_a_thread_of_its_own(run, jobs):
    called: list[tuple[str, str]] = []
    done = threading.Event()

    def at_end(job: Job) -> None:
        # Starting and waiting for another job needs the launcher's thread.
        other = jobs.start(JobSpec("next", ["true"], {}, job.spec.folder, lambda _: None))
        assert other.wait(60)
        called.append((job.state, other.state))
        done.set()

    ran = run("true")
    ran.job.when_ended(at_end)
    assert done.wait(60)
    assert called == [("Succeeded", "Succeeded")]
    late: list[Job] = []
    ran.job.when_ended(late.append)
    assert late == [ran.job]


def test_requirements_that_are_not_met_fail_the_job_and_say_which(run, tmp_path):
    (tmp_path / "requirements.txt").write_text("psutil\nno-such-package-at-all==1.0\n")
    ran = run("python", "-c", "print('ran')", requirements=tmp_path / "requirements.txt")
    job = ran.ended()
    assert ran.lines == ["requirements.txt asks for no-such-package-at-all==1.0, which is not installed here."]
    assert (job.state, job.exit_code, job.reason) == ("Failed", 1, ran.lines[0])
    assert run("python", "-c", "", requirements=_met(tmp_path)).ended().state == "Succeeded"


def _met(folder: Path) -> Path:
    file = folder / "met.txt"
    file.write_text("psutil\n")
    return file


def test_what_cannot_start_is_refused(run, tmp_path):
    with pytest.raises(Invalid, match="has no command to run"):
        run()
    with pytest.raises(Invalid, match="no-folder is no folder"):
        run("true", folder=tmp_path / "no-folder")
    with pytest.raises(Invalid, match="no-folder is no folder"):
        run("true", mounts={"/opt/ml": tmp_path / "no-folder"})
    with pytest.raises(Invalid, match=r"none\.txt is no file"):
        run("true", requirements=tmp_path / "none.txt")


def test_closing_ends_every_job_and_refuses_others(run, jobs):
    ran = run("sleep", "600")
    jobs.close()
    assert ran.job.state == "Stopped"
    assert gone(ran.job.pid)
    assert jobs.running() == []
    with pytest.raises(Unavailable, match="the clouds are being stopped"):
        run("true")


def test_clearing_ends_every_job_and_allows_others(run, jobs):
    ran = run("sleep", "600")
    jobs.clear()
    assert ran.job.state == "Stopped"
    assert run("true").ended().state == "Succeeded"


def test_a_launcher_that_stops_is_told_as_such(clock, tmp_path):
    launcher = Launcher(preload=())
    launcher.close()
    with pytest.raises(StartFailed, match="the clouds are stopping"):
        Jobs(clock, launcher).start(JobSpec("step", ["true"], {}, tmp_path, lambda _: None))


def test_no_thread_is_left(run):
    run("true", timeout=60.0).ended()
    for thread in threading.enumerate():
        if "step" in thread.name:
            thread.join(60)
            assert not thread.is_alive(), thread.name


# Private mounts


@pytest.fixture
def private(jobs):
    if reason := jobs.refuses_mounts():
        pytest.skip(reason)


OPENS = "import os; open('/opt/ml/model/m.txt', 'w').write(open('/opt/ml/input/data/train/x.csv').read())"


@pytest.fixture
def container(tmp_path):
    data = tmp_path / "ml" / "input" / "data" / "train"
    data.mkdir(parents=True)
    (data / "x.csv").write_text("1,2")
    (tmp_path / "ml" / "model").mkdir()
    return tmp_path / "ml"


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize(
    ("command", "env"),
    [
        (["python", "-c", OPENS], {}),
        (["python", "-c", OPENS], COLD),
        (["bash", "-c", f'python -c "{OPENS}"'], {}),
        (["python", "-c", f"import subprocess; subprocess.run(['python', '-c', {OPENS!r}], check=True)"], {}),
    ],
    ids=["warm", "executed", "shell", "child"],
)
def test_a_job_finds_its_files_under_absolute_paths(run, container, command, env):
    before = sorted(os.listdir("/opt"))
    ran = run(*command, env=env, mounts={"/opt/ml": container})
    assert ran.ended().state == "Succeeded", ran.text
    assert (container / "model" / "m.txt").read_text() == "1,2"
    assert sorted(os.listdir("/opt")) == before
    assert not os.path.exists("/opt/ml")


@pytest.mark.usefixtures("private")
def test_mounts_may_lie_in_each_other_and_anywhere(run, container, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    mounts = {"/opt/ml/input/data/test": other, "/opt/ml": container, "/gcs/bucket": other, "/usr/mine/a": other}
    program = (
        "import os\nopen('/gcs/bucket/a', 'w').close()\n"
        "print(os.listdir('/opt/ml/input/data/test'), os.listdir('/usr/mine/a'), os.listdir('/usr/mine'))\n"
        f"print(sorted(set({sorted(os.listdir('/'))!r}) - set(os.listdir('/'))), os.path.exists('/usr/bin/env'))"
    )
    ran = run("python", "-c", program, mounts=mounts)
    assert ran.ended().state == "Succeeded", ran.text
    assert ran.lines == ["['a'] ['a'] ['a']", "[] True"]
    assert not os.path.exists("/gcs")
    assert not os.path.exists("/usr/mine")


@pytest.mark.usefixtures("private")
def test_a_folder_within_a_mount_is_seen_there(run, container):
    (container / "code").mkdir()
    ran = run("bash", "-c", "pwd; ls ..", folder=container / "code", mounts={"/opt/ml": container})
    ran.ended()
    assert ran.lines == ["/opt/ml/code", "code", "input", "model"]


@pytest.mark.usefixtures("private")
def test_parallel_workers_of_a_job_see_its_mounts(run, container):
    program = (
        "from joblib import Parallel, delayed\nimport multiprocessing, os\n"
        "def look(n): return os.listdir('/opt/ml/input/data')\n"
        "print(Parallel(n_jobs=2)(delayed(look)(n) for n in range(2)))\n"
        "with multiprocessing.Pool(2) as pool: print(pool.map(look, range(2)))\n"
    )
    (container / "train.py").write_text(program)
    ran = run("python", "/opt/ml/train.py", mounts={"/opt/ml": container})
    assert ran.ended().state == "Succeeded", ran.text
    assert ran.lines == ["[['train'], ['train']]", "[['train'], ['train']]"]


@pytest.mark.usefixtures("private")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_has_mounts_through_a_user_namespace(tmp_path):
    program = (
        "from pathlib import Path\nfrom labkit.cloud.engine import mounts\n"
        "mounts.show({'/opt/ml': Path('/usr/share'), '/gcs/bucket': Path('/usr/share')})\n"
        "import os\nprint(os.getuid(), os.listdir('/opt/ml') == os.listdir('/gcs/bucket') == os.listdir('/usr/share'))"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            user=65534,
            group=65534,
            extra_groups=[],
            cwd="/",
            env={"PYTHONPATH": os.getcwd(), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    except PermissionError:
        pytest.skip("another user may not execute this interpreter")
    if "Permission denied" in done.stderr and "namespaces" not in done.stderr and "show a job" not in done.stderr:
        pytest.skip("another user may not read this checkout")
    assert done.stdout == "65534 True\n", done.stderr


FORBIDDEN = """
from pathlib import Path
from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.errors import Unsupported
from labkit.cloud.engine.jobs import Jobs, JobSpec
from labkit.cloud.engine.launcher import Launcher

launcher, here = Launcher(preload=("tests.cloud.engine.no_mounts",)), Path("/tmp")
jobs = Jobs(Clock(), launcher)
try:
    jobs.start(JobSpec("step", ["true"], {}, here, print, mounts={"/opt/ml": here}))
except Unsupported as refused:
    print(refused.message)
print(jobs.refuses_mounts())
print(jobs.running())
job = jobs.start(JobSpec("step", ["true"], {}, here, print))
job.wait(60)
print(job.state)
launcher.close()
"""


def test_a_system_that_forbids_mounts_is_told_with_what_to_do():
    # In a process of its own, for the fork server is one a process.
    done = subprocess.run([sys.executable, "-c", FORBIDDEN], capture_output=True, text=True, timeout=250)
    refused, again, running, state = done.stdout.splitlines()
    assert refused.startswith(
        "This system does not let the local clouds show a job its files as /opt/ml (Operation not permitted): "
    )
    assert refused.endswith(", or have the script take its paths from the environment.")
    assert (again, running, state) == (refused, "[]", "Succeeded")


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "apparmor_restrict_unprivileged_userns=0"),
        ("kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "max_user_namespaces=10000"),
        ("none", "", "--cap-add SYS_ADMIN"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="these are Linux's settings")
def test_the_remedy_is_the_one_for_this_system(setting, value, remedy):
    assert remedy in mounts._remedy(lambda path: value if path == f"/proc/sys/{setting}" else "")
