"""What is known of users and items, as float32 columns; NaN where nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp.errors import InputError

Columns = Mapping[str, NDArray[np.float32]]


def one_hot(name: str, values: pd.Series[str]) -> Columns:
    """A column "name=value" for each value, in sorted order; missing in all where it is missing."""
    known = values.notna().to_numpy()
    columns: dict[str, NDArray[np.float32]] = {}
    for value in sorted(values.dropna().unique()):
        same = (values == value).fillna(False).to_numpy().astype(np.float32)
        columns[f"{name}={value}"] = np.where(known, same, np.float32(np.nan))
    return columns


def multi_hot(name: str, values: pd.Series[str], separator: str) -> Columns:
    """As `one_hot`, where a field holds several values with a separator between them."""
    lists = [None if pd.isna(v) else {w for w in v.split(separator) if w} for v in values]
    vocabulary = sorted({word for words in lists if words for word in words})
    place = {word: k for k, word in enumerate(vocabulary)}
    flags = np.zeros((len(lists), len(vocabulary)), np.float32)
    for row, words in enumerate(lists):
        if words is None:
            flags[row] = np.nan
        else:
            flags[row, [place[word] for word in words]] = 1
    return {f"{name}={word}": flags[:, k] for k, word in enumerate(vocabulary)}


def profile_frame(
    key: str, names: pd.Series[str], parts: list[Columns], file: Path
) -> pd.DataFrame:
    """Columns beside the names they belong to; InputError where two columns have one name."""
    columns: dict[str, NDArray[np.float32]] = {}
    for part in parts:
        for name, values in part.items():
            if name in columns or name == key:
                raise InputError(f"{file}: two columns would be named {name!r}; rename one")
            columns[name] = values.astype(np.float32)
    frame = pd.DataFrame(columns, index=range(len(names)), dtype="float32")
    frame.insert(0, key, names.astype("str").to_numpy())
    return frame


def for_names(profile: pd.DataFrame, key: str, names: list[str]) -> tuple[pd.DataFrame, int]:
    """The rows of these names, in the profile's order; names it lacks follow, all missing.

    The number says how many it lacks.
    """
    listed = set(profile[key])
    wanted = set(names)
    lacking = [name for name in names if name not in listed]
    order = [name for name in profile[key] if name in wanted] + lacking
    return profile.set_index(key).reindex(pd.Index(order, name=key)).reset_index(), len(lacking)
