"""From a table of events to prepared arrays: every choice of the protocol in one place.

Source: Mahyari, Pirolli, LeBlanc, "Real-Time Learning from an Expert in Deep Recommendation
Systems with Application to mHealth"; departures are said at the keys below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fitexp.data import keys, splits
from fitexp.data.exercises import augment
from fitexp.data.exercises.layout import EVERYONE, TIES, TIMED
from fitexp.data.exercises.table import EventTable
from fitexp.data.prepare import Arrays, Prepared, digest
from fitexp.data.scaling import fit_scale
from fitexp.data.sources import prepared
from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError

Float = NDArray[np.float64]
Int = NDArray[np.int64]
USES = 12.0  # normfreq: uses so far, divided by this (days of the DStress study)
UNSCALED = ("success", "normlag", "normfreq")  # of the size of 1 as they are
OF_THE_ITEM = ("difficulty",)  # another item has another one; what else is known stays as it was
SPLITS = ("leave_one_user_out", "held_out_users", "last_part", "random")
NONE = "none"
AUGMENTED = {  # data.augment -> what is done with the chosen items of a copy
    NONE: "",
    "expert": "replaced by others of the expert's category",
    "rules": "replaced by association rules of the fold's training users",
    "duplicate": "",
}


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
    each fold; a missing value counts as the mean there.
    augment: none; expert, rules: train on further copies of each training user's history as well,
    with `augment_share` of its items replaced by others of the same category, or by what rules of
    `rule_support` and `rule_confidence` set beside them (`augment.by_rules`; mined for each fold);
    duplicate: copies as they are (the paper's program in effect). A replaced event keeps its time,
    success and all else but difficulty, normlag and normfreq. Copies are never tested or validated,
    and neither scaling nor baselines see them.
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
    augment: str
    augment_share: float
    augment_copies: int
    augment_seed: int
    rule_support: float
    rule_confidence: float
    baselines: Mapping[str, Any]
    batch_size: int

    kind: ClassVar[str] = "exercises"
    module: ClassVar[str] = "fitexp.data.exercises.module.ExercisesData"

    def __post_init__(self) -> None:
        keys.check_choices(self, split=SPLITS, answers=("last", "every"), augment=AUGMENTED)
        keys.check_whole(self, repeats=1, batch_size=1, min_past=0, split_seed=0)
        keys.check_whole(self, augment_copies=1, augment_seed=0)
        keys.check_whole(self, null=True, window=1, folds=2)
        keys.check_fractions(self.fractions)
        if self.answers == "every" and self.window is not None:
            raise InputError("data.answers=every reads whole histories: data.window=null with it")
        for key in ("augment_share", "rule_support", "rule_confidence"):
            value = getattr(self, key)
            if not keys.is_number(value) or not 0 < value <= 1:
                raise InputError(f"data.{key}={value}: a share above 0, 1 at most")
        if len(set(self.features)) < len(self.features):
            raise InputError(f"data.features={list(self.features)}: one is named twice")

    def prepare(
        self, spec: ExerciseSpec | None = None, allow: Sequence[str] | None = None
    ) -> Prepared:
        """Read, split and scale, or take that from the cache.

        Raises InputError with `spec`: a ranking is tested on the data of its run only.
        """
        if spec is not None:
            raise InputError(
                "a run of exercises is tested on its own data only: use fitexp evaluate RUN "
                "adapt=NAME or expert=NAME (the same test with help), fitexp recommend RUN "
                "--history FILE (other events), or train a new run on other data"
            )
        return prepared(self, EventTable, lambda table: arrays_of(self, table), None, allow)


def arrays_of(protocol: Exercises, table: EventTable) -> Prepared:
    """The protocol applied to a table; the arrays are those of `EventGather`.

    (E events, U users, N items, L folds, T window, F features, P and Q columns of profiles)
    user, item, step (E,) numbers, step within the user; begin (U+1,); past (E, T) events before,
    the nearest last, -1 none; features (E, F), profile (U, P), NaN missing; *_center, *_scale (L,
    F or P); feature_mean (L, F) what a missing feature counts as, unscaled; item_profile (N, Q)
    scaled; part (L, E) of `splits`; train, val, test (R, 2) fold and event; user_id (U,), item_id
    (N,); ceiling (E, N) where the source knows it.
    Augmented, copied histories are further users with the names of their origins, whose events
    stand behind the E (part and ceiling do not know them) and appear in `train` alone.
    """
    user_ids = table.users["user"].to_numpy(dtype=str)
    item_ids = table.items["item"].to_numpy(dtype=str)
    _check_bare(table.name, (*user_ids.tolist(), *item_ids.tolist()))
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
    features = features_of(protocol, table, user, item, np.arange(len(user)))
    profile = _columns(table.users, _profile(protocol, table))
    item_names = tuple(str(c) for c in table.items if c != "item") if protocol.item_profile else ()
    item_profile = _columns(table.items, item_names)
    trains = part == splits.TRAIN
    center, scale = _by_fold(features, trains, protocol.features)
    trained = np.stack([np.bincount(user, p, len(user_ids)) > 0 for p in trains])
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
    time = table.events["time"].to_numpy(dtype=np.float64)
    apart = np.diff(time)[np.diff(user) == 0]
    counts |= {TIMED: int(np.isfinite(apart).sum()), TIES: int((apart == 0).sum())}
    for number, name in splits.NAMES.items():
        arrays[name] = np.argwhere(part == number)
        counts[f"{name} events"] = len(arrays[name]) // protocol.repeats
    if not len(arrays["train"]) or not len(arrays["test"]):
        raise InputError(
            f"no {'test' if len(arrays['train']) else 'train'} event is left: data.split="
            f"{protocol.split} over {len(user_ids)} users; see data.fractions, data.min_past"
        )
    if protocol.augment != NONE:
        copies = _copies(protocol, table, arrays)
        counts["copied train events"] = len(copies.train) // protocol.repeats
        arrays |= _with_copies(protocol, table, arrays, copies)
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
    arrays["feature_mean"], _ = _by_fold(features, trains, ())  # no data of its own: in no hash
    return Prepared(spec, arrays, report)


def _check_bare(source: str, names: Sequence[str]) -> None:
    """Raise InputError for blanks around a name: files of answers and histories leave them out."""
    for name in names:
        if name != name.strip():
            raise InputError(f"{source}: {name!r} has blanks around it; its reader must strip them")


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


def _copies(protocol: Exercises, table: EventTable, arrays: Arrays) -> augment.Copies:
    return augment.copied(
        arrays["user"],
        arrays["item"],
        arrays["part"],
        _choices(protocol, table, arrays),
        by_fold=protocol.augment == "rules",
        share=protocol.augment_share,
        copies=protocol.augment_copies,
        seed=protocol.augment_seed,
    )


def _choices(
    protocol: Exercises, table: EventTable, arrays: Arrays
) -> Callable[[augment.Bool], augment.Choices]:
    """What may replace each event's item, of those that are known."""
    item = arrays["item"]
    if protocol.augment == "rules":
        session = augment.sessions(arrays["user"], table.events["time"].to_numpy(np.float64))
        return augment.rules_of(
            item, session, support=protocol.rule_support, confidence=protocol.rule_confidence
        )
    if protocol.augment == "duplicate":
        return lambda known: [()] * len(known)
    names = [table.categories.get(name, "") for name in arrays["item_id"].tolist()]
    others = augment.of_same_category(names)
    if not any(others):
        raise InputError(f"data.augment=expert: {table.name} has no two items of one category")
    offered = [others[number] for number in item.tolist()]
    return lambda known: offered


def _with_copies(
    protocol: Exercises, table: EventTable, arrays: Arrays, copies: augment.Copies
) -> dict[str, NDArray[Any]]:
    """The arrays that grow by copied histories."""
    origin, events = copies.origin, len(arrays["user"])
    number = events + np.arange(len(origin))
    ends = np.flatnonzero(np.diff(copies.history, append=-1)) + 1
    owner, past = arrays["user"][origin[ends - 1]], arrays["past"][origin]
    features = features_of(protocol, table, copies.history, copies.item, origin)
    behind = {
        "user": len(arrays["user_id"]) + copies.history,
        "item": copies.item,
        "step": arrays["step"][origin],
        "begin": events + ends,
        "past": np.where(past >= 0, past + (number - origin)[:, None], -1),
        "features": features.astype(np.float32),
        "profile": arrays["profile"][owner],
        "user_id": arrays["user_id"][owner],
        "train": copies.train + np.array([0, events]),
    }
    grown = {name: np.concatenate([arrays[name], values]) for name, values in behind.items()}
    order = np.argsort(grown["train"][:, 0], kind="stable")
    return {**grown, "train": grown["train"][order]}


def features_of(protocol: Exercises, table: EventTable, user: Int, item: Int, origin: Int) -> Float:
    """What is read of each event, (E, F), NaN missing.

    The events are the table's at `origin` (E,), but for the numbers of user and item.
    """
    own = [str(c) for c in table.events if c not in ("user", "item", "time")]
    uses, last = _uses(user, item)
    found: list[Float] = []
    for name in protocol.features:
        if name == "normfreq":
            found.append(uses / USES)
        elif name == "normlag":
            time = table.events["time"].to_numpy(dtype=np.float64)[origin]
            days = time - time[np.maximum(last, 0)]
            found.append(np.where(last >= 0, days / table.day_span, 1.0))
        elif name in own:
            values = table.events[name].to_numpy(dtype=np.float64)
            if name in OF_THE_ITEM:
                found.append(_of_item(values, table, item, origin))
            else:
                found.append(values[origin])
        else:
            known = ", ".join([*own, "normlag", "normfreq"])
            raise InputError(f"data.features: {table.name} has no {name}; choose from {known}")
    return np.stack(found, axis=1) if found else np.zeros((len(user), 0))


def _of_item(values: Float, table: EventTable, item: Int, origin: Int) -> Float:
    """values (E,) at `origin`; where the item is another one, that item's at its first event."""
    names = table.items["item"].to_numpy(dtype=str)
    items = _numbers(table.events["item"].to_numpy(dtype=str), names)
    done, first = np.unique(items, return_index=True)
    of_item = np.full(len(names), np.nan)
    of_item[done] = values[first]
    return np.where(items[origin] == item, values[origin], of_item[item])


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
    words = {
        "data": f"{table.name}{' SIMULATED' if table.simulated else ''}",
        "task": "which item comes next, of all items of the catalogue",
        "reads": f"{reads[protocol.answers]}; {', '.join(protocol.features) or 'no features'}",
        "profiles": f"{own} of the user, {'' if protocol.item_profile else 'no '}profile of items",
        "tested": past,
        "split": split[protocol.split],
        "scaling": "z-scores by the training part of each fold",
    }
    if protocol.augment != NONE:
        times = protocol.augment_copies
        copies = "1 copy" if times == 1 else f"{times} copies"
        done = AUGMENTED[protocol.augment]
        done = f"{protocol.augment_share:.0%} of its items {done}" if done else "nothing replaced"
        words["augmentation"] = f"{copies} of each history that is trained on, {done}"
    return words
