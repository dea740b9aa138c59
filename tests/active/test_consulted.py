"""An expert in a test: what is asked, what is learned, the controls beside it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from fitexp.active.consulted import Consulted
from fitexp.active.study import Study
from fitexp.errors import InputError
from tests.test_replay import as_tested, study

Predictions = dict[str, Any]


@cache
def made() -> tuple[Study, Predictions]:
    """A study, and what its networks say in the plain test."""
    found, network, prepared = study()
    log_p = as_tested(network, prepared)
    given = torch.softmax(torch.stack([*log_p.values()]), dim=-1).numpy()
    return found, {"rows": np.array([*log_p]), "probability": given}


def consulted(
    policy: str, rate: float | None, update: str
) -> tuple[Predictions, dict[str, Predictions], str]:
    own, controls, words = Consulted(policy=policy, rate=rate, update=update).consult(*made())
    return dict(own), {name: dict(found) for name, found in controls.items()}, words


def plain() -> np.ndarray:
    given = made()[1]
    order = np.lexsort(given["rows"].T[::-1])
    found: np.ndarray = given["probability"][order]
    return found


def test_whoever_is_never_asked_changes_nothing() -> None:
    """To the last digit, though a replay batches windows in another way."""
    own, _, words = consulted("never", None, "last_layer")
    np.testing.assert_array_equal(own["probability"], plain())
    assert not own["asked"].any()
    assert "asked about 0.0 % of windows; update last_layer" in words


def test_selection_without_an_update_changes_no_prediction() -> None:
    own, controls, _ = consulted("margin", 0.3, "none")
    np.testing.assert_array_equal(own["probability"], plain())
    assert 0 < own["asked"].mean() < 1
    assert [*controls] == ["no_expert"]


def test_windows_before_a_first_question_are_the_plain_test_s() -> None:
    own, _, _ = consulted("random", 0.2, "last_layer")
    lines, differs = made()[0].lines, (own["probability"] != plain()).any(axis=1)
    asked = {tuple(row): a for row, a in zip(own["rows"].tolist(), own["asked"], strict=True)}
    moved = {tuple(row): d for row, d in zip(own["rows"].tolist(), differs, strict=True)}
    for fold, events in zip(lines.fold.tolist(), lines.event.tolist(), strict=True):
        known = [(fold, event) for event in events if event >= 0]
        questions = np.cumsum([asked[row] for row in known])
        assert [moved[row] for row in known] == [bool(n) for n in [0, *questions[:-1]]]
    assert differs.any()


def test_controls_ask_alike_without_learning_and_as_often_by_lot() -> None:
    """Selection alone: the policy's own questions to networks that stay; learning alone: the
    realised rate, at which about as many are drawn (480 events of 6 users, 3 sd)."""
    own, controls, _ = consulted("margin", 0.3, "last_layer")
    assert [*controls] == ["no_expert", "selection_alone", "learning_alone"]
    alone, lots = controls["selection_alone"], controls["learning_alone"]
    np.testing.assert_array_equal(alone["probability"], plain())
    expected = made()[0].replayed("margin", None, 0.3)
    assert alone["asked"].sum() == expected.asked.sum()
    share = own["asked"].mean()
    assert abs(lots["asked"].mean() - share) < 3 * np.sqrt(share * (1 - share) / len(lots["asked"]))
    assert (lots["probability"] != plain()).any()
    for found in (own, *controls.values()):
        np.testing.assert_array_equal(
            *(x["rows"][np.lexsort(x["rows"].T[::-1])] for x in (own, found))
        )


def test_networks_of_each_user_s_own_are_asked_in_his_timeline() -> None:
    """A network for each timeline, equal to its fold's: the same study."""
    found, network, prepared = study()
    lines = found.lines
    values = {k: v[torch.from_numpy(lines.fold)] for k, v in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        parameter.data = values[name]
    own = Study(prepared, network, 0, personal=True)
    for update in ("none", "last_layer"):
        rule = study_rule(update)
        one, other = (s.replayed("random", rule, 0.4, keep=True) for s in (found, own))
        np.testing.assert_array_equal(one.log_p, other.log_p)
    assert [*map(len, own.given.trained)] == [*map(len, found.given.trained)]


def study_rule(name: str) -> Any:
    from fitexp.active.updates import UPDATES

    return UPDATES[name]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"policy": "entrpy"}, "expert.policy=entrpy: it is one of margin, .*did you mean entropy"),
        ({"update": "mine"}, "expert.update=mine: it is one of none, last_layer"),
        ({"rate": 0.1}, "expert.policy=printed takes no rate: expert.rate=null"),
        ({"policy": "margin"}, "expert.rate=null: policy margin takes the share"),
        ({"policy": "random", "rate": 1.0}, "expert.rate=1.0: policy random takes the share"),
        ({"policy": "random", "rate": True}, "expert.rate=True: policy random takes the share"),
    ],
)
def test_mistakes(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Consulted(**{"policy": "printed", "rate": None, "update": "none", **values})
