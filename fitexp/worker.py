"""The stages of one run folder: fit, then test.

`python -m fitexp.worker fit RUN` is one rank of several, started by torchrun.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import importlib
import inspect
import io
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
import yaml
from lightning_fabric.utilities.exceptions import MisconfigurationException
from numpy.typing import NDArray
from torch import nn

from fitexp import events, targets
from fitexp.checkpoints import (
    STOP_FILE,
    Interrupted,
    StopFlag,
    load_checkpoint,
    training_state,
)
from fitexp.data.batches import Batch
from fitexp.data.prepare import Arrays, Prepared, cached_arrays, code_version, digest, fingerprint
from fitexp.data.spec import Spec
from fitexp.errors import InputError
from fitexp.models.fitted import Fitted
from fitexp.models.folds import Folds
from fitexp.report.table import RESULTS
from fitexp.run import (
    BEST,
    DESCRIBED,
    FINISHED,
    LAST,
    METRICS,
    RECOMMENDED,
    TRANSFERRED,
    Run,
    provenance,
    write_bytes,
    write_json,
)
from fitexp.tasks.task import Task
from fitexp.trainer import (
    build_trainer,
    check_ranges,
    denormals_are_zero,
    device_of,
    processes,
    quiet,
)

if TYPE_CHECKING:
    from fitexp.active.study import Study

Config = Mapping[str, Any]
Allow = Sequence[str] | None  # as fitexp.targets.locate takes it
Predictions = dict[str, NDArray[Any]]
Chosen = Mapping[str, tuple[str, Config | None]]  # config group -> choice, and its values


EVALUATIONS = "evaluations"  # folder in a run with its tests on other data, or in another way
IN_TEST = ("adapt", "expert")  # groups of the config that act in the test alone
OPEN = ("data", "accelerator", *IN_TEST)  # what of a trained run's config `evaluate` may change


# Stages


def train(run: Run, prepared: Prepared | None = None, allow: Allow = None) -> dict[str, float]:
    """Fit and test, go on where an interrupted run stopped; the manifest follows. -> metrics."""
    with run.working():
        fit(run, prepared, allow)
        metrics = test(run, prepared, allow)
        events.log_results(run)
        return metrics


def fit(run: Run, prepared: Prepared | None = None, allow: Allow = None) -> None:
    """Train until the config's end; resume from last.ckpt if there is one. Status is `train`'s.

    Ctrl-C and SIGTERM: training ends after the batch in hand, last.ckpt is written and
    KeyboardInterrupt is raised; a second signal stops at once. Several devices in the config:
    one process each, by torchrun. Raises InputError where config, model and data do not fit.
    """
    config, spec = run.config, _spec(run)
    check_ranges(config)
    if config.get("adapt") or config.get("expert"):
        prepared = _same_data(run, prepared, allow)
        _check_left_out(config, prepared, allow)
    if _fitted_at_once(config, allow):
        _fit_at_once(run, prepared, allow)
        return
    if training_ended(run):
        return
    ranks = processes(config)
    if ranks > 1 and "WORLD_SIZE" not in os.environ:
        _launch(run, ranks, prepared, allow)
        return
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    prepared = _same_data(run, prepared, allow)
    with quiet(), StopFlag(world) as stop:
        torch.set_num_threads(int(config["num_threads"]))
        pl.seed_everything(int(config["seed"]), workers=True, verbose=False)
        module = build_module(config, spec, allow)
        if rank:  # the same weights, other dropout
            torch.manual_seed(random.Random(f"{config['seed']} {rank}").getrandbits(63))
        data = build_data(config, prepared, allow, rank=rank, world=world)
        resumed = run.file(LAST).is_file()
        done = int(load_checkpoint(run.file(LAST))["global_step"]) if resumed else None
        trainer = build_trainer(run, config, spec, stop, len(data.train_dataloader()), done)
        try:
            with denormals_are_zero():
                trainer.fit(
                    module,
                    datamodule=data,
                    ckpt_path=run.file(LAST) if resumed else None,
                    weights_only=True,
                )
        except MisconfigurationException as error:
            raise InputError(f"trainer: {str(error).strip().splitlines()[0]}") from error
        except Interrupted:
            raise KeyboardInterrupt from None
        except SystemExit as exit_:  # what Lightning makes of KeyboardInterrupt
            if isinstance(exit_.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        if stop:  # noted in the last epoch, after which no batch asks
            raise KeyboardInterrupt


def test(
    run: Run,
    prepared: Prepared | None = None,  # noqa: PT028 - a stage, not one of pytest's tests
    allow: Allow = None,  # noqa: PT028
    device: str | None = None,  # noqa: PT028
) -> dict[str, float]:
    """Predict the test part from best.ckpt in this process; write the results. -> metrics."""
    prepared = _same_data(run, prepared, allow)
    model, predicted = _trained(run, prepared, allow, device)
    own = getattr(model, "described", None)
    described = own() if callable(own) else {}  # label -> numbers or words, for table and plots
    tested, val = predicted("test"), predicted("val") if len(prepared.arrays["val"]) else None
    beside: dict[str, Mapping[str, Any]] = {}  # how a column is called -> other predictions
    cost, module = {}, None
    if run.config.get("adapt"):
        beside["before_adapting"] = tested
        module, tested, seconds, described["new users"] = _adapted(run, prepared, allow, device)
        cost["cost/adapt_s_per_user"] = seconds
    if run.config.get("expert"):
        expert = targets.build(run.config["expert"], allow)
        study = _study(run, prepared, module or _best(run, prepared, allow, "cpu")[0])
        tested, controls, described["expert"] = expert.consult(study, tested)
        beside |= {f"baseline_{name}": found for name, found in controls.items()}
    if described:
        write_json(run.file(DESCRIBED), described)
    write = importlib.import_module(RESULTS[prepared.spec.kind]).write_results
    more = {"beside": beside} if beside else {}
    write(run, prepared, tested, val, _baselines(run, prepared, allow), **more)
    if cost:
        write_json(run.file(METRICS), run.metrics | cost)
    return run.metrics


def evaluate(
    run: Run,
    overrides: Sequence[str] = (),
    allow: Allow = None,
    chosen: Chosen | None = None,
    *,
    again: bool = True,
) -> tuple[Run, dict[str, float]]:
    """Test once more. -> the run that holds the results, and its metrics.

    overrides: `key=value` on the run's config, of OPEN; chosen: choices of IN_TEST by group.
    Where data, adapt and expert stay as they are the results are the run's own, to the last digit,
    and are written there again (the weights are the same: figures that a verb's `--evaluate` added
    stay); else they go to a child folder RUN/evaluations/N, and other data are prepared with the
    run's vocabularies, scaling and start values. again: False takes a finished child of the same
    config, if there is one, as it is.
    """
    from fitexp.report.baselines import BASELINES

    chosen = chosen or {}
    config = overridden(run.config, overrides, chosen)
    processes(config)
    same_data = config["data"] == run.config["data"]
    if same_data and all(config.get(name) == run.config.get(name) for name in IN_TEST):
        by_verbs = (RECOMMENDED, TRANSFERRED)
        added = {k: v for k, v in run.metrics.items() if any(name in k for name in by_verbs)}
        write_json(run.file(METRICS), test(run, None, allow, device_of(config)) | added)
        return run, run.metrics
    if _is_evaluation(run):
        raise InputError(f"{run.path} is an evaluation: evaluate {run.path.resolve().parents[1]}")
    own = _spec(run)
    if same_data:
        prepared = _same_data(run, None, allow)
    else:
        prepared = _protocol(config, allow).prepare(own, allow)
        _check_fits(own, prepared.spec)
    if any(config.get(name) for name in IN_TEST):
        _check_left_out(config, prepared, allow)
    if not len(prepared.arrays["test"]):
        raise InputError("the test part has no windows (data.split, data.fractions)")
    if not same_data and _same_people(config["data"], run.config["data"]):
        _check_unseen(_same_data(run, None, allow), prepared)
    choices = {group: name for group, (name, _) in chosen.items()}
    command = ["fitexp evaluate", str(run.path), *(f"{k}={v}" for k, v in choices.items())]
    fields = provenance(
        config,
        prepared.report,
        command=" ".join([*command, *overrides]),
        choices={**(run.manifest.get("choices") or {}), **choices},
        parent=str(run.path),
    )
    fields["training"] = run.manifest.get("training")
    folder = run.path / EVALUATIONS
    taken = sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit())
    for known in () if again else (Run(folder / str(number)) for number in taken):
        if known.status == FINISHED and known.manifest["identity"] == fields["identity"]:
            return known, known.metrics
    child = Run.create(
        folder / str(max(taken, default=0) + 1), config, prepared.spec.to_dict(), fields
    )
    with child.working():
        for name in (BEST, BASELINES):  # trained once; not on the data of this test
            if run.file(name).is_file():
                shutil.copyfile(run.file(name), child.file(name))
        return child, test(child, prepared, allow)


def predict_run(
    run: Run,
    prepared: Prepared | None = None,
    part: str = "val",
    allow: Allow = None,
    device: str | None = None,
) -> Predictions:
    """Predictions of the run's model as it was trained, whatever kind of model it is.

    prepared: other data must fit the run's spec; None: the run's own, which must be unchanged.
    """
    _, predicted = _trained(run, _same_data(run, prepared, allow), allow, device)
    return predicted(part)


def predict(module: Task, data: Any, part: str) -> Predictions:
    """Predictions of "val" or "test" by label, as `Task.answer` gives them; float32.

    "rows" (N, 2) says what each is of, in the order of the part's array.
    """
    was_training = module.training
    module.eval()
    module.start_over()
    found: dict[str, list[NDArray[Any]]] = {}
    with torch.inference_mode():
        for batch in data.tested(part):
            for label, values in module.answer(_at(module, batch)).items():
                values = values.float() if values.is_floating_point() else values
                found.setdefault(label, []).append(values.cpu().numpy())
    module.start_over()
    module.train(was_training)
    if not found:
        raise InputError(f"the {part} part has no windows (data.split, data.fractions)")
    return {label: np.concatenate(parts) for label, parts in found.items()}


def _at(module: Task, batch: Batch) -> Batch:
    """A batch where the module is, in its precision."""
    dtype = next(module.parameters()).dtype
    return {
        name: values.to(module.device, dtype if values.is_floating_point() else None)
        for name, values in batch.items()
    }


def network(run: Run, prepared: Prepared, allow: Allow = None) -> nn.Module | None:
    """The run's trained network; None of a model that is fitted at once."""
    model, _ = _trained(run, prepared, allow, None)
    return model if isinstance(model, nn.Module) else None


def attention_of(
    run: Run, prepared: Prepared, part: str, allow: Allow = None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None:
    """What a network's `attention(batch)` says of a part's windows; None of another network.

    -> alpha (N, K) over inputs, beta (N, 1 or T, T) over encoder states by decoder step, valid
    (N, T). The network runs free in the whole regime, from y_0 on.
    """
    module, data = _best(run, prepared, allow, None)
    if not callable(getattr(module.model, "attention", None)):
        return None
    found: list[tuple[NDArray[Any], ...]] = []
    module.eval()
    with torch.inference_mode():
        for batch in data.batches(part):
            there = {name: values.to(module.device) for name, values in batch.items()}
            alpha, beta = cast(Any, module).attention(there)
            parts = (alpha, beta.mean(dim=1, keepdim=True), there["valid"])
            found.append(tuple(values.cpu().numpy() for values in parts))
    weights, over_time, steps = (np.concatenate(values) for values in zip(*found, strict=True))
    return weights, over_time, steps


def embeddings(
    run: Run, prepared: Prepared | None = None, allow: Allow = None, device: str | None = None
) -> dict[str, Predictions]:
    """What the run's network makes of every window of a part, its `embed`, by part.

    Each part has "rows" (n, 2), user and first row, and "embedding" (n, D), in their order.
    prepared: other data must fit the run's spec; None: the run's own, which must be unchanged.
    Raises InputError where the network has no embedding.
    """
    prepared = _same_data(run, prepared, allow)
    if _fitted_at_once(run.config, allow):
        raise InputError(f"{run.path} is no network: it has no embedding of a window")
    module, data = _best(run, prepared, allow, device)
    embed = getattr(module.model, "embed", None)
    if not callable(embed):
        name = type(module.model).__name__
        raise InputError(f"{run.path}: {name} has no embedding of a window")
    module.eval()
    found: dict[str, Predictions] = {}
    for part in ("train", "val", "test"):
        batches: list[Batch] = []
        with torch.inference_mode():
            for batch in data.tested(part):
                there = _at(module, batch)
                batches.append({"rows": there["rows"].cpu(), "embedding": embed(there).cpu()})
        if batches:
            whole = {name: torch.cat([b[name] for b in batches]).numpy() for name in batches[0]}
            order = np.lexsort(whole["rows"].T[::-1])
            found[part] = {name: values[order] for name, values in whole.items()}
    return found


def own_data(run: Run, allow: Allow = None) -> Prepared:
    """The arrays a run was trained on. Raises InputError where the data are gone or changed."""
    return _same_data(run, None, allow)


def training_ended(run: Run) -> bool:
    """Whether last.ckpt is the end: early stopping, max_epochs or max_steps was reached."""
    if not run.file(LAST).is_file():
        return False
    try:
        checkpoint = load_checkpoint(run.file(LAST))
        state = training_state(checkpoint)
    except Exception as error:
        raise InputError(
            f"{run.file(LAST)} cannot be read ({type(error).__name__}): remove it to train anew"
        ) from error
    limits = run.config["trainer"]
    epochs, steps = limits.get("max_epochs"), limits.get("max_steps", -1)
    done = len(state["curve"])
    step = int(checkpoint["global_step"])
    at_end = bool(done) and state["curve"][-1]["step"] == step  # else in mid-epoch
    return at_end and (
        bool(state["stopped_early"])
        or (epochs is not None and 0 <= epochs <= done)
        or 0 <= steps <= step
    )


# Networks of left-out users


def study(run: Run, allow: Allow = None) -> Study:
    """The run's left-out users and the networks that its test asks, to be replayed."""
    from fitexp.active.study import check

    check(run.config, "fitexp replay")
    if _fitted_at_once(run.config, allow):
        raise InputError(f"{run.path} is no network: a model of counts has nothing to update")
    prepared = _same_data(run, None, allow)
    if run.config.get("adapt"):
        return _study(run, prepared, _adapted(run, prepared, allow, "cpu")[0])
    return _study(run, prepared, _best(run, prepared, allow, "cpu")[0])


def _study(run: Run, prepared: Prepared, module: Task) -> Study:
    from fitexp.active.study import Study

    config = run.config
    personal = bool(config.get("adapt"))
    return Study(prepared, module.model.cpu(), int(config["seed"]), personal=personal)


def _check_left_out(config: Config, prepared: Prepared, allow: Allow) -> None:
    """Raise InputError where a test cannot do what `adapt` and `expert` say, before training."""
    from fitexp.active.study import check

    spec = prepared.spec
    for name in IN_TEST:
        if not config.get(name):
            continue
        built = targets.build(config[name], allow)
        if built.kind != spec.kind or _fitted_at_once(config, allow):
            raise InputError(
                f"{name} changes a network of {built.kind}, and {_class_name(config['model'])} on "
                f"{spec.source} is none: leave {name} out, or choose another model="
            )
        if name == "adapt":
            built.personal(prepared)
        else:
            check(config, "expert")


def _adapted(
    run: Run, prepared: Prepared, allow: Allow, device: str | None
) -> tuple[Task, Predictions, float, str]:
    """A network for each new user; predictions of the test; CPU seconds a user; words."""
    config = run.config
    adapt = targets.build(config["adapt"], allow)
    trained, _ = _best(run, prepared, allow, device)
    began = time.process_time()
    torch.manual_seed(int(config["seed"]))
    fold, own = adapt.personal(prepared)
    with quiet():
        module = build_module(config, own.spec, allow)
    module.load_state_dict({k: values[fold] for k, values in trained.state_dict().items()})
    module.to(trained.device, next(trained.parameters()).dtype)
    data = build_data(config, own, allow)
    node = {**config["optimizer"], "lr": adapt.lr}
    batches = data.batches("train")
    passes = (_at(module, batch) for _ in range(adapt.epochs) for batch in batches)
    adapt.fit(module, passes, targets.partial(node, allow, later=("params",)))
    seconds = (time.process_time() - began) / len(fold)
    found = predict(module, data, "test")
    found["rows"] = np.stack([fold[found["rows"][:, 0]], found["rows"][:, 1]], axis=1)
    return module, found, seconds, adapt.words(seconds)


# Models that are fitted at once


def _fitted_at_once(config: Config, allow: Allow) -> bool:
    model = targets.locate(config["model"][targets.TARGET], allow)
    return isinstance(model, type) and issubclass(model, Fitted)


def _fit_at_once(run: Run, prepared: Prepared | None, allow: Allow) -> None:
    """Fit the model to all training steps; best.ckpt holds what it learned."""
    if run.file(BEST).is_file():
        return
    prepared = _same_data(run, prepared, allow)
    model = _build_fitted(run.config["model"], prepared.spec, allow)
    model.fit(prepared.arrays)
    run.update(training="fitted to all training steps at once")
    events.run_logger(run, run.config, prepared.spec, None).finalize("success")
    packed = io.BytesIO()
    torch.save({name: torch.from_numpy(a) for name, a in model.fitted.items()}, packed)
    write_bytes(run.file(BEST), packed.getvalue())


def _fitted_model(run: Run, spec: Spec, allow: Allow) -> Fitted:
    """The run's model as it was fitted."""
    model = _build_fitted(run.config["model"], spec, allow)
    model.fitted = {name: value.numpy() for name, value in load_checkpoint(run.file(BEST)).items()}
    return model


def _build_fitted(node: Config, spec: Spec, allow: Allow) -> Fitted:
    """Raises InputError for data it cannot take."""
    _check_kind(node, spec, allow)
    with _mistake("model"):
        model: Fitted = targets.build(node, allow, spec=spec)
    model.check()
    return model


def _baselines(run: Run, prepared: Prepared, allow: Allow) -> dict[str, Fitted]:
    """The models of data.baselines that belong beside this one, as fitted to its training data."""
    from fitexp.report.baselines import BASELINES, read_baselines

    known = read_baselines(run.file(BASELINES)) if run.file(BASELINES).is_file() else None
    found: dict[str, Fitted] = {}
    for name, node in run.config["data"]["baselines"].items():
        model: Fitted = targets.build(node, allow, spec=prepared.spec)
        if node == run.config["model"] or not model.stands_beside(prepared.arrays):
            continue
        if known is not None and name in known:
            model.fitted = known[name]
        elif known is None:
            model.fitted = _fitted_arrays(model, node, prepared)
        else:  # not there when the run was trained
            continue
        found[name] = model
    return found


def _fitted_arrays(model: Fitted, node: Config, prepared: Prepared) -> dict[str, NDArray[Any]]:
    def make() -> dict[str, NDArray[Any]]:
        model.fit(prepared.arrays)
        return model.fitted

    if not model.slow_to_fit:
        return make()
    code = [fingerprint(inspect.getsourcefile(c)) for c in type(model).__mro__[:-1]]
    return cached_arrays(digest(node, prepared.report["data_hash"], code_version(), code), make)


# Parts


def _check_kind(node: Config, spec: Spec, allow: Allow) -> None:
    """Raise InputError where a model does not take data of this kind."""
    kind = getattr(targets.locate(node[targets.TARGET], allow), "kind", None)
    if kind != spec.kind:
        raise InputError(
            f"model {_class_name(node)} takes data of kind {kind}, "
            f"but {spec.source} is of kind {spec.kind}: choose another model= or data="
        )


def _class_name(node: Config) -> str:
    return str(node[targets.TARGET]).rpartition(".")[2]


def build_module(config: Config, spec: Spec, allow: Allow = None) -> Task:
    """The task with its network, loss and optimizer. Raises InputError for data it cannot take."""
    node = config["model"]
    _check_kind(node, spec, allow)
    task = targets.locate(config["task"][targets.TARGET], allow)
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise InputError(f"task: {config['task'][targets.TARGET]} is not a task of fitexp")
    if task.kind != spec.kind:
        raise InputError(
            f"task {task.__name__} is for data of kind {task.kind}, but {spec.source} is of kind "
            f"{spec.kind}: choose another task= or data="
        )
    with _mistake("model"):
        model = _network(node, spec, allow)
    with _mistake("optimizer"):
        optimizer = targets.partial(config["optimizer"], allow, later=("params",))
        optimizer(model.parameters())  # its values are checked now
    loss = targets.partial(config["loss"], allow, later=("prediction", "target"))
    task.check_loss(loss, _class_name(config["loss"]))
    module: Task = targets.build(
        config["task"], allow, model=model, loss=loss, optimizer=optimizer, spec=spec
    )
    return module


def _network(node: Config, spec: Spec, allow: Allow) -> nn.Module:
    """The network, with as many folds as the data have: its own (`stacked`) or stacked here."""

    def build() -> nn.Module:
        network: nn.Module = targets.build(node, allow, spec=spec)
        return network

    if getattr(targets.locate(node[targets.TARGET], allow), "stacked", True):
        return build()
    return Folds(build=build, folds=cast(Any, spec).folds)


def _trained(
    run: Run, prepared: Prepared, allow: Allow, device: str | None
) -> tuple[Any, Callable[[str], Predictions]]:
    """The run's model as it was trained, and what gives its predictions of a part."""
    if _fitted_at_once(run.config, allow):
        model = _fitted_model(run, prepared.spec, allow)
        return model, lambda part: model.predict(prepared.arrays, part)
    module, data = _best(run, prepared, allow, device)
    return module.model, lambda part: predict(module, data, part)


def _best(run: Run, prepared: Prepared, allow: Allow, device: str | None) -> tuple[Task, Any]:
    """The task with the run's best weights, on its device, and the data."""
    config = run.config
    if not run.file(BEST).is_file():
        raise InputError(
            f"{run.path} has no {BEST}: no epoch of its training ended with a finite "
            f"{config['early_stopping']['monitor']}; a lower optimizer.lr may help"
        )
    torch.set_num_threads(int(config["num_threads"]))
    with quiet():
        module = build_module(config, _spec(run), allow)
    if str(config["trainer"].get("precision", "32-true")).startswith("64"):
        module.double()
    try:
        module.load_state_dict(load_checkpoint(run.file(BEST))["state_dict"])
    except Exception as error:
        raise InputError(
            f"{run.file(BEST)} is damaged or not of this config.yaml ({type(error).__name__})"
        ) from error
    module.to(device or device_of(config))
    return module, build_data(config, prepared, allow)


@contextlib.contextmanager
def _mistake(node: str) -> Iterator[None]:
    """What a constructor says of the values it was given, as a mistake in the config."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{node}: {str(error).strip().splitlines()[0]}") from error


def _spec(run: Run) -> Spec:
    try:
        return Spec.from_dict(run.spec)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{run.path} is damaged: spec.json: {error}") from error


def build_data(
    config: Config, prepared: Prepared, allow: Allow = None, rank: int = 0, world: int = 1
) -> Any:
    """The LightningDataModule that belongs to the data's protocol."""
    protocol: Any = targets.locate(config["data"][targets.TARGET], allow)
    module = targets.locate(protocol.module, allow)
    return module(
        prepared=prepared,
        batch_size=int(config["data"]["batch_size"]),
        seed=int(config["seed"]),
        overfit=int(config["trainer"].get("overfit_batches", 0)),
        rank=rank,
        world=world,
    )


def overridden(
    config: Config, overrides: Sequence[str], chosen: Chosen | None = None
) -> dict[str, Any]:
    """A copy of a run's config with choices of groups, then `key=value`s put in.

    Raises InputError for unknown keys.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(config))
    for name, (_, values) in (chosen or {}).items():
        changed.pop(name, None)
        changed |= {name: dict(values)} if values is not None else {}
    known = list(events.flat({name: changed[name] for name in OPEN if changed.get(name)}))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"{override!r}: overrides read key=value")
        *path, last = key.split(".")
        node: Any = changed
        for name in path:
            node = node.get(name) if isinstance(node, dict) else None
        group = key.split(".")[0]
        if group not in OPEN:
            raise InputError(
                f"{key}: a trained run is evaluated as it is; only data can change, and what its "
                f"test does ({', '.join(IN_TEST)})"
            )
        if group in IN_TEST and not changed.get(group):
            raise InputError(f"{key}: the run has no {group}; choose one before, {group}=...")
        if not isinstance(node, dict) or last not in node or isinstance(node[last], dict):
            near = targets.did_you_mean(targets.closest(key, known))
            raise InputError(f"no key '{key}' in the run's config{near}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"{override!r} cannot be read: quote what is no YAML") from error
        targets.check_value(key, value, node[last])
        node[last] = value
        if key == "data.path" and isinstance(node[last], str):
            node[last] = str(Path(node[last]).expanduser().absolute())
    return changed


def _protocol(config: Config, allow: Allow) -> Any:
    return targets.build(config["data"], allow)


def _same_data(run: Run, prepared: Prepared | None, allow: Allow) -> Prepared:
    """The data of a run, prepared again if not given; they must still be what they were."""
    if prepared is not None:
        return prepared
    parent = Run(run.path.resolve().parents[1]) if _is_evaluation(run) else run
    trained = _spec(parent) if parent.config["data"] != run.config["data"] else None
    prepared = _protocol(run.config, allow).prepare(trained, allow)
    known = run.manifest.get("data_hash")
    if _facts(prepared.spec) != _facts(_spec(run)) or (
        known and prepared.report.get("data_hash") != known
    ):
        raise InputError(
            f"the data of {run.path} have changed since it began "
            f"({run.config['data'].get('path') or prepared.spec.source}): train a new run"
        )
    return prepared


def _facts(spec: Spec) -> Spec:
    return dataclasses.replace(spec, protocol={})  # its words may be put better some day


def _is_evaluation(run: Run) -> bool:
    """Whether this is the child folder of another run (`evaluate`)."""
    inside = run.path.resolve().parent.name == EVALUATIONS
    return inside and run.manifest.get("parent") is not None


def _check_fits(own: Spec, other: Spec) -> None:
    """Raise InputError if a model of data `own` cannot take data `other`."""
    if own.kind != other.kind:
        raise InputError(f"the run was trained on {own.kind}, the data are {other.kind}")
    for name, had in own.fixed.items():
        has = other.fixed[name]
        if had != has:
            raise InputError(f"the run was trained with {name} {had}, the data have {has}")


def _same_people(one: Config, other: Config) -> bool:
    """Whether two nodes of data read the same folder, or simulate the same people: person k of a
    simulation is the same however many there are."""
    if one["path"] != other["path"]:
        return False
    keys = (targets.TARGET, "seed")
    simulated = all(one["source"].get(key) == other["source"].get(key) for key in keys)
    return one["path"] is not None or simulated


def _check_unseen(trained: Prepared, tested: Prepared) -> None:
    """Raise InputError if what a run was trained on is among what is to test."""
    what, of = UNSEEN[trained.spec.kind]
    seen = of(trained.arrays, "train") & of(tested.arrays, "test")
    if seen:
        raise InputError(
            f"{len(seen)} of the {what} to test were trained on: leave data.split, "
            "data.fractions and data.fold as they were, or give other data"
        )


def _workouts(arrays: Arrays, part: str) -> set[Any]:
    return set(arrays["workout_id"][np.unique(arrays[part][:, 0])].tolist())


def _events(arrays: Arrays, part: str) -> set[Any]:
    """Number of the fold, user and step of each event; copies by augmentation are of nobody."""
    fold, event = arrays[part].T
    user, people = arrays["user"][event], len(arrays["user_id"])
    own = user < people
    of = (fold[own], arrays["user_id"][user[own]], arrays["step"][event[own]])
    return set(zip(*(values.tolist() for values in of), strict=True))


def _users(arrays: Arrays, part: str) -> set[Any]:
    return set(arrays["user_id"][np.unique(arrays["window_user"][arrays[part]])].tolist())


UNSEEN: Mapping[str, tuple[str, Callable[[Arrays, str], set[Any]]]] = {  # by kind of data
    "workouts": ("workouts", _workouts),
    "exercises": ("events", _events),
    "windows": ("users", _users),
}


# Processes


def _launch(run: Run, ranks: int, prepared: Prepared | None, allow: Allow) -> None:
    """Fit with one process a device. Every rank reads the run folder and the prepared arrays.

    A signal comes to this process alone, which then asks the ranks to stop by a file.
    """
    _same_data(run, prepared, allow)  # errors of input come once, not from every rank
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={ranks}", "-m", "fitexp.worker", "fit", str(run.path)]
    command += [f"--allow={prefix}" for prefix in allow or ()]
    with tempfile.TemporaryDirectory(prefix="fitexp-") as folder, StopFlag() as stop:
        request = Path(folder) / "stop"
        env = {"OMP_NUM_THREADS": str(run.config["num_threads"]), **os.environ}
        env[STOP_FILE] = str(request)
        child = subprocess.Popen(command, env=env, start_new_session=True)
        try:
            while child.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(0.1)
                if stop:
                    request.touch()
        except BaseException:
            child.terminate()  # torchrun ends its ranks
            child.wait()
            raise
    if child.returncode:
        raise RuntimeError(f"a process of the training ended with code {child.returncode}")
    if stop or not training_ended(run):
        raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fitexp.worker", description=__doc__)
    parser.add_argument("stage", choices=("fit", "test", "train"))
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--allow", action="append", help="further prefixes of _target_s")
    options = parser.parse_args(arguments)
    stages: dict[str, Callable[..., Any]] = {"fit": fit, "test": test, "train": train}
    try:
        stages[options.stage](Run(options.run), None, options.allow)
    except InputError as error:
        print(f"fitexp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0 if "WORLD_SIZE" in os.environ else 130  # torchrun takes others for a failure
    finally:
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()  # else its threads may abort the process as it ends
    return 0


if __name__ == "__main__":
    sys.exit(main())
