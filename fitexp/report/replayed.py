"""A replay of active learning for people: figures with intervals, a table, replay.csv, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

from fitexp.active import dirichlet, thresholds
from fitexp.active.replay import HELD_OUT, Replayed, Timelines
from fitexp.active.search import SEARCHED, Tried
from fitexp.data.spec import ExerciseSpec
from fitexp.report import replay_plots as pictures
from fitexp.report.margins import margins_figure
from fitexp.report.plots import save
from fitexp.report.statistics import (
    Errors,
    bootstrap,
    holm,
    interval,
    p_two_sided,
    pooled,
    resampled_weights,
)
from fitexp.report.table import model_name
from fitexp.report.text import rendered
from fitexp.run import Run, make_folder, write_json, write_text

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = Mapping[tuple[str, str, float | None], Replayed]
JSON, CSV, SEARCH = "replay.json", "replay.csv", "replay_search"
AREAS = 1000  # resamples of an area
POINTS = 201  # of a drawn curve
NOTES = """\
all: accuracy of every prediction, made before asking; answered, asked: of those that were not and
were asked about; system: asked ones count as right; gain: of `all` over no learning, paired, with
its 95 % interval over users; AURC: area under the risk-coverage curve, lower is better (%)
update none is selection alone; policy random is learning alone. A question's answer changes that
user's model from his next event on. Items not asked about become past that later windows read, as
in the test, and are never trained on."""


def by_user(values: Floats | Bools, where: Bools, lines: Timelines) -> Errors:
    """Sums and counts (U, 1) of `values` (S, T), in percent, over `where`, by user."""
    users, number = np.unique(lines.user, return_inverse=True)
    total, count = np.zeros((len(users), 1)), np.zeros((len(users), 1))
    np.add.at(total[:, 0], number, 100.0 * np.where(where, values, 0).sum(axis=1))
    np.add.at(count[:, 0], number, where.sum(axis=1))
    return Errors(total=total, count=count, form="mean")


def sums(result: Replayed, first: Replayed, lines: Timelines) -> dict[str, Errors]:
    """What the table shows, by user; `first`: the same timelines without learning."""
    there, asked, hit = result.there, result.asked, result.hit
    return {
        "rate": by_user(asked, there, lines),
        "all": by_user(hit, there, lines),
        "answered": by_user(hit, there & ~asked, lines),
        "asked": by_user(hit, asked, lines),
        "system": by_user(np.maximum(hit, asked), there, lines),
        "gain": by_user(hit - first.hit, there, lines),
    }


def figures(rows: Rows, lines: Timelines) -> list[dict[str, Any]]:
    """One dict a row: policy, update, wanted rate; each figure, in percent, with its interval."""
    first = next(iter(rows.values()))
    parts = [sums(result, first, lines) for result in rows.values()]
    with np.errstate(invalid="ignore"):  # nothing asked, or all
        samples = bootstrap([one for part in parts for one in part.values()])
        found = []
        for place, ((policy, update, rate), part) in enumerate(zip(rows, parts, strict=True)):
            row: dict[str, Any] = {
                "policy": policy,
                "update": update,
                "wanted": None if rate is None else 100 * rate,
            }
            for k, (name, errors) in enumerate(part.items()):
                low, high = interval(samples[:, place * len(part) + k])
                row |= {name: float(pooled(errors)), f"{name}_low": low, f"{name}_high": high}
            found.append(row | _area(rows[policy, update, rate], policy, lines))
    return found


def risk_coverage(result: Replayed, policy: str) -> tuple[Floats, Floats]:
    """Coverage and risk (M,), percent: errors among the most certain windows, of one to all.

    Certain by margin, under the policy `entropy` by entropy.
    """
    _, wrong = _by_certainty(result, policy)
    count = np.arange(1, len(wrong) + 1)
    return 100.0 * count / len(wrong), 100.0 * np.cumsum(wrong) / count


def area(wrong: Floats, weights: Floats) -> Floats:
    """Area under the risk-coverage curve, percent: mean risk over windows, the surest first.

    Shape: wrong (M,), weights (R, M) -> (R,).
    """
    mass = np.cumsum(weights, axis=1)
    risk = np.cumsum(weights * wrong, axis=1) / np.maximum(mass, 1e-300)
    return np.asarray(100.0 * (weights * risk).sum(axis=1) / mass[:, -1])


def _by_certainty(result: Replayed, policy: str) -> tuple[NDArray[np.int64], Floats]:
    """Timeline and error (M,) of every window, the most certain first."""
    certain = result.certainty if policy == "entropy" else result.margin
    line, t = np.nonzero(result.there)
    order = np.argsort(-certain[line, t], kind="stable")
    return line[order], (1 - result.hit)[line[order], t[order]]


def _area(result: Replayed, policy: str, lines: Timelines) -> dict[str, float]:
    line, wrong = _by_certainty(result, policy)
    users, number = np.unique(lines.user, return_inverse=True)
    drawn = resampled_weights(len(users), AREAS, np.random.default_rng(0))
    rows = max(1, 2_000_000 // len(wrong))
    samples = [
        area(wrong, part[:, number[line]])
        for weights in drawn
        for part in np.array_split(weights, -(-len(weights) // rows))
    ]
    low, high = interval(np.concatenate(samples))
    value = float(area(wrong, np.ones((1, len(wrong))))[0])
    return {"aurc": value, "aurc_low": low, "aurc_high": high}


# Files and text


def write(folder: Path, run: Run, spec: ExerciseSpec, lines: Timelines, rows: Rows) -> str:
    """Write replay.json, replay.csv and three pictures -> what is printed."""
    make_folder(folder)
    found = figures(rows, lines)
    first = next(iter(rows.values()))
    law = law_of(first)
    curves = {
        " ".join(map(str, (policy, update, *([] if rate is None else [rate])))): _thinned(
            *risk_coverage(result, policy)
        )
        for (policy, update, rate), result in rows.items()
    }
    write_json(
        folder / JSON,
        {
            "simulated": spec.simulated,
            "protocol": dict(spec.protocol),
            "users": len(np.unique(lines.user)),
            "windows": int(first.there.sum()),
            "dirichlet": law,
            "rows": found,
            "risk_coverage": curves,
        },
    )
    write_text(folder / CSV, pd.DataFrame(found).to_csv(index=False))
    name = model_name(run)
    save(
        pictures.risk_coverage_figure(curves, found, name, spec.simulated),
        folder / "replay_risk_coverage.png",
    )
    save(pictures.rates_figure(found, name, spec.simulated), folder / "replay_rates.png")
    margins = first.margin[first.there]
    levels = sorted({row["wanted"] / 100 for row in found if row["wanted"] is not None})
    shown = {
        f"empirical {100 * level:g} %": thresholds.empirical(margins, level) for level in levels
    }
    for level in levels[-1:]:
        law_z = thresholds.dirichlet_law(law["alpha"], level)
        shown[f"law's {100 * level:g} %"] = law_z
    shown["printed"] = thresholds.PRINTED
    figure = margins_figure(margins, law["alpha"], shown, title=name, simulated=spec.simulated)
    save(figure, folder / "replay_margins.png")
    return text(found, law, spec, len(np.unique(lines.user)), len(margins))


def law_of(first: Replayed) -> dict[str, Any]:
    """alpha of the law fitted to all margins, and the test of its fit."""
    alpha = dirichlet.fit(first.three[first.there])
    fit = thresholds.fit_test(first.margin[first.there], alpha)
    return {"alpha": alpha.tolist(), "ks": fit.statistic, "p": fit.p}


def _thinned(coverage: Floats, risk: Floats) -> dict[str, list[float]]:
    chosen = np.unique(np.linspace(0, len(coverage) - 1, POINTS).round().astype(int))
    return {"coverage": coverage[chosen].tolist(), "risk": risk[chosen].tolist()}


def text(
    found: Sequence[Mapping[str, Any]],
    law: Mapping[str, Any],
    spec: ExerciseSpec,
    users: int,
    windows: int,
) -> str:
    """The table, at most 100 columns, and what its columns are."""
    table = Table(box=None, pad_edge=False)
    for name in ("policy", "update"):
        table.add_column(name, no_wrap=True)
    for name in (
        "wanted\n%",
        "asks\n%",
        "all\n%",
        "answered\n%",
        "asked\n%",
        "system\n%",
        "gain on all\npoints",
        "AURC\n%",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found:
        gain = "{gain:+.1f} [{gain_low:+.1f}, {gain_high:+.1f}]".format(**row)
        table.add_row(
            row["policy"],
            row["update"],
            "-" if row["wanted"] is None else f"{row['wanted']:g}",
            *(_percent(row[name]) for name in ("rate", "all", "answered", "asked", "system")),
            "-" if row["update"] == "none" else gain,
            _percent(row["aurc"]),
        )
    mark = "   SIMULATED DATA" if spec.simulated else ""
    alpha = ", ".join(f"{a:.3g}" for a in law["alpha"])
    lines = [
        f"active learning replayed: {windows:,} windows of {users:,} left-out users{mark}",
        rendered(table),
        "",
        NOTES,
        f"law of margins: Dirichlet {alpha}; does it fit? Kolmogorov-Smirnov D {law['ks']:.3f}, "
        f"p {law['p']:.2g}",
    ]
    if any(row["policy"] in HELD_OUT for row in found):
        lines.append("thresholds: from margins (entropies) of the other left-out users, no labels")
    if any(str(row["update"]).endswith("_history") for row in found):
        lines.append("*_history: no learner from answers, reads all past events of the user")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "-"


# The search


def search_figures(tried: Sequence[Tried], lines: Timelines) -> list[dict[str, Any]]:
    """One dict a rule, policy and rate: gains in points on even users, which chose the setting, and
    on the others; p of the latter by Holm over all rows."""
    even = (lines.user % 2 == 0)[:, None]
    found: list[dict[str, Any]] = []
    for one in tried:
        result, first = one.result, one.first
        row: dict[str, Any] = {
            "policy": one.policy,
            "update": one.update,
            "wanted": None if one.rate is None else 100 * one.rate,
            "settings": len(SEARCHED[one.update]),
            **{f"setting_{name}": value for name, value in one.setting.items()},
            "rate": float(pooled(by_user(result.asked, result.there & ~even, lines))),
            "gain_even": 100 * float((result.hit - first.hit)[result.there & even].mean()),
        }
        others = Timelines(
            user=lines.user[~even[:, 0]],
            fold=lines.fold[~even[:, 0]],
            event=lines.event[~even[:, 0]],
            item=lines.item,
        )
        there = result.there[~even[:, 0]]
        compared = {"gain": first, "beyond_control": one.control}
        for name, other in compared.items():
            if other is None:
                continue
            moved = by_user((result.hit - other.hit)[~even[:, 0]], there, others)
            samples = bootstrap([moved])[:, 0]
            low, high = interval(samples)
            row |= {name: float(pooled(moved)), f"{name}_low": low, f"{name}_high": high}
            row[f"{name}_p"] = p_two_sided(samples)
        found.append(row)
    for row, p in zip(found, holm([row["gain_p"] for row in found]), strict=True):
        row["gain_p_holm"] = float(p)
    return found


def write_search(folder: Path, found: Sequence[Mapping[str, Any]]) -> None:
    make_folder(folder)
    write_json(folder / f"{SEARCH}.json", {"rows": list(found)})
    write_text(folder / f"{SEARCH}.csv", pd.DataFrame(found).to_csv(index=False))


def search_table(found: Sequence[Mapping[str, Any]], spec: ExerciseSpec) -> str:
    """At most 100 columns."""
    table = Table(box=None, pad_edge=False)
    for name in ("policy", "update"):
        table.add_column(name, no_wrap=True)
    table.add_column("setting chosen", max_width=28)
    for name in (
        "asks\n%",
        "gain\neven",
        "gain on the others\n[95 %]",
        "p\nHolm",
        "beyond control",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found:
        setting = {k.removeprefix("setting_"): v for k, v in row.items() if "setting_" in k}
        table.add_row(
            row["policy"],
            row["update"],
            ", ".join(f"{k} {_value(v)}" for k, v in setting.items()),
            _percent(row["rate"]),
            f"{row['gain_even']:+.1f}",
            "{gain:+.1f} [{gain_low:+.1f}, {gain_high:+.1f}]".format(**row),
            f"{row['gain_p_holm']:.2g}",
            "{beyond_control:+.1f} [{beyond_control_low:+.1f}, {beyond_control_high:+.1f}]".format(
                **row
            )
            if "beyond_control" in row
            else "-",
        )
    mark = "   SIMULATED DATA" if spec.simulated else ""
    return (
        f"search for an update rule: gain on all windows, in points{mark}\n{rendered(table)}\n\n"
        "each rule's setting was chosen by its gain on even-numbered users; the other columns are\n"
        "of the others. beyond control: less the gain of the same steps on training windows alone"
    )


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
