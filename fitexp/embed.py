"""`fitexp embed RUN [FILE]`: a network's embeddings of users or windows, as a table."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp import targets, worker
from fitexp.actions import Options
from fitexp.data.prepare import Arrays, Prepared
from fitexp.data.splits import NAMES, OUT, Part
from fitexp.errors import InputError
from fitexp.forecast import given, notes
from fitexp.outcomes import USER
from fitexp.run import Run, make_folder, write_parquet
from fitexp.transfer import POOLS, pooled

FILE = "users.parquet"


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """embedding (W, D) of windows; user (W,) their users' numbers; row (W,) their first rows."""

    embedding: NDArray[np.float32]
    user: NDArray[np.int64]
    row: NDArray[np.int64]

    def of_users(self, how: str, users: int) -> NDArray[np.float64]:
        return pooled(self.embedding, self.user, how, users)


def command(run: Run, words: Sequence[str], options: Options) -> int:
    """`fitexp embed RUN [FILE] [-o FILE.parquet] [--pool mean] [--windows] [--users FILE]`.

    FILE: epochs or raw acceleration of other people, as `fitexp predict` takes it.
    """
    if len(words) > 1:
        raise InputError(f"fitexp embed takes one run and one file: what is '{words[1]}'?")
    if not words and options.last("--users"):
        raise InputError("--users is for a file of other people: fitexp embed RUN FILE --users ...")
    file = Path(options.last("-o") or FILE)
    if file.suffix != ".parquet":
        raise InputError(f"-o {file}: the table is a Parquet file, as {file.stem}.parquet")
    if file.is_dir():
        raise InputError(f"-o {file} is a folder: name a file, as {file / FILE}")
    make_folder(file.parent)
    how = pool(options)
    allow = (*targets.allowed(), *options.values.get("--allow", ()))
    by_window = "--windows" in options.flags
    with tempfile.TemporaryDirectory(prefix="fitexp-") as folder:
        if words:
            prepared = given(run, Path(words[0]), options, None, Path(folder), allow)
        else:
            prepared = worker.own_data(run, allow)
        found = embedded(run, prepared, allow)
        table = windows_table(found, prepared) if by_window else users_table(found, prepared, how)
    if words:
        table = table.drop(columns="part")  # the run has no part for them
        for line in notes(run, prepared):
            print(f"fitexp: {line}", file=sys.stderr)
    write_parquet(file, table)
    what = "windows" if by_window else f"users, their windows pooled by {how}"
    mark = "   SIMULATED DATA" if prepared.spec.simulated else ""
    if words and run.spec["simulated"]:
        mark = "   MODEL TRAINED ON SIMULATED DATA"
    print(f"{len(table):,} {what}; {found.embedding.shape[1]} numbers each{mark}\n{file}")
    return 0


def pool(options: Options) -> str:
    how = options.last("--pool") or "mean"
    if how not in POOLS:
        near = targets.did_you_mean(targets.closest(how, POOLS))
        raise InputError(f"--pool {how}: choose from {', '.join(POOLS)}{near}")
    return how


def embedded(run: Run, prepared: Prepared, allow: Sequence[str]) -> Embedded:
    """Embeddings of the windows of all parts. Raises InputError for a model that embeds nothing."""
    parts = worker.embeddings(run, prepared, allow)
    rows = np.concatenate([part["rows"] for part in parts.values()]).astype(np.int64)
    return Embedded(
        embedding=np.concatenate([part["embedding"] for part in parts.values()]),
        user=rows[:, 0],
        row=rows[:, 1],
    )


def part_of_users(arrays: Arrays) -> Part:
    """The part (U,) that each user's windows are in, OUT for none. ValueError: in two parts."""
    found = np.full(len(arrays["user_id"]), OUT, dtype=np.int8)
    for part, name in NAMES.items():
        users = np.unique(arrays["window_user"][arrays[name]])
        twice = users[found[users] != OUT]
        if len(twice):
            raise ValueError(f"user {arrays['user_id'][twice[0]]} is in {name} and another part")
        found[users] = part
    return found


def users_table(found: Embedded, prepared: Prepared, how: str) -> pd.DataFrame:
    """user_id, part, windows, e_0 ...: a row for each user with windows."""
    arrays = prepared.arrays
    part = part_of_users(arrays)
    there = np.flatnonzero(part != OUT)
    count = np.bincount(found.user, minlength=len(part))
    values = found.of_users(how, len(part))[there].astype(np.float32)
    return pd.concat([_who(arrays, part, there, windows=count[there]), _columns(values)], axis=1)


def windows_table(found: Embedded, prepared: Prepared) -> pd.DataFrame:
    """user_id, part, step (the user's row that the window begins at), e_0 ...: a row a window."""
    arrays = prepared.arrays
    step = found.row - np.asarray(arrays["begin"])[found.user]
    who = _who(arrays, part_of_users(arrays), found.user, step=step)
    return pd.concat([who, _columns(found.embedding)], axis=1)


def _who(
    arrays: Arrays, part: Part, users: NDArray[np.int64], **more: NDArray[np.int64]
) -> pd.DataFrame:
    names = np.array([NAMES[int(p)] for p in part[users]])
    return pd.DataFrame({USER: arrays["user_id"][users].astype(str), "part": names, **more})


def _columns(values: NDArray[np.float32]) -> pd.DataFrame:
    return pd.DataFrame(values, columns=[f"e_{i}" for i in range(values.shape[1])])
