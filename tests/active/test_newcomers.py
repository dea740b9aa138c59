"""Networks of new users: who is similar, and what is trained on."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from fitexp.active.newcomers import SimilarUsers, new_users, similar_users
from fitexp.data import splits
from fitexp.data.exercises.module import ExercisesData
from fitexp.data.exercises.protocol import arrays_of
from fitexp.data.prepare import Prepared
from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError
from fitexp.losses import cross_entropy
from fitexp.models.exercise_attn import ExerciseAttn
from fitexp.tasks.ranking import Ranking
from tests.data.exercises.made import made_table, protocol, random_histories

BATCH, SEED = 4, 3


def prepared_of(users: int = 6, **changed: Any) -> Prepared:
    return arrays_of(protocol(**changed), made_table(random_histories(users, 9, 5, seed=1)))


def network(spec: ExerciseSpec) -> ExerciseAttn:
    return ExerciseAttn(
        spec=spec,
        combine="sum",
        rescale=True,
        attention_over="own",
        cell="rnn",
        recurrence="window",
        exercise=6,
        user=4,
        profile=2,
        width=5,
        hidden=4,
        output=0,
        bias=True,
        dropout=0.0,
    )


def task(spec: ExerciseSpec) -> Ranking:
    adam = partial(torch.optim.Adam, lr=0.5)  # not the rate of what is tested
    return Ranking(
        model=network(spec), loss=cross_entropy, optimizer=adam, spec=spec, mask_seen=False
    )


def test_neighbours_by_hand() -> None:
    """User 0 is new at (0, 0). In units of scale: 1 at 1, 2 at 10, 3 unknown, so at the mean
    (0.5, 0.5), 0.71 away; 4 is 0's twin but is tested as well; 5 is as far as 1."""
    nan = np.nan
    profile = np.array([[0, 0], [10, 0], [0, 1], [nan, nan], [0, 0], [0, 0.1]])
    part = np.array([[2, 0, 0, 0, 2, 0]])
    arrays = {
        "profile": profile.astype(np.float32),
        "profile_center": np.array([[5, 0.05]]),
        "profile_scale": np.array([[10, 0.1]]),
        "user": np.array([0, 1, 2, 3, 4, 5]),
        "part": part,
        "test": np.array([[0, 0], [0, 4]]),
        "train": np.array([[0, 1], [0, 2], [0, 3], [0, 5]]),
    }
    fold, user = new_users(arrays)
    assert (fold.tolist(), user.tolist()) == ([0, 0], [0, 4])
    assert similar_users(arrays, fold, user, 4).tolist() == [[3, 1, 5, 2]] * 2
    with pytest.raises(InputError, match=r"adapt\.neighbours=5: there are 4"):
        similar_users(arrays, fold, user, 5)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"folds": 3, "repeats": 2},
        {"split": "held_out_users", "fractions": [0.5, 0.2, 0.3]},
        {"augment": "duplicate"},
    ],
)
def test_a_fold_for_each_new_user(changed: dict[str, Any]) -> None:
    prepared = prepared_of(**changed)
    arrays = prepared.arrays
    fold, own = SimilarUsers(neighbours=2, epochs=1, lr=0.1).personal(prepared)
    tested = [[fold[m], event] for m, event in own.arrays["test"].tolist()]
    assert sorted(tested) == sorted(arrays["test"].tolist())
    assert own.spec.folds == len(fold) == len(own.arrays["part"])
    assert (own.arrays["train"][:, 1] < arrays["part"].shape[1]).all()  # no copies
    for m, name in enumerate(own.spec.fold_names):
        row = own.arrays["part"][m]
        assert set(arrays["user_id"][arrays["user"][np.flatnonzero(row == splits.TEST)]]) == {name}
        trained = np.flatnonzero(row == splits.TRAIN)
        assert (arrays["part"][fold[m], trained] == splits.TRAIN).all()
        assert len(set(arrays["user"][trained].tolist())) == 2
        assert len(trained) == 2 * 6  # all that is trained on of both
        np.testing.assert_array_equal(
            own.arrays["profile_scale"][m], arrays["profile_scale"][fold[m]]
        )


def test_it_is_the_literal_loop_over_each_user() -> None:
    prepared = prepared_of()
    arrays, spec = prepared.arrays, prepared.spec
    adapt = SimilarUsers(neighbours=2, epochs=2, lr=0.03)
    torch.manual_seed(0)
    trained = task(spec)
    fold, own = adapt.personal(prepared)
    module = task(own.spec)
    module.load_state_dict({k: v[fold] for k, v in trained.state_dict().items()})
    batches = ExercisesData(prepared=own, batch_size=BATCH, seed=SEED).batches("train")
    passes = (batch for _ in range(2) for batch in batches)
    adapt.fit(module, passes, partial(torch.optim.Adam, lr=0.03))

    item, user, begin = arrays["item"], arrays["user"], arrays["begin"]
    ages = np.arange(6)  # of each user, in decades
    for new in range(6):
        others = sorted((abs(ages[u] - ages[new]), u) for u in range(6) if u != new)
        near = [u for _, u in others[:2]]
        events = [e for e in range(len(item)) if user[e] in near and e - begin[user[e]] >= 3]
        one = network(ExerciseSpec(**{**spec.__dict__, "folds": 1, "fold_names": ("one",)}))
        one.load_state_dict({k: v[[new]] for k, v in trained.model.state_dict().items()})
        adam = torch.optim.Adam(one.parameters(), lr=0.03)
        for epoch in range(2):
            order = np.random.default_rng((SEED, epoch)).permutation(len(events))
            for start in range(0, len(events), BATCH):
                rows = [events[k] for k in order[start : start + BATCH]]
                past = np.array([[e - 3, e - 2, e - 1] for e in rows])
                center, scale = arrays["feature_center"][new], arrays["feature_scale"][new]
                person = (arrays["profile"] - arrays["profile_center"][new]) / arrays[
                    "profile_scale"
                ][new]
                batch = {
                    "items": torch.tensor(item[past])[None],
                    "valid": torch.ones(1, len(rows), 3, dtype=torch.bool),
                    "features": torch.tensor((arrays["features"][past] - center) / scale)[None],
                    "profile": torch.tensor(person[user[rows]])[None],
                    "item_profile": torch.tensor(arrays["item_profile"]),
                }
                adam.zero_grad()
                logits = one(batch)[0, :, 0]
                torch.nn.functional.cross_entropy(logits, torch.tensor(item[rows])).backward()
                adam.step()
        for name, values in module.model.state_dict().items():
            torch.testing.assert_close(values[new], one.state_dict()[name][0], rtol=1e-4, atol=1e-6)
            assert not torch.equal(values[new], trained.model.state_dict()[name][new])


def test_mistakes_are_one_line() -> None:
    adapt = SimilarUsers(neighbours=2, epochs=1, lr=0.1)
    with pytest.raises(InputError, match=r"trained on: use data\.split=leave_one_user_out"):
        adapt.personal(prepared_of(split="last_part"))
    with pytest.raises(InputError, match=r"choose data\.profile"):
        adapt.personal(prepared_of(profile="none"))
    for key, value in (("neighbours", 0), ("epochs", 1.5), ("lr", 0)):
        with pytest.raises(InputError, match=f"adapt.{key}={value}"):
            SimilarUsers(**{"neighbours": 2, "epochs": 1, "lr": 0.1, key: value})
