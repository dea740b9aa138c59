"""A 90 % band around forecasts, as wide as users that nothing was trained on need it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp.metrics import calibrated

Float = NDArray[np.float64]
SHARE = 0.9
HEADS = ("p_0.05", "p_0.95")  # columns of the heads that the band is made of, where there are any
LEAST = 9  # windows; fewer than SHARE / (1 - SHARE) hold no band of finite width
NAME = f"band{100 * SHARE:g}"  # of its metrics
MARGIN = f"{NAME}_margin_bpm"


def ends(table: pd.DataFrame) -> tuple[Float, Float]:
    """What the band is made of: the heads of 5 and 95 %, else twice the prediction."""
    low, high = HEADS if set(HEADS) <= set(table.columns) else ("prediction", "prediction")
    return table[low].to_numpy(np.float64), table[high].to_numpy(np.float64)


def margin(seen: pd.DataFrame) -> float:
    """bpm by which `ends` move apart so that SHARE of other users' windows are inside.

    seen: predictions of validation users. With heads conformalised quantile regression, below 0
    where the heads are too far apart; without, the quantile of |error| (`metrics.calibrated`).
    Infinite with fewer than LEAST windows. Departures: users differ, their windows do not count
    as independent; and the epoch that was kept was chosen on these users.
    """
    low, high = ends(seen)
    nothing = np.zeros(1)
    _, above = calibrated(
        nothing, nothing, target_cal=seen["target"], low_cal=low, high_cal=high, share=SHARE
    )
    return float(above[0])


def with_band(table: pd.DataFrame, margin_bpm: float) -> pd.DataFrame:
    """The table with columns `low` and `high`, bpm."""
    low, high = ends(table)
    return table.assign(low=low - margin_bpm, high=high + margin_bpm)


def inside(table: pd.DataFrame, low: str, high: str) -> pd.Series[float]:
    """Percent of each user's targets between two columns, ends included, by user."""
    between = 100.0 * table["target"].between(table[low], table[high])
    return between.groupby(table["user_id"]).mean()


def coverage(table: pd.DataFrame, low: str, high: str, name: str) -> dict[str, float]:
    """`NAME`: percent of all targets inside; of the users, `NAME/lowest_user`, `/highest_user`."""
    by_user = inside(table, low, high)
    return {
        name: float(100.0 * table["target"].between(table[low], table[high]).mean()),
        f"{name}/lowest_user": float(by_user.min()),
        f"{name}/highest_user": float(by_user.max()),
    }


def words(found: Mapping[str, float], name: str, label: str) -> str:
    """A coverage of metrics.json as printed."""
    low, high = found[f"{name}/lowest_user"], found[f"{name}/highest_user"]
    return f"{label}: {found[name]:.1f} % of targets inside, by user {low:.0f} to {high:.0f} %"
