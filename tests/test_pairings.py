"""A model, data, task and loss that do not belong together are one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitexp import cli

FEW_USERS = "data.source.users=6"
FEW_WORKOUTS = "data.source.athletes=4 data.source.workouts=5"


@pytest.mark.slow  # a command line each
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("data=dstress_sim", "model=fitrec_attn is not for data=dstress_sim"),
        (f"model=trigram {FEW_WORKOUTS}", "takes data of kind exercises"),
        ("model=fitrec data=fenland_sim", "data=fenland_sim is of kind windows: choose of resting"),
        ("model=averages data=mmash data.path=.", "windows; did you mean model=window_averages?"),
        ("model=step2heart loss=cross_entropy data.source.users=6", "is not for Forecast"),
        ("model=exercise_attn data=workouts_sim", "no key 'data.answers'"),
        (f"model=exercise_attn loss=mse {FEW_USERS}", "loss squared_error is not for Ranking"),
        (f"loss=joint_heads {FEW_WORKOUTS}", "loss joint_heads is not for Regression"),
        (
            f"model=exercise_attn task=regression {FEW_USERS}",
            "task Regression is for data of kind workouts",
        ),
        ("model=exercise_attn data=atomic data.path=missing", "no such file or folder"),
        (f"model=exercise_attn model.hidden=0 {FEW_USERS}", "model.hidden"),
    ],
)
def test_mistakes_are_told_in_a_line_and_leave_nothing(
    words: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITEXP_CACHE", str(tmp_path / "cache"))
    assert cli.main(["train", *words.split()]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fitexp:")]
    assert said in error[-1]
    assert not list(tmp_path.glob("outputs/*"))
