"""Parquet files, opened so that what is wrong with them is said in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fitexp.errors import InputError


def open_parquet(file: Path, needed: Iterable[str]) -> pq.ParquetFile:
    """The file, closed by the caller; InputError where it is none or lacks a column."""
    try:
        # read in small pieces, also where the writer made one large row group
        table = pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
    except OSError as error:  # pyarrow's own errors are among them
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from error
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file}: not a Parquet file, or cut short ({reason})") from error
    names: list[str] = table.schema_arrow.names
    for name in needed:
        if names.count(name) != 1:
            table.close()
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean its column {close[0]!r}?" if close else f"it has {names}"
            raise InputError(f"{file}: {names.count(name)} columns {name!r}, one is needed; {hint}")
    return table


def is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def read_parquet(file: Path, columns: list[str], *, numbers: list[str]) -> pd.DataFrame:
    """These columns of the file; InputError where one has an empty field.

    numbers: those of them that must hold finite numbers.
    """
    with open_parquet(file, columns) as table:
        for name in numbers:
            kind = table.schema_arrow.field(name).type
            if not is_number(kind):
                raise InputError(f"{file}, {name}: {kind}, not numbers")
        try:
            frame: pd.DataFrame = table.read(columns).to_pandas()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file}: cannot be read ({str(error).splitlines()[0]})") from error
    for name in columns:
        for row in frame.index[frame[name].isna()][:1]:
            raise InputError(f"{file}, row {row + 1}, {name}: empty; leave the row out")
    for name in numbers:
        for row in frame.index[np.isinf(frame[name].to_numpy(np.float64))][:1]:
            raise InputError(f"{file}, row {row + 1}, {name}: infinite; leave the row out")
    return frame
