"""Long tables: clocks, chunks, and what is said about a table that cannot be read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitexp.data.windows import long_tables
from fitexp.data.windows.long_tables import LongTable
from fitexp.errors import InputError

EPOCH = datetime(1970, 1, 1)
EIGHT = (datetime(2024, 3, 1, 8) - EPOCH).total_seconds()


def table(file: Path, text: str | None = None, utc_offset_h: float = 0.0) -> LongTable:
    if text is not None:
        file.write_text(text, encoding="utf-8")
    return LongTable(file=file, numbers=("x",), words=("user",), utc_offset_h=utc_offset_h)


def read(source: LongTable) -> dict[str, np.ndarray]:
    chunks = list(source.chunks())
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


@pytest.mark.parametrize(
    ("text", "offset_h", "local_s"),
    [
        ("2024-03-01T08:00:00.016", 5.0, EIGHT + 0.016),  # local: no offset is added
        ("2024-03-01 08:00:00", 0.0, EIGHT),
        ("2024-03-01T08:00:00+01:00", 5.0, EIGHT),
        ("2024-03-01T08:00:00-0330", 0.0, EIGHT),
        ("2024-03-01T08:00:00Z", 1.0, EIGHT + 3600),
        (f"{EIGHT}", 0.0, EIGHT),
        (f"{EIGHT:.0f}", -5.0, EIGHT - 5 * 3600),
    ],
)
def test_times_are_the_clock_on_the_wall(
    tmp_path: Path, text: str, offset_h: float, local_s: float
) -> None:
    found = read(table(tmp_path / "t.csv", f"time,x,user\n{text},1,a\n", offset_h))
    assert found["time"][0] == pytest.approx(local_s, abs=1e-6)


def test_the_first_rows_zone_holds_so_time_does_not_go_back_in_autumn(tmp_path: Path) -> None:
    text = "time,x,user\n2024-10-27T02:59:59+02:00,1,a\n2024-10-27T02:00:00+01:00,1,a\n"
    assert np.diff(read(table(tmp_path / "t.csv", text))["time"]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("zone", "local_s"), [(None, EIGHT), ("UTC", EIGHT + 7200.0), ("Europe/Paris", EIGHT)]
)
def test_timestamps_of_parquet(tmp_path: Path, zone: str | None, local_s: float) -> None:
    times = pd.to_datetime(["2024-03-01T08:00:00.0", "2024-03-01T08:00:00.5"]).tz_localize(zone)
    frame = pd.DataFrame({"time": times, "x": [1, 2], "user": [7, 7], "more": "words"})
    frame.to_parquet(tmp_path / "t.parquet")
    found = read(table(tmp_path / "t.parquet", utc_offset_h=2.0))
    assert found["time"].tolist() == [local_s, local_s + 0.5]
    assert found["x"].dtype == np.float64
    assert found["user"].tolist() == ["7", "7"]


numbers = st.one_of(st.none(), st.floats(-1e6, 1e6))
words = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=5)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 10**9), numbers, words), min_size=1, max_size=30),
    kind=st.sampled_from(["csv", "parquet"]),
    size=st.integers(1, 7),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_table_comes_back_in_any_chunks(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, float | None, str]],
    kind: str,
    size: int,
    end: str,
) -> None:
    file = tmp_path_factory.mktemp("t") / f"t.{kind}"
    frame = pd.DataFrame(rows, columns=["time", "x", "user"])
    if kind == "csv":
        frame.to_csv(file, index=False, lineterminator=end, encoding="utf-8-sig")
    else:
        frame.to_parquet(file, row_group_size=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_tables, "ROWS", size)
        patch.setattr(long_tables, "BLOCK_BYTES", 100 * size)
        found = read(table(file))
    np.testing.assert_array_equal(found["time"], frame["time"].astype("float64"))
    np.testing.assert_allclose(found["x"], frame["x"].astype("float64"), rtol=1e-15)
    assert found["user"].tolist() == frame["user"].tolist()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty file"),
        ("time,X,user\n1,1,a\n", "no column 'x' (it has time, X, user)"),
        ("times,x,user\n1,1,a\n", "no column 'time' (did you mean 'times'?)"),
        ("time,x,user\n1,1,a\n\n2,one,a\n", "line 4, x: 'one' is not a number"),
        ("time,x,user\n1,1,a\n2,1\n", "line 3: 2 fields where the header has 3"),
        ("time,x,user\n1,1,a\n,1,a\n", "line 3, time: empty"),
        ("time,x,user\n1,1,a\n\n2,inf,a\n", "line 4, x: infinite"),
        ("time,x,user\n1709280000000,1,a\n", "line 2, time: 1709280000000 is not in seconds"),
        ("time,x,user\n2024-03-01T08:00:00,1,a\n5,1,a\n", "line 3, time: '5' is not read"),
        ("time,x,user\n01/03/2024 08:00,1,a\n", "line 2, time: '01/03/2024 08:00' is not read"),
        ('time,x,user\n1,1,"a\nb"\n2,?,a\n', "line 4, x: '?'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError) as raised:
        read(table(tmp_path / "t.csv", text))
    assert says in str(raised.value)
    assert str(tmp_path / "t.csv") in str(raised.value)


def test_parquet_that_is_cut_or_holds_words(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    pd.DataFrame({"time": [1.0], "x": ["1"], "user": ["a"]}).to_parquet(file)
    with pytest.raises(InputError, match=r"t\.parquet, x: .*store the column as float"):
        read(table(file))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read, or cut short"):
        read(table(file))


def test_nanoseconds_in_whole_numbers_are_named(tmp_path: Path) -> None:
    """They do not fit in a float; pandas makes them of dates."""
    file = tmp_path / "t.parquet"
    frame = pd.DataFrame({"time": [1_709_280_000_123_456_789], "x": [1.0], "user": ["a"]})
    frame.to_parquet(file)
    with pytest.raises(
        InputError, match=r"row 1, time: .*not in seconds since 1970; .*nanoseconds"
    ):
        read(table(file))


def test_a_row_of_parquet_is_named_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    pd.DataFrame({"time": [1.0, 2.0], "x": [1.0, np.inf], "user": "a"}).to_parquet(file)
    with pytest.raises(InputError, match="row 2, x: infinite"):
        read(table(file))


def test_latin_1_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("time,x,user\n1,1,Zoé\n".encode("latin-1"))
    with pytest.raises(InputError, match="no CSV in UTF-8"):
        read(table(tmp_path / "t.csv"))
