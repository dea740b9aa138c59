"""What embeddings tell of users: AUCs with intervals, transfer.json, transfer.csv, two pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

from fitexp.data.splits import Part
from fitexp.outcomes import Outcome
from fitexp.report import transfer_plots as pictures
from fitexp.report.plots import save
from fitexp.report.statistics import Errors, bootstrap, interval
from fitexp.report.table import model_name
from fitexp.report.text import WIDTH, rendered
from fitexp.run import TRANSFERRED, Run, make_folder, write_json, write_text
from fitexp.transfer import (
    FEATURE_MEANS,
    LEVELS,
    NOISE,
    RESTING_HR,
    Level,
    Probe,
    auc,
    chance_sd,
)

Floats = NDArray[np.float64]
JSON, CSV = "transfer.json", "transfer.csv"
METRIC = TRANSFERRED + "{outcome}/auc_pca{level}"
RESAMPLES = 2000
BASELINES = {RESTING_HR: "baseline/resting_hr_alone/", FEATURE_MEANS: "baseline/feature_means/"}
LESS = {RESTING_HR: "less_resting_hr", FEATURE_MEANS: "less_feature_means"}
NOTES = """\
AUC: of the test users' probabilities, %, 50 is chance; 95 %: bootstrap over test users. PCA: share
of variance explained, chosen with C and L1 or L2 by cross-validation over training users (all four
levels: {csv}); parts: its components. Training users: those of training and validation.
Differences are paired, in points."""
NOISE_NOTE = """\
noise: mean ± standard deviation of {draws} draws of {width} random numbers a user: pure luck"""


@dataclass(frozen=True, kw_only=True)
class Study:
    """All probes of one command: probes[outcome, representation], None where it is not asked for;
    noise: outcome -> AUCs of the draws. width: of the run's embeddings; pool: of windows."""

    run: Run
    outcomes: Sequence[Outcome]
    representations: Sequence[str]
    probes: Mapping[tuple[str, str], Probe | None]
    noise: Mapping[str, Floats]
    width: int
    pool: str
    notes: Sequence[str]

    @property
    def simulated(self) -> bool:
        return bool(self.run.spec["simulated"])


def name_of(run: Run) -> str:
    """Its model, and the inputs of one that has a choice: step2heart A/T."""
    inputs = run.config["model"].get("inputs")
    return f"{model_name(run)} {inputs}" if isinstance(inputs, str) else model_name(run)


def resampled_auc(
    scores: Sequence[Floats], high: NDArray[np.bool_], resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """AUC (%) of K scores (M,) of the same test users in the same resamples of users: (R, K), so
    they are paired; NaN in a resample without one of the classes."""
    upper = high[:, None].astype(np.float64)
    rows = [Errors(total=score[:, None], count=upper, form="auc") for score in scores]
    return bootstrap(rows, resamples=resamples, seed=seed)


def figures(study: Study) -> list[dict[str, Any]]:
    """One dict an outcome and representation, in percent; of noise where it was drawn."""
    return [row for one in study.outcomes for row in _of_outcome(study, one)]


def _of_outcome(study: Study, one: Outcome) -> Iterator[dict[str, Any]]:
    high = one.high(one.test)
    found = {
        name: probe
        for name in study.representations
        if (probe := study.probes[one.name, name]) is not None
    }
    levels = [level for probe in found.values() for level in probe.levels]
    samples = resampled_auc([level.score for level in levels], high)
    resampled = {id(level): samples[:, k] for k, level in enumerate(levels)}
    for name in study.representations:
        row: dict[str, Any] = {"outcome": one.name, "representation": name}
        if name not in found:
            yield row | {"reads_outcome": True}
            continue
        probe = found[name]
        row |= _figures(probe.best, resampled[id(probe.best)], high)
        for base, less in LESS.items():
            if base in found and base != name:
                other = found[base].best
                moved = resampled[id(probe.best)] - resampled[id(other)]
                low, top = interval(moved)
                row |= {less: row["auc"] - 100 * auc(other.score, high)}
                row |= {f"{less}_low": low, f"{less}_high": top}
        row["levels"] = [_figures(level, resampled[id(level)], high) for level in probe.levels]
        yield row
    if len(aucs := study.noise.get(one.name, ())):
        p = int(high.sum())
        yield {
            "outcome": one.name,
            "representation": NOISE,
            "auc": 100 * float(np.mean(aucs)),
            "sd": 100 * float(np.std(aucs, ddof=1)),
            "draws": len(aucs),
            "sd_in_theory": 100 * chance_sd(p, len(high) - p),
        }


def _figures(level: Level, samples: Floats, high: NDArray[np.bool_]) -> dict[str, Any]:
    low, top = interval(samples)
    return {
        "pca": 100 * level.level,
        "components": level.components,
        "C": level.C,
        "penalty": level.penalty,
        "cv_auc": 100 * level.cv_auc,
        "auc": 100 * auc(level.score, high),
        "low": low,
        "high": top,
    }


def _percent(level: float) -> str:
    """0.9 -> "90", 0.999 -> "99_9": a level in the name of a column or a metric."""
    return f"{100 * level:g}".replace(".", "_")


def metrics(study: Study) -> dict[str, float]:
    """AUC (%) at every level of PCA of the run's own embeddings and of the baselines, for
    metrics.json; without outcomes that are among a representation's inputs."""
    return {
        prefix + metric: 100 * auc(level.score, one.high(one.test))
        for one, prefix, metric, level in _evaluated(study)
    }


def scores(study: Study, user_id: Sequence[str]) -> pd.DataFrame:
    """What `metrics` are of, for SCORES: user_id, prefix and metric, upper (is the user in the
    upper class?), score (probability of it). user_id: of all U users."""
    names = np.asarray(user_id, object)
    parts = [
        {
            "user_id": names[one.test],
            "prefix": prefix,
            "metric": metric,
            "upper": one.high(one.test),
            "score": level.score,
        }
        for one, prefix, metric, level in _evaluated(study)
    ]
    return pd.concat(map(pd.DataFrame, parts), ignore_index=True)


def _evaluated(study: Study) -> Iterator[tuple[Outcome, str, str, Level]]:
    """Outcome, prefix and name of the metric, and level of all that stands in metrics.json."""
    prefixes = {study.representations[0]: "", **BASELINES}
    for one in study.outcomes:
        for name, prefix in prefixes.items():
            probe = study.probes.get((one.name, name))
            for level in probe.levels if probe is not None else ():
                metric = METRIC.format(outcome=one.name, level=_percent(level.level))
                yield one, prefix, metric, level


def write(folder: Path, study: Study, embeddings: Floats, part: Part) -> str:
    """transfer.json, transfer.csv, transfer_auc.png, transfer_tsne.png -> the text to print.

    embeddings (U, D) of the run and part (U,) of its users: what the map of users shows.
    """
    make_folder(folder)
    found = figures(study)
    counts = [_counts(one) for one in study.outcomes]
    spec = study.run.spec
    write_json(
        folder / JSON,
        {
            "run": str(study.run.path),
            "simulated": study.simulated,
            "protocol": dict(spec["protocol"]),
            "pool": study.pool,
            "width": study.width,
            "levels": list(LEVELS),
            "resamples": RESAMPLES,
            "notes": list(study.notes),
            "outcomes": counts,
            "rows": found,
        },
    )
    write_text(folder / CSV, pd.DataFrame(_by_level(found)).to_csv(index=False))
    title = study.representations[0]
    labels = {one.name: one.label for one in study.outcomes}
    save(pictures.auc_figure(found, labels, title, study.simulated), folder / "transfer_auc.png")
    page = pictures.tsne_figure(embeddings, study.outcomes, part, title, study.simulated)
    if page is not None:
        save(page, folder / "transfer_tsne.png")
    return text(study, found, counts)


def _by_level(found: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows with one of their levels each; differences are of the chosen one."""
    for row in found:
        alone = {key: value for key, value in row.items() if key != "levels"}
        names = {"outcome": row["outcome"], "representation": row["representation"]}
        for level in row.get("levels", [alone]):
            chosen = level.get("pca") == row.get("pca")
            yield {**names, "chosen": chosen, **level, **(alone if chosen else {})}


def _counts(one: Outcome) -> dict[str, Any]:
    return {
        "outcome": one.name,
        "threshold": one.threshold,
        "training": len(one.train),
        "training_high": int(one.high(one.train).sum()),
        "test": len(one.test),
        "test_high": int(one.high(one.test).sum()),
        **{f"{part}_unknown": number for part, number in one.unknown.items()},
    }


def text(
    study: Study, found: Sequence[Mapping[str, Any]], counts: Sequence[Mapping[str, Any]]
) -> str:
    """The tables, at most 100 columns, and what their columns are."""
    labels = {one.name: one.label for one in study.outcomes}
    mark = "   SIMULATED DATA" if study.simulated else ""
    draws = max(map(len, study.noise.values()), default=0)
    noise = [NOISE_NOTE.format(draws=draws, width=study.width)] if draws else []
    return "\n".join(
        [
            f"transfer: outcomes of users by a linear probe of embeddings ({study.pool} of windows)"
            + mark,
            rendered(_auc_table(found, labels)),
            "",
            rendered(_users_table(counts, labels)),
            "",
            NOTES.format(csv=CSV),
            *noise,
            *(textwrap.fill(note, WIDTH) for note in study.notes),
        ]
    )


def _auc_table(found: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("outcome,\n  representation", max_width=25)
    for name in ("PCA %\n(parts)", "AUC\n% [95 %]", "less resting HR\nalone"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("less feature\nmeans", justify="right", no_wrap=True)
    for outcome, label in labels.items():
        table.add_row(label)
        for row in found:
            if row["outcome"] == outcome:
                table.add_row(*_cells(row))
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    name = f"  {row['representation']}"
    if row.get("reads_outcome"):
        return [name, "-", "N/A", "-", "-"]
    if "sd" in row:
        theory = f"in theory ± {row['sd_in_theory']:.1f}"
        return [name, "-", f"{row['auc']:.1f} ± {row['sd']:.1f}", theory, "-"]
    return [
        name,
        f"{row['pca']:g} ({row['components']})",
        "{auc:.1f} [{low:.1f}, {high:.1f}]".format(**row),
        *(
            f"{row[less]:+.1f} [{row[f'{less}_low']:+.1f}, {row[f'{less}_high']:+.1f}]"
            if less in row
            else "-"
            for less in LESS.values()
        ),
    ]


def _users_table(counts: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("users", max_width=20)
    for name in (
        "upper class\nfrom",
        "training\nupper / all",
        "test\nupper / all",
        "without it: train,\nvalidation, test",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in counts:
        table.add_row(
            labels[row["outcome"]],
            f"{row['threshold']:g}",
            f"{row['training_high']:,} / {row['training']:,}",
            f"{row['test_high']:,} / {row['test']:,}",
            "{train_unknown:,}, {val_unknown:,}, {test_unknown:,}".format(**row),
        )
    return table
