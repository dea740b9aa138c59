"""Windows as Step2Heart's authors store them: an array X [N, 512, 34] and its answers y [N].

Spathis et al., "Self-supervised transfer learning of physiological representations from free-living
wearable data", CHIL 2021; the names of the features stand in a CSV file beside the arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp.data.exercises.text_tables import read_commas, require
from fitexp.data.sequences import Float, Int
from fitexp.data.windows.epochs import Epochs, Recording, heart_rate_range
from fitexp.data.windows.safe_npy import open_npy
from fitexp.errors import InputError

# ours -> name and factor of theirs. Axes are in g there, everything in milli-g here.
SERIES = {
    **{
        f"{axis}_{what}": (f"{axis.upper()}_{what}", 1000.0)
        for axis in "xyz"
        for what in ("mean", "std")
    },
    "enmo_mean": ("ENMO_mean", 1.0),
    **{f"vm_hpf_{what}": (f"VM_HPF_{what}", 1.0) for what in ("mean", "min", "max")},
}
USERS = {
    "age_years": ("age", 1.0),
    "height_cm": ("height", 100.0),  # m there
    "weight_kg": ("weight", 1.0),
    "bmi": ("bmi", 1.0),
    "sex": ("sex", 1.0),
    "resting_hr_bpm": ("resting_HR", 1.0),
    "sleeping_hr_bpm": ("sleeping_heart_rate", 1.0),
}
USER, HEART_RATE, CLOCK = "id", "mean_hr", ("month", "hour", "minute")
DAY_S = 86400.0
AT_ONCE = 256  # windows that are mapped together while users are looked for


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A pair of files. held: (N, T, F), where it cannot be mapped; ids: user of each window."""

    file: Path
    held: NDArray[np.float32] | None
    ids: list[str]
    first_steps: NDArray[np.float32]  # (N, F)
    targets: NDArray[np.float32]  # (N,)

    def windows(self, numbers: Int) -> NDArray[np.float32]:
        source = open_npy(self.file) if self.held is None else self.held
        return np.asarray(source[numbers], dtype=np.float32)


def window_arrays(
    *,
    path: str | None,
    windows: str,
    targets: str,
    features: str,
    step_s: float,
    heart_rate_bpm: list[float],
) -> Epochs:
    """Read the folder `path`: arrays that match `windows` and `targets`, in the order of names.

    features: CSV file whose first column names the features. Needed are the ten series, mean_hr
    and id; known besides are month, hour, minute and what describes the user, which is read from
    the user's first window. A window without an id belongs to one user with the file's name.
    Arrays of numbers stay on the disk; arrays of objects are read into memory, and run no code.

    A recording is a user's windows in the order of the files, with rows of NaN between them so
    that the hour of each is right (to the minute; the days between them are not known, nor the
    year: the first window begins on the first of its month in 1970). Where the clock is missing,
    windows follow one another and `start_s` is NaN.
    Heart rates and answers outside `heart_rate_bpm` are missing; answers are counted.
    Raises InputError that names file, window or column, and what to do.
    """
    low, high = heart_rate_range(heart_rate_bpm)
    if not step_s > 0:
        raise InputError(f"data.source.step_s={step_s}: seconds from step to step, above 0")
    if path is None or not Path(path).expanduser().is_dir():
        raise InputError(f"data.path={path}: it must be the folder with {windows} and {targets}")
    folder = Path(path).expanduser()
    column = _columns(folder / features)
    pairs = _pairs(folder, windows, targets)
    parts = [_part(x, y, column) for x, y in pairs]
    places: dict[str, list[tuple[int, int]]] = {}
    for number, part in enumerate(parts):
        for row, user in enumerate(part.ids):
            places.setdefault(user, []).append((number, row))
    known = {ours: theirs for ours, theirs in USERS.items() if theirs[0] in column}
    firsts = np.stack([parts[number].first_steps[row] for (number, row), *_ in places.values()])

    def clean(bpm: NDArray[np.float32]) -> int:
        """Put NaN for what is outside; how much that was."""
        wrong = (bpm < low) | (bpm > high)
        bpm[wrong] = np.nan
        return int(wrong.sum())

    outside = sum(clean(part.targets) for part in parts)

    def recordings() -> Iterator[Recording]:
        for user, mine in places.items():
            found = _recording(user, np.array(mine), parts, column, step_s)
            clean(found.heart_rate)
            yield found

    return Epochs(
        source="window_arrays",
        simulated=False,
        series=tuple(SERIES),
        step_s=step_s,
        users=pd.DataFrame(
            {
                ours: firsts[:, column[theirs]].astype(np.float64) * factor
                for ours, (theirs, factor) in known.items()
            },
            index=pd.Index(list(places), dtype="str"),
        ),
        recordings=recordings,
        rejected={f"answers outside {low:g}..{high:g} bpm (missing)": outside} if outside else {},
        notes={
            "heart rate": f"mean_hr of the arrays, {low:g}..{high:g} bpm",
            "series": "milli-g",
            "time": "hour and minute of each window; month of the user's first; no date",
            "users": "column id; windows without one are one user a file",
        },
    )


def _columns(file: Path) -> dict[str, int]:
    """Name -> number of each feature."""
    frame = read_commas(file)
    names = frame.iloc[:, 0]
    for line in frame.index[names.isna() | names.duplicated()][:1]:
        raise InputError(f"{file}, line {line}: each feature needs a name of its own")
    header = pd.DataFrame(columns=names.tolist())
    for needed in (*(theirs for theirs, _ in SERIES.values()), HEART_RATE, USER):
        require(header, file, needed)
    return {str(name): number for number, name in enumerate(names)}


def _pairs(folder: Path, windows: str, targets: str) -> list[tuple[Path, Path]]:
    x, y = sorted(folder.glob(windows)), sorted(folder.glob(targets))
    if not x or len(x) != len(y):
        raise InputError(
            f"{folder}: {len(x)} files {windows} and {len(y)} files {targets}; each array of "
            "windows needs one of answers"
        )
    return list(zip(x, y, strict=True))


def _part(x: Path, y: Path, column: dict[str, int]) -> _Part:
    array, answers = open_npy(x), open_npy(y)
    if array.ndim != 3 or array.shape[2] != len(column) or 0 in array.shape:
        raise InputError(f"{x}: its shape is {array.shape}, not (N, T, {len(column)} features)")
    if answers.size != len(array):
        raise InputError(f"{y}: {answers.size} answers for {len(array)} windows in {x.name}")
    held = None
    if array.dtype == object:
        users = array[:, :, column[USER]]
        _one_user(users, x, np.arange(len(array)))
        ids = _names(users[:, 0], x)
        array[:, :, column[USER]] = np.nan
        held = _numbers(array, x)
        first_steps = held[:, 0]
    else:
        begins = range(0, len(array), AT_ONCE)
        blocks = [np.array(open_npy(x)[begin : begin + AT_ONCE, 0]) for begin in begins]
        first_steps = _numbers(np.concatenate(blocks), x)
        ids = _names(np.concatenate(blocks)[:, column[USER]], x)
    return _Part(
        file=x,
        held=held,
        ids=ids,
        first_steps=first_steps,
        targets=_numbers(answers.reshape(-1), y),
    )


def _numbers(values: NDArray[Any], file: Path) -> NDArray[np.float32]:
    try:
        return values.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{file}: it holds something that is no number ({error})") from error


def _one_user(users: NDArray[Any], file: Path, numbers: Int) -> None:
    """Raise InputError where the users of a window's steps, (w, T), differ."""
    begin = users[:, :1]
    differ = (users != begin) & ~(pd.isna(users) & pd.isna(begin))
    for row in np.flatnonzero(differ.any(axis=1))[:1]:
        raise InputError(f"{file}, window {numbers[row]} (from 0), {USER}: two users in it")


def _names(users: NDArray[Any], file: Path) -> list[str]:
    """Names of users, (N,); the file's name where there is none."""
    names = []
    for user in users.tolist():
        if isinstance(user, float) and user.is_integer():
            user = int(user)
        names.append(file.name if pd.isna(user) else str(user))
    return names


def _recording(
    user: str, places: Int, parts: list[_Part], column: dict[str, int], step_s: float
) -> Recording:
    """places: (w, 2) number of the part, number of the window in it."""
    mine = [
        (parts[number], places[places[:, 0] == number, 1]) for number in np.unique(places[:, 0])
    ]
    held = [part.windows(rows) for part, rows in mine]
    lengths = {windows.shape[1] for windows in held}
    if len(lengths) > 1:
        raise InputError(f"user {user}: windows of {sorted(lengths)} steps; give one length")
    for (part, rows), windows in zip(mine, held, strict=True):
        _one_user(windows[:, :, column[USER]], part.file, rows)
    values = np.concatenate(held)
    count, steps, _ = values.shape
    clocks = np.array([_clock(window, column, step_s) for window in values])  # (w, 2)
    first = np.arange(count, dtype=np.int64) * steps
    first[1:] += np.cumsum(_gaps(clocks[:, 1], steps, step_s))
    rows = first[:, None] + np.arange(steps)
    series = np.full((first[-1] + steps, len(SERIES)), np.nan, dtype=np.float32)
    heart_rate = np.full(len(series), np.nan, dtype=np.float32)
    for place, (theirs, factor) in enumerate(SERIES.values()):
        series[rows, place] = values[:, :, column[theirs]] * np.float32(factor)
    heart_rate[rows] = values[:, :, column[HEART_RATE]]
    return Recording(
        user=user,
        start_s=np.nan if np.isnan(clocks).any() else float(clocks[0].sum()),
        series=series,
        heart_rate=heart_rate,
        first=first,
        target=np.concatenate([part.targets[rows] for part, rows in mine]),
    )


def _clock(
    window: NDArray[np.float32], column: dict[str, int], step_s: float
) -> tuple[float, float]:
    """Of the first step: seconds from 1970 to the first of its month, and of the day; else NaN.

    The second is found from the number of steps that the first minute still has.
    """
    if any(name not in column for name in CLOCK):
        return np.nan, np.nan
    month, hour, minute = (float(window[0, column[name]]) for name in CLOCK)
    if not (month in range(1, 13) and hour in range(24) and minute in range(60)):
        return np.nan, np.nan
    other = np.flatnonzero(window[:, column["minute"]] != minute)
    left = other[0] * step_s if len(other) else 60.0
    midnight = np.datetime64(f"1970-{int(month):02d}-01", "s").astype(int)
    return float(midnight), hour * 3600 + minute * 60 + max(0.0, 60 - left)


def _gaps(begin: Float, steps: int, step_s: float) -> Int:
    """Rows between each window and the next, less than a day; none where a clock is missing."""
    if np.isnan(begin).any():
        return np.zeros(len(begin) - 1, dtype=np.int64)
    seconds = np.diff(begin) - steps * step_s
    seconds = (seconds + 60) % DAY_S - 60  # a clock that is up to a minute early is no day late
    return np.maximum(np.rint(seconds / step_s), 0).astype(np.int64)
