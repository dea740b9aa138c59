"""What a finished run leaves, and what is refused before training."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fitexp import targets, worker
from fitexp.checkpoints import StopFlag, load_checkpoint
from fitexp.data.spec import WorkoutSpec
from fitexp.errors import InputError
from fitexp.progress import epoch_line
from fitexp.run import BEST, LAST, Run, write_json
from fitexp.trainer import check_share
from tests.toy_run import ALLOW, ToyModel, toy_run


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FITEXP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, _cache: None) -> Run:
    run = toy_run(tmp_path_factory.mktemp("runs") / "whole", trainer__max_epochs=2)
    worker.train(run, allow=ALLOW)
    return run


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, _cache: None) -> Run:
    run = toy_run(
        tmp_path_factory.mktemp("runs") / "short",
        trainer__max_epochs=2,
        data__regime="short",
        data__steps=5,
        data__batch_size=64,
    )
    worker.train(run, allow=ALLOW)
    return run


@pytest.mark.slow
def test_files_of_a_run(whole: Run) -> None:
    names = {path.name for path in whole.path.iterdir()}
    assert {"config.yaml", "spec.json", "manifest.json", "metrics.json", BEST, LAST} <= names
    assert {"predictions.parquet", "learning_curve.csv", "plots"} <= names
    assert any(name.startswith("events.") for name in names)
    assert not [name for name in names if name.startswith(".") or "hparams" in name]


@pytest.mark.parametrize("name", [BEST, LAST])
def test_checkpoints_hold_tensors_and_plain_values(whole: Run, name: str) -> None:
    loaded = torch.load(whole.file(name), weights_only=True)
    kinds: set[type] = set()

    def walk(value: Any) -> None:
        kinds.add(type(value))
        if isinstance(value, dict):
            for key, item in value.items():
                walk(key)
                walk(item)
        elif isinstance(value, list | tuple):
            for item in value:
                walk(item)

    walk({k: v for k, v in loaded.items() if k != "state_dict"})
    assert kinds <= {dict, list, tuple, str, int, float, bool, type(None), torch.Tensor}
    assert all(isinstance(value, torch.Tensor) for value in loaded["state_dict"].values())


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["whole", "short"])
def test_predictions_are_those_of_the_best_weights(
    regime: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(regime)
    spec = WorkoutSpec.from_dict(run.spec)
    arrays = targets.build(run.config["data"]).prepare().arrays
    for part in ("val", "test"):
        found = worker.predict_run(run, part=part, allow=ALLOW)
        assert np.array_equal(found["rows"], arrays[part])
        labels = set(spec.horizons) or {"whole"}
        assert set(found) == labels | {"rows"}
        for label in labels:
            shape = (len(arrays[part]),) + ((spec.steps,) if regime == "whole" else ())
            assert found[label].shape == shape
            assert found[label].dtype == np.float32
            assert 40 < found[label].mean() < 200


@pytest.mark.parametrize("regime", ["whole", "short"])
def test_batch_size_does_not_change_predictions(
    regime: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(regime)
    spec = WorkoutSpec.from_dict(run.spec)
    module = worker.build_module(run.config, spec, ALLOW)
    module.load_state_dict(load_checkpoint(run.file(BEST))["state_dict"])
    prepared = targets.build(run.config["data"]).prepare()
    found = []
    for batch_size in (3, 1000):
        config = {**run.config, "data": {**run.config["data"], "batch_size": batch_size}}
        data = worker.build_data(config, prepared, ALLOW)
        found.append(worker.predict(module, data, "test"))
    for label in found[0]:
        assert np.allclose(found[0][label], found[1][label], atol=1e-3)


@pytest.mark.parametrize("regime", ["whole", "short"])
def test_validation_figures_are_those_of_the_predictions(
    regime: str, request: pytest.FixtureRequest
) -> None:
    """val/mae as Lightning logged it, from the predictions file's own way to it."""
    run: Run = request.getfixturevalue(regime)
    spec = WorkoutSpec.from_dict(run.spec)
    prepared = targets.build(run.config["data"]).prepare()
    found = worker.predict_run(run, prepared, "val", ALLOW)
    data = worker.build_data(run.config, prepared, ALLOW)
    whole = next(iter(data.batches("val").gather(np.arange(len(found["rows"])))[n] for n in ["y"]))
    mask = data.batches("val").gather(np.arange(len(found["rows"])))["mask"].numpy() == 1
    if regime == "whole":
        error = (found["whole"] - whole.numpy())[mask]
    else:
        first = next(label for label, ahead in spec.horizons.items() if ahead == 1)
        error = (found[first] - whole.numpy()[:, -1])[mask[:, -1]]
    best = load_checkpoint(run.file(BEST))
    row = next(r for r in _rows(best) if r["step"] == best["global_step"])
    assert np.abs(error).mean() == pytest.approx(row["val/mae_bpm"], rel=1e-4)


def _rows(checkpoint: dict[str, Any]) -> list[dict[str, float]]:
    from fitexp.checkpoints import training_state

    rows: list[dict[str, float]] = training_state(checkpoint)["curve"]
    return rows


def test_evaluate_gives_the_same_figures_to_the_last_digit(whole: Run) -> None:
    before = whole.file("metrics.json").read_text()
    again, figures = worker.evaluate(whole, allow=ALLOW)
    assert again.path == whole.path
    assert whole.file("metrics.json").read_text() == before
    assert figures == whole.metrics


@pytest.mark.slow
def test_evaluate_keeps_what_recommend_added(whole: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(whole.path, tmp_path / "run"))
    own = run.metrics
    added = {"test/recommend/mrr": 0.25, "baseline/random/test/recommend/mrr": 0.1}
    write_json(run.file("metrics.json"), own | added | {"test/mae_bpm": -1.0})
    _, figures = worker.evaluate(run, allow=ALLOW)
    assert figures == run.metrics == own | added
    assert worker.test(run, None, ALLOW) == own  # after training, weights may be others


@pytest.mark.slow
def test_evaluate_on_other_data_keeps_the_run_as_it_was(whole: Run) -> None:
    before = whole.file("metrics.json").read_text()
    child, figures = worker.evaluate(whole, ["data.source.seed=5"], allow=ALLOW)
    assert child.path.parent == whole.path / "evaluations"
    assert child.status == "finished"
    assert figures != whole.metrics
    assert child.spec["scaling"] == whole.spec["scaling"]
    assert whole.file("metrics.json").read_text() == before
    again, same = worker.evaluate(child, allow=ALLOW)
    assert again.path == child.path
    assert same == figures


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.sourc.seed=1", "data.source.seed"),
        ("optimizer.lr=1", "only data can change"),
        ("data.steps", "key=value"),
        ("data.steps=12", "steps 30"),
    ],
)
def test_evaluate_refuses(whole: Run, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        worker.evaluate(whole, [override], allow=ALLOW)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model___target_": "tests.test_worker.Stranger"}, "takes data of kind windows"),
        ({"model___target_": "os.system"}, "outside"),
        ({"early_stopping__monitor": "val/mae"}, "did you mean val/mae_bpm"),
        ({"trainer__max_epoch": 3}, "did you mean trainer.max_epochs"),
        ({"trainer__logger": False}, "trainer.logger is given by fitexp"),
        ({"early_stopping__patienc": 3}, "did you mean early_stopping.patience"),
        ({"early_stopping__mode": "max"}, "early_stopping.mode is given by fitexp"),
        ({"accelerator__accelerator": "tpu"}, "one of auto, cpu, gpu"),
        ({"trainer__precision": "31-true"}, "31-true"),
        ({"accelerator__accelerator": "abacus"}, "abacus"),
        ({"accelerator__accelerator": "mps"}, "torch sees no such device"),
        ({"accelerator__devices": 0}, "accelerator.devices=0"),
        (
            {"trainer__limit_train_batches": 0.001},
            r"0\.001 of \d+ batches is none: .*batch_size=\d+$",
        ),
        ({"trainer__overfit_batches": 0.5}, "overfit_batches=0.5: it takes a whole number, 0 up"),
        ({"trainer__overfit_batches": -1}, "overfit_batches=-1: it takes a whole number, 0 up"),
        ({"trainer__overfit_batches": True}, "overfit_batches=True: it takes a whole number, 0 up"),
        ({"trainer__profiler": "simpel"}, "simple, advanced, pytorch, null; did you mean simple"),
        ({"trainer__fast_dev_run": True}, "debug=fast_dev_run instead"),
        ({"task__reduction": "max"}, "task.reduction"),
    ],
)
def test_mistakes_are_told_before_training(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    run = toy_run(tmp_path / "run", **changes)
    with pytest.raises(InputError, match=message):
        worker.train(run, allow=ALLOW)
    assert run.status == "failed"
    assert not run.file(LAST).exists()


def test_a_share_of_batches_that_is_none_names_what_makes_more() -> None:
    node: dict[str, Any] = {"batch_size": 16, "train_stride": 4}
    config = {"trainer": {"limit_train_batches": 0.03125}, "data": node}
    check_share(config, 32)
    check_share(config | {"trainer": {"limit_train_batches": 1}}, 1)
    with pytest.raises(InputError, match=r"batch_size=16, or .* \(data\.train_stride\)"):
        check_share(config, 31)


class Stranger(torch.nn.Module):
    kind = "windows"


def test_changed_data_are_not_trained_on(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "run")
    run.update(data_hash="0" * 64)
    with pytest.raises(InputError, match="have changed since"):
        worker.fit(run, allow=ALLOW)


def test_an_untrained_or_damaged_run_says_so(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"no best\.ckpt"):
        worker.test(run, allow=ALLOW)
    run.file(LAST).write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"last\.ckpt cannot be read"):
        worker.fit(run, allow=ALLOW)


def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "run", optimizer__lr=1e30)
    with pytest.raises(InputError, match=r"lower optimizer\.lr"):
        worker.train(run, allow=ALLOW)


def test_one_line_an_epoch_on_standard_error_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = toy_run(tmp_path / "run", trainer__max_epochs=2, accelerator__accelerator="auto")
    capfd.readouterr()
    worker.fit(run, allow=ALLOW)
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 3
    assert lines[0].startswith("fitexp: training on ")
    assert lines[1].startswith("epoch 1/2  train ")
    assert "bpm" in lines[2]


def test_epoch_line() -> None:
    row = {"epoch": 3, "train/loss": 0.12345, "val/loss": 2.0, "val/mae_bpm": 5.678, "seconds": 1.2}
    assert epoch_line(row, True, 50, "val/mae_bpm") == (
        "epoch  3/50  train 0.1235  val 2  mae 5.68 bpm  1.2 s  best"
    )
    assert epoch_line({"epoch": 1, "seconds": 0.04}, False, -1, "val/mae_km_h") == "epoch  1  0.0 s"


def test_the_manifest_tells_the_story(whole: Run) -> None:
    manifest = json.loads(whole.file("manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["started"] <= manifest["finished"]
    assert math.isfinite(manifest["seconds"])


def test_a_stop_file_counts_as_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITEXP_STOP_FILE", str(tmp_path / "stop"))
    flag = StopFlag()
    assert not flag
    (tmp_path / "stop").touch()
    assert flag


@pytest.mark.slow
def test_denormals_are_zero_in_training_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[bool, set[float]] = {True: set(), False: set()}
    forward = ToyModel.forward

    def seeing(self: ToyModel, batch: Any) -> torch.Tensor:
        seen[self.training].add(float(torch.tensor(1e-39) / 2.0))
        return forward(self, batch)

    monkeypatch.setattr(ToyModel, "forward", seeing)
    worker.train(toy_run(tmp_path / "run", trainer__max_epochs=1), allow=ALLOW)
    assert seen[True] == {0.0}
    assert any(value > 0.0 for value in seen[False])  # the test
    assert float(torch.tensor(1e-39) / 2.0) > 0.0
