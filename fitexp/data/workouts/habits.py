"""How fast somebody goes at which grade: what gives a route its times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fitexp.data.sequences import Float
from fitexp.data.workouts.recording import Activity
from fitexp.data.workouts.series import Samples, to_steps

GRADES = np.arange(-5, 6) * 0.02  # middles of the bins, -10 % to 10 %; steeper: the last one
STEP_S = 10.0
STANDING_KM_H = 1.0  # slower steps are left out
FEW_STEPS = 30  # bins of everybody's with fewer are filled from their neighbours
PRIOR_STEPS = 60  # own steps (10 minutes) that weigh as much as what is known otherwise


@dataclass(frozen=True)
class Habit:
    """Speed in km/h at each of GRADES; linear between them, constant beyond."""

    speed_km_h: Float

    @property
    def how(self) -> str:
        return "habit"

    def at(self, km: Float, grade: Float) -> Float:
        """Wherever on a route (`km`) the grade is."""
        return np.interp(grade, GRADES, self.speed_km_h)


def habit(own: tuple[Float, Float], everybody: tuple[Float, Float]) -> Habit:
    """A person's speed by grade, drawn to everybody's where there is little of his own.

    own, everybody: (n,) speeds in km/h and (n,) grades of moving steps. With P_b everybody's median
    speed in bin b, m_b and n_b the person's median and number of steps there, d_b = ln(m_b / P_b):
    level r = sum_b n_b d_b / (sum_b n_b + 60), speed P_b exp((n_b d_b + 60 r) / (n_b + 60)).
    """
    usual, count = _medians(*everybody)
    known = count >= FEW_STEPS
    if known.any():
        usual = np.interp(GRADES, GRADES[known], usual[known])
    else:
        usual = np.full(len(GRADES), float(np.median(everybody[0])))
    median, n = _medians(*own)
    apart = np.where(n > 0, np.log(np.where(n > 0, median, 1.0) / usual), 0.0)
    level = (n * apart).sum() / (n.sum() + PRIOR_STEPS)
    shift = (n * apart + PRIOR_STEPS * level) / (n + PRIOR_STEPS)
    return Habit(usual * np.exp(shift))


def _medians(speed: Float, grade: Float) -> tuple[Float, Float]:
    """Median speed (NaN: none) and number of steps in each bin of grade."""
    nearest = np.abs(np.asarray(grade)[:, None] - GRADES).argmin(axis=1)
    count = np.bincount(nearest, minlength=len(GRADES)).astype(np.float64)
    median = np.full(len(GRADES), np.nan)
    for b in np.flatnonzero(count):
        median[b] = np.median(speed[nearest == b])
    return median, count


def moving_steps(activities: Iterable[Activity], max_gap_s: float) -> tuple[Float, Float]:
    """Speeds (km/h) and grades of all steps of 10 s that are faster than 1 km/h."""
    speeds, grades = [np.zeros(0)], [np.zeros(0)]
    for activity in activities:
        samples = Samples(
            sport=activity.sport,
            time_s=activity.time_s,
            heart_rate_bpm=activity.heart_rate_bpm,
            speed_km_h=activity.speed_km_h,
            altitude_m=activity.altitude_m,
            distance_km=activity.distance_km,
            expected_heart_rate_bpm=None,
        )
        steps, _ = to_steps(
            samples,
            grid="time",
            step=STEP_S,
            max_gap_s=max_gap_s,
            max_target_gap_s=max_gap_s,
            min_piece_steps=2,
        )
        if steps is not None:
            moving = steps.values["derived_speed"] > STANDING_KM_H
            speeds.append(steps.values["derived_speed"][moving])
            grades.append(steps.values["grade"][moving])
    return np.concatenate(speeds), np.concatenate(grades)
