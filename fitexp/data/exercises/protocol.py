"""From a table of events to prepared arrays: every choice of the protocol in one place.

Source: Mahyari, Pirolli, LeBlanc, "Real-Time Learning from an Expert in Deep Recommendation
Systems with Application to mHealth"; departures are said at the keys below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fitexp.data import splits
from fitexp.data.exercises.table import EventTable
from fitexp.data.prepare import Prepared, digest
from fitexp.data.scaling import fit_scale
from fitexp.data.sources import prepared
from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError

Float = NDArray[np.float64]
Int = NDArray[np.int64]
EVERYONE = "everyone"  # the fold that leaves nobody out, which answers people
USES = 12.0  # normfreq: uses so far, divided by this (days of the DStress study)
UNSCALED = ("success", "normlag", "normfreq")  # of the size of 1 as they are
SPLITS = ("leave_one_user_out", "held_out_users", "last_part", "random")
NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Exercises:
    """The protocol as config: fields are the keys of `conf/data/_exercises.yaml`.

    window: past events a model reads, null: all of them. answers: "last", the event behind the
    window; "every", in one pass over a user's whole history the event behind each (window null).
    min_past: events with fewer past ones are read, but neither trained on nor tested (DStress: 3,
    full windows; MovieLens: 0, one left-padded window a rating).
    features: what is read of a past event: columns of the table, and normlag (days since the
    user's last use of that item / the table's day_span, 1 where it was the first) and normfreq
    (uses of it before / 12). profile: a profile of the table, or none; item_profile: of the items.
    split: leave_one_user_out: `folds` parts of the users (null: a user each), each tested by a
    model that was trained on the others, `repeats` times from other weights, and one more model
    trained on everyone, all as one stacked model. held_out_users: fractions are of users;
    last_part: of each user's events by order; random: of all events. Windows of a random split
    overlap those of training: the baseline `same_profile` shows what that is worth.
    Features (but success, normlag and normfreq) and profiles are z-scores by the training part of
    each fold; missing values are 0 then.
    baselines: nodes of models that stand beside every run; they do not touch the arrays.
    """

    path: str | None
    source: Mapping[str, Any]
    window: int | None
    answers: str
    min_past: int
    features: Sequence[str]
    profile: str
    item_profile: bool
    split: str
    fractions: Sequence[float]
    folds: int | None
    repeats: int
    split_seed: int
    baselines: Mapping[str, Any]
    batch_size: int

    kind: ClassVar[str] = "exercises"
    module: ClassVar[str] = "fitexp.data.exercises.module.ExercisesData"

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise InputError(f"data.split={self.split}: choose one of {', '.join(SPLITS)}")
        if self.answers not in ("last", "every"):
            raise InputError(f"data.answers={self.answers}: it is last or every")
        if self.answers == "every" and self.window is not None:
            raise InputError("data.answers=every reads whole histories: data.window=null with it")
        for key, low in (("repeats", 1), ("batch_size", 1), ("min_past", 0), ("split_seed", 0)):
            if not _whole(getattr(self, key), low):
                raise InputError(
                    f"data.{key}={getattr(self, key)}: it takes a whole number, {low} up"
                )
        for key, low in (("window", 1), ("folds", 2)):
            value = getattr(self, key)
            if value is not None and not _whole(value, low):
                raise InputError(f"data.{key}={value}: a whole number, {low} up, or null")
        if len(set(self.features)) < len(self.features):
            raise InputError(f"data.features={list(self.features)}: one is named twice")
        shares = list(self.fractions)
        number = all(isinstance(f, int | float) and not isinstance(f, bool) for f in shares)
        if len(shares) != 3 or not number or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise InputError("data.fractions: three shares (train, val, test) that add up to 1")

    def prepare(
        self, spec: ExerciseSpec | None = None, allow: Sequence[str] | None = None
    ) -> Prepared:
        """Read, split and scale, or take that from the cache.

        Raises InputError with `spec`: a ranking is tested on the data of its run only.
        """
        if spec is not None:
            raise InputError("a model of exercises is tested on its run's own data only")
        return prepared(self, EventTable, lambda table: arrays_of(self, table), None, allow)


def arrays_of(protocol: Exercises, table: EventTable) -> Prepared:
    """The protocol applied to a table; the arrays are those of `EventGather`.

    (E events, U users, N items, L folds, T window, F features, P and Q columns of profiles)
    user, item, step (E,) numbers, step within the user; begin (U+1,); past (E, T) events before,
    the nearest last, -1 none; features (E, F), profile (U, P), NaN missing; *_center, *_scale (L,
    F or P); item_profile (N, Q) scaled; part (L, E) of `splits`; train, val, test (R, 2) fold and
    event; user_id (U,), item_id (N,); ceiling (E, N) where the source knows it.
    """
    user_ids = table.users["user"].to_numpy(dtype=str)
    item_ids = table.items["item"].to_numpy(dtype=str)
    user = _numbers(table.events["user"].to_numpy(dtype=str), user_ids)
    item = _numbers(table.events["item"].to_numpy(dtype=str), item_ids)
    if not len(user):
        raise InputError(f"{table.name}: no event is left (data.path)")
    begin = np.searchsorted(user, np.arange(len(user_ids) + 1))
    step = np.arange(len(user)) - begin[user]
    longest = int(step.max()) + 1
    window = longest if protocol.window is None else protocol.window
    part, fold_names = _parts(protocol, user, step, user_ids)
    part[:, step < protocol.min_past] = splits.OUT
    features = _features(protocol, table, user, item)
    profile = _columns(table.users, _profile(protocol, table))
    item_names = tuple(str(c) for c in table.items if c != "item") if protocol.item_profile else ()
    item_profile = _columns(table.items, item_names)
    center, scale = _by_fold(features, part == splits.TRAIN, protocol.features)
    trained = np.stack([np.bincount(user, p == splits.TRAIN, len(user_ids)) > 0 for p in part])
    profile_center, profile_scale = _by_fold(profile, trained, ())
    everything = np.ones((1, len(item_ids)), bool)
    item_center, item_scale = _by_fold(item_profile, everything, ())
    past = step[:, None] - np.arange(window, 0, -1)
    arrays: dict[str, NDArray[Any]] = {
        "user": user,
        "item": item,
        "step": step,
        "begin": begin,
        "past": np.where(past >= 0, begin[user][:, None] + past, -1),
        "features": features.astype(np.float32),
        "feature_center": center,
        "feature_scale": scale,
        "profile": profile.astype(np.float32),
        "profile_center": profile_center,
        "profile_scale": profile_scale,
        "item_profile": np.nan_to_num((item_profile - item_center) / item_scale).astype("f4"),
        "part": part,
        "user_id": user_ids,
        "item_id": item_ids,
    }
    if table.ceiling is not None:
        arrays["ceiling"] = table.ceiling
    counts = {"events": len(user), "users": len(user_ids), "items": len(item_ids)}
    for number, name in splits.NAMES.items():
        arrays[name] = np.argwhere(part == number)
        counts[f"{name} events"] = len(arrays[name]) // protocol.repeats
    if not len(arrays["train"]) or not len(arrays["test"]):
        raise InputError(
            f"no {'test' if len(arrays['train']) else 'train'} event is left: data.split="
            f"{protocol.split} over {len(user_ids)} users; see data.fractions, data.min_past"
        )
    spec = ExerciseSpec(
        kind=Exercises.kind,
        source=table.name,
        simulated=table.simulated,
        items=tuple(item_ids.tolist()),
        features=tuple(protocol.features),
        profile=_profile(protocol, table),
        item_profile=item_names,
        window=window,
        answers=protocol.answers,
        folds=len(part),
        fold_names=fold_names,
        categories=tuple(table.categories.get(name, "") for name in item_ids.tolist()),
        protocol=_words(protocol, table, window, len(fold_names)),
    )
    report = {
        "counts": counts,
        "rejected": dict(Counter(table.rejected)),
        "data_hash": digest(*(arrays[name] for name in sorted(arrays)), spec.to_dict()),
        "split_hash": digest(user_ids, part),
    }
    return Prepared(spec, arrays, report)


def _whole(value: object, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _numbers(values: NDArray[np.str_], names: NDArray[np.str_]) -> Int:
    number = {name: i for i, name in enumerate(names.tolist())}
    return np.array([number[value] for value in values.tolist()], dtype=np.int64)


def _profile(protocol: Exercises, table: EventTable) -> tuple[str, ...]:
    if protocol.profile == NONE:
        return ()
    if protocol.profile not in table.profiles:
        known = ", ".join([*table.profiles, NONE])
        raise InputError(f"data.profile={protocol.profile}: {table.name} has {known}")
    return tuple(table.profiles[protocol.profile])


def _columns(frame: Any, names: Sequence[str]) -> Float:
    found: Float = frame[list(names)].to_numpy(dtype=np.float64)
    return found


def _features(protocol: Exercises, table: EventTable, user: Int, item: Int) -> Float:
    """(E, F), NaN missing."""
    own = [str(c) for c in table.events if c not in ("user", "item", "time")]
    uses, last = _uses(user, item)
    found: list[Float] = []
    for name in protocol.features:
        if name == "normfreq":
            found.append(uses / USES)
        elif name == "normlag":
            time = table.events["time"].to_numpy(dtype=np.float64)
            days = time - time[np.maximum(last, 0)]
            found.append(np.where(last >= 0, days / table.day_span, 1.0))
        elif name in own:
            found.append(table.events[name].to_numpy(dtype=np.float64))
        else:
            known = ", ".join([*own, "normlag", "normfreq"])
            raise InputError(f"data.features: {table.name} has no {name}; choose from {known}")
    return np.stack(found, axis=1) if found else np.zeros((len(user), 0))


def _uses(user: Int, item: Int) -> tuple[Float, Int]:
    """Of each event: how often the user had used its item before; the last such event or -1."""
    seen: dict[tuple[int, int], tuple[int, int]] = {}
    uses, last = np.zeros(len(user)), np.full(len(user), -1)
    for event, key in enumerate(zip(user.tolist(), item.tolist(), strict=True)):
        uses[event], last[event] = seen.get(key, (0, -1))
        seen[key] = (int(uses[event]) + 1, event)
    return uses, last


def _parts(
    protocol: Exercises, user: Int, step: Int, user_ids: NDArray[np.str_]
) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """(L, E) part of each event in each fold, and what each fold leaves out."""
    users = len(user_ids)
    if protocol.split == "leave_one_user_out":
        folds = users if protocol.folds is None else protocol.folds
        if not 2 <= folds <= users:
            raise InputError(f"data.folds={folds}: 2 to {users}, the number of users")
        order = np.random.default_rng([protocol.split_seed, 0]).permutation(users)
        group = np.arange(users) if folds == users else np.empty(users, np.int64)
        if folds < users:
            group[order] = np.arange(users) % folds
        left_out = np.arange(folds)[:, None] == group[user]
        part = np.where(left_out, splits.TEST, splits.TRAIN)
        part = np.concatenate([part, np.full((1, len(user)), splits.TRAIN)])
        names = [", ".join(user_ids[group == fold]) for fold in range(folds)]
        part = np.tile(part, (protocol.repeats, 1))
        return part.astype(np.int8), (*names, EVERYONE) * protocol.repeats
    if protocol.repeats > 1:
        raise InputError("data.repeats is for data.split=leave_one_user_out; else seed=0,1,2 -m")
    if protocol.split == "random":
        part = splits.at_random(len(user), protocol.fractions, protocol.split_seed)
    elif protocol.split == "held_out_users":
        part = splits.at_random(users, protocol.fractions, protocol.split_seed)[user]
    else:
        part = splits.by_time(user, step, protocol.fractions)
    return part[None].astype(np.int8), ("",)


def _by_fold(values: Float, rows: NDArray[np.bool_], names: Sequence[str]) -> tuple[Any, Any]:
    """Mean and standard deviation (L, F) of each fold's `rows` (L, n) of values (n, F)."""
    center = np.zeros((len(rows), values.shape[1]), np.float32)
    scale = np.ones_like(center)
    for fold, own in enumerate(rows):
        for column in range(values.shape[1]):
            if names and names[column] in UNSCALED:
                continue
            found = fit_scale(values[own, column])
            center[fold, column], scale[fold, column] = found.mean, found.sd
    return center, scale


def _words(protocol: Exercises, table: EventTable, window: int, folds: int) -> dict[str, str]:
    """What is printed with every number."""
    shares = "/".join(f"{f:.0%}" for f in protocol.fractions)
    part = f"{folds // protocol.repeats - 1} folds" if protocol.folds else "each user left out once"
    split = {
        "leave_one_user_out": f"leave one user out: {part}, {protocol.repeats} repeats",
        "held_out_users": f"held-out users, {shares}",
        "last_part": f"last events of each user, {shares}",
        "random": f"random events, {shares}: their windows overlap those of training",
    }
    reads = {
        "last": f"{window} past events",
        "every": f"the whole history (at most {window} events)",
    }
    past = f"events with {protocol.min_past} or more before them" if protocol.min_past else "all"
    own = f"{protocol.profile} profile" if protocol.profile != NONE else "no profile"
    return {
        "data": f"{table.name}{' SIMULATED' if table.simulated else ''}",
        "task": "which item comes next, of all items of the catalogue",
        "reads": f"{reads[protocol.answers]}; {', '.join(protocol.features) or 'no features'}",
        "profiles": f"{own} of the user, {'' if protocol.item_profile else 'no '}profile of items",
        "tested": past,
        "split": split[protocol.split],
        "scaling": "z-scores by the training part of each fold",
    }
