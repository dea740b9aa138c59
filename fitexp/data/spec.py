"""What a model, a task or a reader of results may know of its data (`spec.json` of a run)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN = "unknown"  # entry 0 of every vocabulary: values not seen in training


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Affine scaling `scaled = (value - mean) / sd * factor`, fitted on training rows only."""

    mean: float
    sd: float
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Facts of prepared data that cross into a run folder. Plain values only, torch-free.

    kind: "workouts" (later also "exercises", "windows"); source: name of the reader.
    unit: unit of the target ("bpm", "km_h"), the last part of every metric's name.
    steps: T, steps of one window; step: its size in step_unit ("s" or "m").
    inputs: the F columns of `x`, in order; attributes: name -> vocabulary, entry 0 is UNKNOWN.
    horizons: steps ahead that a short regime is scored at, keyed by label ("60s": 6).
    history: "previous" | "train_prior" | "none" (no context in the batches).
    scaling: column -> Scale, for every input, "since_last" and the target.
    start_by_user: y_0 of a whole workout per user in `unit`; UNKNOWN is the population's.
    protocol: what is printed with every number, as label -> words.
    """

    kind: str
    source: str
    simulated: bool
    target: str
    unit: str
    regime: str
    steps: int
    step: float
    step_unit: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]
    history: str
    horizons: Mapping[str, int]
    scaling: Mapping[str, Scale]
    start_by_user: Mapping[str, float]
    protocol: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Spec:
        known = dict(values)
        known["inputs"] = tuple(known["inputs"])
        known["attributes"] = {k: tuple(v) for k, v in known["attributes"].items()}
        known["scaling"] = {k: Scale(**v) for k, v in known["scaling"].items()}
        return cls(**known)


@dataclass(frozen=True, kw_only=True)
class ExerciseSpec:
    """Facts of prepared events (kind "exercises") that cross into a run folder.

    items: N names; an index N in a batch is "nothing" (left of a window). features: F columns of
    `features`, what is known of a past event; profile: P columns of a user's profile;
    item_profile: Q columns of an item's.
    window: T, past events of a batch; answers: "last" (one answer, behind the window: S = 1) or
    "every" (an answer behind every event: S = T).
    folds: L, models that are trained side by side, each without its own part of the users; every
    batch has a fold axis, of length 1 where nothing is left out. fold_names: what each leaves out.
    categories: N, the expert's category of each item, "" where there is none.
    protocol: what is printed with every number, as label -> words.
    """

    kind: str
    source: str
    simulated: bool
    items: tuple[str, ...]
    features: tuple[str, ...]
    profile: tuple[str, ...]
    item_profile: tuple[str, ...]
    window: int
    answers: str
    folds: int
    fold_names: tuple[str, ...]
    categories: tuple[str, ...]
    protocol: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ExerciseSpec:
        tuples = ("items", "features", "profile", "item_profile", "fold_names", "categories")
        return cls(**{**values, **{name: tuple(values[name]) for name in tuples}})
