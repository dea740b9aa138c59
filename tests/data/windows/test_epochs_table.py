"""Tables of epochs: a valid one round-trips, each single fault is named with its row."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitexp.data.windows import epochs_table as module
from fitexp.data.windows.epochs import Epochs, Recording
from fitexp.data.windows.epochs_table import epochs_table
from fitexp.errors import InputError
from tests.data.windows.made import protocol

DEFAULTS: dict[str, Any] = {
    "users": None,
    "user": "user",
    "time": "time",
    "heart_rate": "heart_rate",
    "series": None,
    "step_s": 15.0,
    "off_grid": 0.1,
    "max_gap_days": 30,
    "heart_rate_bpm": [30, 230],
}
TEXT = """user,time,heart_rate,enmo,note,steps
b,2016-04-12T07:30:15,61,0.5,sat,0
b,2016-04-12T07:30:30,,1.5,,3
b,2016-04-12 07:31:01,250,,"up, then down",4
a,2016-01-01,70,2,,
"""


def read(path: Path, **changes: Any) -> Epochs:
    return epochs_table(path=str(path), **(DEFAULTS | changes))


def write(folder: Path, text: str = TEXT, name: str = "table.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))


def test_a_table_by_hand(tmp_path: Path) -> None:
    epochs = read(write(tmp_path))
    assert (epochs.series, epochs.step_s, epochs.simulated) == (("enmo", "steps"), 15.0, False)
    assert epochs.users.index.tolist() == ["b", "a"]
    b, a = epochs.recordings()
    nan = np.nan
    assert (b.user, a.user) == ("b", "a")
    assert b.start_s == np.datetime64("2016-04-12T07:30:15").astype("datetime64[s]").astype(int)
    assert same(b.series, [[0.5, 0], [1.5, 3], [nan, nan], [nan, 4]])
    assert same(b.heart_rate, [61, nan, nan, nan])  # 250 bpm is no heart rate
    assert same(a.series, [[2, nan]])
    assert epochs.rejected == {"heart rates outside 30..230 bpm (missing)": 1}
    assert [r.user for r in epochs.recordings()] == ["b", "a"]  # a second time, and nothing doubles
    assert epochs.rejected == {"heart rates outside 30..230 bpm (missing)": 1}


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    text = TEXT.replace("user,time,heart_rate", "who,when,pulse")
    names = {"user": "who", "time": "when", "heart_rate": "pulse", "series": ["steps"]}
    epochs = read(write(tmp_path, text), **names)
    assert epochs.series == ("steps",)
    assert next(epochs.recordings()).series.shape == (4, 1)


def test_users_of_a_second_table(tmp_path: Path) -> None:
    write(tmp_path, "user,age_years,sex\na,41,0\nc,50,1\n", "users.csv")
    epochs = read(write(tmp_path), users="users.csv")
    assert epochs.users.columns.tolist() == ["age_years", "sex"]
    assert same(epochs.users, [[np.nan, np.nan], [41, 0]])
    assert epochs.rejected == {"users of users.csv without a row": 1}


USERS = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5),
    min_size=1,
    max_size=4,
    unique=True,
)
NUMBER = st.one_of(st.just(np.nan), st.floats(-(2.0**100), 2.0**100, width=32))


@st.composite
def recordings(draw: st.DrawFn) -> list[Recording]:
    """Recordings whose first and last rows are known: what a table can say."""
    made = []
    for user in draw(USERS):
        rows = draw(st.integers(1, 12))
        series = np.array(
            draw(st.lists(st.tuples(NUMBER, NUMBER), min_size=rows, max_size=rows)), np.float32
        )
        beats = draw(st.lists(st.floats(30, 230, width=32), min_size=rows, max_size=rows))
        heart_rate = np.array(beats, np.float32)
        absent = draw(st.lists(st.integers(1, max(1, rows - 2)), max_size=4))
        absent = [row for row in absent if row < rows - 1]
        series[absent] = np.nan
        heart_rate[absent] = np.nan
        start = draw(st.integers(0, 2_000_000_000))
        made.append(
            Recording(user=user, start_s=float(start), series=series, heart_rate=heart_rate)
        )
    return made


def frame(made: list[Recording]) -> pd.DataFrame:
    """One row an epoch that is not absent."""
    parts = [
        pd.DataFrame(
            {
                "user": r.user,
                "time": r.start_s + 15.0 * np.arange(len(r.series)),
                "heart_rate": r.heart_rate,
                "one": r.series[:, 0],
                "two": r.series[:, 1],
            }
        )[~np.isnan(r.heart_rate)]
        for r in made
    ]
    return pd.concat(parts, ignore_index=True)


def save(table: pd.DataFrame, folder: Path, kind: str) -> Path:
    """kind: how the time is written, and where."""
    table = table.copy()
    if kind.endswith("times"):
        table["time"] = pd.to_datetime(table["time"], unit="s").astype("datetime64[ms]")
    if kind.startswith("parquet"):
        arrow = pa.Table.from_pandas(table, preserve_index=True)
        pq.write_table(arrow, folder / "table.parquet", row_group_size=3)
        return folder / "table.parquet"
    table.to_csv(folder / "table.csv", index=False, date_format="%Y-%m-%dT%H:%M:%S")
    return folder / "table.csv"


KINDS = ("csv seconds", "csv times", "parquet seconds", "parquet times")


@settings(max_examples=20, deadline=None)
@given(kind=st.sampled_from(KINDS), made=recordings())
def test_a_valid_table_round_trips(
    tmp_path_factory: pytest.TempPathFactory, kind: str, made: list[Recording]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS", 4)  # blocks end within users
        file = save(frame(made), tmp_path_factory.mktemp("table"), kind)
        epochs = read(file, series=["one", "two"])
        found = list(epochs.recordings())
    assert [r.user for r in found] == [r.user for r in made] == epochs.users.index.tolist()
    for a, b in zip(found, made, strict=True):
        assert a.start_s == b.start_s
        assert same(a.series, b.series)
        assert same(a.heart_rate, b.heart_rate)
    assert epochs.rejected == {}


def regular(users: int, rows: int) -> pd.DataFrame:
    one = np.arange(rows)
    return pd.concat(
        [
            pd.DataFrame(
                {"user": f"u{n}", "time": 1e9 + 15.0 * one, "heart_rate": 60.0, "one": one * 1.0}
            )
            for n in range(users)
        ],
        ignore_index=True,
    )


# fault -> (column, its value in row r, words of the error)
FAULTS: dict[str, tuple[str, Any, str]] = {
    "no user": ("user", lambda t, r: None, "user: empty"),
    "no time": ("time", lambda t, r: np.nan, "time: empty"),
    "late": ("time", lambda t, r: t["time"][r] + 7, "off the grid"),
    "milliseconds": ("time", lambda t, r: t["time"][r] * 1000, "milliseconds"),
    "year": ("time", lambda t, r: t["time"][r] + 366 * 86400, "30 days behind"),
    "twice": ("time", lambda t, r: t["time"][r - 1], "of the row above"),
    "back": ("time", lambda t, r: t["time"][r] - 300, "before the row"),
    "another user": ("user", lambda t, r: "u0", "stand apart"),
    "infinite": ("one", lambda t, r: np.inf, "one: .*not a number"),
    "too large": ("heart_rate", lambda t, r: 1e39, "not a number"),
}


@pytest.mark.parametrize("fault", FAULTS)
@settings(max_examples=4, deadline=None)
@given(
    kind=st.sampled_from(["csv seconds", "parquet seconds"]),
    row=st.integers(22, 38),  # rows 20..39 are the second user's
    size=st.sampled_from([7, 1000]),
)
def test_each_fault_is_named_with_its_row(
    tmp_path_factory: pytest.TempPathFactory, kind: str, fault: str, row: int, size: int
) -> None:
    table = regular(3, 20)
    column, value, words = FAULTS[fault]
    table.loc[row, column] = value(table, row)
    file = save(table, tmp_path_factory.mktemp("table"), kind)
    place = f"line {row + 2}" if kind.startswith("csv") else f"row {row + 1}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS", size)
        epochs = read(file)
        with pytest.raises(InputError, match=rf"{file.name}, {place}, .*{words}"):
            list(epochs.recordings())


TEXT_FAULTS = {
    "b,2016-04-12T07:30:30,x,1.5,,3": "line 3, heart_rate: 'x' is not a number",
    "b,2016-04-12T07:30:30,61,1e,,3": "line 3, enmo: '1e' is not a number",
    "b,2016-04-12T07:30:30,61,1.5,,three": "line 3, steps: 'three' is not a number",
    "b,2016-04-12T07:30:30,61,1.5,": "line 3: 5 fields where the header has 6",
    "b,2016-04-12T07:30:30Z,61,1.5,,3": "line 3, time: .*without an offset",
    "b,2016-04-12T07:30:30+02:00,61,1.5,,3": "line 3, time: .*without an offset",
    "b,12.4.2016 07:30:30,61,1.5,,3": "line 3, time: .* neither a time",
    "b,30,61,1.5,,3": "line 3, time: '30' is neither a time",
    'b,2016-04-12T07:30:30,61,1.5,"a"b,3': "line 3: not CSV",
    ",2016-04-12T07:30:30,61,1.5,,3": "line 3, user: empty",
    "b,,61,1.5,,3": "line 3, time: empty",
}


@pytest.mark.parametrize("line", TEXT_FAULTS)
def test_each_fault_of_a_text_is_named(tmp_path: Path, line: str) -> None:
    file = write(tmp_path, TEXT.replace("b,2016-04-12T07:30:30,,1.5,,3", line))
    with pytest.raises(InputError, match=rf"table\.csv, {TEXT_FAULTS[line]}"):
        list(read(file).recordings())


def test_a_byte_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(TEXT.encode().replace(b"sat", b"s\xff"))
    with pytest.raises(InputError, match=r"table\.csv, line 2: not UTF-8"):
        read(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("", {}, "empty file"),
        ("user,time,heart_rate,one\n", {"series": ["one"]}, "no row"),
        (TEXT, {"user": "users"}, "line 1: no column 'users'; did you mean its column 'user'"),
        (TEXT, {"series": ["enmo", "step"]}, "no column 'step'; did you mean its column 'steps'"),
        (TEXT, {"series": ["time"]}, "named twice"),
        ("user,time,heart_rate\na,1,60\n", {}, "no column of numbers besides"),
        (TEXT, {"step_s": 0.0}, "step_s=0.0: seconds from row to row"),
        (TEXT, {"off_grid": -1}, "off_grid=-1: a share"),
        (TEXT, {"max_gap_days": 0}, "max_gap_days=0: days"),
        (TEXT, {"heart_rate_bpm": [230, 30]}, "heart_rate_bpm"),
        (TEXT, {"users": "users.csv"}, r"users\.csv: cannot be read"),
    ],
)
def test_other_mistakes(tmp_path: Path, text: str, changes: dict[str, Any], words: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(InputError, match=words):
        read(file, **changes)


def test_no_file(tmp_path: Path) -> None:
    for path in (None, str(tmp_path), str(tmp_path / "none.csv")):
        with pytest.raises(InputError, match="CSV or Parquet file"):
            epochs_table(path=path, **DEFAULTS)


def test_parquet_of_other_kinds(tmp_path: Path) -> None:
    table, file = regular(2, 3), tmp_path / "table.parquet"
    table.assign(user=pd.array([7, 7, 7, 8, 8, 8])).to_parquet(file)  # whole numbers
    assert [r.user for r in read(file).recordings()] == ["7", "8"]
    table.assign(user=table["user"].astype("category"), one=table["one"].astype("Int8")).to_parquet(
        file
    )
    assert [r.user for r in read(file).recordings()] == ["u0", "u1"]
    table.set_index(pd.Index(range(5, 11))).to_parquet(file, index=True)
    assert "__index_level_0__" in pq.read_schema(file).names
    assert read(file).series == ("one",)
    table.assign(user="").to_parquet(file)
    with pytest.raises(InputError, match="no row with a user"):
        read(file)
    table.assign(user=["a", "a", "", "b", "b", "b"]).to_parquet(file)
    with pytest.raises(InputError, match="row 3, user: empty"):
        list(read(file).recordings())
    table.assign(user=1.5).to_parquet(file)
    with pytest.raises(InputError, match="texts or whole numbers"):
        read(file)
    table.assign(time=pd.to_datetime(table["time"], unit="s", utc=True)).to_parquet(file)
    with pytest.raises(InputError, match="without a zone"):
        list(read(file).recordings())
    table.assign(heart_rate="60").to_parquet(file)
    with pytest.raises(InputError, match=r"heart_rate: .*not numbers"):
        read(file)
    with pytest.raises(InputError, match="did you mean its column 'one'"):
        read(file, series=["ones"])
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a Parquet file, or cut short"):
        read(file)


@pytest.mark.slow
def test_a_large_table_is_streamed(tmp_path: Path) -> None:
    """1 M rows, 80 MB as arrays: the process grows by less than half of that."""
    names = [f"s{n}" for n in range(10)]
    rows = 25_000
    with pq.ParquetWriter(tmp_path / "table.parquet", _schema(names)) as writer:
        for user in range(40):
            noise = np.random.default_rng(user).normal(80, 10, (11, rows)).astype("float32")
            columns = [[str(user)] * rows, 1e9 + 15.0 * np.arange(rows), *noise]
            writer.write_table(pa.table([pa.array(c) for c in columns], schema=_schema(names)))
    script = (
        "import resource, sys\n"
        "from fitexp.data.windows.epochs_table import epochs_table\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "begin = peak()\n"
        f"epochs = epochs_table(path={str(tmp_path / 'table.parquet')!r}, **{DEFAULTS!r})\n"
        "print(sum(len(r.series) for r in epochs.recordings()))\n"
        "assert 'torch' not in sys.modules\n"
        "print(peak() - begin)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    read_rows, grown = map(int, run.stdout.split())
    assert read_rows == 1_000_000
    assert grown < 80_000  # KiB


def _schema(names: list[str]) -> pa.Schema:
    kinds = {"user": pa.string(), "time": pa.float64(), "heart_rate": pa.float32()}
    return pa.schema([*kinds.items(), *((name, pa.float32()) for name in names)])


def test_another_table_of_users_is_read_again(tmp_path: Path) -> None:
    """The cache of prepared arrays goes by the table of users too."""
    file = tmp_path / "table.csv"
    regular(6, 20).to_csv(file, index=False)
    source = {**DEFAULTS, "_target_": "fitexp.data.windows.epochs_table.epochs_table"}
    source |= {"users": "users.csv"}
    for bmi in (20.0, 30.0):
        rows = "".join(f"{user},{bmi}\n" for user in regular(6, 20)["user"].unique())
        (tmp_path / "users.csv").write_text(f"user,bmi\n{rows}")
        made = protocol(path=str(file), source=source).prepare()
        assert made.arrays["users"].tolist() == [[bmi]] * 6
