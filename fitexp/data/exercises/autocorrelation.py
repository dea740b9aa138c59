"""How far back items come again: the nominal autocorrelation, and the window length it gives.

acf(k) = P(X_t = X_(t-k)): the share of event pairs k apart, within a user, that are the same item;
pooled over users. Chance is sum_i p_i^2, p_i the share of item i among all events: how often two
events picked at random are the same item. (The autocorrelation of item numbers would depend on
how items happen to be numbered.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitexp.errors import InputError

Array = NDArray[np.float64]

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True, kw_only=True)
class Autocorrelation:
    """Of lags 1 to K: acf, pairs and the bootstrap interval over users (K,); chance, a number.

    A lag that no user's history reaches has no pairs and an acf of NaN; a lag that so few reach
    that some draw of users has no pairs has an interval of NaN.
    """

    acf: Array
    low: Array
    high: Array
    pairs: NDArray[np.int64]
    chance: float


def nominal_acf(
    histories: Sequence[NDArray[np.int64]], *, lags: int, seed: int = 0
) -> Autocorrelation:
    """Nominal autocorrelation of users' items, each (T_u,) in the order they happened.

    The interval holds the middle 95 % of RESAMPLES draws of as many users, with replacement.
    Raises InputError where there is no lag or no event.
    """
    if lags < 1 or not any(len(items) for items in histories):
        raise InputError("the autocorrelation needs at least one lag and one event")
    same = np.array([[np.sum(x[k:] == x[:-k]) for k in range(1, lags + 1)] for x in histories])
    pairs = np.array([[max(len(x) - k, 0) for k in range(1, lags + 1)] for x in histories])
    rng = np.random.default_rng(seed)
    users = len(histories)
    resampled = np.empty((RESAMPLES, lags))
    with np.errstate(invalid="ignore"):  # 0 of 0 pairs is NaN
        acf = same.sum(0) / pairs.sum(0)
        for r in range(RESAMPLES):
            drawn = rng.integers(users, size=users)
            resampled[r] = same[drawn].sum(0) / pairs[drawn].sum(0)
    low, high = np.percentile(resampled, INTERVAL, axis=0)
    _, count = np.unique(np.concatenate(list(histories)), return_counts=True)
    share = count / count.sum()
    return Autocorrelation(
        acf=acf, low=low, high=high, pairs=pairs.sum(0), chance=float(share @ share)
    )


def window_by_acf(found: Autocorrelation) -> int | None:
    """Window length: the lag of the largest acf, the shortest of equals.

    None where that acf is not above chance, or no history reaches any lag: then nothing is to be
    had from looking back.
    """
    acf = np.nan_to_num(found.acf, nan=-1.0)
    best = int(np.argmax(acf))
    return best + 1 if acf[best] > found.chance else None
