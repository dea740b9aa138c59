"""The heart rate that a workout should have: a mean, minutes in a zone, or a profile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from fitexp.data.sequences import Float
from fitexp.data.workouts.plans import read_samples
from fitexp.data.workouts.table import HEART_RATE_BPM
from fitexp.errors import InputError

LENGTHS = 0.9, 1.25  # of a profile that a workout may last


@dataclass(frozen=True)
class Mean:
    """A mean heart rate; distance in bpm."""

    bpm: float
    unit: ClassVar[str] = "bpm"

    def words(self) -> str:
        return f"mean {self.bpm:g} bpm"

    def distance(self, elapsed_s: Float, predicted: Float) -> float | None:
        return abs(float(predicted.mean()) - self.bpm)


@dataclass(frozen=True)
class Zone:
    """Minutes within low..high bpm; distance in minutes."""

    low: float
    high: float
    minutes: float
    unit: ClassVar[str] = "min"

    def words(self) -> str:
        return f"{self.minutes:g} min within {self.low:g}-{self.high:g} bpm"

    def within(self, elapsed_s: Float, predicted: Float) -> float:
        """Minutes of even steps that begin within the zone; the last one has no length."""
        step_s = float(np.median(np.diff(elapsed_s)))
        inside = (predicted >= self.low) & (predicted <= self.high)
        return step_s / 60 * float(inside[:-1].sum())

    def distance(self, elapsed_s: Float, predicted: Float) -> float | None:
        return abs(self.within(elapsed_s, predicted) - self.minutes)


@dataclass(frozen=True, eq=False)
class Profile:
    """Heart rate by time; distance: RMSE in bpm over the first minutes that both have.

    None for a workout of less than 90 % or more than 125 % of its length.
    """

    time_s: Float
    bpm: Float
    unit: ClassVar[str] = "bpm"

    def words(self) -> str:
        return f"a profile of {self.time_s[-1] / 60:.0f} min"

    def distance(self, elapsed_s: Float, predicted: Float) -> float | None:
        shortest, longest = (share * self.time_s[-1] for share in LENGTHS)
        if not shortest <= elapsed_s[-1] <= longest:
            return None
        both = (elapsed_s >= self.time_s[0]) & (elapsed_s <= self.time_s[-1])
        apart = predicted[both] - np.interp(elapsed_s[both], self.time_s, self.bpm)
        return float(np.sqrt((apart**2).mean())) if both.any() else None


Target = Mean | Zone | Profile


def target_of(text: str | None) -> Target:
    """`140`, `130-145x30min` or the name of a CSV file. Raises InputError."""
    forms = "a mean (140), a zone with minutes (130-145x30min) or a CSV file (t_s, heart_rate)"
    if text is None:
        raise InputError(f"fitexp recommend needs --target: {forms}")
    number = r"(\d+(?:\.\d+)?)"
    if text.lower().endswith(".csv"):
        return _profile(Path(text))
    if match := re.fullmatch(number, text):
        return Mean(_bpm(text, match[1]))
    if match := re.fullmatch(rf"{number}-{number}x{number}\s*min", text):
        low, high, minutes = _bpm(text, match[1]), _bpm(text, match[2]), float(match[3])
        if low >= high or minutes <= 0:
            raise InputError(f"--target {text}: the lower bpm first, and more than 0 minutes")
        return Zone(low, high, minutes)
    raise InputError(f"--target {text}: {forms}")


def _bpm(text: str, number: str) -> float:
    low, high = HEART_RATE_BPM
    if not low <= float(number) <= high:
        raise InputError(f"--target {text}: heart rates are {low:g} to {high:g} bpm")
    return float(number)


def _profile(file: Path) -> Profile:
    if not file.is_file():
        raise InputError(f"--target {file}: no such file")
    samples = read_samples(file)
    known = np.isfinite(samples.heart_rate_bpm)
    if known.sum() < 2:
        raise InputError(f"{file}: a profile needs two or more values of heart_rate in bpm")
    return Profile(samples.time_s[known], samples.heart_rate_bpm[known])
