"""Made files of devices.

GENEActiv: text with pages of 300 samples in hexadecimal. Axivity AX3: a header and sectors of 512
bytes, 80 samples each, as the makers' "Open Movement AX Device - Technical Documentation" says.
"""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from fitexp.data.windows.signals import Array

RATE_HZ, PAGE = 50, 300
GAIN, OFFSET = 25600, 512  # of every axis: a = (100 count - offset) / gain


def counts(a: Array) -> np.ndarray:
    return np.round((np.asarray(a) * GAIN + OFFSET) / 100).astype(int)


def write_bin(file: Path, a: Array, start: datetime) -> None:
    """Acceleration (3, n) in g, n a multiple of 300, from `start` at 50 Hz."""
    header = [""] * 59
    header[0], header[2] = "Device Identity", "Device Type:GENEActiv"
    header[46] = "Calibration Data"
    header[19] = f"Measurement Frequency:{RATE_HZ} Hz"
    for number, axis in enumerate("xyz"):
        header[47 + 2 * number] = f"{axis} gain:{GAIN}"
        header[48 + 2 * number] = f"{axis} offset:{OFFSET}"
    header[53], header[54] = "Volts:300", "Lux:800"
    header[57] = f"Number of Pages:{a.shape[1] // PAGE}"
    lines = list(header)
    for page in range(a.shape[1] // PAGE):
        time = start + timedelta(seconds=page * PAGE / RATE_HZ)
        stamp = f"{time:%Y-%m-%d %H:%M:%S}:{time.microsecond // 1000:03d}"
        samples = counts(a[:, page * PAGE : (page + 1) * PAGE]).T
        lines += [
            "Recorded Data",
            "Device Unique Serial Code:000001",
            f"Sequence Number:{page}",
            f"Page Time:{stamp}",
            "Unassigned:",
            "Temperature:25.0",
            "Battery voltage:4.1",
            "Device Status:Recording",
            f"Measurement Frequency:{RATE_HZ}.0",
            "".join(f"{x & 4095:03X}{y & 4095:03X}{z & 4095:03X}000" for x, y, z in samples),
        ]
    file.write_text("\r\n".join(lines) + "\r\n")


CWA_RATE_HZ, SECTOR, UNIT_G = 100, 80, 256  # samples of a sector; counts of 1 g


def write_cwa(file: Path, a: Array, start: datetime, spoiled: tuple[int, ...] = ()) -> None:
    """Acceleration (3, n) in g, n a multiple of 80, from `start`; sectors with a wrong checksum."""
    header = bytearray(b"\xff" * 1024)
    struct.pack_into("<2sHB", header, 0, b"MD", 1020, 0x17)
    struct.pack_into("<II", header, 13, _packed(start), 0)
    header[36] = 0x4A  # 100 Hz, up to 8 g
    sectors = [bytes(header)]
    for number in range(a.shape[1] // SECTOR):
        first = start + timedelta(seconds=number * SECTOR / CWA_RATE_HZ)
        behind = round(first.microsecond * CWA_RATE_HZ / 1e6)  # samples since the full second
        sector = bytearray(512)
        fields = (b"AX", 508, 0, 1, number, _packed(first), 0, 300, 0, 200, 0x4A, 0x32)
        struct.pack_into("<2sHHIIIHHBBBB", sector, 0, *fields)
        struct.pack_into("<hH", sector, 26, -behind, SECTOR)
        samples = np.round(a[:, number * SECTOR : (number + 1) * SECTOR].T * UNIT_G)
        sector[30:510] = samples.astype("<i2").tobytes()
        check = -sum(struct.unpack("<255H", sector[:510])) + (number in spoiled)
        struct.pack_into("<H", sector, 510, check & 0xFFFF)
        sectors.append(bytes(sector))
    file.write_bytes(b"".join(sectors))


def _packed(time: datetime) -> int:
    date = (time.year - 2000) << 26 | time.month << 22 | time.day << 17
    return date | time.hour << 12 | time.minute << 6 | time.second
