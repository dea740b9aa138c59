"""Files as wrist devices write them, read by scikit-digital-health (the extra `accel`)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fitexp.data.windows.signals import Array
from fitexp.errors import InputError

READERS = {".cwa": "ReadCwa", ".bin": "ReadBin"}  # Axivity, GENEActiv
EXPORTED = {".gt3x": "ActiLife"}  # ActiGraph: no reader here
HEADER = b"\nCalibration Data"  # without this line the reader of .bin would not come back
HEADER_BYTES = 16_384
ROWS = 1 << 14


def device_chunks(file: Path) -> Iterator[tuple[Array, Array]]:
    """Local times (n,) in s since 1970 and acceleration (3, n) in g.

    scikit-digital-health reads the whole file into memory (32 bytes a sample: 1.2 GB for a week
    at 60 Hz). Raises InputError where it is not installed or cannot read the file.
    """
    try:
        import skdh.io
    except ImportError as error:
        raise InputError(
            f"{file}: needs scikit-digital-health: pip install 'fitexp[accel]'"
        ) from error
    if file.suffix.lower() == ".bin" and HEADER not in _top(file):
        raise InputError(
            f"{file}: not a GENEActiv file: no line {HEADER.decode().strip()!r} at its top"
        )
    reader: Any = getattr(skdh.io, READERS[file.suffix.lower()])(ext_error="warn")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "timestamps are local" (so they must be), ".CWA", and
            # "bad data blocks": they come as 0, 0, 0, which `samples` counts
            read = reader.predict(file=str(file))
        time_s, a = np.asarray(read["time"], np.float64), np.asarray(read["accel"], np.float64)
    except Exception as error:  # whatever its compiled readers raise is the file's fault
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{file}: scikit-digital-health cannot read it ({reason}); "
            "export it as CSV with columns time, x, y, z"
        ) from error
    for begin in range(0, len(time_s), ROWS):
        rows = slice(begin, begin + ROWS)
        yield time_s[rows], a[rows].T


def _top(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(HEADER_BYTES)
