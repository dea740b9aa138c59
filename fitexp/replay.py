"""`fitexp replay RUN`: active learning replayed over the left-out users of a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fitexp import targets, worker
from fitexp.actions import Options
from fitexp.active.replay import POLICIES
from fitexp.active.search import SEARCHED
from fitexp.active.updates import UPDATES
from fitexp.errors import InputError
from fitexp.run import Run

RATES, SEARCH_RATES = "0.01,0.05,0.1", "0.1,0.15"


def command(run: Run, words: Sequence[str], options: Options) -> int:
    """`fitexp replay RUN [--policy P,..] [--update U,..] [--rate R,..] [--search] [-o DIR]`."""
    from fitexp.report import replayed as report

    if words:
        raise InputError(f"fitexp replay takes one run: what is '{words[0]}'?")
    search = "--search" in options.flags
    learning = SEARCHED if search else UPDATES
    policies = _names(options, "--policy", "margin,random" if search else "margin", POLICIES)
    chosen = _names(
        options, "--update", ",".join(SEARCHED) if search else "last_layer,alike", learning
    )
    rates = _rates(options.last("--rate") or (SEARCH_RATES if search else RATES))
    allow = (*targets.allowed(), *options.values.get("--allow", ()))
    study = worker.study(run, allow)
    folder = Path(options.last("-o") or run.path)
    if search:
        found = report.search_figures(study.searched(policies, chosen, rates), study.lines)
        report.write_search(folder, found)
        print(report.search_table(found, study.spec))
    else:
        rows = study.rows(policies, chosen, rates)
        print(report.write(folder, run, study.spec, study.lines, rows))
    print(folder)
    return 0


def _names(options: Options, name: str, default: str, known: Any) -> list[str]:
    found = (options.last(name) or default).split(",")
    for word in found:
        if word not in known:
            near = targets.did_you_mean(targets.closest(word, known))
            raise InputError(f"{name} {word}: choose from {', '.join(known)}{near}")
    return list(dict.fromkeys(found))


def _rates(text: str) -> list[float]:
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = [0.0]
    if not all(0 < rate < 1 for rate in found):
        raise InputError(f"--rate {text}: shares of events between 0 and 1, as 0.01,0.05")
    return list(dict.fromkeys(found))
