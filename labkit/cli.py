"""The ``labkit`` command: reads the command line, calls what does the work, says how it went in plain words.

Every command is a function below and one entry in :data:`COMMANDS`. What a person did wrong on the command line exits
with 2, what could not be done with 1; both are one sentence on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from labkit.cloud import client, environment, state
from labkit.cloud.engine import clock as engine_clock
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.inventory import spelled
from labkit.cloud.state import Lab
from labkit.errors import LabError

Options = argparse.Namespace


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    options = parser().parse_args(arguments)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except LabError as error:
        print(f"labkit: {error}", file=sys.stderr)
        return getattr(error, "status", 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has heard enough; what is left of it goes nowhere, also at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        with tempfile.NamedTemporaryFile("w", prefix="labkit-", suffix=".txt", delete=False) as report:
            traceback.print_exc(file=report)
        what = f"{type(error).__name__}: {error}"
        print(f"labkit: Something failed that should not ({what}); how is written in {report.name}.", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    whole = argparse.ArgumentParser(
        prog="labkit",
        description="Local clouds to learn MLOps on: AWS, Azure and Google Cloud that run on this machine.",
        epilog="`labkit COMMAND --help` shows an example of each.",
    )
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        each = commands.add_parser(
            command.name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}. {command.more}".strip(),
            epilog="example:\n" + "\n".join(f"  {line}" for line in command.examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.options(each)
        each.set_defaults(run=command.run)
    return whole


def up(options: Options) -> int:
    lab = _lab()
    if options.new_port:
        if client.status(lab):
            raise LabError("The local clouds run, and keep their port; stop them with `labkit down` first.")
        lab.new_port()
    started = client.up(lab, _note)
    print(f"The local clouds {'are ready' if started.new else 'run already'} on {lab.url}.")
    return 0


def down(_: Options) -> int:
    gone = client.down(_lab(), _note)
    if gone is None:
        print("The local clouds did not run.")
    else:
        print(_gone("The local clouds have stopped", gone))
    return 0


def status(options: Options) -> int:
    lab = _lab()
    found = client.status(lab)
    if options.json:
        print(json.dumps(found, indent=2))
    elif found is None:
        print(f"The local clouds do not run; start them with `labkit up`. Their state folder is {lab.folder}.")
    else:
        _print_status(lab, found)
    return 0 if found else 1


def execute(options: Options) -> int:
    from labkit.execute import execute

    command = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not command:
        options.parser.error("name a command to run, after `--`")
    return execute(command, fresh=options.fresh, note=_note)


def clock(options: Options) -> int:
    lab = _lab()
    if options.action is None:
        if options.duration is not None:
            options.parser.error("`labkit clock advance DURATION` advances the clock")
        news = client.control(lab, "GET", "clock")
    else:
        if options.duration is None:
            options.parser.error("say by how much, such as 31d, 12h or 90s")
        for news in client.control_lines(lab, "POST", "clock/advance", {"seconds": options.duration.total_seconds()}):
            if "progress" in news:
                _note(news["progress"])
        fired = news["fired"]
        for each in fired:
            print(f"{_when(each['at'])}  {each['name']}{': ' + each['error'] if each['error'] else ''}")
        if not fired:
            print("Nothing fell due.")
    print(f"In the lab it is {_when(news['time'])}{_ahead(news['offset'])}.")
    return 0


def env(options: Options) -> int:
    lab = _lab()
    if client.status(lab) is None:
        _note("The local clouds do not run; start them with `labkit up`.")
    variables = environment.of(lab)
    unset = [name for name in environment.unset() if name not in variables]
    if options.json:
        print(json.dumps({"set": variables, "unset": unset}, indent=2))
        return 0
    if unset:
        print(f"unset {' '.join(unset)}")
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def reset(_: Options) -> int:
    print(_gone("The local clouds are empty", client.control(_lab(), "POST", "reset")["gone"]))
    return 0


def doctor(_: Options) -> int:
    from labkit.doctor import examine

    stops = False
    for finding in examine():
        print(finding, flush=True)
        stops |= finding.stops
    return 1 if stops else 0


def run(options: Options) -> int:
    from labkit import running

    runs = running.run(options.labs, store=options.store, at_once=options.at_once)
    print(running.summary(runs))
    return 1 if any(each.failure for each in runs) else 0


def check(options: Options) -> int:
    from labkit import running

    results = running.check(options.lab, options.folder, _note)
    print(running.report(results))
    return 0 if running.done(results) else 1


def release(options: Options) -> int:
    from labkit.release import release

    try:
        lines = release(check=options.check, nbgrader=options.nbgrader)
    except RuntimeError as error:
        raise LabError(str(error)) from error
    for line in lines:
        print(line)
    if not lines:
        print("notebooks/ is what solutions/ makes.")
    elif options.check:
        _note("`labkit release` makes notebooks/ anew; what you have written in them would be lost, so copy it first.")
        return 1
    return 0


def _lab() -> Lab:
    return Lab(state.folder())


def _note(line: str) -> None:
    """What is good to know beside a command's output."""
    print(line, file=sys.stderr, flush=True)


def _print_status(lab: Lab, found: dict[str, Any]) -> None:
    since = datetime.fromtimestamp(found["started"]).strftime("%Y-%m-%d %H:%M")
    print(f"The local clouds run on {lab.url} (process {found['pid']}, since {since}).")
    print(f"In the lab it is {_when(found['time'])}{_ahead(found['offset'])}.")
    print(f"In them: {spelled(found['clouds']) or 'nothing yet'}. Calls so far: {found['calls']}.")
    print(f"State folder: {lab.folder}")
    let_through = ", ".join(found["pass_through"]) or "none"
    print(f'Hosts let through beside the clouds: {let_through} ("pass_through" in {lab.settings_file} lists them).')
    if found["refusals"]:
        print("Refused of late:")
    for refusal in found["refusals"]:
        times = f" ({refusal['times']} times)" if refusal["times"] > 1 else ""
        print(f"  {datetime.fromtimestamp(refusal['at']):%H:%M:%S}{times}  {refusal['why']}")


def _gone(what: str, inventory: Any) -> str:
    names = spelled(inventory)
    return f"{what}. Gone with them: {names}." if names else f"{what}; nothing was in them."


def _when(time: str) -> str:
    return datetime.fromisoformat(time).strftime("%Y-%m-%d %H:%M:%S UTC")


def _ahead(seconds: float) -> str:
    return f", {timedelta(seconds=round(seconds))} ahead of this machine" if seconds >= 1 else ""


def duration(text: str) -> timedelta:
    """The clock's own reading of ``31d``, ``90s`` or ``1h30m``, with its error as one of usage."""
    try:
        return engine_clock.duration(text)
    except CloudError as error:
        raise argparse.ArgumentTypeError(error.message) from None


def _at_least_one(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


@dataclass(frozen=True)
class Command:
    """One command: ``run`` does it, ``options`` declares what it takes."""

    name: str
    run: Callable[[Options], int]
    summary: str
    examples: Sequence[str]
    more: str = ""
    options: Callable[[argparse.ArgumentParser], Any] = lambda _: None


def _up_options(each: argparse.ArgumentParser) -> None:
    each.add_argument(
        "--new-port", action="store_true", help="move to another port first; open kernels have to be restarted then"
    )


def _json_option(each: argparse.ArgumentParser) -> None:
    each.add_argument("--json", action="store_true", help="print JSON")


def _execute_options(each: argparse.ArgumentParser) -> None:
    each.usage = "labkit exec [-h] [--fresh] -- COMMAND ..."
    each.add_argument("--fresh", action="store_true", help="give the command clouds of its own, which end with it")
    each.add_argument("program", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its arguments")
    each.set_defaults(parser=each)


def _clock_options(each: argparse.ArgumentParser) -> None:
    each.add_argument("action", nargs="?", choices=["advance"], help="advance the clock instead of showing it")
    each.add_argument("duration", nargs="?", type=duration, metavar="DURATION", help="by how much: 31d, 12h, 90s")
    each.set_defaults(parser=each)


def _run_options(each: argparse.ArgumentParser) -> None:
    each.add_argument("labs", nargs="*", metavar="LAB", help="a lab, or a level with all its labs; all unless given")
    each.add_argument("--store", action="store_true", help="keep the outputs in the solved notebooks")
    each.add_argument(
        "--at-once",
        type=_at_least_one,
        metavar="N",
        help="how many run at the same time; as many as there are processors unless given",
    )


def _check_options(each: argparse.ArgumentParser) -> None:
    each.add_argument("lab", metavar="LAB", help="a lab, such as beginner/aws")
    each.add_argument(
        "--folder", type=Path, help="the lab's files; the folder beside the learner's notebook unless given"
    )


def _release_options(each: argparse.ArgumentParser) -> None:
    what = each.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="only say what differs; exits with 1 when something does")
    what.add_argument(
        "--nbgrader", type=Path, metavar="DIR", help="lay the labs out as assignments of an nbgrader course"
    )


COMMANDS = (
    Command(
        "up",
        up,
        "start the local clouds",
        ["labkit up", "labkit up --new-port"],
        "Harmless when they run already.",
        _up_options,
    ),
    Command("down", down, "stop the local clouds", ["labkit down"], "What is in them is gone."),
    Command(
        "status",
        status,
        "show the local clouds: what is in them, and what was refused",
        ["labkit status", "labkit status --json"],
        "Exits with 1 when they do not run.",
        _json_option,
    ),
    Command(
        "exec",
        execute,
        "run a command against the local clouds",
        ["labkit exec -- aws s3 ls", "labkit exec --fresh -- python -m pytest my_tests"],
        "Starts them if need be. The exit status is the command's.",
        _execute_options,
    ),
    Command(
        "clock",
        clock,
        "show the lab's time, or advance it",
        ["labkit clock", "labkit clock advance 31d"],
        "Advancing returns when what fell due has finished.",
        _clock_options,
    ),
    Command(
        "env",
        env,
        "print the environment that leads to the local clouds",
        ['eval "$(labkit env)"', "labkit env --json"],
        "For a shell, or an editor with its own kernel.",
        _json_option,
    ),
    Command("reset", reset, "empty the local clouds", ["labkit reset"], "They go on running, at the lab's time."),
    Command(
        "run",
        run,
        "run solved notebooks, each on clouds of its own",
        ["labkit run", "labkit run beginner/aws", "labkit run beginner --store"],
        "Exits with 1 when one fails.",
        _run_options,
    ),
    Command(
        "check",
        check,
        "run a lab's checks on the clouds as they stand",
        ["labkit check beginner/aws", "labkit check beginner/aws --folder ~/my-work/aws"],
        "Run it before the clean-up: what is deleted can no longer be seen. Exits with 1 unless everything before the "
        "clean-up is right.",
        _check_options,
    ),
    Command(
        "release",
        release,
        "make the learners' notebooks from the solved ones",
        ["labkit release", "labkit release --check", "labkit release --nbgrader ~/course"],
        "",
        _release_options,
    ),
    Command(
        "doctor",
        doctor,
        "say what on this machine is missing or limits the kit, and what to do",
        ["labkit doctor"],
        "Exits with 1 when something is missing.",
    ),
)
