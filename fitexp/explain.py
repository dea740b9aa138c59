"""`fitexp explain RUN`: which inputs matter, where the model looks, which people are alike."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from fitexp import targets, worker
from fitexp.actions import Options
from fitexp.data.prepare import Prepared, scored
from fitexp.data.splits import TEST
from fitexp.data.workouts.layout import (
    ahead_rows,
    step_of,
    training_rows,
    whole_rows,
    workout_of,
)
from fitexp.data.workouts.table import WorkoutTable
from fitexp.errors import InputError
from fitexp.run import Run

Float = NDArray[np.float64]
REPEATS = 5  # permutations of each input
LEAST_PEOPLE, MOST_CLUSTERS = 6, 6
ATTRIBUTES = {"user": "athlete", "sport": "sport", "gender": "gender"}
HISTORY, START = "previous workout", "start value"


def command(run: Run, words: Sequence[str], options: Options) -> int:
    """`fitexp explain RUN [-o DIR] [--user ID]`."""
    from fitexp.report import explained as report

    if words:
        raise InputError(f"fitexp explain takes one run: what is '{words[0]}'?")
    allow = (*targets.allowed(), *options.values.get("--allow", ()))
    prepared = worker.own_data(run, allow)
    user = options.last("--user")
    if user is not None:
        prepared = only_user(prepared, user)
    importance = permutation_importance(run, prepared, allow)
    network = worker.network(run, prepared, allow)
    attention = None if network is None else attended(run, prepared, allow)
    people = None if network is None else alike(network, prepared)
    if isinstance(people, str):
        print(f"fitexp: no clusters of athletes: {people}", file=sys.stderr)
        people = None
    known = known_of_people(run, allow) if people and prepared.spec.simulated else None
    if people and known is not None:
        people = replace(people, table=people.table.join(known))
    folder = Path(options.last("-o") or Path("outputs") / "explanations" / run.path.name)
    report.write(folder, run, prepared.spec, importance, attention, people)
    print(report.text(run, prepared.spec, importance, attention, people))
    print(folder)
    return 0


def only_user(prepared: Prepared, user: str) -> Prepared:
    """The same data with one athlete's test windows only."""
    windows = np.asarray(prepared.arrays["test"])
    names = np.asarray(prepared.arrays["user_id"])
    own = windows[names[windows[:, 0]] == user]
    if not len(own):
        near = targets.did_you_mean(targets.closest(user, set(names.tolist())))
        raise InputError(f"--user {user}: no test workout{near}")
    return replace(prepared, arrays={**prepared.arrays, "test": own})


# Which inputs matter


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What an input is worth: the test MAE's rise when it is another workout's. sd: of repeats."""

    name: str
    rise: float
    sd: float


def permutation_importance(
    run: Run, prepared: Prepared, allow: Sequence[str]
) -> tuple[float, list[Importance]]:
    """-> MAE as it is, and every input's rise of it, the largest first (Breiman 2001).

    Each of REPEATS times every test workout borrows one input from another test workout, by a
    seeded permutation: a series step by step (behind the lender's end its last value), an
    attribute, the previous workout, the start value. The short regime is scored at its middle
    horizon. Inputs that go together (speed and distance) share their worth.
    """
    base = _mae(run, prepared, allow)
    found = []
    for name in inputs(prepared):
        rises = [
            _mae(run, borrowed(prepared, name, _lenders(prepared, repeat)), allow) - base
            for repeat in range(REPEATS)
        ]
        found.append(
            Importance(name=name, rise=float(np.mean(rises)), sd=float(np.std(rises, ddof=1)))
        )
    return base, sorted(found, key=lambda one: -one.rise)


def inputs(prepared: Prepared) -> Iterator[str]:
    """Series, attributes that vary, the previous workout and the start value, where there are."""
    spec = prepared.spec
    yield from spec.inputs
    for name, values in spec.attributes.items():
        if len(values) > 2:  # unknown and one more: always the same
            yield name
    if spec.history != "none":
        yield HISTORY
    if spec.regime == "whole":
        yield START


def _lenders(prepared: Prepared, seed: int) -> NDArray[np.int64]:
    """(W,) whose input each workout gets: its own, but for test workouts."""
    lender = np.arange(len(prepared.arrays["part"]))
    tested = np.flatnonzero(np.asarray(prepared.arrays["part"]) == TEST)
    lender[tested] = np.random.default_rng(seed).permutation(tested)
    return lender


def borrowed(prepared: Prepared, name: str, lender: NDArray[np.int64]) -> Prepared:
    """The arrays with one input of every workout taken from its lender."""
    arrays, spec = dict(prepared.arrays), prepared.spec
    if name in spec.inputs:
        offset = np.asarray(arrays["offset"])
        workout = workout_of(arrays)
        row = np.minimum(offset[lender[workout]] + step_of(arrays), offset[lender[workout] + 1] - 1)
        x, column = np.array(arrays["x"]), spec.inputs.index(name)
        x[:, column] = x[row, column]
        arrays["x"] = x
    elif name in spec.attributes:
        attributes, column = np.array(arrays["attributes"]), list(spec.attributes).index(name)
        attributes[:, column] = attributes[lender, column]
        arrays["attributes"] = attributes
    elif name == HISTORY:
        arrays["previous"] = np.asarray(arrays["previous"])[lender]
        arrays["since_last"] = np.asarray(arrays["since_last"])[lender]
    else:
        arrays["start"] = np.asarray(arrays["start"])[lender]
    return replace(prepared, arrays=arrays)


def _mae(run: Run, prepared: Prepared, allow: Sequence[str]) -> float:
    """Test MAE over measured steps, in the short regime at the middle horizon."""
    arrays, spec = prepared.arrays, prepared.spec
    found = worker.predict_run(run, prepared, "test", allow)
    if spec.regime == "whole":
        rows, exists = whole_rows(arrays, found["rows"], spec.steps)
        predicted = found["whole"]
    else:
        label = list(spec.horizons)[len(spec.horizons) // 2]
        rows, _, exists = ahead_rows(arrays, found["rows"], spec.steps, spec.horizons[label])
        predicted = found[label]
    counts = exists & np.asarray(arrays["observed"])[rows]
    error = np.abs(np.asarray(scored(arrays), np.float64)[rows] - predicted)
    return float(error[counts].mean())


# Where the network looks


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Mean attention over test windows. inputs: label -> weight, they add up to 1.

    time: (T,) weight of each step's encoder state, as a multiple of uniform attention.
    """

    inputs: dict[str, float]
    time: Float


def attended(run: Run, prepared: Prepared, allow: Sequence[str]) -> Attention | None:
    """Weights of a network that has `attention(batch)`; None of another one."""
    found = worker.attention_of(run, prepared, "test", allow)
    if found is None:
        return None
    alpha, beta, valid = found
    time = beta.mean(axis=1)  # over decoder steps
    steps = valid.sum(axis=1, keepdims=True)
    relative = np.where(valid, time * steps, np.nan)
    mean_time = np.array(
        [np.nanmean(relative[:, t]) if valid[:, t].any() else np.nan for t in range(valid.shape[1])]
    )
    names = list(prepared.spec.inputs)
    mean = alpha.mean(axis=0)
    weights = {name: float(mean[i]) for i, name in enumerate(names)}
    weights["context and embeddings"] = float(mean[len(names) :].sum())
    return Attention(inputs=weights, time=mean_time)


# Which people are alike


@dataclass(frozen=True, kw_only=True)
class People:
    """Athletes by embedding. table: one row an athlete (cluster, x, y of t-SNE, what they do, and
    what a simulator knows of them).

    silhouettes: number of clusters -> mean silhouette; the largest was taken.
    """

    table: pd.DataFrame
    silhouettes: dict[int, float]


def embeddings_of(network: nn.Module, people: int) -> Float | None:
    """(U, width) rows of the network's table of people without the unknown one."""
    for name, module in network.named_modules():
        of_people = name.rpartition(".")[2] in ("user", "person", "athlete")
        if of_people and isinstance(module, nn.Embedding) and module.num_embeddings == people:
            return module.weight.detach().cpu().numpy()[1:].astype(np.float64)
    return None


def alike(network: nn.Module, prepared: Prepared) -> People | str:
    """k-means on the embeddings of athletes, k by silhouette -> the reason if it cannot be."""
    from sklearn.cluster import KMeans
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_score

    names = prepared.spec.attributes["user"]
    rows = embeddings_of(network, len(names))
    if rows is None:
        return "the network has no embedding of them"
    if len(rows) < LEAST_PEOPLE:
        return f"there are {len(rows)}, fewer than {LEAST_PEOPLE}"
    if np.ptp(rows, axis=0).max() == 0:
        return "their embeddings are equal"
    labels, silhouettes = {}, {}
    for k in range(2, min(MOST_CLUSTERS, len(rows) - 1) + 1):
        labels[k] = KMeans(k, n_init=10, random_state=0).fit_predict(rows)
        silhouettes[k] = float(silhouette_score(rows, labels[k]))
    best = max(silhouettes, key=lambda k: silhouettes[k])
    perplexity = min(30.0, (len(rows) - 1) / 3)
    flat = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(rows)
    table = what_they_do(prepared).reindex(list(names[1:]))
    table.insert(0, "cluster", labels[best] + 1)
    table["x"], table["y"] = flat[:, 0], flat[:, 1]
    return People(table=table, silhouettes=silhouettes)


def known_of_people(run: Run, allow: Sequence[str]) -> pd.DataFrame | None:
    """By athlete, what the run's simulator knows (WorkoutTable.people)."""
    data = run.config["data"]
    table: WorkoutTable = targets.build(data["source"], allow, path=data["path"])
    return table.people


def what_they_do(prepared: Prepared) -> pd.DataFrame:
    """By athlete, of training: workouts, mean of the target, most frequent sport and its share."""
    arrays = prepared.arrays
    rows = training_rows(arrays)
    workout = workout_of(arrays)[rows]
    steps = pd.DataFrame(
        {
            "user": np.asarray(arrays["user_id"])[workout],
            "workout": workout,
            "sport": np.asarray(arrays["sport"])[workout],
            "y": np.asarray(arrays["y"], np.float64)[rows],
        }
    )
    each = steps.drop_duplicates("workout").groupby("user")["sport"]
    out = pd.DataFrame({"workouts": each.size(), "mean": steps.groupby("user")["y"].mean()})
    counts: Any = each.value_counts(normalize=True).groupby("user")
    out["sport"] = [index[1] for index in counts.idxmax()]
    out["share"] = counts.max()
    return out
