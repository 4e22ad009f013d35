"""The virtual machine sizes that managed online deployments can have, and their cores.

https://learn.microsoft.com/azure/machine-learning/reference-managed-online-endpoints-vm-sku-list. An instance is a
process here, whatever its size; the sizes with graphics processors are refused, as there are none.
"""

from __future__ import annotations

import math

#: Cores that all deployments of a region may take together
#: (https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas: 24 to 300, by subscription).
CORES = 100
#: Instances that one deployment may have.
MOST_INSTANCES = 50
#: Azure reserves a fifth more than is asked for, for upgrades.
RESERVED = 1.2

#: Patterns of a family's names: ``*`` stands for the cores, which follow.
_CPU = (
    ("D*as_v4", (2, 4, 8, 16, 32, 48, 64, 96)),
    ("D*a_v4", (2, 4, 8, 16, 32, 48, 64, 96)),
    ("E*s_v3", (2, 4, 8, 16, 32, 48, 64)),
    ("F*s_v2", (2, 4, 8, 16, 32, 48, 64, 72)),
    ("FX*mds", (4, 12, 24, 36, 48)),
    ("L*as_v3", (8, 16, 32, 48, 64, 80)),
    ("L*s_v2", (8, 16, 32, 48, 64, 80)),
    ("L*s_v3", (8, 16, 32, 48, 64, 80)),
)
_GPU = (
    "NC24ads_A100_v4 NC48ads_A100_v4 NC96ads_A100_v4 NC4as_T4_v3 NC8as_T4_v3 NC16as_T4_v3 NC64as_T4_v3 NC6s_v2 NC12s_v2"
    " NC24s_v2 NC6s_v3 NC12s_v3 NC24s_v3 NC40ads_H100_v5 NC80adis_H100_v5 ND96amsr_A100_v4 ND96asr_v4 ND40rs_v2"
    " ND96is_H100_v5 ND96isr_H100_v5 NV6ads_A10_v5 NV12ads_A10_v5 NV18ads_A10_v5 NV36ads_A10_v5 NV36adms_A10_v5"
    " NV72ads_A10_v5"
)

#: Size -> cores. Names are told apart without regard to case.
SIZES: dict[str, int] = {
    **{f"Standard_DS{number}_v2": 2 ** (number - 1) for number in range(1, 6)},
    **{f"Standard_{pattern.replace('*', str(cores))}": cores for pattern, sizes in _CPU for cores in sizes},
}
GPU_SIZES = frozenset(f"standard_{name}".lower() for name in _GPU.split())

_BY_NAME = {name.lower(): (name, cores) for name, cores in SIZES.items()}


def find(name: str) -> tuple[str, int] | None:
    """A size's name as the list has it, and its cores; None when the list does not have it."""
    return _BY_NAME.get(name.lower())


def needs(cores: int, instances: int) -> int:
    """The cores that a deployment takes of the quota, the reserve included."""
    return math.ceil(RESERVED * instances) * cores
