"""AWS's part of ``docs/fidelity.md``: how far each operation of each served service is served.

Written from the tables that decide it at run time; see :mod:`labkit.cloud.fidelity`.
"""

from __future__ import annotations

import importlib
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from labkit.cloud.aws.front import OWN
from labkit.cloud.aws.operations import ALLOWED, Fidelity
from labkit.cloud.aws.protocols import model_of

_INTRO = """\
## AWS

{served} of AWS's services are served, in the regions of the partition `aws`, for one account. Every other service
refuses, with a sentence that names it. Signatures are verified (Signature Version 4 in all its forms; Version 2 for S3
where AWS still takes it). Every call is decided by policies as IAM documents it: those of users, groups and roles,
inline and managed, permissions boundaries, session policies, policies on resources, trust policies. What a decision
hangs on and the kit does not evaluate is refused by its name. The learner is an administrator. There is no
organization, so there are no service control policies; anonymous requests and browsers' form uploads to S3 are refused.

| service | works | shape only | refused |
|---|---:|---:|---:|
{counts}

To add an operation: write a function `(call, parameters) -> result` in the service's module under `labkit/cloud/aws`,
name it in the module's `OPERATIONS` (a limit of it in `NOTES`), or add moto's to the allow-list in `operations.py` once
a test through boto3 shows that it does what AWS documents; then write this file again.
"""


@dataclass(frozen=True)
class Service:
    """One service's operations: how far each is served; those of :attr:`operations` that are not in it refuse."""

    name: str
    title: str
    operations: tuple[str, ...]
    served: Mapping[str, Fidelity]

    def at(self, level: str) -> list[str]:
        return [name for name in self.operations if name in self.served and self.served[name].level == level]

    @property
    def refused(self) -> list[str]:
        return [name for name in self.operations if name not in self.served]


def services() -> list[Service]:
    """Every served service, as the front would serve it."""
    return [_service(name) for name in OWN]


def _service(name: str) -> Service:
    module = importlib.import_module(f"labkit.cloud.aws.{OWN[name]}")
    shapes: Iterable[str] = getattr(module, "SHAPE_ONLY", ())
    notes: Mapping[str, str] = getattr(module, "NOTES", {})
    served = dict(ALLOWED.get(name, {}))
    for operation in module.OPERATIONS:
        served[operation] = Fidelity("shape" if operation in shapes else "works", notes.get(operation, ""))
    model = model_of(name)
    return Service(name, str(model.metadata["serviceFullName"]), tuple(sorted(model.operation_names)), served)


def section() -> str:
    """The part of the file on AWS."""
    all_services = services()
    counts = "\n".join(
        f"| {each.title} (`{each.name}`) | {len(each.at('works'))} | {len(each.at('shape'))} | {len(each.refused)} |"
        for each in all_services
    )
    parts = [
        _INTRO.format(served=_number(len(all_services)), counts=counts),
        *(_described(each) for each in all_services),
    ]
    return "\n".join(parts)


def _number(count: int) -> str:
    words = ("None", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
    return words[count] if count < len(words) else str(count)


def _described(service: Service) -> str:
    lines = [f"### {service.title} (`{service.name}`)", ""]
    for level, title in (("works", "Works"), ("shape", "Shape only")):
        if names := service.at(level):
            lines += [f"**{title}**", "", *_bullets(names, service.served), ""]
    if service.refused:
        lines += [f"<details><summary>Refused ({len(service.refused)})</summary>", ""]
        lines += [textwrap.fill(", ".join(service.refused), 118, break_long_words=False), "", "</details>", ""]
    return "\n".join(lines)


def _bullets(names: Iterable[str], served: Mapping[str, Fidelity]) -> list[str]:
    """One bullet for the operations without a note, and one for each note."""
    by_note: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_note[served[name].note].append(name)
    return [
        textwrap.fill(
            ", ".join(listed) + (f": {note}" if note else ""), 118, initial_indent="* ", subsequent_indent="  "
        )
        for note, listed in sorted(by_note.items(), key=lambda pair: bool(pair[0]))
    ]
