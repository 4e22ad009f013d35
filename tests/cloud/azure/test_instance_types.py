"""The list of virtual machine sizes, and what deployments take of the quota."""

from __future__ import annotations

import pytest

from labkit.cloud.azure import instance_types


@pytest.mark.parametrize(
    ("asked", "name", "cores"),
    [
        ("Standard_DS3_v2", "Standard_DS3_v2", 4),
        ("STANDARD_DS1_V2", "Standard_DS1_v2", 1),
        ("standard_f4s_v2", "Standard_F4s_v2", 4),
        ("Standard_E2s_v3", "Standard_E2s_v3", 2),
        ("Standard_FX4mds", "Standard_FX4mds", 4),
    ],
)
def test_sizes_are_found_without_regard_to_case(asked: str, name: str, cores: int) -> None:
    assert instance_types.find(asked) == (name, cores)


@pytest.mark.parametrize("asked", ["Standard_D3", "ml.m5.large", "", "Standard_NC6s_v3"])
def test_what_is_not_in_the_list(asked: str) -> None:
    assert instance_types.find(asked) is None


def test_a_fifth_is_reserved_for_upgrades() -> None:
    assert [instance_types.needs(4, count) for count in (1, 5, 6)] == [8, 24, 32]
