"""Prepared windows of made-up users whose embeddings hold one outcome, without any network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fitexp.data.prepare import Prepared

COLUMNS = ("age_years", "bmi", "sex", "resting_hr_bpm", "vo2max_ml_min_kg")
WIDTH, EACH = 6, 3  # of an embedding; windows a user
STEPS = 8  # rows of a user


def toy(
    users: tuple[int, int, int] = (40, 8, 24), seed: int = 0, statics: tuple[str, ...] = ()
) -> tuple[Prepared, Any]:
    """Prepared and what `worker.embeddings` would give: column 0 holds vo2max, the rest noise."""
    rng = np.random.default_rng(seed)
    U = sum(users)
    fitness = rng.standard_normal(U)
    known = np.stack(
        [
            rng.uniform(35, 65, U),
            rng.normal(26, 4, U),
            rng.integers(0, 2, U),
            62 - 4 * fitness + rng.normal(0, 6, U),
            35 + 6 * fitness,
        ],
        axis=1,
    ).astype(np.float32)
    known[0, 0] = np.nan  # one training user's age is not known
    part = rng.permutation(np.repeat([0, 1, 2], users))
    window_user = np.repeat(np.arange(U), EACH)
    series = rng.standard_normal((U * STEPS, 2)).astype(np.float32)
    series[::7] = np.nan
    arrays: dict[str, Any] = {
        "user_id": np.array([f"u{i:03d}" for i in range(U)]),
        "users": known,
        "series": series,
        "begin": np.arange(U + 1) * STEPS,
        "window_user": window_user,
        "window_first": window_user * STEPS + np.tile(np.arange(EACH), U),
    }
    for number, name in enumerate(("train", "val", "test")):
        arrays[name] = np.flatnonzero(part[window_user] == number)
    spec = SimpleNamespace(
        kind="windows",
        columns=COLUMNS,
        statics=statics,
        simulated=True,
        protocol={"windows": "toy"},
    )
    embedding = rng.standard_normal((U * EACH, WIDTH)).astype(np.float32)
    embedding[:, 0] = 2 * fitness[window_user] + 0.3 * embedding[:, 0]
    rows = np.stack([window_user, arrays["window_first"]], axis=1)
    found = {
        name: {"rows": rows[arrays[name]], "embedding": embedding[arrays[name]]}
        for name in ("train", "val", "test")
    }
    return Prepared(spec, arrays, {"data_hash": "toy"}), found
