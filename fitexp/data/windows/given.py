"""Other people's recordings in a file, cut into windows as a trained run reads them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fitexp import targets
from fitexp.data.prepare import Prepared, Stored
from fitexp.data.spec import WindowSpec
from fitexp.data.windows.epochs import Epochs, Recording
from fitexp.data.windows.epochs_table import columns_of, usual_step_s
from fitexp.data.windows.protocol import Windows, arrays_of
from fitexp.errors import InputError

TABLES = (".csv", ".parquet")
DEVICES = (".cwa", ".bin")  # raw acceleration, as the table of these columns is
RAW = {"time", "x", "y", "z"}


def given_epochs(
    file: Path,
    spec: WindowSpec,
    source: Mapping[str, Any],
    users: str | None,
    user: str | None,
    scratch: Path,
) -> Epochs:
    """The people in `file`, with the series and the columns of users that a run was trained on.

    file: an epochs table (`data=epochs`), heart rate in it or not, or a person's raw acceleration
    (`data=raw_acceleration`), whose user is the file's name. source: of the run's data: where it
    was trained on the same kind of file, its keys are taken. users: CSV file of what is known
    of them; what is not is NaN. user: this one alone. scratch: a folder that outlives the epochs.
    Raises InputError for a file that lacks a series, has other epochs or not this user.
    """
    if not file.exists():
        raise InputError(f"{file}: no such file")
    kind = file.suffix.lower()
    if not file.is_file() or kind not in (*TABLES, *DEVICES):
        raise InputError(f"{file}: it must be a file, one of {', '.join((*TABLES, *DEVICES))}")
    columns = set() if kind in DEVICES else set(columns_of(file))
    if kind in DEVICES or (columns >= RAW and not columns >= set(spec.series)):
        found = _raw(file, source, users, scratch)
        step_s = found.step_s
    else:
        found, step_s = _table(file, spec, source, users)
    _check_series(file, spec, found.series)
    if math.isfinite(step_s) and abs(step_s - spec.step_s) > 0.1 * spec.step_s:
        raise InputError(
            f"{file}: a row every {step_s:g} s, but the run reads epochs of {spec.step_s:g} s"
        )
    names = list(found.users.index)
    if user is not None and user not in names:
        near = targets.did_you_mean(targets.closest(user, names)) or f" ({', '.join(names[:6])})"
        raise InputError(f"--user {user}: {file} has no such user{near}")
    known = found.users.reindex(columns=list(spec.columns)).astype("float64")
    return replace(found, users=known, recordings=_long_enough(file, spec, found, user))


def given_windows(
    protocol: Windows, epochs: Epochs, spec: WindowSpec, stride: int, scratch: Path
) -> Prepared:
    """Their windows, all in the test part; one every `stride` epochs, known behind it or not."""
    protocol = replace(
        protocol,
        series=list(spec.series),
        stride=stride,
        train_stride=None,
        min_wear_h=0,
        fractions=[0, 0, 1],
        folds=None,
    )
    made = arrays_of(protocol, epochs, scratch, spec, answered=False)
    stored: Any = made.arrays["series"]
    assert isinstance(stored, Stored)
    return replace(made, arrays={**made.arrays, "series": np.load(stored.file, mmap_mode="r")})


def unknown_statics(prepared: Prepared, names: Sequence[str]) -> dict[str, int]:
    """Of columns of the users: how many people's value is not known, where it is any's."""
    place = [prepared.spec.columns.index(name) for name in names]
    missing = np.isnan(prepared.arrays["users"][:, place]).sum(axis=0)
    return {name: int(n) for name, n in zip(names, missing, strict=True) if n}


def _table(
    file: Path, spec: WindowSpec, source: Mapping[str, Any], users: str | None
) -> tuple[Epochs, float]:
    node = _source("epochs", source)
    columns = columns_of(file)
    _check_series(file, spec, columns)
    if node["heart_rate"] not in columns:
        node["heart_rate"] = None
    node |= {"series": list(spec.series), "step_s": spec.step_s}
    node["users"] = None if users is None else str(Path(users).expanduser().resolve())
    found: Epochs = targets.build(node, path=str(file))
    return found, usual_step_s(file, node["user"], node["time"])


def _raw(file: Path, source: Mapping[str, Any], users: str | None, scratch: Path) -> Epochs:
    """The one file as the folder that the reader of raw acceleration takes."""
    folder = scratch / "raw"
    (folder / "acceleration").mkdir(parents=True)
    names = {folder / "acceleration" / file.name: str(file)}
    if users is not None:
        names[folder / "users.csv"] = users
    for link, name in names.items():
        link.symlink_to(Path(name).expanduser().resolve())
    with _named(names):
        found: Epochs = targets.build(_source("raw_acceleration", source), path=str(folder))

    def recordings() -> Iterator[Recording]:
        with _named(names):
            yield from found.recordings()

    return replace(found, recordings=recordings)


@contextlib.contextmanager
def _named(names: Mapping[Path, str]) -> Iterator[None]:
    """Errors name files as they were typed, not the links to them."""
    try:
        yield
    except InputError as error:
        said = str(error)
        for link, name in names.items():
            said = said.replace(str(link), name)
        raise InputError(said) from error


def _source(data: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The run's own node `source` where it is of this kind, else that of conf/data/DATA.yaml."""
    text = resources.files("fitexp.conf").joinpath("data", f"{data}.yaml").read_text("utf-8")
    node: dict[str, Any] = yaml.safe_load(text)["source"]
    return dict(own if own.get(targets.TARGET) == node[targets.TARGET] else node)


def _check_series(file: Path, spec: WindowSpec, columns: Sequence[str]) -> None:
    missing = [name for name in spec.series if name not in columns]
    if missing:
        raise InputError(
            f"{file} lacks {', '.join(missing)}: the run reads {', '.join(spec.series)}, "
            f"the file has {', '.join(columns)}"
        )


def _long_enough(file: Path, spec: WindowSpec, epochs: Epochs, user: str | None) -> Any:
    """The recordings of `user` (None: all) that hold a window. InputError where none does."""

    def recordings() -> Iterator[Recording]:
        longest = -1
        for recording in epochs.recordings():
            if user is None or recording.user == user:
                longest = max(longest, len(recording.heart_rate))
                if len(recording.heart_rate) >= spec.steps:
                    yield recording
        if longest < spec.steps:
            had, needed = (_duration(n * spec.step_s) for n in (max(longest, 0), spec.steps))
            raise InputError(f"{file}: {had} are recorded at most, but a window takes {needed}")

    return recordings


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
