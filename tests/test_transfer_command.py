"""`fitexp transfer` and `fitexp embed` on a run whose embeddings are made up."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fitexp import embed, transfer, transfer_command, worker
from fitexp.actions import Options, act
from fitexp.data.prepare import Prepared
from fitexp.errors import InputError
from fitexp.outcomes import PAPER
from fitexp.report import transfer_plots
from fitexp.report.text import WIDTH
from tests.toy_windows import COLUMNS, EACH, STEPS, toy
from tests.toy_windows import WIDTH as D


class Made:
    """A finished run, as far as the commands look at it."""

    config: dict[str, Any] = {"model": {"_target_": "fitexp.models.step2heart.Step2Heart"}}  # noqa: RUF012

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        name = "autoencoder" if "autoencoder" in self.path.name else "step2heart"
        self.manifest = {"choices": {"model": name}}
        self.spec = {"kind": "windows", "simulated": True, "protocol": {"windows": "toy"}}
        self.metrics = {"test/rmse_bpm": 9.5}
        if "inputs" in self.path.name:
            self.config = {"model": {"inputs": self.path.name.removeprefix("inputs").upper()}}

    def check(self) -> None:
        pass

    def file(self, name: str) -> Path:
        return self.path / name


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Prepared, Any]]:
    """Run's name -> its data and embeddings; "run" unless there is its own. No grid, no map."""
    known = {"run": toy()}

    def of(run: Any) -> tuple[Prepared, Any]:
        return known.get(run.path.name, known["run"])

    monkeypatch.setattr(worker, "own_data", lambda run, allow: of(run)[0])
    monkeypatch.setattr(worker, "embeddings", lambda run, p, allow: of(run)[1], raising=False)
    monkeypatch.setattr(worker, "network", lambda run, prepared, allow: None)
    monkeypatch.setattr(transfer_command, "Run", Made)
    monkeypatch.setattr(transfer, "GRID", ((0.1, "l2"),))
    monkeypatch.setattr(transfer_plots, "tsne_figure", lambda *given: None)  # seconds
    return known


def fitexp(verb: str, run: Path, *words: str) -> int:
    return act(verb, [str(run), *words], Made)  # type: ignore[arg-type]


def test_a_transfer_finds_what_embeddings_hold(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world["autoencoder"] = toy(statics=("resting_hr_bpm",))
    words = ["--outcome", "vo2max_ml_min_kg,resting_hr_bpm", "--draws", "2"]
    run = tmp_path / "run"
    assert fitexp("transfer", run, *words, "--beside", str(tmp_path / "autoencoder")) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == str(run)
    assert max(map(len, said.splitlines()[:-1])) <= WIDTH
    found = json.loads((run / "transfer.json").read_text())
    rows = {(row["outcome"], row["representation"]): row for row in found["rows"]}
    names = [row["representation"] for row in found["rows"]][:5]
    assert names == ["step2heart", "autoencoder", "resting HR alone", "feature means", "noise"]
    held = rows["vo2max_ml_min_kg", "step2heart"]
    assert held["auc"] > 90
    assert held["less_feature_means"] > 20
    assert "auc" in rows["resting_hr_bpm", "step2heart"]
    for reads in ("autoencoder", "resting HR alone"):
        assert rows["resting_hr_bpm", reads]["reads_outcome"]
    assert found["width"] == D


def test_a_network_says_what_it_reads(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what its data offer: an outcome is N/A to networks that have it among their inputs."""
    world["run"] = toy(statics=("resting_hr_bpm", "age_years"))
    network = SimpleNamespace(reads=frozenset({"age_years"}))
    monkeypatch.setattr(worker, "network", lambda run, prepared, allow: network)
    words = ["--outcome", "age_years,resting_hr_bpm", "--draws", "0"]
    assert fitexp("transfer", tmp_path / "run", *words) == 0
    found = json.loads((tmp_path / "run" / "transfer.json").read_text())
    own = {r["outcome"]: r for r in found["rows"] if r["representation"] == "step2heart"}
    assert own["age_years"]["reads_outcome"]
    assert "auc" in own["resting_hr_bpm"]


def test_outcomes_of_a_file_of_users(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = world["run"][0].arrays["user_id"]
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"user_id": [*ids[5:], "nobody"], "mood": rng.random(len(ids) - 4)})
    table.to_csv(tmp_path / "users.csv", index=False)
    words = ["--users", str(tmp_path / "users.csv"), "--draws", "0"]
    assert fitexp("transfer", tmp_path / "run", *words) == 0
    assert f"{len(ids) - 5} of its {len(ids) - 4} are in the data" in capsys.readouterr().out
    found = json.loads((tmp_path / "run" / "transfer.json").read_text())
    [one] = found["outcomes"]
    assert one["outcome"] == "mood"
    unknown = [one[f"{part}_unknown"] for part in ("train", "val", "test")]
    assert sum(unknown) == 5
    assert one["training"] + one["test"] == len(ids) - 5


def test_runs_beside_each_other_have_names_of_their_own(world: Any, tmp_path: Path) -> None:
    """Runs of one model: inputs tell them apart, else a number; which is which is noted."""
    beside = [tmp_path / "inputsa", tmp_path / "x" / "same", tmp_path / "y" / "same"]
    world["same"] = (
        world["run"][0],
        {
            part: found | {"embedding": -found["embedding"][:, 1:]}
            for part, found in world["run"][1].items()
        },
    )
    words = ["--outcome", "bmi", "--draws", "0", "--beside", ",".join(map(str, beside))]
    assert fitexp("transfer", tmp_path / "run", *words) == 0
    found = json.loads((tmp_path / "run" / "transfer.json").read_text())
    names = ["step2heart", "step2heart A", "step2heart (2)", "step2heart (3)"]
    assert [row["representation"] for row in found["rows"]][:4] == names
    pairs = zip(names[1:], beside, strict=True)
    assert found["notes"] == [f"{name}: {path}" for name, path in pairs]


def test_columns_of_a_file_may_have_any_name(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All are asked for, as they are written: neither markup nor mathematics."""
    ids = world["run"][0].arrays["user_id"]
    names = ["age_years", "[red]mood[/x]", "a$b_{$c", "how it was, in words " * 5]
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((len(ids), 4)), columns=names).assign(user_id=ids)
    table.to_csv(tmp_path / "users.csv", index=False)
    words = ["--users", str(tmp_path / "users.csv"), "--draws", "0"]
    assert fitexp("transfer", tmp_path / "run", *words) == 0
    said = capsys.readouterr().out.splitlines()[:-1]
    assert max(map(len, said)) <= WIDTH
    for name in ("age", *names[1:3]):
        assert name in said
    found = json.loads((tmp_path / "run" / "transfer.json").read_text())
    assert [one["outcome"] for one in found["outcomes"]] == names


def test_too_many_outcomes_are_not_begun(world: Any, tmp_path: Path) -> None:
    ids = world["run"][0].arrays["user_id"]
    table = pd.DataFrame({"user_id": ids, **{f"c{k}": np.arange(len(ids)) for k in range(2000)}})
    table.to_parquet(tmp_path / "users.parquet")
    words = ["--users", str(tmp_path / "users.parquet")]
    with pytest.raises(InputError, match="2,000 outcomes: name at most 40 by --outcome"):
        fitexp("transfer", tmp_path / "run", *words)
    assert fitexp("transfer", tmp_path / "run", *words, "--draws", "0", "--outcome", "c7") == 0


def test_evaluate_adds_to_the_runs_metrics(world: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert fitexp("transfer", tmp_path / "run", "--evaluate") == 0
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert found["test/rmse_bpm"] == 9.5
    assert len(found) == 1 + 4 * (3 * len(COLUMNS) - 1)  # resting heart rate reads itself
    assert found["test/transfer/vo2max_ml_min_kg/auc_pca99"] > 90


def test_an_outcome_of_one_class_is_left_out_unless_it_is_asked_for(
    world: Any, tmp_path: Path
) -> None:
    prepared, _ = world["run"]
    prepared.arrays["users"][:, COLUMNS.index("sex")] = 1
    part = embed.part_of_users(prepared.arrays)
    found, notes = transfer_command.outcomes_of(prepared, part, Options({}, frozenset()))
    assert [one.name for one in found] == [
        name for name in PAPER if name in COLUMNS[:2] + COLUMNS[3:]
    ]
    [note] = notes
    assert note.startswith("left out: outcome sex: 48 of 48 training users are at or above 1;")
    with pytest.raises(InputError, match="outcome sex: 48 of 48"):
        fitexp("transfer", tmp_path / "run", "--outcome", "sex")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["b"], "fitexp transfer takes one run: what is 'b'?"),
        (["--pool", "men"], "--pool men: choose from mean, min, max, median; did you mean"),
        (["--draws", "1"], "--draws 1: a whole number of noise probes, 2 or more, or 0"),
        (["--draws", "-2"], "--draws -2: a whole number"),
        (["--evaluate", "--pool", "max"], "--evaluate takes no --pool"),
        (["--outcome", "agd_years"], "--outcome agd_years: the users have age_years, bmi, sex"),
        (["--beside", "others"], "--beside others: its users or their parts are others"),
        (["--users", "none.csv"], "none.csv: no such file (--users)"),
    ],
)
def test_mistakes_are_one_line(world: Any, tmp_path: Path, words: list[str], said: str) -> None:
    world["others"] = toy(seed=1)
    with pytest.raises(InputError, match=r"^[^\n]+$") as error:
        fitexp("transfer", tmp_path / "run", *words)
    assert said in str(error.value)


def test_a_file_of_strangers(world: Any, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user_id,age\nx,1\ny,2\n")
    with pytest.raises(InputError, match="none of its 2 users are in the run's data"):
        fitexp("transfer", tmp_path / "run", "--users", str(tmp_path / "users.csv"))


# embed


def test_embeddings_of_users(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared, parts = world["run"]
    file = tmp_path / "new" / "users.parquet"
    assert fitexp("embed", tmp_path / "run", "-o", str(file), "--pool", "max") == 0
    assert "SIMULATED" in capsys.readouterr().out
    table = pd.read_parquet(file)
    assert list(table.columns) == ["user_id", "part", "windows", *(f"e_{i}" for i in range(D))]
    assert table["user_id"].tolist() == prepared.arrays["user_id"].tolist()
    assert (table["windows"] == EACH).all()
    for part, found in parts.items():
        rows = table[table["part"] == part]
        users = np.unique(found["rows"][:, 0])
        assert rows.index.tolist() == users.tolist()
        own = found["embedding"][found["rows"][:, 0] == users[0]]
        np.testing.assert_array_equal(rows.iloc[0, 3:].to_numpy(float), own.max(axis=0))


def test_embeddings_of_windows(world: Any, tmp_path: Path) -> None:
    prepared, parts = world["run"]
    file = tmp_path / "windows.parquet"
    assert fitexp("embed", tmp_path / "run", "--windows", "-o", str(file)) == 0
    table = pd.read_parquet(file)
    assert len(table) == len(prepared.arrays["window_user"])
    assert not table.duplicated(["user_id", "step"]).any()
    assert set(table["step"]) == set(range(EACH)) < set(range(STEPS))
    test = table[table["part"] == "test"]
    np.testing.assert_array_equal(test.iloc[:, 3:].to_numpy(np.float32), parts["test"]["embedding"])


def test_a_user_is_in_one_part(world: Any) -> None:
    prepared, _ = world["run"]
    part = embed.part_of_users(prepared.arrays)
    windows = np.bincount(part[prepared.arrays["window_user"]], minlength=3)
    assert windows.tolist() == [len(prepared.arrays[name]) for name in ("train", "val", "test")]
    prepared.arrays["test"][0] = prepared.arrays["train"][0]
    with pytest.raises(ValueError, match="is in test and another part"):
        embed.part_of_users(prepared.arrays)


def test_mistakes_of_embed(world: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"-o users.csv: the table is a Parquet file, as users.p"):
        fitexp("embed", tmp_path / "run", "-o", "users.csv")
    with pytest.raises(InputError, match="takes one run"):
        fitexp("embed", tmp_path / "run", "b", "c")


def test_places_where_no_table_can_be_written(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are said before the network works."""
    monkeypatch.setattr(worker, "own_data", lambda run, allow: pytest.fail("too late"))
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"folder.parquet is a folder: name a file, as .*users"):
        fitexp("embed", tmp_path / "run", "-o", str(tmp_path / "folder.parquet"))
    with pytest.raises(InputError, match=r"cannot make .*file"):
        fitexp("embed", tmp_path / "run", "-o", str(tmp_path / "file" / "users.parquet"))
