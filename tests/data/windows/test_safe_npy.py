"""Pickles of strangers: numbers are read as numpy reads them, nothing else is, nothing runs."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitexp.data.windows.safe_npy import open_npy
from fitexp.errors import InputError

MIXED = np.array([[1, 2.5, None], [np.float64(3), "x", np.int16(-4)]], dtype=object)


class Runs:
    """Pickles to a call."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.call = (call, args)

    def __reduce__(self) -> Any:
        return self.call


class Sets:
    """Pickles to an object whose state is set to another."""

    def __init__(self, made: Any, state: Any) -> None:
        self.made = made, state

    def __reduce__(self) -> Any:
        made, state = self.made
        return (*made.__reduce__()[:2], state)


def write(file: Path, content: bytes, shape: tuple[int, ...] = (1,)) -> Path:
    with file.open("wb") as stream:
        header = {"descr": "|O", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(content)
    return file


def one(value: Any) -> np.ndarray[Any, Any]:
    array = np.empty(1, dtype=object)
    array[0] = value
    return array


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("array", [MIXED, np.asfortranarray(MIXED), MIXED[:0]])
def test_objects_are_what_numpy_reads(tmp_path: Path, array: Any, protocol: int) -> None:
    file = write(tmp_path / "x.npy", pickle.dumps(array, protocol=protocol), array.shape)
    oracle = np.load(file, allow_pickle=True)
    read = open_npy(file)
    assert read.shape == oracle.shape == array.shape
    assert read.tolist() == oracle.tolist() == array.tolist()
    assert [type(v) for v in read.flat] == [type(v) for v in oracle.flat]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("code", ["<f4", ">f8", "<i2", "u1", "?"])
def test_numbers_are_mapped(tmp_path: Path, code: str, order: Any) -> None:
    array = np.asarray(np.arange(6).reshape(2, 3), dtype=code, order=order)
    np.save(tmp_path / "x.npy", array)
    read = open_npy(tmp_path / "x.npy")
    assert isinstance(read, np.memmap)
    assert (read == array).all()
    with pytest.raises(ValueError, match="read-only"):
        read[0, 0] = 1


PAYLOADS = {
    "os.system": lambda mark: Runs(os.system, f"touch {mark}"),
    "eval": lambda mark: Runs(eval, f"open({str(mark)!r}, 'w')"),
    "exec": lambda mark: Runs(exec, f"open({str(mark)!r}, 'w')"),
    "getattr": lambda mark: Runs(getattr, os.system, "__call__"),
    "Popen": lambda mark: Runs(subprocess.Popen, ["touch", str(mark)]),
    "numpy.load": lambda mark: Runs(np.load, str(mark)),
    "memmap": lambda mark: Runs(np.memmap, str(mark), "u1", "w+", 0, (1,)),
    "a pickle in a pickle": lambda mark: Runs(
        pickle.loads, pickle.dumps(Runs(os.system, f"touch {mark}"))
    ),
}


@pytest.mark.parametrize("place", ["alone", "element", "nested", "state"])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_runs(tmp_path: Path, payload: str, place: str) -> None:
    mark = tmp_path / "ran"
    evil = PAYLOADS[payload](mark)
    held = {
        "alone": evil,
        "element": one(evil),
        "nested": one([{"deep": one((evil,))}]),
        "state": Sets(one(1), {"hidden": evil}),
    }[place]
    file = write(tmp_path / "x.npy", pickle.dumps(held))
    with pytest.raises(InputError, match=r"x\.npy: .*would run .*not run") as error:
        open_npy(file)
    assert not mark.exists()
    assert "\n" not in str(error.value)


def test_the_payloads_are_live(tmp_path: Path) -> None:
    file = write(tmp_path / "x.npy", pickle.dumps(one(PAYLOADS["os.system"](tmp_path / "ran"))))
    np.load(file, allow_pickle=True)
    assert (tmp_path / "ran").exists()


OTHERS = {
    "a list": [1, 2],
    "a number": 3,
    "a list in it": one([1.0]),
    "an array in it": one(np.arange(3.0)),
    "a tuple in it": one((1, 2)),
    "a function in it": one(np.dtype),
    "complex": one(np.complex128(1)),
    "numbers where objects were said": np.arange(3.0),
    "state of a function": Sets(Runs(np.dtype, "f8"), (None, {"__code__": 1})),
    "an array without state": Runs(
        np.array(1, dtype=object).__reduce__()[0], np.ndarray, (0,), b"b"
    ),
    "too few values": Sets(one(1), (1, (2,), np.dtype("O"), False, [1])),
    "text for values": Sets(one(1), (1, (1,), np.dtype("O"), False, b"12345678")),
    "a huge shape": Sets(one(1), (1, (2**40, 2**40), np.dtype("O"), False, [1])),
    "a scalar of objects": one(
        Runs(np.float64(1).__reduce__()[0], np.dtype("O"), b"12345678")  # an address
    ),
    "a scalar cut short": one(Runs(np.float64(1).__reduce__()[0], np.dtype("f8"), b"1234")),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_objects_are_refused(tmp_path: Path, other: str) -> None:
    file = write(tmp_path / "x.npy", pickle.dumps(OTHERS[other]))
    with pytest.raises(InputError, match=r"x\.npy: not an array of numbers"):
        open_npy(file)


def test_a_pickle_leaves_nothing_behind(tmp_path: Path) -> None:
    """Attributes that a pickle sets of what stands for numpy are gone with it."""
    reconstruct = np.array(1).__reduce__()[0]
    module = reconstruct.__module__.encode()
    set_defaults = (  # BUILD with a state for slots: setattr(_reconstruct, "__defaults__", (1, 2))
        b"c" + module + b"\n_reconstruct\n(N}X\x0c\x00\x00\x00__defaults__(K\x01K\x02tstb."
    )
    with pytest.raises(InputError):
        open_npy(write(tmp_path / "evil.npy", set_defaults))
    np.save(tmp_path / "good.npy", MIXED, allow_pickle=True)
    assert open_npy(tmp_path / "good.npy").tolist() == MIXED.tolist()


def test_a_large_memo_number_takes_no_memory(tmp_path: Path) -> None:
    """C's unpickler would make a list as long as the number."""
    number = 20_000_000
    file = write(tmp_path / "x.npy", b"Nr" + number.to_bytes(4, "little") + b".")
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="its pickle holds NoneType"):
            open_npy(file)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an array"),
        (b"PK\x03\x04", "not an array"),
        (pickle.dumps(one(1)), "not an array"),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': 1+1}\n", "not an array"),
        (b"\x93NUMPY\x03\x00", "version"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.npy: .*{reason}"):
        open_npy(tmp_path / "x.npy")


def test_a_missing_file_and_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        open_npy(tmp_path / "none.npy")
    np.save(tmp_path / "x.npy", np.array(["a"]))
    with pytest.raises(InputError, match="not numbers"):
        open_npy(tmp_path / "x.npy")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any one byte changed, or any end cut off: numbers, or one InputError."""
    whole = pickle.dumps(MIXED)
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255))
    cut = data.draw(st.booleans())
    damaged = whole[:place] if cut else whole[:place] + bytes([byte]) + whole[place + 1 :]
    file = write(tmp_path_factory.mktemp("npy") / "x.npy", damaged, MIXED.shape)
    with contextlib.suppress(InputError):
        assert open_npy(file).dtype == object
