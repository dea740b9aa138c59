"""What prepared events hold: users, items, parts, ties in time, how far back items come again."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.table import Table

from fitexp.data.exercises.autocorrelation import Autocorrelation, nominal_acf, window_by_acf
from fitexp.data.exercises.layout import EVERYONE, TIES, TIMED
from fitexp.data.prepare import Prepared
from fitexp.report.acf import acf_panel
from fitexp.report.describe import PARTS, rejections
from fitexp.report.plots import BASELINE, MEASURED, simulated
from fitexp.report.text import labelled, rendered

LAGS = 12  # events back that the autocorrelation is shown for
BINS = 30  # at most, of users by their number of events
NONE = "-"


def describe(prepared: Prepared) -> str:
    """Tables of at most 100 columns: parts, ties, autocorrelation, protocol, rejections."""
    spec, report = prepared.spec, prepared.report["counts"]
    found = _acf(prepared)
    mark = "SIMULATED   " if spec.simulated else ""
    ties = "unknown: the data have no times"
    if report[TIMED]:
        share = 100 * report[TIES] / report[TIMED]
        ties = f"{share:.1f} % of the events that follow another of their user"
    words = {
        "at the time of the one before": ties,
        "window by the ACF": _window_words(found),
        **spec.protocol,
    }
    return "\n\n".join(
        [
            f"{mark}{spec.source}: events kept",
            _parts_table(prepared),
            f"nominal ACF: events that repeat the item of some events before\n{_acf_table(found)}",
            labelled(words),
            rejections(prepared),
        ]
    )


def _parts_table(prepared: Prepared) -> str:
    """All events, then what a fold has of each part (the mean over folds, without "everyone")."""
    arrays = prepared.arrays
    table = Table(box=None)
    table.add_column("", no_wrap=True)
    for name in ("folds", "users", "events", "items", "events\na user", "fewest", "most"):
        table.add_column(name, justify="right")
    everything = np.ones((1, len(arrays["user"])), bool)
    table.add_row("all", NONE, *_amounts(prepared, everything), end_section=True)
    part = np.asarray(arrays["part"])
    part = part[[name != EVERYONE for name in prepared.spec.fold_names]]
    for number, label in PARTS.items():
        chosen = part == number
        chosen = chosen[chosen.any(axis=1)]
        if len(chosen):
            table.add_row(label, f"{len(chosen):,}", *_amounts(prepared, chosen))
    return rendered(table)


def _amounts(prepared: Prepared, chosen: np.ndarray) -> list[str]:
    """Users, events, items, events a user: mean, fewest, most; of chosen (folds, E)."""
    user, item = (np.asarray(prepared.arrays[name]) for name in ("user", "item"))
    each = [np.unique(user[own], return_counts=True)[1] for own in chosen]
    users = np.mean([len(counts) for counts in each])
    items = np.mean([len(np.unique(item[own])) for own in chosen])
    events = chosen.sum() / len(chosen)
    counts = np.concatenate(each)
    amounts = (users, events, items, events / users, counts.min(), counts.max())
    return [f"{amount:,.1f}".removesuffix(".0") for amount in amounts]


def _acf(prepared: Prepared) -> Autocorrelation:
    arrays = prepared.arrays
    histories = np.split(np.asarray(arrays["item"], np.int64), np.asarray(arrays["begin"])[1:-1])
    return nominal_acf(histories, lags=max(1, min(LAGS, max(map(len, histories)) - 1)))


def _acf_table(found: Autocorrelation) -> str:
    table = Table(box=None)
    for name in ("lag", "pairs", "repeated", "95 %, users\nresampled", "by chance"):
        table.add_column(name, justify="right")
    for lag, pairs in enumerate(found.pairs.tolist(), 1):
        acf, low, high = (100 * values[lag - 1] for values in (found.acf, found.low, found.high))
        between = f"{low:.1f} to {high:.1f}" if np.isfinite([low, high]).all() else NONE
        share = f"{acf:.1f} %" if np.isfinite(acf) else NONE
        table.add_row(str(lag), f"{pairs:,}", share, between, f"{100 * found.chance:.1f} %")
    return rendered(table)


def _window_words(found: Autocorrelation) -> str:
    window = window_by_acf(found)
    if window is None:
        return "none: no lag is above chance, so items that came do not come again"
    return f"{window} events: the lag at which most events repeat an item (data.window={window})"


def describe_page(prepared: Prepared) -> Figure:
    """Autocorrelation, items by popularity, events a user."""
    spec, arrays = prepared.spec, prepared.arrays
    begin = np.asarray(arrays["begin"])
    counts = np.bincount(np.asarray(arrays["item"]), minlength=len(spec.items))
    figure, (acf, items, users) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    found = _acf(prepared)
    acf_panel(acf, found)
    window = window_by_acf(found)
    words = f"window by the ACF: {window}" if window else "no lag above chance"
    acf.set_title(words, fontsize=9, loc="left")
    shares = 100 * np.sort(counts)[::-1] / counts.sum()
    items.bar(np.arange(1, len(shares) + 1), shares, width=1.0, color=BASELINE)
    items.axhline(100 / len(shares), color=MEASURED, linestyle="--", linewidth=1, label="equal")
    items.legend(frameon=False)
    items.set_title("% of events, by item", fontsize=9, loc="left")
    items.set_xlabel("items, the most frequent first")
    events = np.diff(begin)
    width = 1 + (events.max() - events.min()) // BINS
    edges = np.arange(events.min(), events.max() + width + 1, width) - 0.5
    users.hist(events, bins=edges, color=BASELINE, rwidth=0.9)
    users.set_title("users by number of events", fontsize=9, loc="left")
    users.set_xlabel("events of a user")
    users.yaxis.set_major_locator(MaxNLocator(integer=True))
    for axis in (acf, items, users):
        axis.spines[["top", "right"]].set_visible(False)
    size = f"{begin[-1]:,} events of {len(begin) - 1:,} users, {len(spec.items):,} items"
    figure.suptitle(f"{simulated(spec)}{spec.source}: {size}", fontsize=11)
    return figure
