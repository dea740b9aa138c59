"""From epochs to windows and the heart rate behind them: every choice of the protocol in one place.

Source: Spathis et al., "Self-supervised transfer learning of physiological representations from
free-living wearable data", CHIL 2021, section Evaluation; departures are said at the keys below.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fitexp.data import keys, splits
from fitexp.data.prepare import Prepared, cache_folder, digest
from fitexp.data.scaling import fit_scale
from fitexp.data.sources import prepared
from fitexp.data.spec import Scale, WindowSpec
from fitexp.data.windows.epochs import Epochs, Recording
from fitexp.data.windows.flat import Growing
from fitexp.errors import InputError

Float = NDArray[np.float64]
Int = NDArray[np.int64]
LOG = "log1p_"  # name of an input: log(1 + series)
SCALINGS = {
    "window": "min-max of each window by itself; tabular by the training users",
    "train": "min-max of the training users' epochs",
    "zscore": "z-scores of the training users' epochs",
}
FROM_HEART_RATE = ("sleeping_hr_bpm",)  # columns of users that are made from the target's signal


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The protocol as config: fields are the keys of `conf/data/_windows.yaml`.

    series: those that are read, null: all of the source; log: log(1 + v) of each beside it, of
    series that are not negative. statics: columns of the users table that networks are given (a
    model says which of them it reads).
    A window is `steps` epochs; its target is the heart rate of the epoch behind it. Windows begin
    every `stride` epochs (null: steps, they do not overlap). Dropped and counted: windows with more
    than `max_absent` of their epochs absent, those whose target is missing, and users who wore the
    device for less than `min_wear_h` hours. Absent values are 0 before they are scaled.
    train_stride, train_max_absent: networks are trained on denser windows of the training users
    (null: as above), with answers=every also where the last target is missing; baselines, scaling
    and embeddings go by the windows above. A source with windows of its own takes no stride.
    answers: "last", the target behind the window; "every", while training, the heart rate behind
    each of its epochs from number `from_step` on. Tested is the last in both.
    split: users are disjoint; folds null: `fractions` of the users (shuffled by split_seed); else
    the users' sorted ids, shuffled by split_seed and cut into `folds` equal parts, of which `fold`
    is tested; validation gets its share of the others, fractions[1] / (fractions[0] +
    fractions[1]).
    scaling: window | train | zscore (`SCALINGS`). Departure: the paper's min-max of each window
    loses the intensity; train and zscore keep it.
    baselines: nodes of models that stand beside every run; they do not touch the arrays.
    """

    path: str | None
    source: Mapping[str, Any]
    series: Sequence[str] | None
    log: bool
    statics: Sequence[str]
    steps: int
    stride: int | None
    train_stride: int | None
    max_absent: float
    train_max_absent: float | None
    min_wear_h: float
    answers: str
    from_step: int
    scaling: str
    fractions: Sequence[float]
    folds: int | None
    fold: int
    split_seed: int
    baselines: Mapping[str, Any]
    batch_size: int

    kind: ClassVar[str] = "windows"
    module: ClassVar[str] = "fitexp.data.windows.module.WindowsData"

    def __post_init__(self) -> None:
        keys.check_choices(self, scaling=SCALINGS, answers=("last", "every"))
        keys.check_whole(self, steps=2, batch_size=1, from_step=0, split_seed=0)
        keys.check_whole(self, null=True, stride=1, train_stride=1, folds=2)
        keys.check_fractions(self.fractions)
        if self.from_step >= self.steps:
            raise InputError(f"data.from_step={self.from_step}: windows have {self.steps} steps")
        if self.folds is not None and not (keys.is_whole(self.fold, 0) and self.fold < self.folds):
            raise InputError(f"data.fold={self.fold}: a whole number below data.folds={self.folds}")
        for key in ("max_absent", "train_max_absent"):
            value = getattr(self, key)
            if value is None and key == "train_max_absent":
                continue
            if not keys.is_number(value) or not 0 <= value < 1:
                raise InputError(f"data.{key}={value}: a share from 0 to below 1")
        if not keys.is_number(self.min_wear_h) or self.min_wear_h < 0:
            raise InputError(f"data.min_wear_h={self.min_wear_h}: hours, 0 up")

    @property
    def denser(self) -> bool:
        """Whether networks are trained on other windows than those that are tested."""
        return self.train_stride is not None or self.train_max_absent is not None

    def prepare(
        self, spec: WindowSpec | None = None, allow: Sequence[str] | None = None
    ) -> Prepared:
        """Read, cut, split and scale, or take that from the cache.

        spec: of a trained run, whose scaling is taken. The series are streamed: what is held at
        once is one user's recording.
        """

        def make(epochs: Epochs) -> Prepared:
            return arrays_of(self, epochs, Path(folder), spec)

        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".windows-", dir=cache_folder()) as folder:
            return prepared(self, Epochs, make, spec, allow)


@dataclass
class _Users:
    """What is collected while users stream by."""

    ids: list[str] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    wear_h: list[float] = field(default_factory=list)
    windows: list[tuple[Int, Float]] = field(default_factory=list)  # first row of his, target
    denser: list[tuple[Int, Float]] = field(default_factory=list)  # of training, were he trained on
    heart_rate: list[NDArray[np.float32]] = field(default_factory=list)
    moments: list[Float] = field(default_factory=list)  # (5, F): count, mean, M2, low, high


def arrays_of(
    protocol: Windows,
    epochs: Epochs,
    folder: Path,
    trained: WindowSpec | None = None,
    *,
    answered: bool = True,
) -> Prepared:
    """The protocol applied to epochs; the arrays are those of `WindowGather`.

    trained: of a run, whose scaling is taken. answered: whether windows need a target; without, a
    window may be a recording's last epochs, and its target is NaN where it is unknown.

    (R rows of all users one after the other, U users, W windows, F' series, C columns of users)
    series (R, F') float32, NaN absent, in `folder`; heart_rate (R,) bpm, NaN unknown; begin (U+1,);
    start_s (U,); user_id (U,); users (U, C); window_first, window_user, target (W,); train, val,
    test: numbers of windows; dense: those that networks are trained on, where they are others than
    train, behind all of these and of no part.
    """
    chosen = _series(protocol, epochs)
    names = tuple(epochs.series[c] for c in chosen)
    inputs = (*names, *(f"{LOG}{name}" for name in names)) if protocol.log else names
    rejected: Counter[str] = Counter()
    with Growing(folder / "series.npy", len(names)) as series:
        users = _read(protocol, epochs, chosen, series, rejected, answered)
    if not users.ids:
        raise InputError(
            f"{epochs.source}: no window of {protocol.steps} steps is left ("
            f"{'; '.join(f'{n} {why}' for why, n in rejected.items() if n) or 'no recording'}): "
            "see data.min_wear_h, data.max_absent, data.steps"
        )
    begin = np.concatenate([[0], np.cumsum(users.rows)]).astype(np.int64)
    ids = np.array(users.ids)
    order = _order(ids)  # of the windows: that of the stream shall not matter
    part = _parts(protocol, order)
    dense = [u for u in order if part[u] == splits.TRAIN] if protocol.denser else []
    pieces = [users.windows[u] for u in order] + [users.denser[u] for u in dense]
    owner = np.concatenate([order, np.array(dense, order.dtype)])
    window_user = np.repeat(owner, [len(first) for first, _ in pieces])
    window_first = np.concatenate([first for first, _ in pieces]) + begin[window_user]
    target = np.concatenate([values for _, values in pieces])
    tested = sum(len(first) for first, _ in pieces[: len(order)])
    columns = tuple(map(str, epochs.users.columns))
    table = _users_table(epochs, users.ids)
    _check_statics(protocol, epochs, columns)
    arrays: dict[str, Any] = {
        "series": series.stored,
        "heart_rate": np.concatenate(users.heart_rate),
        "begin": begin,
        "start_s": np.array(users.start_s),
        "user_id": ids,
        "users": table.astype(np.float32),
        "user_part": part,
        "wear_h": np.array(users.wear_h),
        "window_first": window_first,
        "window_user": window_user,
        "target": target.astype(np.float32),
    }
    counts = {"users": len(ids), "epochs": int(begin[-1]), "windows": tested}
    if protocol.denser:
        arrays["dense"] = np.arange(tested, len(target))
        counts["dense training windows"] = len(target) - tested
    for number, name in splits.NAMES.items():
        arrays[name] = np.flatnonzero(part[window_user[:tested]] == number)
        counts[f"{name} users"] = int((part == number).sum())
        counts[f"{name} windows"] = len(arrays[name])
    hours = tested * protocol.steps * epochs.step_s / 3600
    counts["hours windowed"] = round(hours)
    if trained is None:
        if not len(arrays["train"]) or not len(arrays["test"]):
            raise InputError(
                f"{len(ids)} users leave none to {'train on' if len(arrays['test']) else 'test'}: "
                "see data.fractions, data.folds"
            )
        trained_on = order[part[order] == splits.TRAIN]
        moments = np.stack(users.moments)[trained_on]
        scaling = _scaling(protocol, inputs, moments, columns, table[trained_on])
        scaling["heart_rate"] = fit_scale(target[arrays["train"]])
    else:
        scaling = dict(trained.scaling)
    spec = WindowSpec(
        kind=Windows.kind,
        source=epochs.source,
        simulated=epochs.simulated,
        protocol=_words(protocol, epochs, counts),
        unit="bpm",
        steps=protocol.steps,
        step_s=float(epochs.step_s),
        series=names,
        inputs=inputs,
        columns=columns,
        statics=tuple(protocol.statics),
        answers=protocol.answers,
        from_step=protocol.from_step,
        scaled=protocol.scaling,
        scaling=scaling,
    )
    held = [arrays[name] for name in sorted(arrays) if name != "series"]
    report = {
        "counts": counts,
        "rejected": dict(Counter(dict(epochs.rejected)) + rejected),
        "data_hash": digest(series.digest, *held, spec.to_dict()),
        "split_hash": digest(ids, part),
    }
    return Prepared(spec, arrays, report)


def windows_of(
    recording: Recording,
    absent: NDArray[np.bool_],
    *,
    steps: int,
    stride: int,
    max_absent: float,
    answered: bool = True,
) -> tuple[Int, Float, Counter[str]]:
    """First rows (w,) and targets (w,) of a recording's windows; what was rejected.

    absent (n,): epochs with a missing series; answered as in `arrays_of`.
    """
    T, rows = steps, len(absent)
    if recording.first is not None and recording.target is not None:
        first, target = recording.first, recording.target.astype(np.float64)
    else:
        first = np.arange(0, max(rows - T + (not answered), 0), stride)
        behind = np.append(recording.heart_rate, np.float32(np.nan))
        target = behind[first + T].astype(np.float64)
    missing = np.concatenate([[0], np.cumsum(absent)])
    sparse = missing[first + T] - missing[first] > max_absent * T
    unknown = ~np.isfinite(target) & answered
    rejected = Counter(
        {
            f"windows with more than {100 * max_absent:g} % of their epochs absent": int(
                sparse.sum()
            ),
            "windows with no heart rate behind them": int((unknown & ~sparse).sum()),
        }
    )
    kept = ~sparse & ~unknown
    return first[kept].astype(np.int64), target[kept], rejected


def _read(
    protocol: Windows,
    epochs: Epochs,
    chosen: Sequence[int],
    series: Growing,
    rejected: Counter[str],
    answered: bool,
) -> _Users:
    found, T, stride = _Users(), protocol.steps, protocol.stride or protocol.steps
    sparse = protocol.train_max_absent
    own = partial(
        windows_of, steps=T, stride=stride, max_absent=protocol.max_absent, answered=answered
    )
    denser = partial(
        windows_of,
        steps=T,
        stride=protocol.train_stride or stride,
        max_absent=protocol.max_absent if sparse is None else sparse,
        answered=answered and protocol.answers == "last",
    )
    known: set[str] = set()
    for recording in epochs.recordings():
        _check_recording(recording, epochs, protocol, known)
        values = recording.series[:, list(chosen)]
        absent = np.asarray(np.isnan(values).any(axis=1))
        worn = float((~absent).sum() * epochs.step_s / 3600)
        if worn < protocol.min_wear_h:
            rejected[f"users with less than {protocol.min_wear_h:g} h of wear"] += 1
            continue
        first, target, why = own(recording, absent)
        rejected.update(why)
        if not len(first):
            rejected["users without a window"] += 1
            continue
        if protocol.log and np.nanmin(values) < 0:
            raise InputError(
                f"data.log=true: {epochs.source} has values below 0 (user {recording.user}); "
                "choose data.series without them, or data.log=false"
            )
        series.append(values)
        found.ids.append(recording.user)
        found.start_s.append(recording.start_s)
        found.rows.append(len(values))
        found.wear_h.append(worn)
        found.windows.append((first, target))
        if protocol.denser:
            found.denser.append(denser(recording, absent)[:2])
        found.heart_rate.append(recording.heart_rate.astype(np.float32))
        found.moments.append(_moments(_with_logs(np.nan_to_num(values), protocol.log)))
    return found


def _check_recording(
    recording: Recording, epochs: Epochs, protocol: Windows, known: set[str]
) -> None:
    """What only the stream can show; `known`: the users before. Raises InputError."""
    where = f"{epochs.source}, user {recording.user}"
    width = recording.series.shape[1]
    if width != len(epochs.series):
        names = ", ".join(epochs.series)
        raise InputError(f"{where}: {width} series, but {len(epochs.series)} names ({names})")
    if recording.user in known:
        raise InputError(f"{where}: he comes twice; a source gives each user once")
    known.add(recording.user)
    if np.isinf(recording.series).any():
        raise InputError(f"{where}: infinite values; a source gives NaN for what is absent")
    if recording.first is not None and len(recording.first):
        own = len(recording.series) - int(recording.first.max())
        if own != protocol.steps:
            raise InputError(
                f"{where}: the source's own windows have {own} epochs: give data.steps={own}, "
                f"not {protocol.steps}"
            )
        for key in ("stride", "train_stride"):
            if getattr(protocol, key) is not None:
                raise InputError(
                    f"data.{key}={getattr(protocol, key)}: {epochs.source} has windows of its own, "
                    f"no others can be cut; give data.{key}=null"
                )


def _with_logs(values: NDArray[Any], log: bool) -> NDArray[Any]:
    return np.concatenate([values, np.log1p(values)], axis=-1) if log else values


def _series(protocol: Windows, epochs: Epochs) -> list[int]:
    if protocol.series is None:
        return list(range(len(epochs.series)))
    for name in protocol.series:
        if name not in epochs.series:
            raise InputError(
                f"data.series: {epochs.source} has no {name}, but {', '.join(epochs.series)}"
            )
    if len(set(protocol.series)) < len(protocol.series) or not protocol.series:
        raise InputError(f"data.series={list(protocol.series)}: names, each once, or null")
    return [epochs.series.index(name) for name in protocol.series]


def _check_statics(protocol: Windows, epochs: Epochs, columns: Sequence[str]) -> None:
    for name in protocol.statics:
        if name not in columns:
            known = ", ".join(columns) or "no table of users"
            raise InputError(f"data.statics: {epochs.source} has no {name} of its users ({known})")


def _users_table(epochs: Epochs, ids: Sequence[str]) -> Float:
    """(U, C); users without a row: NaN."""
    found: Float = epochs.users.reindex(list(ids)).to_numpy(dtype=np.float64)
    return found


def _order(ids: NDArray[np.str_]) -> Int:
    """(U,) numbers of the users, sorted by their ids."""
    return np.array(sorted(range(len(ids)), key=lambda u: _sortable(str(ids[u]))))


def _parts(protocol: Windows, ids: Int) -> splits.Part:
    """(U,) part of each user; ids (U,): their numbers, sorted by their ids."""
    order = np.random.default_rng(protocol.split_seed).permutation(ids)
    part = np.full(len(ids), splits.TRAIN, np.int8)
    train_share, val_share, _ = protocol.fractions
    if protocol.folds is None:
        train, val, _ = splits.shares(len(ids), protocol.fractions)
        part[order[train : train + val]] = splits.VAL
        part[order[train + val :]] = splits.TEST
        return part
    if len(ids) < protocol.folds:
        raise InputError(f"data.folds={protocol.folds}: there are {len(ids)} users")
    tested = np.array_split(order, protocol.folds)[protocol.fold]
    others = order[~np.isin(order, tested)]
    share = val_share / (train_share + val_share) if val_share else 0.0
    part[tested] = splits.TEST
    part[others[: round(share * len(others))]] = splits.VAL
    return part


def _sortable(name: str) -> tuple[int, int, str]:
    return (0, int(name), "") if name.isascii() and name.isdigit() else (1, 0, name)


def _moments(values: NDArray[Any]) -> Float:
    """Count, mean, sum of squared deviations, lowest, highest of each column: (5, F)."""
    x = values.astype(np.float64)
    mean = x.mean(axis=0)
    return np.stack(
        [np.full(len(mean), len(x)), mean, ((x - mean) ** 2).sum(axis=0), x.min(0), x.max(0)]
    )


def _scaling(
    protocol: Windows,
    inputs: Sequence[str],
    moments: Float,
    columns: Sequence[str],
    table: Float,
) -> dict[str, Scale]:
    """Of each input over all epochs of the training users, of each static over these users.

    moments (n, 5, F) as `_moments` gives them, table (n, C): of the n training users.
    """
    count, mean, deviations, low, high = moments.transpose(1, 0, 2)
    total = count.sum(axis=0)
    pooled = (count * mean).sum(axis=0) / total
    variance = (deviations.sum(axis=0) + (count * (mean - pooled) ** 2).sum(axis=0)) / total
    low, high, sd = low.min(axis=0), high.max(axis=0), np.sqrt(variance)
    ranged = protocol.scaling != "zscore"
    found = {
        name: _scale(low[i], high[i] - low[i]) if ranged else _scale(pooled[i], sd[i])
        for i, name in enumerate(inputs)
    }
    for name in protocol.statics:
        values = table[:, list(columns).index(name)]
        known = values[np.isfinite(values)]
        if not len(known):
            raise InputError(f"data.statics: no training user has {name}")
        own = (known.min(), np.ptp(known)) if ranged else (known.mean(), known.std())
        found[name] = _scale(*own)
    return found


def _scale(center: float, spread: float) -> Scale:
    return Scale(mean=float(center), sd=float(spread) if spread > 1e-12 else 1.0)


def _words(protocol: Windows, epochs: Epochs, counts: Mapping[str, int]) -> dict[str, str]:
    mark = " SIMULATED" if epochs.simulated else ""
    stride = protocol.stride or protocol.steps
    apart = "disjoint" if stride >= protocol.steps else f"every {stride} steps"
    trained = ""
    if protocol.denser:
        sparse = protocol.train_max_absent
        share = protocol.max_absent if sparse is None else sparse
        trained = (
            f"; networks train on windows every {protocol.train_stride or stride} steps, at most "
            f"{100 * share:g} % absent"
        )
    reads = ", ".join(protocol.series or epochs.series) + ("; their logs" if protocol.log else "")
    derived = [name for name in protocol.statics if name in FROM_HEART_RATE]
    statics = ", ".join(protocol.statics) or "none"
    if derived:
        statics += f" ({', '.join(derived)}: derived from the target signal)"
    if protocol.folds is None:
        split = f"users disjoint, {' / '.join(f'{s:.3g}' for s in protocol.fractions)}"
    else:
        split = f"users disjoint, fold {protocol.fold} of {protocol.folds}"
    parts = "/".join(str(counts[f"{name} users"]) for name in splits.NAMES.values())
    return {
        "data": f"{epochs.source}{mark}",
        **epochs.notes,
        "target": f"heart rate {epochs.step_s:g} s after the last epoch of a window",
        "windows": f"{protocol.steps} x {epochs.step_s:g} s, {apart}; at most "
        f"{100 * protocol.max_absent:g} % absent, absent is 0; wear {protocol.min_wear_h:g} h up"
        f"{trained}",
        "series": reads,
        "statics": f"offered: {statics}",
        "scaling": SCALINGS[protocol.scaling],
        "split": f"{split}, seed {protocol.split_seed}: {parts} users train/val/test",
    }
