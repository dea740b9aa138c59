"""A run is a folder: the names of its files, how they are read and written, identity, status.

Imports neither torch, pandas nor hydra.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import platform
import re
import secrets
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fitexp.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

CONFIG = "config.yaml"  # resolved: the run needs nothing else to be repeated
SPEC = "spec.json"
MANIFEST = "manifest.json"
METRICS = "metrics.json"  # flat, names end in their unit
BEST = "best.ckpt"
LAST = "last.ckpt"
PREDICTIONS = "predictions.parquet"
CURVE = "learning_curve.csv"
PLOTS = "plots"
DESCRIBED = "described.json"  # what a network says of itself; not every one does
RECOMMEND = "recommend.json"  # ranks of test workouts: `fitexp recommend RUN --evaluate`
RECOMMENDED = "test/recommend/"  # what its figures in METRICS have in their names
SCORES = "transfer_scores.parquet"  # of test users: `fitexp transfer RUN --evaluate`
TRANSFERRED = "test/transfer/"  # the same of `fitexp transfer RUN --evaluate`
FILES = (CONFIG, SPEC, MANIFEST, METRICS, BEST, LAST, PREDICTIONS)

# libyaml's loader, eight times faster, where PyYAML was built with it
LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

CREATED, RUNNING, INTERRUPTED, FAILED, FINISHED, DAMAGED = STATUSES = (
    "created",
    "running",
    "interrupted",
    "failed",
    "finished",
    "damaged",  # never written, only read
)

# Keys of a config that say where and how a run is computed or watched, not what it computes:
# paths, devices, workers, logging. How often last.ckpt is written: resuming is exact.
NOT_IDENTITY = frozenset(
    {
        "accelerator",
        "checkpoint",
        "data.path",
        "data.num_workers",
        "data.source.parser",
        "data.source.workers",
        "num_threads",
        *(
            f"trainer.{key}"
            for key in (
                "default_root_dir",
                "enable_checkpointing",
                "enable_model_summary",
                "enable_progress_bar",
                "log_every_n_steps",
                "logger",
                "num_nodes",
                "profiler",
            )
        ),
    }
)

CONFIG_KEYS = (
    "accelerator",
    "checkpoint",
    "data",
    "early_stopping",
    "loss",
    "model",
    "num_threads",
    "optimizer",
    "seed",
    "task",
    "trainer",
)

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
)

NAME_LENGTH = 120  # characters of a sweep's folder name, the identity's 8 digits included


class Run:
    """One run folder. Reading is lazy and always from disk; every file is written atomically."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def file(self, name: str) -> Path:
        return self.path / name

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: Mapping[str, Any],
        spec: Mapping[str, Any],
        fields: Mapping[str, Any],
    ) -> Run:
        """Write config.yaml, spec.json and manifest.json into a new or empty folder.

        config: resolved, plain values; spec: Spec.to_dict(); fields: of the manifest, as
        `provenance` makes them. Raises InputError where the folder cannot be written or is taken.
        """
        run = cls(path)
        try:
            run.path.mkdir(parents=True, exist_ok=True)
            taken = next(run.path.iterdir(), None) is not None
        except OSError as error:
            raise InputError(f"cannot make the run folder {path}: {error.strerror}") from error
        if taken:
            raise InputError(f"{path} is not empty: a run needs a folder of its own")
        text = yaml.safe_dump(dict(config), sort_keys=False)
        write_text(run.file(CONFIG), text)
        write_json(run.file(SPEC), spec)
        write_json(run.file(MANIFEST), {"status": CREATED, "created": now(), **fields})
        return run

    @property
    def config(self) -> dict[str, Any]:
        try:
            values = yaml.load(self._text(CONFIG), Loader=LOADER)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise self._damaged(CONFIG, str(error).splitlines()[0]) from error
        if not isinstance(values, dict):
            raise self._damaged(CONFIG, "not a mapping")
        return values

    @property
    def spec(self) -> dict[str, Any]:
        """Spec.to_dict() as it was written; `Spec.from_dict` makes the object of it."""
        return self._json(SPEC)

    @property
    def manifest(self) -> dict[str, Any]:
        return self._json(MANIFEST)

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the run, {} before it was tested. A null of the file is NaN here."""
        if not self.file(METRICS).exists():
            return {}
        values = self._json(METRICS)
        return {name: math.nan if value is None else value for name, value in values.items()}

    @property
    def status(self) -> str:
        """One of STATUSES. "running" whose process is gone reads as interrupted."""
        try:
            manifest = self.manifest
        except InputError:
            return DAMAGED
        return self.status_by(manifest)

    def status_by(self, manifest: Mapping[str, Any]) -> str:
        """`status` where the manifest has been read."""
        status = manifest.get("status")
        if status not in STATUSES:
            return DAMAGED
        needed = [CONFIG, SPEC] + ([METRICS, BEST] if status == FINISHED else [])
        if not all(self.file(name).is_file() for name in needed):
            return DAMAGED
        if status == RUNNING and not _alive(manifest):
            return INTERRUPTED
        return str(status)

    def check(self) -> None:
        """Raise InputError unless this is a run folder whose files can be read."""
        if not self.path.is_dir():
            raise InputError(f"{self.path}: no such run folder")
        if not any(self.file(name).exists() for name in FILES):
            raise InputError(f"{self.path} is not a run folder: it has no {MANIFEST}")
        if self.manifest.get("status") not in STATUSES:
            raise self._damaged(MANIFEST, f"unknown status {self.manifest.get('status')!r}")
        lacking = [key for key in CONFIG_KEYS if key not in self.config]
        if lacking:
            raise self._damaged(CONFIG, f"no key {lacking[0]}")
        _ = self.spec, self.metrics
        if self.status == DAMAGED:
            raise InputError(
                f"{self.path} is damaged: it is finished but lacks {METRICS} or {BEST}"
            )

    def update(self, **fields: Any) -> None:
        """Write `fields` into manifest.json."""
        write_json(self.file(MANIFEST), {**self.manifest, **fields})

    @contextmanager
    def working(self) -> Iterator[None]:
        """Mark the run running, then finished, failed (an Exception) or interrupted.

        What is not an Exception interrupts: Ctrl-C, and the SystemExit by which Lightning leaves
        `fit` on SIGINT and SIGTERM.
        """
        before = self.manifest
        begun = time.monotonic()
        self.update(
            status=RUNNING,
            started=before.get("started") or now(),
            finished=None,
            error=None,
            pid=os.getpid(),
            pid_born=_born(os.getpid()),
            host=platform.node(),
        )

        def close(status: str, error: str | None = None) -> None:
            seconds = round(float(before.get("seconds") or 0) + time.monotonic() - begun, 3)
            self.update(status=status, finished=now(), seconds=seconds, error=error)

        try:
            yield
        except Exception as error:
            close(FAILED, f"{type(error).__name__}: {error}")
            raise
        except BaseException:
            close(INTERRUPTED)
            raise
        close(FINISHED)

    def _text(self, name: str) -> str:
        try:
            return self.file(name).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            if name == MANIFEST and not any(self.file(other).exists() for other in FILES):
                raise InputError(
                    f"{self.path} is not a run folder: it has no {MANIFEST}"
                ) from error
            raise self._damaged(name, "missing") from error
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(name, getattr(error, "strerror", None) or str(error)) from error

    def _json(self, name: str) -> dict[str, Any]:
        try:
            values = json.loads(self._text(name))
        except json.JSONDecodeError as error:
            raise self._damaged(name, f"line {error.lineno}: {error.msg}") from error
        except (ValueError, RecursionError) as error:  # endless digits, endless depth
            raise self._damaged(name, str(error)) from error
        if not isinstance(values, dict):
            raise self._damaged(name, "not an object")
        return values

    def _damaged(self, name: str, why: str) -> InputError:
        return InputError(f"{self.path} is damaged: {name}: {why}")


def make_folder(path: Path) -> None:
    """Make a folder that a user named, and those above it. Raises InputError where it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {path}: {error.strerror}") from error


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a whole file or leave the old one: temporary name, flush, rename."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, values: Mapping[str, Any]) -> None:
    """`write_text` of JSON: numpy scalars become numbers, what is not finite becomes null."""
    write_text(path, json.dumps(_plain(values), indent=2, allow_nan=False) + "\n")


def write_parquet(path: str | Path, table: pd.DataFrame) -> None:
    """`write_bytes` of a table without its index."""
    packed = io.BytesIO()
    table.to_parquet(packed, index=False)
    write_bytes(path, packed.getvalue())


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):
        return _plain(value.item())
    raise TypeError(f"{type(value).__name__} is not a value for a run's JSON")


def identity(config: Mapping[str, Any], data_hash: str = "") -> str:
    """sha256 (64 hex digits) of what a run computes: config without NOT_IDENTITY, and data.

    5 and 5.0 are one value; the order of keys does not count.
    """
    text = json.dumps([_meaning(config), data_hash], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _meaning(value: Any, place: str = "") -> Any:
    if isinstance(value, Mapping):
        places = {str(key): f"{place}.{key}".lstrip(".") for key in value}
        return {
            str(key): _meaning(item, places[str(key)])
            for key, item in value.items()
            if places[str(key)] not in NOT_IDENTITY
        }
    if isinstance(value, list | tuple):
        return [_meaning(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def provenance(
    config: Mapping[str, Any],
    report: Mapping[str, Any],
    *,
    command: str,
    choices: Mapping[str, str],
    parent: str | None = None,
) -> dict[str, Any]:
    """Fields of a new run's manifest: how it came to be. report: that of the prepared data."""
    data_hash = str(report.get("data_hash", ""))
    data = config.get("data", {})
    return {
        "version": version(),
        "git": _git(Path(__file__).parents[1]),
        "command": command,
        "packages": _versions(PACKAGES),
        "python": platform.python_version(),
        "machine": {"platform": platform.platform(), "cpus": os.cpu_count()},
        "choices": dict(choices),
        "target": data.get("target"),
        "regime": data.get("regime"),
        "split": data.get("split"),
        "history": data.get("history"),
        "seed": config.get("seed"),
        "data_hash": data_hash,
        "split_hash": str(report.get("split_hash", "")),
        "identity": identity(config, data_hash),
        "started": None,
        "finished": None,
        "seconds": None,
        "pid": None,
        "host": platform.node(),
        "parent": parent,
        "error": None,
    }


def version() -> str:
    try:
        return metadata.version("fitexp")
    except metadata.PackageNotFoundError:
        return "not installed"


def now() -> str:
    return datetime.now(timezone.utc).astimezone().isoformat(timespec="milliseconds")


def stamped_folder(parent: Path, choice: str) -> Path:
    """A new folder parent/YYYY-MM-DD_HH-MM-SS_<choice>; `_2`, ... where that is taken."""
    return new_folder(parent, f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{choice}"[:NAME_LENGTH])


def new_folder(parent: Path, name: str) -> Path:
    """Make and return parent/name, or parent/name_2, ... where that is taken."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            path = parent / (name if number == 1 else f"{name}_{number}")
            with suppress(FileExistsError):
                path.mkdir()
                return path
    except OSError as error:
        raise InputError(f"cannot make a run folder in {parent}: {error.strerror}") from error
    raise InputError(f"{parent} has 10000 folders called {name}")


def sweep_name(parts: Iterable[str], identity: str) -> str:
    """Folder name of one job of a multirun: choices and overrides, 8 digits of the identity."""
    text = "_".join(re.sub(r"[^A-Za-z0-9_.=+-]+", "-", p).strip("-._") for p in parts if p)
    return f"{text[: NAME_LENGTH - 9] or 'run'}_{identity[:8]}"


# What `write_bytes` leaves if it is killed, of one of FILES: a run that was never begun.
_TEMPORARY = re.compile(rf"\.({'|'.join(map(re.escape, FILES))})\.[0-9a-f]{{8}}\.tmp")


def find_runs(path: Path, depth: int = 3) -> list[Run]:
    """Runs in and under a folder, by name; folders inside a run are not looked at."""
    try:
        with os.scandir(path) as entries:
            inside = {entry.name: entry.is_dir() for entry in entries}
    except OSError:
        return []
    if any(name in FILES or _TEMPORARY.fullmatch(name) for name in inside):
        return [Run(path)]
    if depth == 0:
        return []
    folders = sorted(name for name, folder in inside.items() if folder and name[0] != ".")
    return [run for name in folders for run in find_runs(path / name, depth - 1)]


def _alive(manifest: Mapping[str, Any]) -> bool:
    """Whether the process that wrote the manifest lives. Of another machine that is believed."""
    pid = manifest.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    if manifest.get("host") != platform.node():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    except OverflowError:  # no pid
        return False
    born = manifest.get("pid_born")
    return born is None or born == _born(pid)


def _born(pid: int) -> str | None:
    """When a process began (clock ticks since boot), which tells a reused pid; Linux only."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def _versions(names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _git(folder: Path) -> dict[str, Any] | None:
    """Revision of the checkout that fitexp runs from, and whether tracked files differ from it."""
    if not (folder / ".git").exists():
        return None
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env=env,
        )
        return done.stdout.strip()

    try:
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
        return {"revision": git("rev-parse", "--verify", "HEAD"), "dirty": dirty}
    except (OSError, subprocess.SubprocessError):
        return None
