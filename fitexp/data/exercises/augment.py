"""Further histories to train on: copies of histories in which some items are replaced.

Source: Mahyari, Pirolli, LeBlanc, "Real-Time Learning from an Expert in Deep Recommendation
Systems with Application to mHealth", section V-A1: of each person in the training data 10 % of the
exercises are replaced, by others of the expert's category or by association rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from fitexp.data import splits
from fitexp.errors import InputError

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]
Choices = Sequence[Sequence[int]]  # of each event, the items that may replace its own
Rules = Mapping[frozenset[int], tuple[float, float, int]]
LARGEST = 3  # items of a rule, the one that follows included


@dataclass(frozen=True, kw_only=True)
class Copies:
    """C copied events, one history behind the other.

    origin (C,) the event that each is a copy of; history (C,) number of its copy, from 0, rising;
    item (C,) its item; train (R, 2) fold and copied event of those that are trained on.
    """

    origin: Int
    history: Int
    item: Int
    train: Int


def copied(
    user: Int,
    item: Int,
    part: splits.Part,
    choices: Callable[[Bool], Choices],
    *,
    by_fold: bool,
    share: float,
    copies: int,
    seed: int,
) -> Copies:
    """Copy the history of every user `copies` times, some of its items replaced.

    Replaced are round(share n) of its n items, or all that have a choice if those are fewer, each
    by one of its choices. A copy of an event is trained on in the folds that train on the event, so
    that the copies of a user who is left out are left out with him.

    user, item (E,), users rising; part (L, E) of `splits`; choices: known (E,) -> items that may
    replace each event's; by_fold: ask once for each fold, with what is `known_events` there (else
    once for all). Draws depend on (seed, user, number of the copy) only.
    """
    known = known_events(user, part)
    if by_fold:  # two repeats of a fold share their copies
        known, group = np.unique(known, axis=0, return_inverse=True)
    else:
        known, group = np.logical_or.reduce(known)[None], np.zeros(len(part), np.int64)
    begin = np.searchsorted(user, np.arange(user[-1] + 2))
    origin: list[Int] = []  # of each copied history
    items: list[Int] = []
    train: list[Int] = []  # of each fold
    done = 0
    for number, here in enumerate(known):
        if not here.any():
            continue
        offered = choices(here)
        histories = [(own, copy) for own in np.unique(user[here]) for copy in range(copies)]
        for own, copy in histories:
            rows, draw = slice(begin[own], begin[own + 1]), np.random.default_rng([seed, own, copy])
            origin.append(np.arange(rows.start, rows.stop))
            items.append(replaced(item[rows], offered[rows], share, draw))
        events = np.concatenate(origin[-len(histories) :])
        for fold in np.flatnonzero(group.ravel() == number):
            chosen = np.flatnonzero(part[fold, events] == splits.TRAIN) + done
            train.append(np.stack([np.full_like(chosen, fold), chosen], axis=1))
        done += len(events)
    return Copies(
        origin=np.concatenate(origin),
        history=np.repeat(np.arange(len(origin)), [len(events) for events in origin]),
        item=np.concatenate(items),
        train=np.concatenate(train),
    )


def known_events(user: Int, part: splits.Part) -> Bool:
    """(L, E) events of users who are trained on in a fold, but those that it validates or tests.

    Among them are the first events of a history, which are read only.
    """
    users = int(user[-1]) + 1
    trained = np.stack([np.bincount(user, row == splits.TRAIN, users) > 0 for row in part])
    known: Bool = trained[:, user] & (part != splits.VAL) & (part != splits.TEST)
    return known


def replaced(item: Int, choices: Choices, share: float, draw: np.random.Generator) -> Int:
    """A history (n,) with round(share n) of its items replaced, drawn among those with a choice."""
    places = [place for place, own in enumerate(choices) if len(own)]
    number = min(round(share * len(item)), len(places))
    found = item.copy()
    for place in draw.permutation(places)[:number].tolist():
        found[place] = draw.choice(choices[place])
    return found


def of_same_category(categories: Sequence[str]) -> Choices:
    """Of each item (N,) the others of its category; none where it has no category."""
    members: dict[str, list[int]] = {}
    for item, name in enumerate(categories):
        members.setdefault(name, []).append(item)
    return [
        [other for other in members[name] if name and other != item]
        for item, name in enumerate(categories)
    ]


def sessions(user: Int, time: NDArray[np.float64]) -> Int:
    """(E,) number of each event's session: what a user did at one time (DStress: on one day).

    An event whose time is unknown is a session of its own.
    """
    begins = (np.diff(user) != 0) | (np.diff(time) != 0)  # NaN differs from NaN
    return np.concatenate([[0], np.cumsum(begins)])


def mined(baskets: Iterable[Iterable[int]], support: float, confidence: float) -> Rules:
    """Association rules "who did all of X, did y" of baskets: X -> confidence, support, -y.

    Agrawal, Imielinski, Swami, "Mining association rules between sets of items in large
    databases", 1993, as mlxtend mines them: support is the share of baskets with X and y,
    confidence their share of those with X. X has one or two items. Of rules with one X the most
    confident is kept; of equal ones that of more support, then of the first item.
    Raises InputError without mlxtend.
    """
    try:
        from mlxtend.frequent_patterns import association_rules, fpgrowth
    except ImportError as error:
        raise InputError("data.augment=rules needs mlxtend: pip install 'fitexp[rules]'") from error
    import pandas as pd

    filled = [set(basket) for basket in baskets]
    items = sorted(set().union(*filled))
    table = pd.DataFrame([[item in basket for item in items] for basket in filled], columns=items)
    frequent = fpgrowth(table, min_support=support, use_colnames=True, max_len=LARGEST)
    best: dict[frozenset[int], tuple[float, float, int]] = {}
    if not frequent["itemsets"].map(len).gt(1).any():
        return best
    with np.errstate(invalid="ignore"):  # of measures that are not asked for
        rules = association_rules(frequent, metric="confidence", min_threshold=confidence)
    columns = (rules[name] for name in ("antecedents", "consequents", "confidence", "support"))
    for antecedent, consequent, sure, often in zip(*columns, strict=True):
        if len(consequent) == 1:
            (item,) = consequent
            found = (round(sure, 9), round(often, 9), -int(item))  # 2/3 is not quite 4/6 here
            best[antecedent] = max(best.get(antecedent, found), found)
    return best


def by_rules(item: Int, session: Int, known: Bool, rules: Rules) -> Choices:
    """Of each known event the item that the most confident rule sets beside it; of others none.

    A rule speaks of an event if the event's item is in X and all of X was done in its session.
    What it sets there may have been done in that session too; where people do fixed sets of items,
    as on a day of the DStress study, it always was.
    """
    choices: list[list[int]] = [[] for _ in item]
    rows = np.flatnonzero(known).tolist()
    for _, group in groupby(rows, key=lambda row: int(session[row])):
        basket = list(group)
        there = {int(item[row]) for row in basket}
        for row in basket:
            sets = (frozenset({int(item[row]), other}) for other in there)
            found = [rules[antecedent] for antecedent in sets if antecedent in rules]
            if found:
                choices[row] = [-max(found)[2]]
    return choices


def rules_of(
    item: Int, session: Int, *, support: float, confidence: float
) -> Callable[[Bool], Choices]:
    """`choices` of `copied` by rules that are mined among known events alone.

    Raises InputError where no rule is found.
    """

    def choices(known: Bool) -> Choices:
        rows = np.flatnonzero(known).tolist()
        baskets = [
            item[list(group)].tolist()
            for _, group in groupby(rows, key=lambda row: int(session[row]))
        ]
        rules = mined(baskets, support, confidence)
        if not rules:
            raise InputError(
                f"data.augment=rules: no rule has a support of {support} and a confidence of "
                f"{confidence}; lower data.rule_support or data.rule_confidence"
            )
        return by_rules(item, session, known, rules)

    return choices
