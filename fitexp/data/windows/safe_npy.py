"""Files in numpy's .npy format from other people: numbers come out, no code of theirs runs.

An array of plain numbers is mapped, not read. An array of Python objects is a pickle; here it may
name only what numpy writes for arrays of numbers, and even those names stand for the few lines
below, not for numpy's own functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from pickle import _Unpickler  # C's Unpickler fills the memory at one wrong memo number
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fitexp.errors import InputError

NUMBERS = "biuf"  # kinds of numpy's types: bool, int, unsigned, float


def open_npy(file: Path) -> NDArray[Any]:
    """The array of `file`: numbers, mapped from the disk and read-only, or objects, in memory.

    Objects are Python's numbers, texts and None. Raises InputError, naming the file and what was
    found, for everything else.
    """
    try:
        with file.open("rb") as stream:
            dtype = _header(stream)
            if dtype.hasobject:
                return _objects(stream)
        if dtype.kind not in NUMBERS:
            raise ValueError(f"it holds {dtype}, not numbers")
        mapped: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
        return mapped
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # whatever a made-up pickle provokes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{file}: not an array of numbers in a .npy file ({reason})") from error


def _header(stream: BinaryIO) -> np.dtype[Any]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)[2]
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)[2]
    raise ValueError(f"version {version} of the format is not read; save it again by numpy.save")


def _objects(stream: BinaryIO) -> NDArray[Any]:
    found = _NumbersOnly(stream).load()
    if not isinstance(found, _Array):
        raise ValueError(f"its pickle holds {type(found).__name__}, not an array")
    array = found.array()
    for value in array.flat:
        if not isinstance(value, int | float | str | np.generic | None):
            raise ValueError(f"its array holds {type(value).__name__}, not numbers")
    return array


class _NumbersOnly(_Unpickler):
    """Unpickles arrays of numbers; refuses every other name.

    What stands for a name is made anew for each file, since a pickle may set attributes of it.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="latin1")

        def encode(text: str, encoding: str) -> bytes:  # how protocol 2 writes bytes
            return text.encode("latin1")

        def reconstruct(kind: object, shape: object, code: object) -> _Array:
            return _Array()

        def scalar(dtype: _Dtype, raw: bytes) -> np.generic:
            value: np.generic = np.frombuffer(raw, dtype.real(), count=1)[0]
            return value

        self.known: dict[str, Any] = {
            "_codecs.encode": encode,
            "numpy.dtype": lambda code, *copy: _Dtype(code),
            "numpy.ndarray": "numpy.ndarray",
        }
        for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            self.known |= {f"{module}._reconstruct": reconstruct, f"{module}.scalar": scalar}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        name = f"{module_name}.{global_name}"
        if name not in self.known:
            raise ValueError(f"its pickle would run {name}; it was not run")
        return self.known[name]


class _Dtype:
    """Stands for numpy.dtype: a code like f8 and a byte order."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.order = state[1]

    def real(self) -> np.dtype[Any]:
        dtype = np.dtype(f"{self.order}{self.code}")
        if dtype.kind not in NUMBERS:
            raise ValueError(f"it holds {dtype}, not numbers")
        return dtype


class _Array:
    """Stands for numpy.ndarray: what __setstate__ gets, checked when it is used."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> NDArray[Any]:
        _, shape, dtype, _, content = self.state
        if dtype.code not in ("O", "O8") or not isinstance(content, list):
            raise ValueError("its pickle is not the array of objects that it says it is")
        flat = np.empty(len(content), dtype=object)
        flat[:] = content
        return flat.reshape(shape)  # numpy writes the values row by row, whatever the flag says
