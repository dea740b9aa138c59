"""`fitexp predict`: what a trained run says of workouts in files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fitexp import cli, predict, worker
from fitexp.data.spec import UNKNOWN
from fitexp.data.workouts.protocol import arrays_of
from fitexp.errors import InputError
from fitexp.run import Run
from tests.data.workouts.made import protocol, table, trivial

FILES = ("sweat_4801048867.fit", "sweat_activity_5039744860.tcx", "sweat_activity_5039744860.gpx")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of a trivial model on a few simulated workouts."""
    path = tmp_path_factory.mktemp("runs") / "curve"
    words = ["model=user_curve", "data.source.athletes=6", "data.source.workouts=12"]
    assert cli.main(["train", *words, f"hydra.run.dir={path}"]) == 0
    return Run(path)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ride(folder: Path, name: str = "ride.csv", minutes: int = 20, **columns: Any) -> Path:
    """Samples every 5 s at 25 km/h, without heart rate unless given."""
    time = np.arange(0, minutes * 60 + 1, 5.0)
    frame = pd.DataFrame({"t_s": time, "speed_km_h": 25.0, "altitude_m": 100.0} | columns)
    frame.to_csv(folder / name, index=False)
    return folder / name


@pytest.mark.slow
def test_a_planned_ride_of_a_known_user(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = run.spec["attributes"]["user"][1]
    ride(folder)
    words = ["predict", str(run.path), "ride.csv", "--athlete", user, "--sport", "bike"]
    assert cli.main([*words, "-o", "there"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[0] == f"heart rate in bpm of user {user}   MODEL TRAINED ON SIMULATED DATA"
    assert lines[-1] == "there"
    assert max(map(len, lines)) <= 100
    found = pd.read_csv("there/ride.csv")
    assert list(found) == ["time_s", "predicted_bpm", "low_bpm", "high_bpm", "measured_bpm"]
    assert len(found) == 241
    assert found["measured_bpm"].isna().all()
    known = found.dropna(subset=["predicted_bpm"])
    assert len(known) == 241
    assert (known["low_bpm"] < known["predicted_bpm"]).all()
    assert (known["predicted_bpm"] < known["high_bpm"]).all()
    assert Path("there/ride.png").stat().st_size > 5000
    # at the model's own steps it is the model: user's mean + curve by minute
    prepared = worker.own_data(run)
    model = worker._fitted_model(run, prepared.spec, None)
    code = list(prepared.spec.attributes["user"]).index(user)
    mean = model.fitted["means1"][model.fitted["keys1"][:, 0].tolist().index(code)]
    expected = mean + model.fitted["curve"][np.arange(121) * 10 // 60]
    np.testing.assert_allclose(known["predicted_bpm"][::2], expected, atol=0.01)


def test_a_stranger_gets_the_population_and_is_told_what_it_costs(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ride(folder)
    assert cli.main(["predict", str(run.path), "ride.csv", "--user", "nobody"]) == 0
    printed = capsys.readouterr().err
    assert "the run does not know user nobody" in printed
    assert "bpm MAE" in printed
    assert "sport unknown is unknown to the run" in printed


@pytest.mark.slow
def test_first_minutes_move_the_rest_by_their_lasting_share(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = run.spec["attributes"]["user"][1]
    words = [str(run.path), "--user", user, "--sport", "bike"]
    time = np.arange(0, 20 * 60 + 1, 5.0)
    ride(folder)
    cli.main(["predict", *words, "ride.csv", "-o", "plain"])
    plain = pd.read_csv("plain/ride.csv")["predicted_bpm"].to_numpy()
    measured = np.where(time <= 600, plain + 20.0, plain)  # 20 bpm above the model at first
    ride(folder, heart_rate=measured)
    cli.main(["predict", *words, "ride.csv", "-o", "given", "--given", "10min"])
    given = pd.read_csv("given/ride.csv")["predicted_bpm"].to_numpy()
    apart = given - plain
    np.testing.assert_allclose(apart[time <= 600], 0, atol=0.02)
    after = apart[time > 600]
    assert np.ptp(after) < 0.03
    assert 1 < after[0] <= 20.02  # people's days differ in the simulator
    capsys.readouterr()
    ride(folder)
    assert cli.main(["predict", *words, "ride.csv", "--given", "10min"]) == 2
    assert "no heart rate in its first 600 s (--given)" in capsys.readouterr().err


def test_lasting_share_is_least_squares_on_validation_workouts() -> None:
    prepared = arrays_of(protocol(steps=100, max_steps=100), table(minutes=15))
    model = trivial(prepared)["user_mean"]
    predicted = predict.series(prepared, model.predict(prepared.arrays, "val"))
    found = predict.validation_of(prepared, predicted, 300.0)
    arrays, first, later, rest = prepared.arrays, [], [], []
    for w in np.flatnonzero(arrays["part"] == 1):
        early, late = [], []
        for row in range(arrays["offset"][w], arrays["offset"][w + 1]):
            if arrays["observed"][row]:
                apart = float(arrays["y"][row]) - predicted[row]
                (early if arrays["elapsed_s"][row] <= 300 else late).append(apart)
        first.append(np.mean(early))
        later.append(np.mean(late))
        rest.append(np.array(late))
    share = float(np.clip(np.dot(first, later) / np.dot(first, first), 0, 1))
    assert found.share == pytest.approx(share)
    pooled = np.concatenate([r - share * o for r, o in zip(rest, first, strict=True)])
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(pooled, [0.1, 0.9])))
    assert found.mae == pytest.approx(np.abs(pooled).mean())
    assert found.workouts == len(first)
    plain = predict.validation_of(prepared, predicted, 0.0)
    assert plain.share is None


def test_strangers_have_no_embedding_no_past_and_the_population_s_start() -> None:
    prepared = arrays_of(protocol(steps=30, max_steps=60), table())
    found = predict.as_strangers(prepared).arrays
    assert (found["attributes"][:, 0] == 0).all()
    assert (found["previous"] == -1).all()
    assert set(found["start"]) == {np.float32(prepared.spec.start_by_user[UNKNOWN])}
    assert (prepared.arrays["attributes"][:, 0] > 0).any()
    np.testing.assert_array_equal(found["x"], prepared.arrays["x"])


def test_planned_workouts_are_tested_whatever_they_hold_and_look_back() -> None:
    """The arrays of a planned workout are those it has as a test workout of the same run."""
    made, rules = table(), protocol(steps=30, max_steps=60)
    own = arrays_of(rules, made)
    last = int(np.flatnonzero(own.arrays["part"] == 2)[0])
    name = str(own.arrays["workout_id"][last])
    session = made.sessions.index[made.sessions["workout"] == name][0]
    samples = made.samples.copy()
    samples.loc[samples["session"] == session, "heart_rate_bpm"] = np.nan
    plan = arrays_of(rules, dataclasses.replace(made, samples=samples), own.spec, [name])
    again = int(np.flatnonzero(plan.arrays["part"] == 2)[0])
    assert (plan.arrays["part"] == 2).sum() == 1
    here, there = (
        slice(p.arrays["offset"][w], p.arrays["offset"][w + 1])
        for p, w in ((own, last), (plan, again))
    )
    np.testing.assert_array_equal(plan.arrays["x"][there], own.arrays["x"][here])
    assert not plan.arrays["observed"][there].any()
    ids = own.arrays["workout_id"]
    before = plan.arrays["workout_id"][plan.arrays["previous"][again]]
    assert before == ids[own.arrays["previous"][last]]
    for column in ("attributes", "start", "since_last"):
        np.testing.assert_array_equal(plan.arrays[column][again], own.arrays[column][last])


def test_planned_workouts_are_nobody_s_history() -> None:
    made, rules = table(), protocol(steps=30, max_steps=60)
    own = arrays_of(rules, made)
    user = str(own.arrays["user_id"][0])
    names = [str(n) for n in own.arrays["workout_id"][own.arrays["user_id"] == user]][-2:]
    plan = arrays_of(rules, made, own.spec, names).arrays
    ids = plan["workout_id"].tolist()
    for name in names:
        before = plan["previous"][ids.index(name)]
        assert before >= 0
        assert ids[before] not in names


@pytest.mark.slow
def test_recorded_files(
    run: Run, folder: Path, real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(real_data / "fit-importer-samples" / name) for name in FILES]
    assert cli.main(["predict", str(run.path), *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    out = Path(lines[-1])
    names = {path.name for path in out.iterdir()}
    stems = ["sweat_4801048867", "sweat_activity_5039744860", "sweat_activity_5039744860_2"]
    assert names == {f"{stem}{ending}" for stem in stems for ending in (".csv", ".png")}
    found = pd.read_csv(out / "sweat_4801048867.csv")
    assert found["predicted_bpm"].notna().mean() > 0.95
    assert found["measured_bpm"].between(30, 230).mean() > 0.9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("RUN", "fitexp predict needs files"),
        ("RUN nothing.fit", "nothing.fit: no such file"),
        ("RUN ride.csv --given soon", "--given soon: minutes or seconds"),
        ("RUN short.csv", "plan short cannot be predicted: 1 workouts with fewer than 2 samples"),
        ("RUN still.csv", "still.csv has neither distance nor speed"),
        ("RUN back.csv", "back.csv, line 3, t_s: seconds from the start that increase"),
        ("RUN ride.csv --usr 3", "did you mean --user?"),
        ("nowhere ride.csv", "nowhere: no such run folder"),
    ],
)
def test_mistakes(
    words: str, said: str, run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ride(folder)
    ride(folder, "short.csv", minutes=0)
    ride(folder, "still.csv", speed_km_h=np.nan)
    (folder / "back.csv").write_text("t_s,speed_km_h\n5,10\n5,10\n6,10\n")
    assert cli.main(["predict", *words.replace("RUN", str(run.path)).split()]) == 2
    printed = capsys.readouterr()
    last = printed.err.splitlines()[-1]
    assert said in last
    assert printed.out == ""
    assert not (folder / "outputs").exists()


def test_runs_that_cannot_predict_whole_workouts(run: Run) -> None:
    spec = worker._spec(run)
    for change, said in (
        ({"regime": "short"}, "data.regime=whole"),
        ({"target": "derived_speed"}, "heart_rate"),
    ):
        with pytest.raises(InputError, match=said):
            predict.check(run, dataclasses.replace(spec, **change))
