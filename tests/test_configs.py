"""Every config composes, and its keys are what its target takes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
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
@pytest.mark.parametrize("debug", DEBUGS)
@pytest.mark.parametrize("model", MODELS)
def test_every_debug_choice_goes_with_every_model(model: str, debug: str) -> None:
    """What the debug file says stands in the config, whatever the model chose."""
    config = composed(f"model={model}", f"debug={debug}")
    said = yaml.safe_load((CONF / "debug" / f"{debug}.yaml").read_text())
    for node, values in said.items():
        assert {key: config[node][key] for key in values} == values


def test_the_default_config_passes_the_check() -> None:
    jobs: list[compose.Job] = []
    compose.run([], jobs.append)
    compose.check(jobs[0].config, jobs[0].known)
    assert jobs[0].choices["model"] == "fitrec_attn"
    assert (jobs[0].folder, jobs[0].sweep) == (None, None)


def test_the_user_s_data_win_over_the_model_s(tmp_path: Path) -> None:
    config = composed("model=fitrec_attn", "data=workout_table", f"data.path={tmp_path}")
    assert config["data"]["path"] == str(tmp_path)


def test_helper_keys_do_not_reach_the_config() -> None:
    config = composed("data.regime=short", "data.target=derived_speed")
    data = config["data"]
    assert not set(data) & set(compose.HELPERS)
    assert (data["steps"], data["grid"], data["step"]) == (10, "distance", 50.0)
