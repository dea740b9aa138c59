"""Every config composes, and its keys are what its target takes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from fitexp import compose, targets

CONF = Path(__file__).parents[1] / "conf"
CHOICES = sorted(
    (str(path.parent.relative_to(CONF)), path.stem)
    for path in CONF.rglob("*.yaml")
    if path.parent not in (CONF, CONF / "table") and not path.stem.startswith("_")
)
MODELS, DEBUGS = (
    sorted(choice for group, choice in CHOICES if group == wanted) for wanted in ("model", "debug")
)
OF_EACH_KIND = ("exercise_attn", "fitrec_attn", "step2heart")
# Keys without a default that a choice needs to be composed.
NEEDED = {
    ("data", "activities"): ["data.path=."],
    ("data", "endomondo"): ["data.path=endomondoHR_proper.json"],
    ("data", "workout_table"): ["data.path=."],
    ("data", "atomic"): ["data.path=.", "model=exercise_attn"],
    ("data", "dstress"): ["data.path=.", "model=exercise_attn"],
    ("data", "dstress_sim"): ["model=exercise_attn"],
    ("data", "exercise_log"): ["data.path=.", "model=exercise_attn"],
    ("data", "movielens100k"): ["model=exercise_attn"],
    ("data", "fenland_sim"): ["model=step2heart"],
    ("data", "epochs"): ["data.path=.", "model=step2heart"],
    ("data", "fitbit_minute"): ["data.path=.", "model=step2heart"],
    ("data", "mmash"): ["data.path=.", "model=step2heart"],
    ("data", "window_arrays"): ["data.path=.", "model=step2heart"],
    ("data", "raw_acceleration"): ["data.path=.", "model=step2heart"],
    ("experiment", "mmash_averages"): ["data.path=."],
    ("experiment", "mmash_averages_person"): ["data.path=."],
    ("experiment", "mmash_global_mean"): ["data.path=."],
    ("experiment", "mmash_step2heart"): ["data.path=."],
    ("experiment", "mmash_step2heart_log"): ["data.path=."],
    ("experiment", "mmash_user_mean"): ["data.path=."],
    ("experiment", "mmash_xgboost"): ["data.path=."],
    ("experiment", "mmash_xgboost_averages"): ["data.path=."],
    ("experiment", "mmash_xgboost_recent"): ["data.path=."],
    ("protocol", "held_out_users"): ["model=exercise_attn"],
    ("protocol", "last_part"): ["model=exercise_attn"],
    ("protocol", "leave_one_user_out"): ["model=exercise_attn"],
}


def composed(*overrides: str) -> dict[str, Any]:
    """The resolved config of a command line."""
    found: list[dict[str, Any]] = []
    compose.run(list(overrides), lambda job: found.append(job.config))
    return found[0]


def nodes(config: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            inner = f"{place}.{key}" if place else key
            if targets.TARGET in value:
                yield inner, value
            yield from nodes(value, inner)


@pytest.mark.slow
@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_fits_its_targets(group: str, choice: str) -> None:
    config = composed(f"{group}={choice}", *NEEDED.get((group, choice), []))
    assert not any(key in str(config) for key in (*compose.HELPERS, "${", "???"))
    for place, node in nodes(config):
        dotted = node[targets.TARGET]
        keys = set(node) - {targets.TARGET}
        targets.check_keys(node, compose.injected_at(place), where=place)
        if not dotted.startswith("fitexp."):
            continue
        parameters = inspect.signature(targets.locate(dotted)).parameters
        own = {n: p for n, p in parameters.items() if n not in compose.injected_at(place)}
        assert set(own) == keys, f"{place}: {dotted} takes {set(own)}, the config has {keys}"
        for name, parameter in own.items():
            assert parameter.kind is parameter.KEYWORD_ONLY, f"{dotted}: {name} is not keyword-only"
            assert parameter.default is parameter.empty, f"{dotted}: {name} has a second default"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "debug"),
    sorted({*product(OF_EACH_KIND, DEBUGS), *product(MODELS, ["overfit"])}),
)
def test_debug_choices_go_with_models(model: str, debug: str) -> None:
    """What the debug file says stands in the config, whatever the model chose."""
    config = composed(f"model={model}", f"debug={debug}")
    said = yaml.safe_load((CONF / "debug" / f"{debug}.yaml").read_text())
    for node, values in said.items():
        assert {key: config[node][key] for key in values} == values


@pytest.mark.slow
def test_the_default_config_passes_the_check() -> None:
    jobs: list[compose.Job] = []
    compose.run([], jobs.append)
    compose.check(jobs[0].config, jobs[0].known)
    assert jobs[0].choices["model"] == "fitrec_attn"
    assert (jobs[0].folder, jobs[0].sweep) == (None, None)


@pytest.mark.slow
def test_the_user_s_data_win_over_the_model_s(tmp_path: Path) -> None:
    config = composed("model=fitrec_attn", "data=workout_table", f"data.path={tmp_path}")
    assert config["data"]["path"] == str(tmp_path)


@pytest.mark.slow
def test_helper_keys_do_not_reach_the_config() -> None:
    config = composed("data.regime=short", "data.target=derived_speed")
    data = config["data"]
    assert not set(data) & set(compose.HELPERS)
    assert (data["steps"], data["grid"], data["step"]) == (10, "distance", 50.0)


# A protocol stands for keys of data


@pytest.mark.slow
@pytest.mark.parametrize("model", ["exercise_attn", "fitrec_attn"])
def test_a_protocol_is_the_same_as_its_keys_of_data(model: str) -> None:
    """No key and no choice more: the run is the same, whichever way it is typed."""
    jobs: list[compose.Job] = []
    compose.run([f"model={model}", "data.split=random"], jobs.append)
    compose.run([f"model={model}", "protocol=random"], jobs.append)
    assert jobs[0].config == jobs[1].config
    assert jobs[0].config["data"]["split"] == "random"
    assert jobs[0].choices == jobs[1].choices


@pytest.mark.slow
def test_what_is_typed_wins_over_files_and_keys_over_a_protocol() -> None:
    experiment = "experiment=exercises_movielens_users_attn"
    assert composed(experiment)["data"]["split"] == "held_out_users"
    whole = composed(experiment, "protocol=leave_one_user_out")["data"]
    assert (whole["split"], whole["folds"]) == ("leave_one_user_out", None)
    parts = composed("protocol=leave_one_user_out", "model=exercise_attn", "data.folds=9")["data"]
    assert (parts["split"], parts["folds"]) == ("leave_one_user_out", 9)
    config = composed("protocol=random", "model=exercise_attn", "data.split=last_part")
    assert config["data"]["split"] == "last_part"


def test_every_way_to_split_data_is_a_protocol() -> None:
    from fitexp.data.exercises.protocol import SPLITS
    from fitexp.data.workouts.protocol import CHOICES as WORKOUTS

    offered: set[str] = set()
    for name, known in (("_exercises", SPLITS), ("_workouts", WORKOUTS["split"])):
        said = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text())["splits"]
        assert tuple(said) == tuple(known)
        offered |= {*said}
    files = {path.stem: yaml.safe_load(path.read_text()) for path in CONF.glob("protocol/*.yaml")}
    assert {*files} == offered
    assert all(file["data"]["split"] == name for name, file in files.items())


# Each job of a multirun has its own keys


@pytest.mark.slow
def test_a_fixed_key_may_come_with_a_swept_choice() -> None:
    jobs: list[compose.Job] = []
    words = ["-m", "model=exercise_attn,gru4rec", "data.repeats=2", "~data.baselines.trigram"]
    compose.run(words, jobs.append)
    assert [job.choices["model"] for job in jobs] == ["exercise_attn", "gru4rec"]
    assert [job.config["data"]["repeats"] for job in jobs] == [2, 2]
    assert [job.overrides[1] for job in jobs] == ["data.repeats=2"] * 2
    assert [(job.number, job.total) for job in jobs] == [(1, 2), (2, 2)]
    assert all("trigram" not in job.config["data"]["baselines"] for job in jobs)


@pytest.mark.slow
def test_so_with_hydra_s_own_word_for_a_multirun() -> None:
    jobs: list[compose.Job] = []
    experiments = "experiment=exercises_attn,exercises_gru_whole"
    compose.run(["hydra.mode=MULTIRUN", experiments, "data.repeats=2,3"], jobs.append)
    assert [job.config["data"]["repeats"] for job in jobs] == [2, 3, 2, 3]
