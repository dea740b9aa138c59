"""A two-dimensional .npy file that grows by blocks of rows, for arrays too large to hold."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fitexp.data.prepare import Stored


class Growing:
    """Rows (n, F) float32 are appended; `stored` and `digest` when it is closed.

    numpy's header has room for a number of rows of any length, so it is rewritten at the end.
    """

    def __init__(self, file: Path, columns: int) -> None:
        self.stored = Stored(file)
        self.columns, self.rows = columns, 0
        self._hash = hashlib.sha256()
        self._file = file.open("wb")
        self._header()
        self._begin = self._file.tell()

    def append(self, rows: NDArray[np.float32]) -> None:
        if rows.ndim != 2 or rows.shape[1] != self.columns:
            raise ValueError(f"rows of {self.columns} columns are expected, not {rows.shape}")
        packed = np.ascontiguousarray(rows, np.float32)
        self._hash.update(packed.data)
        packed.tofile(self._file)
        self.rows += len(packed)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def __enter__(self) -> Growing:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.seek(0)
        self._header()
        if self._file.tell() != self._begin:
            raise ValueError(f"{self.stored.file}: the header does not fit {self.rows} rows")
        self._file.close()

    def _header(self) -> None:
        shape = (self.rows, self.columns)
        described = {"descr": "<f4", "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._file, described)
