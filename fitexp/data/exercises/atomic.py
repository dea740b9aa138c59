"""RecBole's atomic files: who rated, heard or bought what, as NAME.inter, NAME.user, NAME.item.

Format: https://recbole.io/docs/user_guide/data/atomic_files.html. Tabs between fields; the header
types each column: token (one value of a set), token_seq (several, blanks between them), float,
float_seq. .user and .item may be absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from fitexp.data.exercises.fetch import NAME, movielens_folder
from fitexp.data.exercises.profiles import Columns, for_names, multi_hot, one_hot, profile_frame
from fitexp.data.exercises.table import EventTable, complete, in_order
from fitexp.data.exercises.text_tables import ids, keys, numbers, read_tabs, require
from fitexp.errors import InputError

TYPES = ("token", "token_seq", "float", "float_seq")
SECONDS_PER_DAY = 86400


def read_atomic(
    *,
    path: str | None,
    dataset: str | None,
    most_rated: int | None,
    user: str,
    item: str,
    time: str | None,
    time_unit_s: float,
    user_columns: Sequence[str] | None,
    item_columns: Sequence[str] | None,
    as_numbers: Sequence[str],
    most_values: int,
    ties: Literal["file", "shuffle"],
    seed: int,
    day_span: float,
) -> EventTable:
    """Read one data set from the folder `path`; `dataset` is its NAME where there are several.

    user, item, time: columns of .inter; time None, or not in the file: times are unknown and the
    order is the file's. time_unit_s: seconds in one unit of `time`. Other float columns of .inter
    become attributes of events.
    most_rated: keep the items with most events; of items with equally many, the one that comes
    first in .inter.
    user_columns, item_columns: columns of .user and .item to use; None: all that are numbers or
    have at most `most_values` values (of a token_seq: different words), which leaves out free
    text. as_numbers: token columns that are numbers, such as age. A token column becomes columns
    "gender=M", one a value; vocabularies are those of the whole file.
    ties: events of one user at one time in file order, or shuffled with `seed`.

    Users and items without any event left are not in the tables; those that .user or .item does
    not list stand last, with an empty profile. All of that is counted in `rejected`, where the
    reasons that begin with "events" add up to the rows of .inter that were left out.
    Raises InputError that names file, line or column, and what to do.
    """
    folder, name = _found(path, dataset)
    if ties not in ("file", "shuffle"):
        raise InputError(f"data.ties={ties}: must be file or shuffle")
    if most_rated is not None and most_rated < 1:
        raise InputError(f"data.most_rated={most_rated}: must be 1 or more, or null for all items")
    rejected: Counter[str] = Counter()
    inter = _read(folder / f"{name}.inter")
    if time is not None and time not in inter.types:
        time = None
    if time is None and ties == "shuffle":
        raise InputError(f"{inter.file}: no times, so nothing to shuffle; set data.ties=file")
    events = _events(inter, user, item, time, time_unit_s / SECONDS_PER_DAY, rejected)
    events = _most_rated(events, most_rated, rejected)
    if not len(events):
        raise InputError(f"{inter.file}: no event is left ({dict(rejected) or 'only a header'})")
    users = _profiles(
        folder / f"{name}.user",
        "user",
        user,
        events,
        user_columns,
        as_numbers,
        most_values,
        rejected,
    )
    items = _profiles(
        folder / f"{name}.item",
        "item",
        item,
        events,
        item_columns,
        as_numbers,
        most_values,
        rejected,
    )
    if ties == "shuffle":
        events = events.iloc[np.argsort(np.random.default_rng(seed).permutation(len(events)))]
    return EventTable(
        events=in_order(events, users["user"]),
        users=users,
        items=items,
        profiles={"full": tuple(users.columns[1:])},
        categories={},
        ceiling=None,
        day_span=day_span,
        simulated=False,
        name=name,
        rejected=dict(rejected),
    )


@dataclass(frozen=True)
class _Atomic:
    file: Path
    frame: pd.DataFrame
    types: dict[str, str]


def _found(path: str | None, dataset: str | None) -> tuple[Path, str]:
    if path is None and dataset == NAME:
        path = str(movielens_folder())
        if not Path(path).is_dir():
            raise InputError(f"{path} is not there: fitexp data fetch {NAME} makes it")
    if path is None:
        raise InputError(
            "data.path is missing: it must be a folder with NAME.inter; "
            "`fitexp data fetch movielens100k` makes one"
        )
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InputError(f"{path}: not a folder; data.path must hold NAME.inter")
    names = sorted(file.stem for file in folder.glob("*.inter"))
    if dataset is None and len(names) == 1:
        return folder, names[0]
    if dataset in names:
        return folder, str(dataset)
    have = f"it has {', '.join(names)}" if names else "it has no .inter file at all"
    wanted = f"no {dataset}.inter" if dataset else "not one .inter file"
    remedy = "; name one with data.dataset=NAME" if names else ""
    raise InputError(f"{path}: {wanted} in it; {have}{remedy}")


def _read(file: Path) -> _Atomic:
    frame = read_tabs(file)
    types: dict[str, str] = {}
    for title in frame.columns:
        name, _, kind = str(title).rpartition(":")
        if not name or kind not in TYPES:
            raise InputError(
                f"{file}, line 1: column {title!r} has no type; write it as name:type with "
                f"{', '.join(TYPES)}"
            )
        if name in types:
            raise InputError(f"{file}, line 1: two columns are named {name!r}; rename one")
        types[name] = kind
    frame.columns = pd.Index(list(types))
    return _Atomic(file, frame, types)


def _events(
    inter: _Atomic,
    user: str,
    item: str,
    time: str | None,
    days_per_unit: float,
    rejected: Counter[str],
) -> pd.DataFrame:
    """user, item, time (days) and the float columns, in file order."""
    frame, file = inter.frame, inter.file
    columns: dict[str, pd.Series[Any]]
    columns = {"user": ids(frame, file, user), "item": ids(frame, file, item)}
    if time is None:
        columns["time"] = pd.Series(np.nan, index=frame.index, dtype="float64")
    else:
        columns["time"] = numbers(frame, file, time) * days_per_unit
    for name, kind in inter.types.items():
        if name in (user, item, time):
            continue
        if kind != "float":
            rejected[f"column {name} of {file.name} ({kind})"] += 1
        elif name in columns:
            raise InputError(f"{file}, line 1: column {name!r} has a name of ours; rename it")
        else:
            columns[name] = numbers(frame, file, name).astype("float32")
    needed = ("user", "item") if time is None else ("user", "item", "time")
    return complete(pd.DataFrame(columns), {name: name for name in needed}, rejected)


def _most_rated(
    events: pd.DataFrame, most_rated: int | None, rejected: Counter[str]
) -> pd.DataFrame:
    codes, _ = pd.factorize(events["item"])  # numbered as they first come in the file
    counts = np.bincount(codes)
    if most_rated is None or len(counts) <= most_rated:
        return events
    order = np.argsort(-counts, kind="stable")
    last = counts[order[most_rated - 1]]
    tied = int((counts[order[most_rated:]] == last).sum())
    if tied:
        rejected[f"items with {last} events, as many as the last one kept (file order)"] = tied
    kept = np.isin(codes, order[:most_rated])
    rejected[f"events on items other than the {most_rated} most rated"] = int((~kept).sum())
    return events[kept].reset_index(drop=True)


def _profiles(
    file: Path,
    key: str,
    column: str,
    events: pd.DataFrame,
    chosen: Sequence[str] | None,
    as_numbers: Sequence[str],
    most_values: int,
    rejected: Counter[str],
) -> pd.DataFrame:
    """Profiles of the users or items that have events."""
    names = events[key].unique().tolist()
    if not file.exists():
        if chosen:
            raise InputError(f"{file}: no such file, and data asks for its {', '.join(chosen)}")
        return pd.DataFrame({key: names}, dtype="str")
    atomic = _read(file)
    listed = keys(atomic.frame, file, column)
    wanted = [name for name in atomic.types if name != column] if chosen is None else chosen
    parts: list[Columns] = []
    for name in wanted:
        require(atomic.frame, file, name)
        number = atomic.types[name] == "float" or name in as_numbers
        unfit = _unfit(atomic, name, number, most_values)
        if chosen is None and unfit:
            rejected[f"column {name} of {file.name} ({unfit})"] += 1
        elif atomic.types[name] == "float_seq":
            raise InputError(f"{file}, line 1, {name}: a float_seq is not read; leave it out")
        else:
            parts.append(_columns(atomic, name, number))
    table, lacking = for_names(profile_frame(key, listed, parts, file), key, names)
    unused = len(listed) + lacking - len(table)
    if unused:
        rejected[f"{key}s without an event that is kept"] += unused
    if lacking:
        rejected[f"{key}s without a profile (kept)"] += lacking
    return table


def _unfit(atomic: _Atomic, name: str, number: bool, most_values: int) -> str:
    """Why a column is not used unless asked for; "" where it is."""
    kind = atomic.types[name]
    if number or kind == "float_seq":
        return "" if number else kind
    fields = atomic.frame[name].dropna().unique()
    values = {word for field in fields for word in field.split(" ") if word}
    count = len(values) if kind == "token_seq" else len(fields)
    return f"{count} values, over {most_values}" if count > most_values else ""


def _columns(atomic: _Atomic, name: str, number: bool) -> Columns:
    """A column of a profile as float columns."""
    if number:
        return {name: numbers(atomic.frame, atomic.file, name).to_numpy(np.float32)}
    if atomic.types[name] == "token":
        return one_hot(name, atomic.frame[name])
    return multi_hot(name, atomic.frame[name], " ")
