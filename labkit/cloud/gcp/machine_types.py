"""The machine types on which Vertex AI serves predictions.

https://cloud.google.com/vertex-ai/docs/predictions/configure-compute#machine-types
"""

from __future__ import annotations

from typing import Any

from labkit.cloud.gcp.errors import invalid, refusal

#: Family -> the numbers of virtual processors that it comes with.
_SIZES: dict[str, tuple[int, ...]] = {
    "n1-standard": (2, 4, 8, 16, 32),
    "n1-highmem": (2, 4, 8, 16, 32),
    "n1-highcpu": (2, 4, 8, 16, 32),
    "n2-standard": (2, 4, 8, 16, 32, 48, 64, 80, 96, 128),
    "n2-highmem": (2, 4, 8, 16, 32, 48, 64, 80, 96, 128),
    "n2-highcpu": (2, 4, 8, 16, 32, 48, 64, 80, 96),
    "n2d-standard": (2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224),
    "n2d-highmem": (2, 4, 8, 16, 32, 48, 64, 80, 96),
    "n2d-highcpu": (2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224),
    "e2-standard": (2, 4, 8, 16, 32),
    "e2-highmem": (2, 4, 8, 16),
    "e2-highcpu": (2, 4, 8, 16, 32),
    "c2-standard": (4, 8, 16, 30, 60),
    "c2d-standard": (2, 4, 8, 16, 32, 56, 112),
    "c2d-highmem": (2, 4, 8, 16, 32, 56, 112),
    "c2d-highcpu": (2, 4, 8, 16, 32, 56, 112),
    "c3-standard": (4, 8, 22, 44, 88, 176),
    "c3-highmem": (4, 8, 22, 44, 88, 176),
    "c3-highcpu": (4, 8, 22, 44, 88, 176),
}
#: Families of machines that come with accelerators.
_ACCELERATED = ("a2-", "a3-", "a4-", "g2-", "g4-", "ct5lp-", "ct6e-")
#: Some types, for an error that says what there is.
_EXAMPLES = "n1-standard-2, n1-standard-4, n2-standard-2, e2-standard-4"
#: What a model is deployed on if nothing is said.
DEFAULT = "n1-standard-2"


def exists(name: str) -> bool:
    """Whether Vertex AI serves predictions on machines of this type without accelerators."""
    family, _, size = name.rpartition("-")
    return size.isdecimal() and int(size) in _SIZES.get(family, ())


def check(machine: Any, path: str, instead: str) -> None:
    """Raises :class:`GcpError` for a ``MachineSpec`` with accelerators or of a type that is not there.

    ``path`` is the field that holds it; ``instead`` says that there are no accelerators, and what to take.
    """
    if machine.accelerator_type or machine.accelerator_count or machine.machine_type.startswith(_ACCELERATED):
        raise refusal("accelerators", instead)
    if not exists(machine.machine_type):
        raise invalid(
            f'Machine type "{machine.machine_type}" is not supported. Use one such as {_EXAMPLES}.',
            f"{path}.machine_type",
        )
