"""`fitexp explain`: which inputs matter, where a network looks, which people are alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from fitexp import cli, explain
from fitexp.data.workouts.protocol import arrays_of
from fitexp.data.workouts.simulate import simulated_workouts
from fitexp.errors import InputError
from fitexp.run import Run
from tests.data.workouts.made import protocol, table

PREPARED = arrays_of(protocol(steps=60, max_steps=60, min_piece_steps=20), table(workouts=12))
WORKOUTS = len(PREPARED.arrays["part"])


def test_a_borrowed_series_is_the_lender_s_step_by_step() -> None:
    lender = explain._lenders(PREPARED, 0)
    found = explain.borrowed(PREPARED, "altitude", lender).arrays
    arrays, column = PREPARED.arrays, PREPARED.spec.inputs.index("altitude")
    offset = arrays["offset"]
    for w in range(WORKOUTS):
        own = range(offset[w], offset[w + 1])
        lent = arrays["x"][offset[lender[w]] : offset[lender[w] + 1], column]
        for step, row in enumerate(own):
            assert found["x"][row, column] == lent[min(step, len(lent) - 1)]
    np.testing.assert_array_equal(found["x"][:, 1 - column], arrays["x"][:, 1 - column])


@pytest.mark.parametrize("name", list(explain.inputs(PREPARED)))
def test_only_that_input_of_test_workouts_is_borrowed(name: str) -> None:
    lender = explain._lenders(PREPARED, 1)
    tested = PREPARED.arrays["part"] == 2
    assert (lender[~tested] == np.flatnonzero(~tested)).all()
    assert sorted(lender[tested]) == np.flatnonzero(tested).tolist()
    found = explain.borrowed(PREPARED, name, lender).arrays
    changed = {key for key in found if not np.array_equal(found[key], PREPARED.arrays[key])}
    allowed = (
        {"previous", "since_last"} if name == explain.HISTORY else {"x", "attributes", "start"}
    )
    assert changed <= allowed
    assert not {"y", "observed", "offset", "test"} & changed


def test_inputs_that_vary_are_asked_about() -> None:
    names = list(explain.inputs(PREPARED))
    assert names[:2] == ["derived_speed", "altitude"]
    assert {"user", "sport", explain.HISTORY, explain.START} <= set(names)
    none = arrays_of(protocol(steps=60, max_steps=60, history="none"), table())
    assert explain.HISTORY not in list(explain.inputs(none))


class Embedded(nn.Module):
    def __init__(self, rows: np.ndarray) -> None:
        super().__init__()
        self.user = nn.Embedding(len(rows) + 1, rows.shape[1], padding_idx=0)
        with torch.no_grad():
            self.user.weight[1:] = torch.from_numpy(rows)


def test_two_kinds_of_people_are_two_clusters() -> None:
    prepared = arrays_of(protocol(steps=60, max_steps=60), table(athletes=8))
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 0.1, (8, 3)) + 5 * (np.arange(8) % 2)[:, None]
    found = explain.alike(Embedded(rows.astype(np.float32)), prepared)
    assert isinstance(found, explain.People)
    assert max(found.silhouettes, key=lambda k: found.silhouettes[k]) == 2
    assert found.silhouettes[2] > 0.9
    clusters = found.table["cluster"].to_numpy()
    assert len(set(clusters[::2])) == len(set(clusters[1::2])) == 1
    assert clusters[0] != clusters[1]


def test_people_are_described_by_their_training_workouts() -> None:
    found = explain.what_they_do(PREPARED)
    arrays = PREPARED.arrays
    user = found.index[1]
    own = np.flatnonzero((arrays["user_id"] == user) & (arrays["part"] == 0))
    y = [
        float(arrays["y"][row])
        for w in own
        for row in range(arrays["offset"][w], arrays["offset"][w + 1])
        if arrays["observed"][row]
    ]
    sports = pd.Series(arrays["sport"][own]).value_counts(normalize=True)
    assert found.loc[user, "workouts"] == len(own)
    assert found.loc[user, "mean"] == pytest.approx(np.mean(y))
    assert found.loc[user, "share"] == pytest.approx(sports.max())
    assert sports[found.loc[user, "sport"]] == sports.max()


def test_without_embeddings_or_with_few_people_there_is_a_reason() -> None:
    assert "no embedding" in str(explain.alike(nn.Linear(2, 2), PREPARED))
    few = len(PREPARED.spec.attributes["user"]) - 1
    assert f"there are {few}" in str(explain.alike(Embedded(np.eye(few)), PREPARED))


def test_one_athlete_s_workouts() -> None:
    user = str(PREPARED.arrays["user_id"][0])
    windows = explain.only_user(PREPARED, user).arrays["test"]
    assert set(PREPARED.arrays["user_id"][windows[:, 0]]) == {user}
    with pytest.raises(InputError, match=f"no test workout; did you mean {user[:-1]}"):
        explain.only_user(PREPARED, f"{user}x")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_model_s_importance_is_in_what_it_uses(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["model=user_sport_mean", "data.source.athletes=6", "data.source.workouts=12"]
    assert cli.main(["train", *words, "hydra.run.dir=mean"]) == 0
    assert cli.main(["explain", "mean", "-o", "there"]) == 0
    printed = capsys.readouterr()
    assert "SIMULATED DATA" in printed.out
    assert printed.out.splitlines()[-1] == "there"
    rises = pd.read_csv("there/importance.csv").set_index("input")
    for name in ("derived_speed", "altitude", explain.HISTORY, explain.START):
        assert rises.loc[name, "rise"] == pytest.approx(0, abs=1e-9)
    assert rises.loc["user", "rise"] > 1
    assert rises.loc["sport", "rise"] > 1
    assert {path.name for path in Path("there").iterdir()} == {"importance.csv", "importance.png"}
    assert cli.main(["explain", "mean", "-o", "mean/config.yaml"]) == 2
    assert "cannot make mean/config.yaml: File exists" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["whole", "short"])
def test_a_network_is_explained_with_pictures(
    regime: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data.source.athletes=8", "data.source.workouts=8", "trainer.max_epochs=2"]
    small = ["model.hidden=8", "model.context_hidden=8", f"data.regime={regime}"]
    assert cli.main(["train", *words, *small, "hydra.run.dir=net"]) == 0
    run = Run("net")
    capsys.readouterr()
    assert cli.main(["explain", "net"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    out = Path(lines[-1])
    names = ("importance.png", "attention.png", "athletes.png", "athletes.csv", "importance.csv")
    assert {path.name for path in out.iterdir()} == set(names)
    at = "at_60s/" if regime == "short" else ""
    mae = run.metrics[f"test/{at}mae_bpm"]
    assert f"test MAE {mae:.2f} bpm" in lines[0]
    assert any(line.startswith("input attention: ") for line in lines)
    assert any(line.startswith("silhouette by number of clusters") for line in lines)
    people = pd.read_csv(out / "athletes.csv", dtype={"athlete": str})
    assert people["athlete"].tolist() == run.spec["attributes"]["user"][1:]
    known = simulated_workouts(path=None, athletes=8, workouts=8, seed=0).people
    assert known is not None
    for name in ("vo2max_ml_kg_min", "resting_bpm", "maximal_bpm"):
        np.testing.assert_allclose(people.set_index("athlete")[name], known[name])
    heads = next(line for line in lines if line.startswith("cluster"))
    assert heads.split()[-4:] == ["bpm", "bpm", "main", "sports"]


def test_lenders_differ_by_repeat() -> None:
    a, b = explain._lenders(PREPARED, 0), explain._lenders(PREPARED, 1)
    assert not np.array_equal(a, b)
    again = dataclasses.replace(PREPARED)
    np.testing.assert_array_equal(explain._lenders(again, 0), a)
