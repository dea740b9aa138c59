"""A made GENEActiv file: text with pages of 300 samples in hexadecimal."""

from __future__ import annotations

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
