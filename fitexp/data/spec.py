"""What a model, a task or a reader of results may know of its data (`spec.json` of a run)."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

S = TypeVar("S", bound="Spec")
NOT_READ = "not read"  # label of what a model leaves of that which its data offer
UNKNOWN = "unknown"  # entry 0 of every vocabulary: values not seen in training


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Affine scaling `scaled = (value - mean) / sd * factor`, fitted on training rows only."""

    mean: float
    sd: float
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Spec(ABC):
    """Facts of prepared data of any kind that cross into a run folder. Plain values, torch-free.

    kind: "workouts", "exercises" or "windows"; source: name of the reader; simulated: made by a
    program.
    protocol: what is printed with every number, as label -> words.
    """

    kind: str
    source: str
    simulated: bool
    protocol: Mapping[str, str]

    @property
    @abstractmethod
    def fixed(self) -> Mapping[str, object]:
        """What other data must share with it to be given to a model of it."""

    @property
    @abstractmethod
    def val_figures(self) -> tuple[str, ...]:
        """Figures that validation logs; the first is shown after every epoch."""

    @property
    @abstractmethod
    def val_label(self) -> str:
        """The first of them in words, with its unit."""

    @property
    @abstractmethod
    def test_figures(self) -> tuple[str, ...]:
        """Figures of the test that runs are compared by."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls: type[S], values: Mapping[str, Any]) -> S:
        """The facts that `to_dict` gave. ValueError: of a kind that is not known, or another's."""
        kinds = [kind for kind, found in KINDS.items() if issubclass(found, cls)]
        if values["kind"] not in kinds:
            raise ValueError(f"kind is {values['kind']!r}, not {' or '.join(kinds)}")
        found = KINDS[values["kind"]]._of(dict(values))
        assert isinstance(found, cls)
        return found

    @classmethod
    @abstractmethod
    def _of(cls, values: dict[str, Any]) -> Spec:
        """The same, of a copy whose lists may be changed."""


@dataclass(frozen=True, kw_only=True)
class WorkoutSpec(Spec):
    """Facts of prepared workouts.

    unit: unit of the target ("bpm", "km_h"), the last part of every metric's name.
    steps: T, steps of one window; step: its size in step_unit ("s" or "m").
    inputs: the F columns of `x`, in order; attributes: name -> vocabulary, entry 0 is UNKNOWN.
    horizons: steps ahead that a short regime is scored at, keyed by label ("60s": 6).
    history: "previous" | "train_prior" | "none" (no context in the batches).
    scaling: column -> Scale, for every input, "since_last" and the target.
    start_by_user: y_0 of a whole workout per user in `unit`; UNKNOWN is the population's.
    """

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

    @property
    def fixed(self) -> Mapping[str, object]:
        names = ("target", "unit", "regime", "steps", "step", "step_unit", "inputs")
        context = "none" if self.history == "none" else "of an earlier workout"
        return {**{name: getattr(self, name) for name in names}, "context": context}

    @property
    def val_figures(self) -> tuple[str, ...]:
        return (f"val/mae_{self.unit}", f"val/rmse_{self.unit}")

    @property
    def val_label(self) -> str:
        name = self.target.replace("derived_", "").replace("_", " ")
        return f"validation MAE, {name} ({self.unit.replace('_', '/')})"

    @property
    def test_figures(self) -> tuple[str, ...]:
        """Short regime: each horizon's MAE as well."""
        ahead = tuple(f"test/at_{label}/mae_{self.unit}" for label in self.horizons)
        return (f"test/mae_{self.unit}", f"test/rmse_{self.unit}", *ahead)

    @classmethod
    def _of(cls, values: dict[str, Any]) -> WorkoutSpec:
        values["inputs"] = tuple(values["inputs"])
        values["attributes"] = {k: tuple(v) for k, v in values["attributes"].items()}
        values["scaling"] = {k: Scale(**v) for k, v in values["scaling"].items()}
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class ExerciseSpec(Spec):
    """Facts of prepared events: exercises, or whatever else is done one after the other.

    items: N names; an index N in a batch is "nothing" (left of a window). features: F columns of
    `features`, what is known of a past event; profile: P columns of a user's profile;
    item_profile: Q columns of an item's.
    window: T, past events of a batch; answers: "last" (one answer, behind the window: S = 1) or
    "every" (an answer behind every event: S = T).
    folds: L, models that are trained side by side, each without its own part of the users; every
    batch has a fold axis, of length 1 where nothing is left out. fold_names: what each leaves out.
    categories: N, the expert's category of each item, "" where there is none.
    """

    items: tuple[str, ...]
    features: tuple[str, ...]
    profile: tuple[str, ...]
    item_profile: tuple[str, ...]
    window: int
    answers: str
    folds: int
    fold_names: tuple[str, ...]
    categories: tuple[str, ...]

    def not_read(
        self,
        *,
        events: int | None = None,
        features: bool = False,
        profile: bool = False,
        item_profile: bool = False,
    ) -> dict[str, str]:
        """Of what the data offer, what a model leaves that reads only what is true here, in words.

        For a model's `described()`: it stands under its figures; {} where it reads all. events: the
        last past events that it reads, None: all.
        """
        past = "past events but the last" + (f" {events}" if events != 1 else "")
        left = {
            past if events else "past events": events is not None and events < self.window,
            "what is known of past events": events != 0 and not features and self.features,
            "profile of the user": not profile and self.profile,
            "profile of items": not item_profile and self.item_profile,
        }
        words = [name for name, offered in left.items() if offered]
        return {NOT_READ: ", ".join(words)} if words else {}

    @property
    def fixed(self) -> Mapping[str, object]:
        names = ("items", "features", "profile", "item_profile", "window", "answers")
        return {name: getattr(self, name) for name in names}

    @property
    def val_figures(self) -> tuple[str, ...]:
        return ("val/top1", "val/mrr")

    @property
    def val_label(self) -> str:
        return "validation top-1 (%)"

    @property
    def test_figures(self) -> tuple[str, ...]:
        return ("test/top1", "test/top5", "test/top10", "test/mrr")

    @classmethod
    def _of(cls, values: dict[str, Any]) -> ExerciseSpec:
        for name in ("items", "features", "profile", "item_profile", "fold_names", "categories"):
            values[name] = tuple(values[name])
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class WindowSpec(Spec):
    """Facts of prepared windows of a wearable's epochs, and the heart rate behind them.

    unit: of the target, "bpm". steps: T epochs of a window, of step_s seconds each.
    series: names of the recorded series; inputs: the F columns of `x`, log1p_NAME a logarithm.
    columns: what is known of users; statics: those of them that networks are given.
    answers: "last" (the heart rate behind the window: S = 1) or "every" (behind each epoch: S = T);
    from_step: the first epoch whose answer counts in training.
    scaled: "window" (min-max of each window by itself), "train" (min-max of the training users'
    epochs) or "zscore"; scaling: input, static, "heart_rate" (of training targets) -> Scale.
    """

    unit: str
    steps: int
    step_s: float
    series: tuple[str, ...]
    inputs: tuple[str, ...]
    columns: tuple[str, ...]
    statics: tuple[str, ...]
    answers: str
    from_step: int
    scaled: str
    scaling: Mapping[str, Scale]

    @property
    def fixed(self) -> Mapping[str, object]:
        names = ("unit", "steps", "step_s", "inputs", "statics", "scaled")
        return {name: getattr(self, name) for name in names}

    @property
    def val_figures(self) -> tuple[str, ...]:
        return (f"val/rmse_{self.unit}", f"val/mae_{self.unit}")

    @property
    def val_label(self) -> str:
        return f"validation RMSE, heart rate ({self.unit})"

    @property
    def test_figures(self) -> tuple[str, ...]:
        return (f"test/rmse_{self.unit}", f"test/mae_{self.unit}")

    @classmethod
    def _of(cls, values: dict[str, Any]) -> WindowSpec:
        for name in ("series", "inputs", "columns", "statics"):
            values[name] = tuple(values[name])
        values["scaling"] = {k: Scale(**v) for k, v in values["scaling"].items()}
        return cls(**values)


KINDS: Mapping[str, type[Spec]] = {
    "workouts": WorkoutSpec,
    "exercises": ExerciseSpec,
    "windows": WindowSpec,
}
