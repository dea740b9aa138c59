"""Statistics of training rows. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitexp.data.spec import Scale


def fit_scale(values: NDArray[np.floating], factor: float = 1.0) -> Scale:
    """Mean and standard deviation of the finite `values`; sd 1 where they do not vary."""
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return Scale(mean=0.0, sd=1.0, factor=factor)
    sd = float(known.std())
    return Scale(mean=float(known.mean()), sd=sd if sd > 1e-12 else 1.0, factor=factor)


def apply_scale(values: NDArray[np.floating], scale: Scale) -> NDArray[np.float64]:
    """`(value - mean) / sd * factor`."""
    scaled = (values.astype(np.float64) - scale.mean) / scale.sd * scale.factor
    return scaled
