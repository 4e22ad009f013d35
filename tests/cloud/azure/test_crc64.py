"""The checksum, on published values."""

from __future__ import annotations

import pytest

from labkit.cloud.azure.crc64 import crc64


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        # The check value of CRC-64/NVME, which is Azure Storage's: https://reveng.sourceforge.io/crc-catalogue/all.htm
        (b"123456789", 0xAE8B14860A799888),
        (b"", 0),
        # From the examples of the NVM Express specification (1.1, figure 121): 4 KiB of zeros, of ones.
        (bytes(4096), 0x6482D367EB22B64E),
        (b"\xff" * 4096, 0xC0DDBA7302ECA3AC),
    ],
)
def test_published_values(data: bytes, checksum: int) -> None:
    assert crc64(data) == checksum


def test_pieces_of_every_length() -> None:
    data = bytes(range(40))
    assert len({crc64(data[:length]) for length in range(41)}) == 41
