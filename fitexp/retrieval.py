"""Does a model know the plan that was followed? Its rank by the heart rate that was measured.

For each test workout the measured heart rate is the target; candidates are the true plan and up to
49 others (fitexp.data.workouts.candidates says which), all predicted for the workout's athlete with
his attributes, start value and history, and ranked by RMSE to the target over the steps that the
shortest of them has: length tells nothing. Steps are counted as the protocol keeps them, so gaps
are left out. Scores equal to 0.0001 bpm are tied; the tied share their mean rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np

from fitexp import metrics, predict, worker
from fitexp.actions import Options
from fitexp.data.prepare import Prepared, scored
from fitexp.data.sequences import Float, Int
from fitexp.data.workouts import candidates as among
from fitexp.errors import InputError
from fitexp.run import METRICS, RECOMMEND, RECOMMENDED, Run, write_json

TESTS_AT_ONCE = 40  # some 2,000 workouts: bounds memory
DIGITS = 4
Score = Callable[[int, Int, float], Float]  # test, candidates, mean target -> (n,), lowest best


@dataclass(frozen=True)
class Tested:
    """A test workout: the candidates' ids, the true one first; its rank by each way of ranking."""

    user: str
    workout: str
    candidates: Sequence[str]
    ranks: Mapping[str, float]

    def figures(self) -> dict[str, dict[str, float]]:
        """Way of ranking -> name of a figure -> value, the run's own way being "".

        random, in expectation: hit@k = min(k, n) / n; MRR = (1 + 1/2 + .. 1/n) / n.
        """
        found = {
            way: {
                "hit_at_1": metrics.hit_at([rank], 1),
                "hit_at_5": metrics.hit_at([rank], 5),
                "mrr": metrics.mrr([rank]),
            }
            for way, rank in self.ranks.items()
        }
        places = np.arange(1, len(self.candidates) + 1)
        found["random"] = {
            "hit_at_1": metrics.hit_at(places, 1),
            "hit_at_5": metrics.hit_at(places, 5),
            "mrr": metrics.mrr(places),
        }
        return found


@dataclass(frozen=True)
class Retrieval:
    """All test workouts that can be ranked; left_out: how many others there are."""

    tests: Sequence[Tested]
    left_out: int

    def figures(self, model: str) -> dict[str, dict[str, float]]:
        """Way of ranking -> name of a figure -> mean over workouts. The model's comes first."""
        each = [one.figures() for one in self.tests]
        return {
            way or model: {name: float(np.mean([one[way][name] for one in each])) for name in names}
            for way, names in each[0].items()
        }

    def metrics(self) -> dict[str, float]:
        """As metrics.json names them."""
        out: dict[str, float] = {}
        for way, figures in self.figures("").items():
            prefix = f"baseline/{way}/" if way else ""
            out |= {f"{prefix}{RECOMMENDED}{name}": value for name, value in figures.items()}
        out[f"count/{RECOMMENDED}workouts"] = len(self.tests)
        out[f"count/{RECOMMENDED}left_out"] = self.left_out
        return out

    def written(self) -> dict[str, Any]:
        """As recommend.json holds it: the figures, and what they are the means of."""
        workouts = [
            {
                "user": one.user,
                "workout": one.workout,
                "candidates": list(one.candidates),
                "rank": one.ranks[""],
                **{f"rank_{way}": rank for way, rank in one.ranks.items() if way},
                "figures": one.figures(),
            }
            for one in self.tests
        ]
        return {"figures": self.metrics(), "workouts": workouts}


def command(run: Run, options: Options, allow: Sequence[str]) -> int:
    """`fitexp recommend RUN --evaluate`: recommend.json, and the figures in metrics.json."""
    from fitexp.report.recommended import evaluation_table
    from fitexp.report.table import model_name

    others = [name for name in options.values if name not in ("--allow", "--evaluate")]
    if others:
        raise InputError(f"fitexp recommend --evaluate takes no {', '.join(others)}")
    found = retrieval(run, allow)
    write_json(run.file(RECOMMEND), found.written())
    write_json(run.file(METRICS), run.metrics | found.metrics())
    print(evaluation_table(found, model_name(run), bool(run.spec["simulated"])))
    print(run.path)
    return 0


def retrieval(run: Run, allow: Sequence[str] | None = None) -> Retrieval:
    """Rank the true plans of the run's test workouts. Raises InputError where there are too few."""
    prepared = worker.own_data(run, allow)
    arrays = prepared.arrays
    draws, left_out = among.drawn(arrays)
    if not draws:
        raise InputError(
            f"{run.path}: no test workout has {among.LEAST} workouts of its sport and length in "
            "the data to choose among"
        )
    ids, users = np.asarray(arrays["workout_id"]), np.asarray(arrays["user_id"])
    ways = baselines(prepared)
    tests = []
    for chunk in _chunks(list(draws.items()), TESTS_AT_ONCE):
        owner = np.repeat([test for test, _ in chunk], [len(own) for _, own in chunk])
        plan = np.concatenate([own for _, own in chunk])
        virtual = among.followed(prepared, owner, plan)
        predicted = predict.series(virtual, worker.predict_run(run, virtual, "test", allow))
        offset = virtual.arrays["offset"][-len(plan) - 1 :]
        lines = iter([predicted[a:b] for a, b in pairwise(offset.tolist())])
        for test, own in chunk:
            target = measured(prepared, test)
            found = list(islice(lines, len(own)))
            common = min(map(len, found))
            if not np.isfinite(target[:common]).any():
                left_out += 1
                continue
            ranks = {"": _rank(errors(target[:common], [line[:common] for line in found]))}
            mean = float(np.nanmean(target[:common]))
            ranks |= {way: _rank(score(test, own, mean)) for way, score in ways.items()}
            tests.append(Tested(str(users[test]), str(ids[test]), ids[own].tolist(), ranks))
    if not tests:
        raise InputError(f"{run.path}: no heart rate was measured in test workouts")
    return Retrieval(tests, left_out)


def measured(prepared: Prepared, workout: int) -> Float:
    """Measured heart rate of a workout's steps; NaN where there is none."""
    arrays = prepared.arrays
    rows = slice(int(arrays["offset"][workout]), int(arrays["offset"][workout + 1]))
    target = np.asarray(scored(arrays)[rows], np.float64)
    return np.where(np.asarray(arrays["observed"])[rows], target, np.nan)


def errors(target: Float, lines: Sequence[Float]) -> Float:
    """RMSE of each line over the measured steps of the target."""
    known = np.isfinite(target)
    apart = np.stack(lines)[:, known] - target[known]
    return np.asarray(np.sqrt((apart**2).mean(axis=1)), np.float64)


def baselines(prepared: Prepared) -> dict[str, Score]:
    """Ways of ranking without a model. `in_training` says what an athlete without training has.

    nearest_duration, nearest_speed: to the mean of the test workout's athlete in that sport in
    training (speed only where the inputs hold one). nearest_user_mean: |mean heart rate of the
    candidate's own athlete in that sport in training - mean of the target over the common steps|.
    """
    arrays = prepared.arrays
    long = among.lengths(arrays)
    usual_length = among.in_training(arrays, long)
    usual_target = among.in_training(arrays, among.mean_targets(arrays))
    ways: dict[str, Score] = {
        "nearest_duration": lambda test, own, mean: np.abs(long[own] - usual_length[test]),
        "nearest_user_mean": lambda test, own, mean: np.abs(usual_target[own] - mean),
    }
    speed = among.mean_speeds(prepared)
    if speed is not None:
        usual_speed = among.in_training(arrays, speed)
        ways["nearest_speed"] = lambda test, own, mean: np.abs(speed[own] - usual_speed[test])
    return ways


def _rank(scores: Float) -> float:
    return metrics.rank_of_first(np.round(scores, DIGITS))


def _chunks(items: list[tuple[int, Int]], size: int) -> Iterator[list[tuple[int, Int]]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
