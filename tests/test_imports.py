"""Imports go one way, and what stands before training stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fitexp"

# Room -> rooms it may import besides itself. A module belongs to the longest prefix here; a new
# file at the top level of fitexp needs a row. `errors` is open to everyone.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "losses": set(),
    "metrics": set(),
    "run": set(),
    "targets": set(),
    "data.spec": set(),
    "data.scaling": {"data.spec"},
    "data.prepare": {"data.spec"},
    "data.batches": set(),
    "data": {"data.spec", "data.scaling", "data.prepare", "data.batches", "targets"},
    "data.workouts.features": {"data", "data.prepare", "data.spec"},
    "data.workouts.layout": {"data", "data.prepare"},
    "data.exercises": {
        "data",
        "data.batches",
        "data.exercises.autocorrelation",
        "data.exercises.fetch",
        "data.exercises.layout",
        "data.exercises.text_tables",
        "data.spec",
        "data.scaling",
        "data.prepare",
        "targets",
    },
    "data.exercises.autocorrelation": set(),
    "data.exercises.fetch": {"data.prepare"},
    "data.exercises.layout": set(),
    "data.exercises.text_tables": set(),
    "data.windows": {
        "data",
        "data.batches",
        "data.exercises.text_tables",
        "data.prepare",
        "data.scaling",
        "data.spec",
        "targets",
    },
    "data.windows.features": set(),
    "active": set(),
    "active.newcomers": {"data", "data.batches", "data.prepare", "tasks"},
    "active.learners": {"active"},
    "active.study": {
        "active",
        "active.learners",
        "data.exercises",
        "data.prepare",
        "data.spec",
        "tasks",
    },
    "active.consulted": {"active", "active.study", "targets"},
    "models": {
        "data",
        "data.spec",
        "data.prepare",
        "data.workouts.features",
        "data.workouts.layout",
        "data.windows.features",
        "models.fitted",
    },
    "models.fitted": {"data.spec", "data.prepare", "data.workouts.layout"},
    "tasks": {"data.spec", "data.scaling", "data.batches", "losses", "metrics"},
    "outcomes": {"data", "targets"},
    "transfer": {"outcomes"},
    "report": {
        "active",
        "data",
        "data.exercises.autocorrelation",
        "data.exercises.layout",
        "data.spec",
        "data.prepare",
        "data.workouts.layout",
        "metrics",
        "models",
        "models.fitted",
        "outcomes",
        "run",
        "targets",
        "transfer",
    },
    "checkpoints": {"run"},
    "progress": set(),
    "events": {"checkpoints", "data.spec", "run", "targets"},
    "worker": {
        "active.study",
        "checkpoints",
        "data",
        "data.batches",
        "data.prepare",
        "data.spec",
        "events",
        "models",
        "models.fitted",
        "report",
        "run",
        "targets",
        "tasks",
        "trainer",
    },
    "trainer": {"checkpoints", "data.spec", "events", "progress", "run", "targets"},
    "compose": {"targets", "trainer", "worker"},
    "runs": {"run", "targets"},
    "usage": set(),
    "sweep": {"run", "runs"},
    "actions": {"run", "targets"},
    "explain": {
        "actions",
        "data",
        "data.prepare",
        "data.spec",
        "data.workouts.layout",
        "report",
        "run",
        "targets",
        "worker",
    },
    "predict": {
        "actions",
        "data",
        "data.prepare",
        "data.spec",
        "data.workouts.layout",
        "report",
        "run",
        "targets",
        "worker",
    },
    "recommend": {
        "actions",
        "data",
        "data.prepare",
        "data.spec",
        "predict",
        "report",
        "retrieval",
        "run",
        "speeds",
        "targets",
        "worker",
    },
    "recommend_exercises": {
        "actions",
        "active",
        "data.exercises",
        "data.prepare",
        "data.spec",
        "models",
        "report",
        "run",
        "targets",
        "worker",
    },
    "fine_tuning": {
        "checkpoints",
        "data",
        "data.exercises",
        "data.prepare",
        "models.fitted",
        "run",
        "targets",
        "tasks",
        "worker",
    },
    "ask": {
        "actions",
        "data.exercises",
        "data.prepare",
        "data.spec",
        "fine_tuning",
        "recommend_exercises",
        "report",
        "run",
        "targets",
        "worker",
    },
    "replay": {
        "actions",
        "active",
        "report",
        "run",
        "targets",
        "worker",
    },
    "forecast": {
        "actions",
        "data.prepare",
        "data.spec",
        "data.windows",
        "report",
        "run",
        "targets",
        "worker",
    },
    "embed": {
        "actions",
        "data",
        "data.prepare",
        "forecast",
        "outcomes",
        "run",
        "targets",
        "transfer",
        "worker",
    },
    "transfer_command": {
        "actions",
        "data",
        "data.prepare",
        "embed",
        "outcomes",
        "report",
        "run",
        "targets",
        "transfer",
        "worker",
    },
    "speeds": {
        "data",
        "data.prepare",
        "data.spec",
        "data.workouts.layout",
        "predict",
        "run",
        "targets",
        "worker",
    },
    "retrieval": {
        "actions",
        "data",
        "data.prepare",
        "metrics",
        "predict",
        "report",
        "run",
        "worker",
    },
    "cost": {"data.spec", "losses", "models", "report"},
    "cli": {
        "actions",
        "compose",
        "cost",
        "data.exercises.fetch",
        "data.prepare",
        "report",
        "run",
        "runs",
        "sweep",
        "targets",
        "usage",
        "worker",
    },
}
# Modules that may import torch at all; everything else must work without it.
WITH_TORCH = (
    "active.consulted",
    "active.newcomers",
    "active.study",
    "ask",
    "cost",
    "explain",
    "fine_tuning",
    "forecast",
    "predict",
    "recommend",
    "recommend_exercises",
    "replay",
    "retrieval",
    "speeds",
    "active.learners",
    "losses",
    "models",
    "tasks",
    "checkpoints",
    "events",
    "progress",
    "trainer",
    "worker",
)
TORCH_IN_DATA = ("module", "batches")  # last parts of names: the only torch under data/
LIGHT = (
    "data.spec",
    "errors",
    "actions",
    "run",
    "runs",
    "sweep",
    "targets",
    "compose",
    "cli",
    "usage",
    "data.spec",
)
HEAVY = {"torch", "pytorch_lightning", "lightning", "pandas", "hydra", "omegaconf", "matplotlib"}

MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)


def room(module: str) -> str:
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in ROOMS:
            return ".".join(parts[:length])
    raise AssertionError(f"fitexp/{module.replace('.', '/')}.py: add its room to ROOMS")


def imports(module: str, top: bool = False) -> Iterator[str]:
    """Names that a module imports, absolute; not those for type checkers. top: at import time."""
    path = PACKAGE / f"{module.replace('.', '/')}.py"
    found: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while found:
        node = found.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = f"fitexp.{module}".split(".")[: -node.level]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        found.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    own = room(module)
    for name in imports(module):
        inner = name.removeprefix("fitexp.")
        if not name.startswith("fitexp.") or not any(
            known == inner or known.startswith(f"{inner}.") for known in MODULES
        ):
            continue  # another package, or an attribute of one of our modules
        if inner not in MODULES:
            continue  # a package: its modules are named beside it
        other = room(inner)
        allowed = ROOMS[own] | {own, "errors"}
        assert other in allowed, f"fitexp.{module} imports fitexp.{inner}"


@pytest.mark.parametrize("module", MODULES)
def test_torch_stays_in_its_rooms(module: str) -> None:
    uses = {name.split(".")[0] for name in imports(module)} & {"torch", "pytorch_lightning"}
    if module.startswith("data."):
        allowed = module.rpartition(".")[2] in TORCH_IN_DATA
    else:
        allowed = room(module) in WITH_TORCH
    assert allowed or not uses, f"fitexp.{module} imports {uses}"


@pytest.mark.parametrize("module", MODULES)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    if room(module) in LIGHT:
        heavy = {name.split(".")[0] for name in imports(module, top=True)} & HEAVY
        assert not heavy, f"fitexp.{module} imports {heavy} before it is needed"


def test_package_inits_are_empty() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        assert path.read_text() == "", path


def test_preparing_data_needs_no_torch() -> None:
    script = (
        "import sys, importlib\n"
        f"for name in {[m for m in MODULES if m.startswith('data.')]!r}:\n"
        f"    if name.rpartition('.')[2] not in {TORCH_IN_DATA!r}:\n"
        "        importlib.import_module('fitexp.' + name)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
