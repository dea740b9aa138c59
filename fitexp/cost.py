"""What a batch costs `models.exercise_attn`, measured over items, widths and windows.

Appendix B of Mahyari, Pirolli, LeBlanc (IEEE J-BHI 2022) counts O(N) for the input, O(K w) for the
recurrent module and O(K w) in all. It takes every width but K as a constant: "K alone". Its
experiments do not: K goes from 10 to 300, and K_X from 20 to 1000. So "all widths" lets K_X, K_u,
the recurrent states and the inner layer of the decoder grow with K, as they stand to it in mHealth
(2, 1.5, 1 and 2 times). K_e is 3 throughout.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fitexp.data.spec import ExerciseSpec
from fitexp.losses import cross_entropy
from fitexp.models.exercise_attn import ExerciseAttn
from fitexp.report.cost import Measured, break_even, sheets
from fitexp.report.document import Document

BATCH = 16
AT_LEAST_S = 0.01  # a turn repeats quick work for so long
FEATURES, PROFILE, ITEM_PROFILE = 4, 4, 3  # of mHealth, with the demographic profile

GRIDS = {
    "K alone": "cost over N, K, w: K alone, other widths fixed",
    "all widths": "cost over N, K, w: all widths grow with K",
}
QUICK = "   QUICK: fewer sizes and turns"
LEVELS = (44, 176, 704, 2816), (10, 30, 90, 270), (3, 6, 12, 24)  # of N, K, w
QUICK_LEVELS = (44, 352, 2816), (10, 50, 250), (3, 9, 27)
TURNS, QUICK_TURNS = 7, 3
NOTES = (
    "claim: appendix B, O(K w): 2 N should cost as much, 2 K and 2 w twice as much",
    "sizes: mHealth N 44, K 10, w 3, films N 100, K 300, w 3; K alone: the appendix's count, the "
    "other widths as in mHealth (K_X 20, K_u 15, states 10, decoder 20); all widths: K_X 2 K, K_u "
    "1.5 K, states K, decoder 2 K, as the paper's own sizes are chosen; K_e 3",
    "terms: K w is W_1 and W_phi (all widths: K^2 w); N is W_y of (7), which the appendix leaves "
    "out (all widths: N K); the one-hot input is a look-up of rows, where N costs its gradient and "
    "Adam only; K w^2 is W_3 of (5); w is also what a step of the recurrence takes at any size",
    "fit: coefficients >= 0, least relative errors; explained: of the squared relative errors of "
    "one constant; a fifth of the sizes is held out, five times",
)


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Sizes of a network: N, K, w and the widths that may go with K."""

    items: int
    width: int
    window: int
    exercise: int = 20
    user: int = 15
    hidden: int = 10
    output: int = 20
    folds: int = 1


def grown(items: int, width: int, window: int) -> Widths:
    """All widths as they stand to K in mHealth."""
    return Widths(
        items=items,
        width=width,
        window=window,
        exercise=2 * width,
        user=3 * width // 2,
        hidden=width,
        output=2 * width,
    )


def networks(quick: bool) -> Iterator[tuple[str, str, Widths]]:
    """What is measured, as (case, change, sizes): both grids, then the paper's sizes."""
    for N, K, w in itertools.product(*(QUICK_LEVELS if quick else LEVELS)):
        yield "K alone", "", Widths(items=N, width=K, window=w)
        yield "all widths", "", grown(N, K, w)
    films = Widths(items=100, width=300, window=3, exercise=1000, user=1000, hidden=300, output=600)
    study = Widths(items=44, width=10, window=3)
    folds = dataclasses.replace(study, folds=73)
    for case, base in (("mHealth", study), ("mHealth, 73 folds", folds), ("films", films)):
        wider = {name: 2 * getattr(base, name) for name in ("exercise", "user", "hidden", "output")}
        for change, more in (
            ("", {}),
            ("2 N", {"items": 2 * base.items}),
            ("2 K", {"width": 2 * base.width}),
            ("2 w", {"window": 2 * base.window}),
            ("2 K and all", {"width": 2 * base.width, **wider}),
        ):
            yield case, change, dataclasses.replace(base, **more)


def measured(quick: bool) -> list[Measured]:
    """Operations and times of every network of `networks`, each in turn, again and again."""
    sizes = list(networks(quick))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            operations = [_operations(own) for *_, own in sizes]
            gc.freeze()  # what is there by now is not looked through before every turn
            turns = [
                [_times(own) for *_, own in sizes] for _ in range(QUICK_TURNS if quick else TURNS)
            ]
    finally:
        gc.unfreeze()
        torch.set_num_threads(threads)
    medians = [
        [statistics.median(x) for x in zip(*own, strict=True)] for own in zip(*turns, strict=True)
    ]
    return [
        Measured(
            case=case,
            change=change,
            items=own.items,
            width=own.width,
            window=own.window,
            operations=count,
            forward_ms=forward,
            step_ms=step,
        )
        for (case, change, own), count, (forward, step) in zip(
            sizes, operations, medians, strict=True
        )
    ]


def document(quick: bool) -> Document:
    """Measure and fit: sheets and notes for people, the measurements as records."""
    rows = measured(quick)
    found = sheets({case: title + QUICK * quick for case, title in GRIDS.items()}, rows)
    how = (
        f"times: CPU time of one thread, {BATCH} rows, one network (or 73 folds at once), warm, "
        f"median of {QUICK_TURNS if quick else TURNS} interleaved turns; a training step is "
        "forward, cross-entropy, backward and Adam; operations: those of a forward pass in "
        "products of matrices, counted exactly"
    )
    alone = break_even([row for row in rows if row.case == "K alone"])
    return Document(
        sheets=lambda gap: found,
        notes=[("cost", text) for text in (*NOTES, alone, how)],
        records=[dataclasses.asdict(row) for row in rows],
    )


def network(own: Widths) -> ExerciseAttn:
    """The paper's network with the readings of conf/model/exercise_attn.yaml."""
    spec = ExerciseSpec(
        kind="exercises",
        source="made",
        simulated=True,
        items=_names(own.items),
        features=_names(FEATURES),
        profile=_names(PROFILE),
        item_profile=_names(ITEM_PROFILE),
        window=own.window,
        answers="last",
        folds=own.folds,
        fold_names=_names(own.folds),
        categories=("",) * own.items,
        protocol={},
    )
    return ExerciseAttn(
        spec=spec,
        combine="sum",
        rescale=False,
        attention_over="own",
        cell="rnn",
        recurrence="window",
        exercise=own.exercise,
        user=own.user,
        profile=3,
        width=own.width,
        hidden=own.hidden,
        output=own.output,
        bias=True,
        dropout=0.2,
    )


def _names(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def batch_of(own: Widths) -> dict[str, Tensor]:
    """Random events, full windows, and the item that follows each."""
    draw = torch.Generator().manual_seed(0)
    shape = (own.folds, BATCH, own.window)
    return {
        "items": torch.randint(own.items, shape, generator=draw),
        "valid": torch.ones(shape, dtype=torch.bool),
        "features": torch.randn(*shape, FEATURES, generator=draw),
        "profile": torch.randn(own.folds, BATCH, PROFILE, generator=draw),
        "item_profile": torch.randn(own.items, ITEM_PROFILE, generator=draw),
        "target": torch.randint(own.items, shape[:2], generator=draw),
    }


def _operations(own: Widths) -> int:
    """Floating point operations of a forward pass: a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(own).eval()(batch_of(own))
    return int(counter.get_total_flops())


def _times(own: Widths) -> tuple[float, float]:
    """Milliseconds of CPU time of a forward pass and of a training step."""
    model, batch = network(own), batch_of(own)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def forward() -> None:
        with torch.inference_mode():
            model(batch)

    def step() -> None:
        optimizer.zero_grad()
        loss = cross_entropy(model(batch).flatten(0, 2), batch["target"].flatten()).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    model.eval()
    first = _cpu_ms(forward)
    model.train()
    return first, _cpu_ms(step)


def _cpu_ms(work: Callable[[], object]) -> float:
    """Of one `work()`, after two that are not counted."""
    work()
    work()
    gc.collect()
    runs, start, spent = 0, time.process_time(), 0.0
    while spent < AT_LEAST_S:
        work()
        runs, spent = runs + 1, time.process_time() - start
    return spent / runs * 1e3
