"""Auto-calibration to local gravity: a device that lies still must read 1 g.

van Hees, Fang, Langford, Assah, Mohammad, da Silva, Trenell, White, Wareham, Brage: Autocalibration
of accelerometer data for free-living physical activity assessment using local gravity and
temperature (J Appl Physiol 117:738-744, 2014). Departure: no term for temperature, and one fit to
the whole recording, however short (GGIR wants 72 h of it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitexp.data.windows.signals import MG, Array, Bins, mean_and_std

WINDOW_S = 10.0
STILL_MG = 13.0  # standard deviation of every axis below it: still
WITHIN_G = 2.0  # a still axis beyond it is no gravity
SPREAD_G = 0.3  # still windows must lie beyond +0.3 g and -0.3 g on every axis
FEWEST = 10  # still windows
CLOSE_G = 0.01  # windows this close to the sphere weigh alike
GOOD_MG = 10.0  # a fit is used where it leaves still windows a smaller mean error (as in GGIR)
ROUNDS = 1000
SETTLED_G = 1e-9


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Calibrated acceleration is gain x a + offset_g, by axis (3,).

    windows: still ones found; before_mg, after_mg: their mean | |a| - 1 g |; reason: why gain is 1
    and offset 0, "" where the fit is used.
    """

    gain: Array
    offset_g: Array
    windows: int
    before_mg: float
    after_mg: float
    reason: str

    def __call__(self, a: Array) -> Array:
        """(3, n) in g -> (3, n) in g."""
        return self.gain[:, None] * a + self.offset_g[:, None]


class StillWindows:
    """Means of the windows of 10 s in which every axis is still; only these are kept."""

    def __init__(self) -> None:
        self.bins = Bins(WINDOW_S, 3)
        self.kept: list[Array] = []  # (4, w): x, y, z in g, number of samples

    def push(self, time_s: Array, a: Array) -> None:
        """Samples in order: times (n,), acceleration (3, n) in g as recorded."""
        _, first, rows = self.bins.push(time_s, a)
        if len(first):
            mean, std = mean_and_std(rows, first)
            still = (std < STILL_MG / MG).all(axis=0) & (np.abs(mean) < WITHIN_G).all(axis=0)
            count = np.diff(first, append=rows.shape[1])
            self.kept.append(np.vstack([mean, count])[:, still])

    def means(self, rate_hz: float) -> Array:
        """(w, 3) in g, of the windows with half of their samples or more.

        The window that is still open is left out.
        """
        if not self.kept:
            return np.empty((0, 3))
        kept = np.concatenate(self.kept, axis=1)
        return kept[:3, kept[3] >= 0.5 * rate_hz * WINDOW_S].T


def calibrate(means: Array) -> Calibration:
    """Gain and offset of each axis that bring still windows (w, 3), in g, to the unit sphere.

    Repeats until nothing changes: the closest point of the sphere to each window; by axis, the
    weighted line from windows to these points; weights 1 / distance, at most 1 / 10 mg.
    """
    before = error_mg(means)
    reason = _too_little(means)
    gain, offset = np.ones(3), np.zeros(3)
    if not reason:
        gain, offset = _fitted(means)
        if not error_mg(gain * means + offset) < min(before, GOOD_MG):
            reason = f"the fit does not bring still windows closer to 1 g, to {GOOD_MG:g} mg"
            gain, offset = np.ones(3), np.zeros(3)
    return Calibration(
        gain=gain,
        offset_g=offset,
        windows=len(means),
        before_mg=before,
        after_mg=error_mg(gain * means + offset),
        reason=reason,
    )


def error_mg(means: Array) -> float:
    """Mean | |a| - 1 g | of still windows (w, 3); NaN without any."""
    if not len(means):
        return float("nan")
    return float(np.abs(np.linalg.norm(means, axis=1) - 1.0).mean() * MG)


def _too_little(means: Array) -> str:
    if len(means) < FEWEST:
        return f"fewer than {FEWEST} still windows"
    if (means.max(axis=0) < SPREAD_G).any() or (means.min(axis=0) > -SPREAD_G).any():
        return f"still windows not beyond +-{SPREAD_G:g} g on each axis"
    return ""


def _fitted(means: Array) -> tuple[Array, Array]:
    gain, offset = np.ones(3), np.zeros(3)
    weight = np.ones((len(means), 1))
    for _ in range(ROUNDS):
        now = gain * means + offset
        closest = now / np.linalg.norm(now, axis=1, keepdims=True)
        share = weight / weight.sum()
        centre, wanted = (share * now).sum(axis=0), (share * closest).sum(axis=0)
        off = now - centre
        slope = (share * off * (closest - wanted)).sum(axis=0) / (share * off**2).sum(axis=0)
        shift = wanted - slope * centre
        gain, offset = slope * gain, slope * offset + shift
        distance = np.linalg.norm(gain * means + offset - closest, axis=1, keepdims=True)
        weight = 1.0 / np.maximum(distance, CLOSE_G)
        if max(np.abs(slope - 1.0).max(), np.abs(shift).max()) < SETTLED_G:
            break
    return gain, offset
