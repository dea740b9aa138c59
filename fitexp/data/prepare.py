"""Prepared arrays and their cache. Imports neither torch nor pandas."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fitexp.data.spec import Spec
from fitexp.errors import InputError

HASHED_BYTES = 64 * 2**20  # files up to this size are known by content, larger ones by time

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Stored:
    """An array that is too large to hold: a .npy file, which `cached` moves into the cache."""

    file: Path


@dataclass(frozen=True)
class Prepared:
    """What a data protocol hands on: arrays, what may be known of them, what was rejected.

    spec: the `Spec` of its kind; report: "counts" and "rejected" (label -> number), "data_hash",
    "split_hash".
    """

    spec: Any
    arrays: Arrays
    report: Mapping[str, Any]


def scored(arrays: Arrays) -> NDArray[Any]:
    """(S,) the target that losses and errors use: `y`, unless a protocol scores another series."""
    return arrays.get("scored", arrays["y"])


def cache_folder() -> Path:
    """FITEXP_CACHE, else `fitexp` in the user's cache folder."""
    own = os.environ.get("FITEXP_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "fitexp"


def digest(*parts: object) -> str:
    """sha256 of plain values (as sorted JSON) and arrays (dtype, shape, bytes)."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype.str}{part.shape}".encode())
            total.update(np.ascontiguousarray(part).tobytes())
        else:
            total.update(json.dumps(part, sort_keys=True, default=str).encode())
    return total.hexdigest()


def fingerprint(path: str | Path | None) -> list[list[Any]]:
    """Files under `path`: name and size, with content hash where small and time where large."""
    if path is None:
        return []
    root = Path(path).expanduser()
    if not root.exists():
        raise InputError(f"{path}: no such file or folder (data.path)")
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    found: list[list[Any]] = []
    for file in files:
        stat = file.stat()
        name = str(file.relative_to(root)) if file != root else file.name
        if stat.st_size <= HASHED_BYTES:
            found.append([name, stat.st_size, hashlib.sha256(file.read_bytes()).hexdigest()])
        else:
            found.append([name, stat.st_size, str(file.resolve()), stat.st_mtime_ns])
    return found


def code_version() -> str:
    """Hash of the code that prepares data: every module of `fitexp.data` and what it rests on."""
    folder = Path(__file__).parent
    return digest([p.read_text(encoding="utf-8") for p in sorted(folder.rglob("*.py"))])


def cached(key: str, make: Callable[[], Prepared]) -> Prepared:
    """The entry `key` of the cache, made by `make()` if it is missing or damaged.

    An entry is written under a temporary name and renamed: two processes may prepare at once, and
    the later one uses the earlier one's.
    """
    folder = cache_folder() / key[:32]
    found = _load(folder)
    if found is not None:
        return found
    made = make()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise InputError(
            f"cannot write prepared arrays to {folder.parent} ({error.strerror}): "
            "set FITEXP_CACHE to a folder that can be written"
        ) from error
    try:
        for name, array in made.arrays.items():
            if isinstance(array, Stored):
                shutil.move(array.file, temporary / f"{name}.npy")
            else:
                np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        described = {"spec": made.spec.to_dict(), "report": made.report, "arrays": [*made.arrays]}
        (temporary / "prepared.json").write_text(json.dumps(described), encoding="utf-8")
        try:
            temporary.rename(folder)
        except OSError:
            if _load(folder) is None:  # a damaged entry, not a faster process
                shutil.rmtree(folder, ignore_errors=True)
                temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _load(folder) or made


def cached_arrays(key: str, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Arrays that are slow to make, in one file of the cache; `key` is a digest."""
    file = cache_folder() / "arrays" / f"{key[:32]}.npz"
    try:
        with np.load(file, allow_pickle=False) as packed:
            return dict(packed)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        made = make()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(handle, "wb") as temporary:
            np.savez(temporary, **cast(Any, made))
        Path(name).replace(file)
    return made


def _load(folder: Path) -> Prepared | None:
    """The entry in `folder`, large arrays mapped into memory; None where missing or damaged."""
    try:
        described = json.loads((folder / "prepared.json").read_text(encoding="utf-8"))
        arrays = {name: _load_array(folder / f"{name}.npy") for name in described["arrays"]}
        return Prepared(Spec.from_dict(described["spec"]), arrays, described["report"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _load_array(file: Path) -> NDArray[Any]:
    mode: Any = "r" if file.stat().st_size > 2**20 else None  # an empty array cannot be mapped
    array: NDArray[Any] = np.load(file, mmap_mode=mode, allow_pickle=False)
    return array
