"""What TensorBoard shows of runs, asked of its own readers and of the HPARAMS tab's backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from fitexp import worker
from fitexp.events import hyperparameters
from fitexp.run import Run
from tests.toy_run import ALLOW, CrashError, ToyModel, curve, toy_run

pytestmark = pytest.mark.slow  # each trains

WHOLE = ["best/val_mae_bpm", "best/val_rmse_bpm", "test/mae_bpm", "test/rmse_bpm"]
AHEAD = ["test/at_10s/mae_bpm", "test/at_30s/mae_bpm"]
IN_METRICS = {"best/val_mae_bpm": "val/mae_bpm", "best/val_rmse_bpm": "val/rmse_bpm"}
FAILED = Path("sweep") / "toy_seed=2"
SHORT: dict[str, Any] = {
    "data__regime": "short",
    "data__steps": 5,
    "data__batch_size": 64,
    "trainer__max_epochs": 2,
}


@pytest.fixture(scope="module")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sweep: seed 0 finished, 1 was cut twice and resumed, 2 failed in its second epoch."""
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FITEXP_CACHE", str(tmp_path_factory.mktemp("cache")))
        runs = []
        for seed in range(3):
            path = folder / "sweep" / f"toy_seed={seed}"
            runs.append(toy_run(path, seed=seed, trainer__log_every_n_steps=1))
            runs[-1].update(choices={"model": "toy", "data": "workouts_sim"})
        whole, resumed, failed = runs
        worker.train(whole, allow=ALLOW)
        crash(patch, failed, at=10)
        crash(patch, resumed, at=2)  # before anything was saved
        crash(patch, resumed, at=10)
        worker.train(resumed, allow=ALLOW)
        worker.train(resumed, allow=ALLOW)  # tested once more
        yield folder


def crash(patch: pytest.MonkeyPatch, run: Run, at: int) -> None:
    with patch.context() as crashing:
        crashing.setattr(ToyModel, "calls", 0)
        crashing.setattr(ToyModel, "crash_at", at)
        with pytest.raises(CrashError):
            worker.train(run, allow=ALLOW)


def finished(logdir: Path) -> list[Run]:
    return [Run(logdir / "sweep" / f"toy_seed={seed}") for seed in (0, 1)]


def read(run: Run) -> EventAccumulator:
    return EventAccumulator(str(run.path), size_guidance={"scalars": 0, "images": 0}).Reload()


class Tab:
    """The HPARAMS tab of a logdir: its columns, and by run name its hyperparameters and figures."""

    def __init__(self, logdir: Path) -> None:
        multiplexer = EventMultiplexer().AddRunsFromDirectory(str(logdir))
        multiplexer.Reload()
        provider = MultiplexerDataProvider(multiplexer, str(logdir))
        backend = Context(TBContext(data_provider=provider, multiplexer=multiplexer))
        context = RequestContext()
        self.runs = set(multiplexer.Runs())
        request = api_pb2.GetExperimentRequest()
        experiment = get_experiment.Handler(context, backend, "", request).run()
        self.columns = [info.name for info in experiment.hparam_infos]
        self.metrics = [info.name.tag for info in experiment.metric_infos]
        everything = api_pb2.ListSessionGroupsRequest(
            slice_size=100,
            allowed_statuses=api_pb2.Status.values(),
        )
        response = list_session_groups.Handler(context, backend, "", everything).run()
        self.status: dict[str, int] = {}
        self.hparams: dict[str, Mapping[str, Any]] = {}
        self.figures: dict[str, dict[str, float]] = {}
        for group in response.session_groups:
            self.status[group.name] = group.sessions[0].status
            self.hparams[group.name] = group.hparams
            self.figures[group.name] = {v.name.tag: v.value for v in group.metric_values}


@pytest.fixture(scope="module")
def tab(logdir: Path) -> Tab:
    return Tab(logdir)


def test_runs_are_called_as_their_folders(tab: Tab) -> None:
    folders = {f"sweep/toy_seed={seed}" for seed in range(3)}
    assert tab.runs == folders
    assert set(tab.hparams) == folders


def test_the_hparams_tab_compares_the_figures_of_best_ckpt(tab: Tab, logdir: Path) -> None:
    assert tab.metrics == WHOLE
    for run in finished(logdir):
        found = tab.figures[f"sweep/{run.path.name}"]
        assert list(found) == WHOLE
        for name, value in found.items():
            assert value == pytest.approx(run.metrics[IN_METRICS.get(name, name)], rel=1e-6)
    last = [read(run).Scalars("val/mae_bpm")[-1].value for run in finished(logdir)]
    assert last != [found["best/val_mae_bpm"] for found in tab.figures.values() if found]


def test_hyperparameters_are_the_choices_and_the_config(tab: Tab) -> None:
    for seed in range(3):
        session = tab.hparams[f"sweep/toy_seed={seed}"]
        assert session["seed"].number_value == seed
        assert session["optimizer.lr"].number_value == 0.05
        assert session["data.regime"].string_value == "whole"
        assert session["task.teacher_forcing"].string_value == "false"
        assert session["model"].string_value == "toy"
        assert session["data.inputs"].string_value == '["derived_speed", "altitude"]'
        assert set(tab.columns) == set(session)
    assert not [name for name in tab.columns if name.endswith("._target_")]
    assert hyperparameters({"a": None, "b": {"c": 1}, "d": True}, {}) == {"b.c": 1, "d": "true"}


def test_a_run_that_failed_shows_no_result(tab: Tab, logdir: Path) -> None:
    assert Run(logdir / FAILED).status == "failed"
    assert tab.figures[FAILED.as_posix()] == {}
    success = {name for name, status in tab.status.items() if status == api_pb2.STATUS_SUCCESS}
    assert success == tab.runs - {FAILED.as_posix()}
    tags = read(Run(logdir / FAILED)).Tags()
    assert "val/mae_bpm" in tags["scalars"]
    assert not [name for name in tags["scalars"] if name.startswith(("test/", "best/"))]
    assert not tags["images"]


def test_curves_are_of_every_epoch_and_results_are_there_once(logdir: Path) -> None:
    for run in finished(logdir):
        events = read(run)
        header, *rows = curve(run)
        for name in ("train/loss", "val/loss", "val/mae_bpm", "val/rmse_bpm"):
            column = header.index(name)
            expected = [pytest.approx(float(row[column]), rel=1e-6) for row in rows]
            assert [event.value for event in events.Scalars(name)] == expected
        steps = int(rows[-1][header.index("step")])
        assert [event.step for event in events.Scalars("train/loss_step")] == list(range(steps))
        for name in (*WHOLE, "baseline/user_mean/test/mae_bpm"):
            (event,) = events.Scalars(name)
            assert event.step == steps
        for name in events.Tags()["images"]:
            assert len(events.Images(name)) == 1
        assert "test/workouts" in events.Tags()["images"]


def test_the_short_regime_shows_every_horizon(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "outputs" / "short", **SHORT)
    worker.train(run, allow=ALLOW)
    tab = Tab(tmp_path / "outputs")
    assert tab.metrics == [*WHOLE, *AHEAD]
    for name in AHEAD:
        assert tab.figures["short"][name] == pytest.approx(run.metrics[name], rel=1e-6)
