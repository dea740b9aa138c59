"""Raw wrist acceleration of a study, one file a person, to epochs of 15 s, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp.data.exercises.text_tables import keys, numbers, read_commas
from fitexp.data.windows.calibration import Calibration, StillWindows, calibrate
from fitexp.data.windows.devices import EXPORTED, READERS
from fitexp.data.windows.epochs import Epochs, Recording
from fitexp.data.windows.heart_rates import HEART_RATE_BPM, Means, heart_rate_table, heart_rates
from fitexp.data.windows.samples import samples, samples_table
from fitexp.data.windows.signals import SERIES, STEP_S, EpochStream
from fitexp.data.windows.wear import without_non_wear
from fitexp.errors import InputError

TABLES = (".csv", ".parquet")
SLOWEST_HZ = 10.0
TWICE = 0.45  # of the samples, at the time of the one before: two recordings in one file
SEX = {"male": "1", "m": "1", "female": "0", "f": "0"}


def raw_acceleration(
    *,
    path: str | None,
    utc_offset_h: float,
    gap_s: float,
    min_epoch_share: float,
    calibrated: bool,
) -> Epochs:
    """Read the folder `path`.

    acceleration/USER.csv   or .parquet: time, x, y, z (g); or .cwa (Axivity), .bin (GENEActiv)
    heart_rate.csv          or .parquet: user, time, heart_rate (bpm); optional. A user's rows
                            stand together
    users.csv               user and columns of numbers, e.g. age_years, sex; optional

    Times: see `long_tables`; utc_offset_h: hours from UTC to local time, for times in UTC.
    gap_s, min_epoch_share: see `EpochStream`; calibrated: bring to local gravity first (see
    `calibrate`). Each file is read twice: for its rate and calibration, then for its epochs.
    Epochs of non-wear are absent (see `without_non_wear`). An epoch's heart rate is the mean of
    the readings in it. The stream fills `rejected` and notes, anew each time it runs.
    Raises InputError that names file, line, field and remedy.
    """
    if path is None:
        raise InputError("data.path is missing: it must be a folder with acceleration/USER.csv")
    folder = Path(path).expanduser()
    study = _Study(
        files=_files(folder / "acceleration"),
        heart_rate=_table(folder, "heart_rate"),
        utc_offset_h=utc_offset_h,
        gap_s=gap_s,
        min_epoch_share=min_epoch_share,
        calibrated=calibrated,
    )
    listed = _users(folder / "users.csv")
    without_row = set(study.files) - set(listed.index) if len(listed) else set()
    without_file = set(listed.index) - set(study.files)

    def recordings() -> Iterator[Recording]:
        study.rejected.clear()
        study.count("users without a row in users.csv (kept)", len(without_row))
        study.count("users without acceleration", len(without_file))
        yield from without_non_wear(
            study.recordings(),
            series=SERIES,
            step_s=STEP_S,
            rejected=study.rejected,
        )

    return Epochs(
        source="raw_acceleration",
        simulated=False,
        series=SERIES,
        step_s=STEP_S,
        users=listed.reindex(list(study.files)),
        recordings=recordings,
        rejected=study.rejected,
        notes=study.notes,
    )


@dataclass(frozen=True, kw_only=True)
class _Study:
    """The files of a study; `recordings` adds to `rejected` and `notes`."""

    files: dict[str, Path]
    heart_rate: Path | None
    utc_offset_h: float
    gap_s: float
    min_epoch_share: float
    calibrated: bool
    rejected: Counter[str] = field(default_factory=Counter)
    notes: dict[str, str] = field(default_factory=dict)

    def recordings(self) -> Iterator[Recording]:
        """In the order of the heart rate table, then those that are not in it."""
        low, high = HEART_RATE_BPM
        self.notes["heart rate"] = f"mean of the readings in 15 s, {low:g}..{high:g} bpm"
        self.notes["non-wear"] = "60 min or more with a standard deviation below 13 mg on two axes"
        if self.heart_rate is None:
            self.notes["heart rate"] = "none"
        used: list[Calibration] = []
        rates_hz: list[float] = []
        for user, epoch, bpm in self._heart_rates():
            file = self.files[user]
            rate_hz, calibration = self._survey(file)
            rates_hz.append(rate_hz)
            ends = dict.fromkeys(f"{hz:.4g}" for hz in (min(rates_hz), max(rates_hz)))
            self.notes["acceleration"] = f"{'..'.join(ends)} samples a second"
            self._note(calibration, used)
            first, series = self._epochs(file, rate_hz, calibration)
            beats = _on_grid(epoch + self._behind(file) - first, bpm, len(series))
            if len(epoch) and np.isnan(beats).all():
                self.count("users whose heart rates all lie outside their acceleration (kept)")
            yield Recording(user=user, start_s=first * STEP_S, series=series, heart_rate=beats)

    def count(self, reason: str, number: int = 1) -> None:
        if number:
            self.rejected[reason] += number

    def _heart_rates(self) -> Iterator[Means]:
        """Every user with a file; those without heart rates have no epochs."""
        left = dict.fromkeys(self.files)
        if self.heart_rate is not None:
            for means in heart_rates(self.heart_rate, self.utc_offset_h, self.rejected):
                if means[0] in left:
                    del left[means[0]]
                    yield means
                else:
                    self.count("users with heart rate but no acceleration")
            self.count("users without heart rate (kept)", len(left))
        for user in left:
            yield user, np.empty(0, np.int64), np.empty(0, np.float32)

    def _behind(self, file: Path) -> int:
        """Epochs from the clock of the heart rates to that of `file`.

        0 unless both name their zones; these differ where a study goes on into summer time.
        """
        table = samples_table(file, self.utc_offset_h)
        if table is None or self.heart_rate is None:
            return 0
        ours, theirs = table.zone_s(), heart_rate_table(self.heart_rate, self.utc_offset_h).zone_s()
        return 0 if ours is None or theirs is None else round((ours - theirs) / STEP_S)

    def _survey(self, file: Path) -> tuple[float, Calibration]:
        """The first pass: samples a second where there is no gap, and the calibration."""
        still, steps, same, spent_s, last = StillWindows(), 0, 0, 0.0, np.nan
        for time_s, a in samples(file, self.utc_offset_h, self.rejected):
            since = np.diff(time_s, prepend=last)
            near = since <= self.gap_s
            steps, spent_s = steps + int(near.sum()), spent_s + float(since[near].sum())
            same += int((since == 0.0).sum())
            last = time_s[-1]
            still.push(time_s, a)
        if np.isnan(last):
            raise InputError(f"{file}: no sample in it; leave the file out")
        rate_hz = steps / spent_s if spent_s else 0.0
        if rate_hz < 0.99 * SLOWEST_HZ:
            raise InputError(
                f"{file}: {rate_hz:.3g} samples a second; raw acceleration has {SLOWEST_HZ:g} or "
                "more (and a `time` with its fractions of a second)"
            )
        if same > TWICE * steps and (steps - same) / spent_s > 1.1 * SLOWEST_HZ:  # no coarse clock
            raise InputError(
                f"{file}: {same:,} of {steps + 1:,} samples have the time of the one before: rows "
                "are in it twice, or two recordings; keep one"
            )
        return rate_hz, calibrate(still.means(rate_hz))

    def _note(self, calibration: Calibration, used: list[Calibration]) -> None:
        if not self.calibrated:
            self.notes["calibration"] = "none"
            return
        if calibration.reason:
            self.count(f"users left uncalibrated (kept): {calibration.reason}")
        else:
            used.append(calibration)
        words = f"to local gravity, {len(used)} users"
        if used:
            before, after = np.mean([(c.before_mg, c.after_mg) for c in used], axis=0)
            words += f"; mean error of still windows {before:.1f} mg before, {after:.1f} mg after"
        self.notes["calibration"] = words

    def _epochs(
        self, file: Path, rate_hz: float, calibration: Calibration
    ) -> tuple[int, NDArray[np.float32]]:
        """The second pass: number of the first epoch, and SERIES (n, 10)."""
        stream = EpochStream(rate_hz=rate_hz, gap_s=self.gap_s, min_share=self.min_epoch_share)
        parts = []
        for time_s, a in samples(file, self.utc_offset_h, Counter()):
            parts.append(stream.push(time_s, calibration(a) if self.calibrated else a))
        parts.append(stream.finish())
        assert stream.first is not None  # the survey refuses a file without samples
        return stream.first, np.concatenate(parts).astype(np.float32)


def _on_grid(row: NDArray[np.int64], bpm: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    out = np.full(rows, np.nan, np.float32)
    inside = (row >= 0) & (row < rows)
    out[row[inside]] = bpm[inside]
    return out


def _files(folder: Path) -> dict[str, Path]:
    """user -> file, sorted by user."""
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; put one file a person in it, USER.csv")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        kind = file.suffix.lower()
        if kind in EXPORTED:
            raise InputError(
                f"{file}: {kind} files are not read; export raw acceleration from "
                f"{EXPORTED[kind]} as CSV with columns time, x, y, z"
            )
        if file.name.startswith(".") or kind not in (*TABLES, *READERS):
            continue
        if file.stem in found:
            raise InputError(f"{file}: a second file of user {file.stem!r}; keep one")
        found[file.stem] = file
    if not found:
        kinds = ", ".join([*TABLES, *READERS])
        raise InputError(f"{folder}: no file in it; one a person is needed ({kinds})")
    return found


def _table(folder: Path, name: str) -> Path | None:
    found = [folder / f"{name}{kind}" for kind in TABLES if (folder / f"{name}{kind}").exists()]
    if len(found) > 1:
        raise InputError(f"{found[1]}: {found[0].name} lies beside it; keep one of them")
    return found[0] if found else None


def _users(file: Path) -> pd.DataFrame:
    """Index user, columns float64; empty where there is no such file."""
    if not file.exists():
        return pd.DataFrame(index=pd.Index([], dtype="str", name="user"))
    frame = read_commas(file)
    index = pd.Index(keys(frame, file, "user"), dtype="str", name="user")
    if "sex" in frame:
        frame["sex"] = frame["sex"].map(lambda word: SEX.get(str(word).lower(), word))
    names = [str(name) for name in frame.columns if name != "user"]
    columns = {name: numbers(frame, file, name).to_numpy() for name in names}
    return pd.DataFrame(columns, index=index)
