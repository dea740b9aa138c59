"""xgboost, where it is installed, and its trees as plain arrays: its JSON in bytes."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitexp.errors import InputError

MISSING = "needs xgboost: pip install 'fitexp[baselines]'"


def xgboost() -> Any:
    """The package. Raises InputError where it is not installed."""
    try:
        import xgboost as package
    except ImportError as error:
        raise InputError(f"this model {MISSING}") from error
    return package


def installed(model: str) -> bool:
    """Whether it is; a line says that the model is left out."""
    if importlib.util.find_spec("xgboost") is None:
        print(f"fitexp: {model} is left out, it {MISSING}", file=sys.stderr)
        return False
    return True


def packed(trees: Any) -> NDArray[np.uint8]:
    return np.frombuffer(trees.save_raw("json"), np.uint8).copy()


def unpacked(array: NDArray[Any]) -> Any:
    trees = xgboost().Booster({"nthread": 1})
    trees.load_model(bytearray(array.tobytes()))
    return trees
