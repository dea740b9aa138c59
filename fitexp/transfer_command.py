"""`fitexp transfer RUN`: how well embeddings of a run tell outcomes of users, beside baselines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fitexp import targets, transfer, worker
from fitexp.actions import Options
from fitexp.data.prepare import Arrays, Prepared
from fitexp.data.splits import OUT, Part
from fitexp.embed import embedded, part_of_users, pool
from fitexp.errors import InputError
from fitexp.outcomes import RESTING, Outcome, chosen, outcome, users_file
from fitexp.run import METRICS, SCORES, Run, make_folder, write_json, write_parquet
from fitexp.transfer import FEATURE_MEANS, RESTING_HR, Representation

DRAWS = 10  # of noise
MOST = 40  # outcomes at once


def command(run: Run, words: Sequence[str], options: Options) -> int:
    """`fitexp transfer RUN [--outcome NAME,..] [--pool mean] [--users FILE] [--beside RUN2,..]
    [--draws N] [--evaluate] [-o DIR]`."""
    from fitexp.report import transferred as report

    if words:
        raise InputError(f"fitexp transfer takes one run: what is '{words[0]}'? (--beside RUN2)")
    how, draws, folder = pool(options), _draws(options), Path(options.last("-o") or run.path)
    evaluate = "--evaluate" in options.flags
    others = [name for name in options.values if name not in ("--allow", "--evaluate")]
    if evaluate and others:
        raise InputError(f"fitexp transfer --evaluate takes no {', '.join(others)}")
    allow = (*targets.allowed(), *options.values.get("--allow", ()))
    prepared = worker.own_data(run, allow)
    part = part_of_users(prepared.arrays)
    outcomes, notes = outcomes_of(prepared, part, options)
    shown = [_representation(run, report.name_of(run), prepared, how, allow)]
    for path in _beside(options):
        shown.append(_beside_run(path, prepared, how, allow, [one.name for one in shown]))
        notes.append(f"{shown[-1].name}: {path}")
    make_folder(folder)
    given = [*shown, *baselines(prepared)]
    found = {}
    for one in outcomes:
        _say(f"{one.label}: {len(given)} probes" + (f", {draws} of noise" if draws else ""))
        for other in given:
            reads = one.name in other.reads
            found[one.name, other.name] = None if reads else transfer.probe(other.values, one)
    width = shown[0].values.shape[1]
    noise = {o.name: transfer.noise_aucs(o, width, draws) for o in outcomes if draws}
    study = report.Study(
        run=run,
        outcomes=outcomes,
        representations=[one.name for one in given],
        probes=found,
        noise=noise,
        width=width,
        pool=how,
        notes=notes,
    )
    if evaluate:
        scores = report.scores(study, np.asarray(prepared.arrays["user_id"]).astype(str).tolist())
        write_parquet(run.file(SCORES), scores)
        write_json(run.file(METRICS), run.metrics | report.metrics(study))
    print(report.write(folder, study, shown[0].values, part))
    print(folder)
    return 0


def outcomes_of(
    prepared: Prepared, part: Part, options: Options
) -> tuple[list[Outcome], list[str]]:
    """Outcomes of the users with windows, of the data or of --users, and notes on them.

    Raises InputError for one that was asked for by name and has too few users.
    """
    asked = options.last("--outcome")
    names = asked.split(",") if asked else None
    notes = []
    table = known_users(prepared)
    if (file := options.last("--users")) is not None:
        given = users_file(file, names)
        there = table.index[part != OUT]
        matched = int(given.index.isin(there).sum())
        if not matched:
            ids = ", ".join(there[:3])
            raise InputError(
                f"{file}: none of its {len(given):,} users are in the run's data ({ids}, ...)"
            )
        notes.append(
            f"users of {Path(file).name}: {matched:,} of its {len(given):,} are in the data"
        )
        table = given.reindex(table.index)
    found = []
    wanted = chosen(names, table, others=file is not None)
    if len(wanted) > MOST:
        raise InputError(
            f"{len(wanted):,} outcomes: name at most {MOST} by --outcome (a probe of each takes "
            "seconds)"
        )
    for name in wanted:
        try:
            found.append(outcome(name, table[name].to_numpy(np.float64), part))
        except InputError as error:
            if names is not None:
                raise
            notes.append(f"left out: {error}")
    if not found:
        raise InputError("; ".join(notes) or "the data know nothing of their users: give --users")
    return found, notes


def known_users(prepared: Prepared) -> pd.DataFrame:
    """What the data know of their users, by user_id."""
    arrays, columns = prepared.arrays, list(prepared.spec.columns)
    index = pd.Index(np.asarray(arrays["user_id"]).astype(str))
    return pd.DataFrame(np.asarray(arrays["users"], np.float64), index=index, columns=columns)


def baselines(prepared: Prepared) -> list[Representation]:
    """Resting heart rate alone, where it is known, and the moments of the raw series."""
    arrays = prepared.arrays
    moments = transfer.series_moments(arrays["series"], np.asarray(arrays["begin"]))
    found = [Representation(name=FEATURE_MEANS, values=moments)]
    users = known_users(prepared)
    if RESTING in users and users[RESTING].notna().any():
        rest = users[[RESTING]].to_numpy(np.float64)
        found.insert(0, Representation(name=RESTING_HR, values=rest, reads=frozenset({RESTING})))
    return found


def _representation(
    run: Run, name: str, prepared: Prepared, how: str, allow: Sequence[str]
) -> Representation:
    """reads: what the network says; of one that says nothing, all that its data offered it."""
    users = len(prepared.arrays["user_id"])
    values = embedded(run, prepared, allow).of_users(how, users)
    network = worker.network(run, prepared, allow)
    reads: frozenset[str] = getattr(network, "reads", frozenset(prepared.spec.statics))
    return Representation(name=name, values=values, reads=reads)


def _beside_run(
    path: str, prepared: Prepared, how: str, allow: Sequence[str], names: Sequence[str]
) -> Representation:
    """Embeddings of another run for the same users in the same parts."""
    from fitexp.report import transferred as report

    run = Run(path)
    run.check()
    if run.spec.get("kind") != prepared.spec.kind:
        raise InputError(f"--beside {path}: its data are {run.spec.get('kind')}, not windows")
    own = worker.own_data(run, allow)
    if not _same_users(own.arrays, prepared.arrays):
        raise InputError(
            f"--beside {path}: its users or their parts are others (data.seed, source)"
        )
    name = report.name_of(run)
    same = sum(other == name or other.startswith(f"{name} (") for other in names)
    return _representation(run, f"{name} ({same + 1})" if same else name, own, how, allow)


def _same_users(one: Arrays, other: Arrays) -> bool:
    return np.array_equal(one["user_id"], other["user_id"]) and np.array_equal(
        part_of_users(one), part_of_users(other)
    )


def _beside(options: Options) -> list[str]:
    given: Any = options.values.get("--beside", ())
    return [path for text in given for path in text.split(",") if path]


def _draws(options: Options) -> int:
    text = options.last("--draws")
    if text is None:
        return 0 if "--evaluate" in options.flags else DRAWS
    if not (text.isascii() and text.isdigit() and int(text) != 1):
        raise InputError(
            f"--draws {text}: a whole number of noise probes, 2 or more, or 0 for none"
        )
    return int(text)


def _say(text: str) -> None:
    print(f"fitexp: transfer {text}", file=sys.stderr)
