"""A network of his own for each new user, from the histories of users with similar profiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import Optimizer

from fitexp.data import splits
from fitexp.data.batches import Batch
from fitexp.data.prepare import Arrays, Prepared
from fitexp.errors import InputError
from fitexp.tasks.ranking import Ranking

Int = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SimilarUsers:
    """Train a fold's network a little on the `neighbours` most similar users, for each new user.

    d(i, j) = |U_i - U_j|, the Euclidean distance of profiles, whose columns are z-scores by the
    fold's training users (missing values 0); of equal distances the user that comes first.
    Then `epochs` passes over the neighbours' training events by the run's optimizer, anew, with
    rate `lr`. Source: Mahyari, Pirolli, LeBlanc, section III-B: 3 users, one epoch, a "small
    learning rate" (0.001 in the authors' program).
    Departure: the paper says nothing of scaling; its program takes raw columns and the number of
    the user as one of them.
    """

    neighbours: int
    epochs: int
    lr: float

    kind: ClassVar[str] = "exercises"

    def __post_init__(self) -> None:
        for key in ("neighbours", "epochs"):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"adapt.{key}={value}: it takes a whole number, 1 up")
        if not isinstance(self.lr, int | float) or isinstance(self.lr, bool) or not self.lr > 0:
            raise InputError(f"adapt.lr={self.lr}: it takes a number above 0")

    def personal(self, prepared: Prepared) -> tuple[Int, Prepared]:
        """Fold of each of M new users, and data with a fold for each.

        There the neighbours' events are the training part (of copied histories none) and his own
        the test part; scaling is that of his fold.
        """
        arrays = prepared.arrays
        fold, user = new_users(arrays)
        near = similar_users(arrays, fold, user, self.neighbours)
        own, part = np.asarray(arrays["user"])[: arrays["part"].shape[1]], arrays["part"][fold]
        tested = (part == splits.TEST) & (own == user[:, None])
        trained = (part == splits.TRAIN) & (own == near[..., None]).any(axis=1)
        folded = [f"{of}_{what}" for of in ("feature", "profile") for what in ("center", "scale")]
        folded += ["feature_mean"]
        mine = {
            **arrays,
            **{name: arrays[name][fold] for name in folded},
            "part": np.select([tested, trained], [splits.TEST, splits.TRAIN], splits.OUT),
            "train": np.argwhere(trained),
            "val": np.zeros((0, 2), np.int64),
            "test": np.argwhere(tested),
        }
        names = tuple(np.asarray(arrays["user_id"])[user].tolist())
        spec = replace(prepared.spec, folds=len(fold), fold_names=names)
        return fold, Prepared(spec, mine, prepared.report)

    def fit(
        self,
        module: Ranking,
        batches: Iterable[Batch],
        optimizer: Callable[[Iterable[Any]], Optimizer],
    ) -> None:
        """Train M stacked networks, each on its own rows of the batches (those of all epochs)."""
        steps = optimizer(module.model.parameters())
        module.train()
        for batch in batches:
            steps.zero_grad()
            total, rows = module.summed_loss(batch)
            torch.autograd.backward((total / rows.clamp(min=1.0)).sum())
            steps.step()
        module.eval()

    def words(self, seconds: float) -> str:
        """What is printed with the figures; seconds: of CPU, a user."""
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        people = "user" if self.neighbours == 1 else "users"
        return (
            f"a network each: {epochs} more at rate {self.lr:g} on the {self.neighbours} training "
            f"{people} with the most similar profile, {seconds:.2g} CPU s each"
        )


def new_users(arrays: Arrays) -> tuple[Int, Int]:
    """Fold and user (M,), by fold, of the users who are tested.

    Raises InputError where one of them is trained on in that fold: he is not new.
    """
    user = np.asarray(arrays["user"])
    tested, trained = (
        np.unique(np.stack([fold, user[event]]), axis=1)
        for fold, event in (np.asarray(arrays[part]).T for part in ("test", "train"))
    )
    if set(zip(*tested.tolist(), strict=True)) & set(zip(*trained.tolist(), strict=True)):
        raise InputError(
            "adapt is for new users, but here people are tested who were trained on: use "
            "data.split=leave_one_user_out or held_out_users"
        )
    fold, who = tested
    return fold, who


def similar_users(arrays: Arrays, fold: Int, user: Int, neighbours: int) -> Int:
    """(M, neighbours) training users of the fold nearest to each user, the nearest first.

    Raises InputError where there is no profile, or where there are fewer training users.
    """
    profile, part = np.asarray(arrays["profile"], np.float64), np.asarray(arrays["part"])
    own = np.asarray(arrays["user"])[: part.shape[1]]
    if not profile.shape[1]:
        raise InputError("adapt=similar_users compares profiles: choose data.profile")
    near = []
    for number, who in zip(fold.tolist(), user.tolist(), strict=True):
        trained = np.unique(own[part[number] == splits.TRAIN])
        if len(trained) < neighbours:
            raise InputError(f"adapt.neighbours={neighbours}: there are {len(trained)} to choose")
        scaled = (profile - arrays["profile_center"][number]) / arrays["profile_scale"][number]
        scaled = np.nan_to_num(scaled)
        distance = np.linalg.norm(scaled[trained] - scaled[who], axis=1)
        near.append(trained[np.argsort(distance, kind="stable")[:neighbours]])
    return np.stack(near)
