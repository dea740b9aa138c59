"""The 80 features of windows: all windows at once against describe() and polyfit, one by one."""

from __future__ import annotations

from typing import Any

from benches._harness import Row, Side, cpu_ms

STEPS, SERIES, WINDOWS = 512, 10, 64
LEAST = 40.0


def made() -> tuple[Any, Any]:
    """Series like 15 s means of acceleration, and the first rows of overlapping windows."""
    import numpy as np

    draw = np.random.default_rng(0)
    series = draw.gamma(0.3, 50, (WINDOWS * 16 + STEPS, SERIES)).astype(np.float32)
    return series, np.arange(WINDOWS) * 16


def one_by_one(series: Any, first: Any) -> Any:
    import numpy as np
    import pandas as pd

    found = []
    for row in first:
        window = pd.DataFrame(series[row : row + STEPS], dtype=np.float64)
        described = window.describe().to_numpy()[1:]
        line = np.polyfit(np.arange(STEPS), window.to_numpy(), 1)[:1]
        found.append(np.concatenate([described, line]).T.ravel())
    return np.array(found)


def sides() -> tuple[Side, Side]:
    from fitexp.data.windows.features import statistics

    series, first = made()
    return cpu_ms(lambda: statistics(series, first, STEPS)), cpu_ms(
        lambda: one_by_one(series, first)
    )


def agree() -> None:
    import numpy as np

    from fitexp.data.windows.features import statistics

    series, first = made()
    found, wanted = statistics(series, first[:4], STEPS), one_by_one(series, first[:4])
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=0)


def rows() -> list[Row]:
    return [
        Row(
            name="window_features",
            unit="ms",
            note=f"8 statistics of {SERIES} series in {WINDOWS} windows of {STEPS} steps, nothing "
            "absent; reference: pandas' describe() and numpy's polyfit of all series, a window at "
            "a time; equal to 1e-10",
            target=LEAST,
            sides=sides,
            agree=agree,
        )
    ]
