"""The CRC-64 of Azure Storage (polynomial 0x9A6C9329AC4BC9B5, reflected), with which clients may protect content.

https://learn.microsoft.com/azure/storage/common/storage-ref-azcopy-configuration-settings and
https://github.com/Azure/azure-sdk-for-net (StorageCrc64Composer) name it. Tables for eight bytes at a time: about a
second for 5 MB, and only when a client sent one.
"""

from __future__ import annotations

import struct
from functools import cache

_POLYNOMIAL = 0x9A6C9329AC4BC9B5
_ALL = 0xFFFFFFFFFFFFFFFF


@cache
def _tables() -> list[list[int]]:
    first = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        first.append(value)
    tables = [first]
    for _ in range(7):
        before = tables[-1]
        tables.append([first[value & 0xFF] ^ value >> 8 for value in before])
    return tables


def crc64(data: bytes) -> int:
    """The checksum of ``data``."""
    t0, t1, t2, t3, t4, t5, t6, t7 = _tables()
    value = _ALL
    whole = len(data) // 8 * 8
    for (word,) in struct.iter_unpack("<Q", memoryview(data)[:whole]):
        value ^= word
        value = (
            t7[value & 0xFF]
            ^ t6[value >> 8 & 0xFF]
            ^ t5[value >> 16 & 0xFF]
            ^ t4[value >> 24 & 0xFF]
            ^ t3[value >> 32 & 0xFF]
            ^ t2[value >> 40 & 0xFF]
            ^ t1[value >> 48 & 0xFF]
            ^ t0[value >> 56]
        )
    for byte in data[whole:]:
        value = t0[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ _ALL
