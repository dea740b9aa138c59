"""`fitexp predict` and `fitexp embed` of a run of windows on other people's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fitexp import actions, worker
from fitexp.errors import InputError
from fitexp.forecast import band_of, columns_read, every
from fitexp.report import bands
from fitexp.run import METRICS, PREDICTIONS, Run, write_json
from tests.data.windows.made import SERIES, T, recording
from tests.toy_run import ALLOW
from tests.window_run import window_run

OPTION = ("--allow", "tests.")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return window_run(tmp_path_factory.mktemp("runs") / "heads", loss="joint_heads")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(users: list[str]) -> pd.DataFrame:
    """The made recordings of users u3, ..., as people would bring them."""
    parts = []
    for user in users:
        made = recording(int(user[1:]), 50 + int(user[1:]))
        frame = pd.DataFrame(made.series, columns=list(SERIES)).assign(
            user=user,
            time=made.start_s + 15.0 * np.arange(len(made.series)),
            heart_rate=made.heart_rate,
        )
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def act(verb: str, run: Run, *words: str) -> int:
    return actions.act(verb, [str(run.path), *words, *OPTION], lambda path: Run(path))


@pytest.mark.slow
def test_forecasts_of_the_tested_users_are_those_of_the_run(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tested = pd.read_parquet(run.file(PREDICTIONS))
    users = sorted(tested["user_id"].unique())
    table(users).to_csv("people.csv", index=False)
    assert act("predict", run, "people.csv", "-o", "there", "--every", "15") == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    assert "90 % band: calibrated on 3 validation users of the run" in printed
    for user in users:
        own = tested[tested["user_id"] == user].set_index("step")
        found = pd.read_csv(f"there/{user}.csv", parse_dates=["time"])
        assert list(found) == ["time", "forecast_bpm", "low_bpm", "high_bpm", "measured_bpm"]
        assert len(found) == 50 + int(user[1:]) - T + 1
        assert (found["time"].diff().dropna() == pd.Timedelta("15s")).all()
        at = found.loc[own.index]
        pairs = {"forecast_bpm": "prediction", "low_bpm": "low", "high_bpm": "high"}
        for name, column in (pairs | {"measured_bpm": "target"}).items():
            np.testing.assert_allclose(at[name], own[column], atol=0.006)
        seconds = (at["time"] - pd.Timestamp(0)).dt.total_seconds()
        np.testing.assert_allclose(seconds, own["time_s"])
        assert np.isnan(found["measured_bpm"].iloc[-1])  # behind the recording's end
        assert Path(f"there/{user}.png").stat().st_size > 5000


def test_errors_of_the_summary_are_those_of_the_files(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(["u3"]).to_csv("people.csv", index=False)
    act("predict", run, "people.csv", "-o", "there")
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("u3"))
    known = pd.read_csv("there/u3.csv").dropna()
    error = known["forecast_bpm"] - known["measured_bpm"]
    cells = line.split()
    assert cells[1] == str(len(pd.read_csv("there/u3.csv")))
    assert float(cells[6]) == pytest.approx(np.sqrt((error**2).mean()), abs=0.06)
    inside = known["measured_bpm"].between(known["low_bpm"], known["high_bpm"])
    assert cells[8] == f"{100 * inside.mean():.0f}"


def test_a_person_may_have_any_name(run: Run, folder: Path) -> None:
    """Neither a path, nor markup, nor mathematics."""
    name = "../[/x] $b_{$c"
    table(["u3"]).assign(user=name).to_csv("people.csv", index=False)
    assert act("predict", run, "people.csv", "-o", "there") == 0
    assert sorted(path.suffix for path in Path("there").iterdir()) == [".csv", ".png"]


def test_every_is_a_multiple_of_the_step() -> None:
    from types import SimpleNamespace as Some

    assert every(None, Some(step_s=15.0)) == 4
    assert every(None, Some(step_s=60.0)) == 1
    assert every(None, Some(step_s=45.0)) == 2
    assert every("30", Some(step_s=15.0)) == 2
    for text in ("20", "0", "-15", "x", "nan", "inf"):
        with pytest.raises(InputError, match=r"--every .*multiple of the run's 15 s"):
            every(text, Some(step_s=15.0))


@pytest.mark.parametrize(
    ("node", "columns"),
    [
        ({"statics": ["bmi", "sex"]}, ["bmi", "sex"]),
        ({"statics": []}, []),
        ({"column": "bmi"}, ["bmi"]),
        ({"inputs": "A/R/T", "person": "resting_hr_bpm"}, ["resting_hr_bpm"]),
        ({"inputs": "A/T", "person": "resting_hr_bpm"}, []),
        ({}, []),
    ],
)
def test_columns_of_users_that_a_model_reads(node: dict[str, Any], columns: list[str]) -> None:
    assert columns_read(node) == columns


def test_the_band_is_of_validation_users_else_of_tested_ones(tmp_path: Path, run: Run) -> None:
    found = band_of(run)
    assert found is not None
    assert found.margin_bpm == run.metrics[f"val/{bands.MARGIN}"]
    other = Run(tmp_path / "other")
    other.path.mkdir()
    known = {k: v for k, v in run.metrics.items() if not k.startswith(("val/", "count/val"))}
    write_json(other.file(METRICS), known)
    assert band_of(other) is None
    tested = pd.read_parquet(run.file(PREDICTIONS)).drop(columns=["low", "high"])
    tested.to_parquet(other.file(PREDICTIONS))
    found = band_of(other)
    assert found is not None
    assert found.margin_bpm == bands.margin(tested)
    assert "3 users that the run was tested on: it has no validation part" in found.words


def test_embeddings_of_the_runs_users_from_a_file(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same numbers as of the run's own data, but the file has no parts."""
    users = [f"u{i}" for i in range(12)]
    table(users).to_parquet("people.parquet")
    assert act("embed", run, "--windows", "-o", "own.parquet") == 0
    assert act("embed", run, "people.parquet", "--windows", "-o", "given.parquet") == 0
    key = ["user_id", "step"]
    own = pd.read_parquet("own.parquet").drop(columns="part").sort_values(key)
    given = pd.read_parquet("given.parquet").sort_values(key)
    assert list(given) == list(own)
    stride = given[given["step"] % T == 0].set_index(key)
    both = own[own["step"] % T == 0].set_index(key)
    assert len(both) > 20
    np.testing.assert_allclose(stride.loc[both.index], both, atol=1e-5)
    act("embed", run, "people.parquet", "-o", "users.parquet", "--pool", "max")
    pooled = pd.read_parquet("users.parquet").set_index("user_id")
    expected = given.drop(columns="step").groupby("user_id").max()
    np.testing.assert_allclose(pooled.loc[expected.index, expected.columns], expected, atol=1e-6)
    assert "part" not in pooled
    assert "12 users, their windows pooled by max" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "words", "said"),
    [
        ("predict", [], "takes one file of people's epochs or of raw acceleration: 0 are given"),
        ("predict", ["a.csv", "b.csv"], "2 are given"),
        ("predict", ["a.csv"], "a.csv: no such file"),
        ("predict", ["a.csv", "--sport", "run"], "--sport of fitexp predict is for runs of kind"),
        ("embed", ["a.csv", "b.csv"], "one run and one file: what is 'b.csv'?"),
        ("embed", ["--users", "b.csv"], "--users is for a file of other people"),
    ],
)
def test_mistakes_are_one_line(run: Run, verb: str, words: list[str], said: str) -> None:
    with pytest.raises(InputError, match=r"^[^\n]+$") as error:
        act(verb, run, *words)
    assert said in str(error.value)


def test_runs_that_forecast_nothing(run: Run, tmp_path: Path, folder: Path) -> None:
    table(["u1"]).to_csv("people.csv", index=False)
    other = Run(tmp_path / "other")
    other.path.mkdir()
    write_json(other.file("spec.json"), run.spec)
    write_json(other.file(METRICS), {"test/reconstruction_mse": 1.0})
    with pytest.raises(InputError, match="gives windows back: it forecasts no heart rate"):
        act("predict", other, "people.csv")
    write_json(other.file(METRICS), run.metrics)
    other.file("described.json").write_text(json.dumps({"oracle": "uses the answers"}))
    with pytest.raises(InputError, match="is an oracle"):
        act("predict", other, "people.csv")


def test_a_model_fitted_at_once_forecasts_too(tmp_path: Path, folder: Path) -> None:
    run = window_run(tmp_path / "mean", model="window_global_mean")
    mean = float(worker._fitted_model(run, worker.own_data(run, ALLOW).spec, ALLOW).fitted["mean"])
    table(["u1"]).to_csv("people.csv", index=False)
    assert act("predict", run, "people.csv", "-o", "there") == 0
    found = pd.read_csv("there/u1.csv")
    np.testing.assert_allclose(found["forecast_bpm"], mean, atol=0.006)
