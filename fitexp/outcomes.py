"""Outcomes of users (age, fitness, ...) as two classes, and tables of users from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp.data.splits import NAMES, TEST, TRAIN, VAL, Part
from fitexp.errors import InputError
from fitexp.targets import closest, did_you_mean

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
USER = "user_id"
RESTING = "resting_hr_bpm"
PAPER = {  # column of a users table -> row of table 5, in its order
    "vo2max_ml_min_kg": "VO2max",
    "paee_j_min_kg": "PAEE",
    "height_cm": "height",
    "weight_kg": "weight",
    "sex": "sex",
    "age_years": "age",
    "bmi": "BMI",
    RESTING: "resting HR",
}
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One outcome of U users as two classes: 1 where value >= threshold.

    value (U,), NaN unknown; train: numbers of the training and validation users that have it;
    test: of the test users that have it; unknown: part -> users without it, who are left out.
    """

    name: str
    value: Floats
    threshold: float
    train: Ints
    test: Ints
    unknown: Mapping[str, int]

    @property
    def label(self) -> str:
        return PAPER.get(self.name, self.name)

    def high(self, users: Ints) -> NDArray[np.bool_]:
        return np.asarray(self.value[users] >= self.threshold)

    @property
    def folds(self) -> int:
        """Of cross-validation: 5, or as many as the smaller class has training users."""
        high = int(self.high(self.train).sum())
        return min(FOLDS, high, len(self.train) - high)


def outcome(name: str, value: Floats, part: Part) -> Outcome:
    """The threshold is the median of the training users (with validation users: neither is tested);
    of a column of two values, as sex, the middle between them.

    Raises InputError where a class has too few users: two in training, one in the test.
    """
    value = np.where(np.isfinite(value), value, np.nan)
    known = np.isfinite(value)
    train = np.flatnonzero(known & ((part == TRAIN) | (part == VAL)))
    test = np.flatnonzero(known & (part == TEST))
    values = np.unique(value[train])
    if not len(values):
        raise InputError(f"outcome {name}: no training user has it")
    found = Outcome(
        name=name,
        value=value,
        threshold=float(values.mean() if len(values) == 2 else np.median(value[train])),
        train=train,
        test=test,
        unknown={NAMES[p]: int((~known & (part == p)).sum()) for p in NAMES},
    )
    for where, users, least in (("training", train, 2), ("test", test, 1)):
        high = int(found.high(users).sum())
        if min(high, len(users) - high) < least:
            raise InputError(
                f"outcome {name}: {high} of {len(users)} {where} users are at or above "
                f"{found.threshold:g}; each class needs {least} or more (cut it yourself, 0 and 1)"
            )
    return found


def chosen(names: Sequence[str] | None, table: pd.DataFrame, others: bool = False) -> list[str]:
    """The columns that were asked for; None: those of the paper's table, in its order, else all.

    others: behind the paper's all others too, as of a table that somebody brings.

    Raises InputError for a column that is not there.
    """
    if names is None:
        paper = [name for name in PAPER if name in table]
        rest = [name for name in table.columns if name not in PAPER]
        return [*paper, *(rest if others or not paper else ())]
    for name in names:
        if name not in table:
            near = did_you_mean(closest(name, list(table.columns)))
            known = ", ".join(table.columns)
            raise InputError(f"--outcome {name}: the users have {known or 'no columns'}{near}")
    return list(dict.fromkeys(names))


def users_file(path: str | Path, names: Sequence[str] | None) -> pd.DataFrame:
    """A table of users, CSV or Parquet: a column user_id (or user, as `fitexp predict --users` has
    it), and columns of numbers (sex: 1 male, 0 female); an empty field is unknown. `names`: columns
    to read, None all of them.

    -> indexed by user_id (str). Raises InputError that names file, line and column.
    """
    file = Path(path)
    frame = _read(file)
    if USER not in frame:
        frame = frame.rename(columns={"user": USER})
    if USER not in frame:
        near = did_you_mean(closest(USER, [str(name) for name in frame.columns]))
        raise InputError(f"{file}, line 1: a column {USER} is needed{near}")
    empty = np.flatnonzero(frame[USER].isna().to_numpy())
    if len(empty):
        raise InputError(f"{file}, line {empty[0] + 2}, {USER}: empty")
    user = frame[USER].astype("str").str.strip()
    again = np.flatnonzero(user.duplicated().to_numpy())
    if len(again):
        raise InputError(
            f"{file}, line {again[0] + 2}, {USER}: {user.iloc[again[0]]!r} is listed twice; "
            "one line a user"
        )
    frame = frame.drop(columns=USER)
    read = [name for name in frame.columns if names is None or name in names]
    numbers = {str(name): _numbers(frame[name], file) for name in read}
    return pd.DataFrame(numbers, index=pd.Index(user, name=USER), dtype="float64")


def _read(file: Path) -> pd.DataFrame:
    try:
        if file.suffix == ".parquet":
            frame = pd.read_parquet(file)
            return frame.reset_index() if frame.index.name else frame
        return pd.read_csv(file, dtype=str, keep_default_na=False, na_values=["", "NA", "nan"])
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file (--users)") from error
    except Exception as error:  # of pandas or pyarrow, all of them the file's fault
        kind = "Parquet" if file.suffix == ".parquet" else "CSV"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{file}: not a readable {kind} file ({reason})") from error


def _numbers(column: pd.Series[str], file: Path) -> Floats:
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(numbers) & column.notna().to_numpy())
    if len(wrong):
        raise InputError(
            f"{file}, line {wrong[0] + 2}, {column.name}: {column.iloc[wrong[0]]!r} is no number; "
            "leave it empty where unknown, name the columns to read by --outcome (sex: 1 or 0)"
        )
    return numbers
