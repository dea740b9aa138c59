from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitexp.data.exercises.atomic import read_atomic
from fitexp.data.exercises.table import EventTable
from fitexp.errors import InputError

INTER = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "b\tsong 1\t5\t86400\nann\tsong 2\t3.5\t172800\nb\tsong 2\t\t0\nann\tsong 1\t1\t172800\n"
    "b\tsong 3\t2\t86400\n"
)
USER = "user_id:token\tage:token\tgender:token\theight:float\nann\t30\tF\t1.7\nb\t41\t\t\n"
ITEM = (
    "item_id:token\ttitle:token_seq\tgenre:token_seq\tvector:float_seq\n"
    "song 2\tOne two three four\tpop rock\t1 2\nsong 1\tfive\tpop\t3 4\nsong 9\tsix\tjazz\t5 6\n"
)
TEXTS = {"inter": INTER, "user": USER, "item": ITEM}


def read(folder: Path, **changes: Any) -> EventTable:
    choices: dict[str, Any] = {
        "path": str(folder),
        "dataset": None,
        "most_rated": None,
        "user": "user_id",
        "item": "item_id",
        "time": "timestamp",
        "time_unit_s": 1.0,
        "user_columns": None,
        "item_columns": None,
        "as_numbers": ["age"],
        "most_values": 5,
        "ties": "file",
        "seed": 0,
        "day_span": 28.0,
    }
    return read_atomic(**{**choices, **changes})


def write(folder: Path, **texts: str | bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for kind, text in texts.items():
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        (folder / f"set.{kind}").write_bytes(data)
    return folder


def left_out(table: EventTable) -> int:
    return sum(n for reason, n in table.rejected.items() if reason.startswith("events"))


def test_tables_by_hand(tmp_path: Path) -> None:
    table = read(write(tmp_path, **TEXTS))
    events = table.events
    assert events["user"].tolist() == ["ann", "ann", "b", "b", "b"]  # in the order of .user
    assert events["item"].tolist() == ["song 2", "song 1", "song 2", "song 1", "song 3"]
    assert events["time"].tolist() == [2, 2, 0, 1, 1]  # days; ties as in the file
    assert events["rating"].tolist()[:2] == [3.5, 1]
    assert events["rating"].isna().tolist() == [False, False, True, False, False]
    users, items = table.users.set_index("user"), table.items.set_index("item")
    assert users.columns.tolist() == ["age", "gender=F", "height"]
    assert users.loc["ann"].tolist() == pytest.approx([30, 1, 1.7])
    assert users.loc["b"].isna().tolist() == [False, True, True]
    assert items.index.tolist() == ["song 2", "song 1", "song 3"]  # .item's order, then unlisted
    assert items.columns.tolist() == ["genre=jazz", "genre=pop", "genre=rock"]
    assert items.loc["song 2"].tolist() == [0, 1, 1]
    assert items.loc["song 3"].isna().all()
    assert table.profiles == {"full": ("age", "gender=F", "height")}
    assert table.rejected == {
        "column title of set.item (6 values, over 5)": 1,
        "column vector of set.item (float_seq)": 1,
        "items without an event that is kept": 1,
        "items without a profile (kept)": 1,
    }
    assert (table.name, table.simulated, table.day_span) == ("set", False, 28.0)
    for frame, key in ((table.users, "user"), (table.items, "item")):
        assert set(frame.dtypes.drop(key).astype(str)) == {"float32"}
    assert events.dtypes.astype(str)[["time", "rating"]].tolist() == ["float64", "float32"]


def test_columns_that_are_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path, **TEXTS)
    table = read(folder, user_columns=["gender"], item_columns=["title"])
    assert table.users.columns.tolist() == ["user", "gender=F"]
    assert table.items.columns.tolist()[1:3] == ["title=One", "title=five"]
    assert read(folder, item_columns=[]).items.columns.tolist() == ["item"]


def test_most_rated_and_ties_at_the_border(tmp_path: Path) -> None:
    folder = write(tmp_path, inter=INTER)
    rows = [("x", "c"), ("x", "b"), ("y", "a"), ("y", "b"), ("y", "d")]
    lines = "".join(f"{u}\t{i}\t1\t{t}\n" for t, (u, i) in enumerate(rows))
    write(tmp_path, inter=INTER.splitlines(keepends=True)[0] + lines)
    table = read(folder, most_rated=2)
    assert set(table.items["item"]) == {"b", "c"}  # b twice; c is the first of c, a, d
    assert table.rejected == {
        "items with 1 events, as many as the last one kept (file order)": 2,
        "events on items other than the 2 most rated": 2,
    }
    assert len(read(folder, most_rated=9).items) == 4


ROWS = st.lists(
    st.tuples(st.sampled_from("xyz"), st.sampled_from("abcde"), st.integers(0, 3)), min_size=1
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(rows=ROWS, most=st.integers(1, 6))
def test_a_slow_obvious_reader_agrees(tmp_path: Path, rows: list[Any], most: int) -> None:
    lines = "".join(f"{u}\t{i}\t{n}\t{t}\n" for n, (u, i, t) in enumerate(rows))
    write(tmp_path, inter=INTER.splitlines(keepends=True)[0] + lines)
    table = read(tmp_path, most_rated=most, time_unit_s=86400.0)
    counts = Counter(i for _, i, _ in rows)
    first = {i: n for n, (_, i, _) in reversed(list(enumerate(rows)))}
    kept = sorted(counts, key=lambda i: (-counts[i], first[i]))[:most]
    events = [(u, i, t, n) for n, (u, i, t) in enumerate(rows) if i in kept]
    users = list(dict.fromkeys(u for u, *_ in events))
    wanted = sorted(events, key=lambda e: (users.index(e[0]), e[2], e[3]))
    assert list(table.events.itertuples(index=False, name=None)) == wanted
    assert len(table.events) + left_out(table) == len(rows)


def test_shuffled_ties_stay_at_their_time(tmp_path: Path) -> None:
    lines = "".join(f"u{n % 2}\ti{n}\t1\t{n // 20}\n" for n in range(100))
    folder = write(tmp_path, inter=INTER.splitlines(keepends=True)[0] + lines)
    plain = read(folder).events
    a, again, b = (read(folder, ties="shuffle", seed=s).events for s in (1, 1, 2))
    pd.testing.assert_frame_equal(a, again)
    key = ["user", "time", "item"]
    for shuffled in (a, b):
        assert shuffled[["user", "time"]].equals(plain[["user", "time"]])
        assert shuffled["item"].tolist() != plain["item"].tolist()
        pd.testing.assert_frame_equal(
            shuffled.sort_values(key, ignore_index=True), plain.sort_values(key, ignore_index=True)
        )
    assert a["item"].tolist() != b["item"].tolist()


def test_without_times_the_file_is_the_order(tmp_path: Path) -> None:
    text = "user_id:token\titem_id:token\n" + "".join(f"u\ti{n}\n" for n in (3, 1, 2))
    folder = write(tmp_path, inter=text)
    events = read(folder).events
    assert events["item"].tolist() == ["i3", "i1", "i2"]
    assert events["time"].isna().all()
    with pytest.raises(InputError, match="nothing to shuffle"):
        read(folder, ties="shuffle")


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    plain = read(write(tmp_path / "a", **TEXTS))
    other = {k: ("\ufeff" + v.replace("\n", "\r\n")).encode() for k, v in TEXTS.items()}
    table = read(write(tmp_path / "b", **other))
    for name in ("events", "users", "items"):
        pd.testing.assert_frame_equal(getattr(table, name), getattr(plain, name))


def test_text_is_taken_as_it_stands(tmp_path: Path) -> None:
    """Quotes, NA and leading zeros are names like any other."""
    names = ['"a', "NA", "007", "1e3", "nan", "é ü", "a\rb"]
    lines = "".join(f"{name}\t{name}\t1\t0\n" for name in names)
    table = read(write(tmp_path, inter=INTER.splitlines(keepends=True)[0] + lines))
    assert table.events["user"].tolist() == names == table.items["item"].tolist()


def test_rows_without_user_item_or_time_are_counted(tmp_path: Path) -> None:
    text = INTER + "\tsong 1\t1\t1\nb\t\t1\t1\nb\tsong 1\t1\t\n"
    table = read(write(tmp_path, inter=text))
    assert len(table.events) == 5
    assert table.rejected == {
        "events without user": 1,
        "events without item": 1,
        "events without time": 1,
    }


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("inter", lambda t: t.replace("3.5", "x"), r"set.inter, line 3, rating: 'x' is not a num"),
        ("inter", lambda t: t.replace("3.5", "inf"), r"line 3, rating: 'inf' is not a number"),
        ("inter", lambda t: t.replace("3.5", "1e39"), r"line 3, rating: '1e39' is not a number"),
        ("inter", lambda t: t.replace("ann\tsong 2", "ann"), r"line 3: 3 fields where .* has 4"),
        ("inter", lambda t: t.replace("b\tsong 3", "\nb\tsong 3"), r"line 6: 1 field where"),
        (
            "inter",
            lambda t: t.replace("user_id:", "user:"),
            r"no column 'user_id'; did you mean .*'user'",
        ),
        ("inter", lambda t: t.replace("user_id:token", "user_id"), r"'user_id' has no type"),
        ("inter", lambda t: t.replace(":float", ":real"), r"'rating:real' has no type"),
        ("inter", lambda t: t.replace("rating:", "item_id:"), r"two columns are named 'item_id'"),
        ("inter", lambda t: t.replace("rating:", "time:"), r"'time' has a name of ours"),
        ("inter", lambda t: t.splitlines()[0], r"set.inter: no event is left"),
        ("inter", lambda t: "", r"set.inter: empty file"),
        ("inter", lambda t: t.replace("song 2", "a\0b"), r"set.inter, line 3: not UTF-8"),
        ("inter", lambda t: t.encode("utf-16"), r"set.inter, line 1: not UTF-8"),
        ("user", lambda t: t.replace("b\t41", "ann\t41"), r"set.user, line 3.*'ann' is listed twi"),
        ("user", lambda t: t.replace("b\t41", "\t41"), r"set.user, line 3, user_id: empty"),
        ("user", lambda t: "user_id:token\nann\n\nb\n", r"set.user, line 3, user_id: empty"),
        ("user", lambda t: t.replace("height", "gender=F"), r"two columns would be named 'gender="),
        ("user", lambda t: t.replace("41", "old"), r"set.user, line 3, age: 'old' is not a number"),
        ("item", lambda t: t.replace("item_id", "id"), r"set.item, line 1: no column 'item_id'"),
    ],
)
def test_one_line_says_what_is_wrong(
    tmp_path: Path, kind: str, change: Callable[[str], str | bytes], message: str
) -> None:
    folder = write(tmp_path, **{**TEXTS, kind: change(TEXTS[kind])})
    with pytest.raises(InputError, match=message) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


def test_arguments_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.inter file at all"):
        read(tmp_path)
    folder = write(tmp_path, **TEXTS)
    with pytest.raises(InputError, match="line 1: no column 'sex'"):
        read(folder, user_columns=["sex"])
    with pytest.raises(InputError, match="vector: a float_seq is not read"):
        read(folder, item_columns=["vector"])
    with pytest.raises(InputError, match="most_rated=0"):
        read(folder, most_rated=0)
    with pytest.raises(InputError, match="ties=random"):
        read(folder, ties="random")
    with pytest.raises(InputError, match="fetch movielens100k"):
        read(folder, path=None)
    with pytest.raises(InputError, match="not a folder"):
        read(folder, path=str(folder / "set.inter"))
    (folder / "other.inter").write_text(INTER)
    with pytest.raises(InputError, match=r"it has other, set; name one with data\.dataset=NAME"):
        read(folder)
    assert read(folder, dataset="set").name == "set"
    (folder / "set.user").unlink()
    with pytest.raises(InputError, match=r"set\.user: no such file, and data asks for its age"):
        read(folder, dataset="set", user_columns=["age"])


DAMAGE = st.tuples(
    st.sampled_from(sorted(TEXTS)),
    st.integers(0, 200),
    st.integers(0, 3),
    st.text(st.sampled_from('\t\n\r\0":, x1é=\ufeff\x1a\x85\u2028\ud800'), max_size=3),
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(damages=st.lists(DAMAGE, min_size=1, max_size=3))
def test_damaged_files_are_refused_or_counted(tmp_path: Path, damages: list[Any]) -> None:
    texts = dict(TEXTS)
    for kind, at, cut, inserted in damages:
        texts[kind] = texts[kind][:at] + inserted + texts[kind][at + cut :]
    try:
        table = read(write(tmp_path, **texts))
    except InputError:
        return
    data = (tmp_path / "set.inter").read_bytes().replace(b"\r\n", b"\n").rstrip(b"\n")
    assert len(table.events) + left_out(table) == data.count(b"\n")
    assert set(table.events["user"]) == set(table.users["user"])
    assert set(table.events["item"]) == set(table.items["item"])


def test_movielens_as_the_protocol_counts_it(movielens: Path) -> None:
    table = read(movielens, most_rated=100, most_values=64)
    events = table.events
    assert len(events) == 29_931
    assert len(table.items) == 100
    assert len(table.users) == 943
    assert not [reason for reason in table.rejected if "as many as the last" in reason]
    genres = [column for column in table.items.columns if column.startswith("class=")]
    assert len(genres) == len(table.items.columns) - 1 == 19
    assert "class=unknown" in genres
    assert {c.partition("=")[0] for c in table.users.columns} == {
        "user",
        "age",
        "gender",
        "occupation",
    }
    lengths = events.groupby("user").size()
    assert (lengths - 3).clip(lower=0).sum() == 27_106  # full windows of 3
    assert (lengths - 2).clip(lower=0).sum() == 28_045
    again = (events[["user", "time"]] == events[["user", "time"]].shift()).all(axis=1)
    assert again.mean() == pytest.approx(0.293, abs=5e-4)
    steps = events.groupby("user")["time"].diff().dropna()
    assert (steps >= 0).all()
    file = movielens / "movielens100k.inter"
    ratings = [line.split("\t") for line in file.read_text().splitlines()[1:]]
    assert len(ratings) == len(events) + left_out(table) == 100_000
    user = random.Random(0).choice(table.users["user"].tolist())
    kept = set(table.items["item"])
    mine = [r for r in ratings if r[0] == user and r[1] in kept]
    mine.sort(key=lambda r: int(r[3]))  # stable: ties as in the file
    assert events.loc[events["user"] == user, "item"].tolist() == [r[1] for r in mine]
    assert np.isfinite(table.users.drop(columns="user").to_numpy()).all()
