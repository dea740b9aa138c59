"""What the models beside a run had learned, in its folder."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitexp.errors import InputError
from fitexp.models.fitted import Fitted
from fitexp.run import write_bytes

BASELINES = "baselines.npz"


def read_baselines(path: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """What the baselines of a tested run had learned, by name."""
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    try:
        packed = np.load(path, allow_pickle=False)
        for key in packed.files:
            name, _, part = key.partition("/")
            own = arrays.setdefault(name, {})
            if part:
                own[part] = packed[key]
        return arrays
    except Exception as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}): remove it") from error


def write_baselines(path: Path, baselines: Mapping[str, Fitted]) -> None:
    arrays: dict[str, Any] = {}
    for name, model in baselines.items():
        arrays[name] = np.zeros(0)  # that it was there, though it learns nothing
        arrays |= {f"{name}/{key}": array for key, array in model.fitted.items()}
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    write_bytes(path, packed.getvalue())
