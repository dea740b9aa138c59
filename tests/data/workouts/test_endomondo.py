"""The Endomondo reader: units, every kind of damage, parts, resuming, and the way to batches."""

from __future__ import annotations

import gzip
import io
import math
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fitexp.data.workouts import endomondo, endomondo_lines
from fitexp.data.workouts.endomondo import read_endomondo
from fitexp.data.workouts.endomondo_lines import haversine_km, lines_from, part_of
from fitexp.data.workouts.module import WorkoutsData
from fitexp.data.workouts.table import WorkoutTable
from fitexp.errors import InputError

from .endomondo_made import SPORTS, line, read_plainly, write
from .made import CONF, protocol

ROOT = Path(__file__).parents[3]
GOOD = {
    "userId": 7,
    "id": 70,
    "sport": "Bike (transport)",
    "gender": "female",
    "url": "https://www.example.org/70",
    "timestamp": [1_400_000_000, 1_400_000_010, 1_400_000_030],
    "heart_rate": [100, 110, 120],
    "altitude": [10.5, 11.0, 12.0],
    "latitude": [60.0, 60.0, 60.001],
    "longitude": [24.0, 24.001, 24.001],
    "speed": [1.0, 99.0, 1.0],
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FITEXP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def read(path: Path, **changed: Any) -> WorkoutTable:
    keys = {"workers": 1, "parser": "auto", "part_bytes": 1 << 22, "max_line_bytes": 1 << 20}
    return read_endomondo(path=str(path), **{**keys, **changed})


def read_lines(folder: Path, *lines: bytes | dict[str, Any], **changed: Any) -> WorkoutTable:
    """A file of these lines, and at its end a good one with the id 99."""
    path = folder / "made.json"
    made = [text if isinstance(text, bytes) else line(text) for text in lines]
    path.write_bytes(b"".join(made) + line({**GOOD, "id": 99}))
    return read(path, **changed)


def equal(a: WorkoutTable, b: WorkoutTable) -> None:
    pd.testing.assert_frame_equal(a.sessions, b.sessions)
    pd.testing.assert_frame_equal(a.samples, b.samples)
    assert a.rejected == b.rejected


def test_a_line_by_hand(tmp_path: Path) -> None:
    """Metres from the circumference: a degree of latitude is 2 pi R / 360 = 111.195 km."""
    table = read_lines(tmp_path, GOOD)
    first = table.sessions.iloc[0]
    assert first.tolist() == ["70", "7", "bike (transport)", "female", 1.4e9]
    points = table.samples[table.samples["session"] == 0]
    assert points["time_s"].tolist() == [0, 10, 30]
    assert points["heart_rate_bpm"].tolist() == [100, 110, 120]
    assert points["altitude_m"].tolist() == [10.5, 11, 12]
    east = 2 * math.pi * 6371.0088 / 360 * math.cos(math.radians(60)) * 0.001
    north = 2 * math.pi * 6371.0088 / 360 * 0.001
    assert points["distance_km"].tolist() == pytest.approx([0, east, east + north], rel=1e-6)
    assert points["speed_km_h"].isna().all()  # the recorded 99 km/h are distrusted
    assert table.samples.dtypes.astype(str).to_dict() == {
        "session": "int32",
        "time_s": "float64",
        **dict.fromkeys(["heart_rate_bpm", "altitude_m", "distance_km", "speed_km_h"], "float32"),
    }
    assert (table.simulated, table.name, table.rejected) == (False, "endomondo", {})


def test_distances_between_cities() -> None:
    """Paris to London 343.6 km, on a sphere; to the antipode half the circumference."""
    way = haversine_km(np.array([48.8566, 51.5074]), np.array([2.3522, -0.1278]))
    assert way == pytest.approx([343.56], abs=0.1)
    half = haversine_km(np.array([30.0, -30.0]), np.array([10.0, -170.0]))
    assert half == pytest.approx([math.pi * 6371.0088])


DAMAGED: list[tuple[bytes | dict[str, Any], str]] = [
    (b"\n", "lines without anything"),
    (b"{'userId': 7,\n", "lines that are no Python literal"),
    (b"__import__('os').abort()\n", "lines that are no Python literal"),
    (b"\xff\xfe\n", "lines that are no Python literal"),
    (b"[1, 2]\n", "lines that hold no dictionary"),
    (b"x" * 5000 + b"\n", "lines over data.source.max_line_bytes"),
    *(
        ({k: v for k, v in GOOD.items() if k != key}, f"lines without {key}")
        for key in ("userId", "id", "sport", "timestamp", "heart_rate", "altitude", "latitude")
    ),
    ({**GOOD, "id": 7.5}, "lines whose id is not a whole number"),
    ({**GOOD, "userId": True}, "lines whose userId is not a whole number"),
    ({**GOOD, "sport": None}, "lines whose sport is not a name"),
    ({**GOOD, "gender": ["male"]}, "lines whose gender is not a name"),
    ({**GOOD, "altitude": [1, 2]}, "lines whose lists differ in length"),
    ({**GOOD, "altitude": []}, "lines with empty lists"),
    ({**GOOD, "altitude": 5}, "lines with something else than numbers in altitude"),
    ({**GOOD, "altitude": [1, "2", 3]}, "lines with something else than numbers in altitude"),
    ({**GOOD, "altitude": [1, True, 3]}, "lines with something else than numbers in altitude"),
    ({**GOOD, "altitude": [1, [2], 3]}, "lines with something else than numbers in altitude"),
    ({**GOOD, "altitude": [1, 10**400, 3]}, "lines with something else than numbers in altitude"),
    ({**GOOD, "timestamp": [20, 10, 30]}, "lines whose timestamps go back"),
    ({**GOOD, "timestamp": [None, None, math.nan]}, "lines without any timestamp"),
    ({**GOOD, "timestamp": [1.4e12, 1.5e12, 1.6e12]}, "lines without any timestamp"),  # in ms
    ({**GOOD, "id": 1, "altitude": [1, None, 3]}, "lines with the id of an earlier one"),
]


@pytest.mark.parametrize("parser", ["orjson", "simdjson", "literal"])
def test_every_damaged_line_is_counted_named_and_kept(
    parser: str, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{**GOOD, "id": 1}, *(text for text, _ in DAMAGED)]
    table = read_lines(tmp_path, *lines, parser=parser, max_line_bytes=2000, part_bytes=1500)
    assert table.sessions["workout"].tolist() == ["1", "99"]
    reasons = [reason for _, reason in DAMAGED]
    assert table.rejected == {reason: reasons.count(reason) for reason in reasons}
    assert len(lines) + 1 == len(table.sessions) + sum(table.rejected.values())
    said = capsys.readouterr().err
    assert f"{len(DAMAGED)} of {len(DAMAGED) + 2} lines left out" in said
    assert "line 2: lines without anything; line 3: lines that are no Python literal" in said
    kept = next(cache.rglob("made.json.rejected")).read_bytes().splitlines()
    assert kept[1] == b"3\tlines that are no Python literal\t{'userId': 7,"
    found = sorted((int(n), why.decode()) for n, why, _ in (text.split(b"\t", 2) for text in kept))
    assert found == [(number, why) for number, why in enumerate(reasons, 2)]


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.one_of(st.none(), st.floats(), st.integers(-200, 200)), min_size=2, max_size=4),
    st.lists(st.one_of(st.text(max_size=2), st.integers(0, 3), st.booleans()), max_size=3),
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(GOOD)), ODD, max_size=3), st.binary(max_size=6))
def test_no_line_is_lost_and_none_ends_in_a_traceback(odd: dict[str, Any], junk: bytes) -> None:
    whole = line({**GOOD, **odd})
    cut = whole[: len(whole) // 2] + junk.replace(b"\n", b"") + whole[len(whole) // 2 :]
    part = part_of([whole, cut, line(GOOD)], 1 << 20, "auto")
    assert part.lines == 3 == len(part.line) + len(part.rejected)
    assert part.sessions["workout"][-1] == "70"
    assert {len(column) for column in part.columns.values()} == {part.offset[-1]}
    for w in range(len(part.line)):
        points = slice(part.offset[w], part.offset[w + 1])
        time = part.columns["time_s"][points]
        distance = part.columns["distance_km"][points]
        assert time[0] == 0
        assert (np.diff(time) > 0).all()
        assert (np.diff(distance[np.isfinite(distance)]) >= 0).all()


def test_faulty_points_are_missing_or_left_out(tmp_path: Path) -> None:
    time = [None, 0, 0, 10, 20, 30, 40]
    made = {
        **GOOD,
        "timestamp": [t if t is None else t + 1_400_000_000 for t in time],
        "heart_rate": [1, 100, 2, None, 300, math.nan, 140],
        "altitude": [1, 10, 2, math.inf, 5, 6, 7],
        "latitude": [1, 60, 2, 60, None, 60, 95],
        "longitude": [1, 24, 2, 24.001, 24, 24.002, 24],
    }
    table = read_lines(tmp_path, made)
    points = table.samples[table.samples["session"] == 0]
    assert points["time_s"].tolist() == [0, 10, 20, 30, 40]
    assert points["heart_rate_bpm"].dropna().tolist() == [100, 140]
    assert points["altitude_m"].dropna().tolist() == [10, 5, 6, 7]
    step = 2 * math.pi * 6371.0088 / 360 / 2 * 0.001
    assert points["distance_km"].to_numpy() == pytest.approx(
        [0, step, math.nan, 2 * step, math.nan], nan_ok=True, rel=1e-6
    )
    assert table.sessions["start"].iloc[0] == 1.4e9
    assert table.rejected == {
        "points without a timestamp": 1,
        "points at a time that another has": 1,
        "missing values in heart_rate": 2,
        "missing values in altitude": 1,
        "points without a position": 2,
        "heart rates outside 30..230 bpm": 1,
    }


def test_sports_that_have_another_name_here(tmp_path: Path) -> None:
    sports = ["Running", "walking", "swimming", "mountain bike", 'it\'s \\ "odd" \ud800']
    lines = [{**GOOD, "id": i, "sport": sport} for i, sport in enumerate(sports)]
    found = read_lines(tmp_path, *lines).sessions["sport"].tolist()
    assert found[:4] == ["run", "walk", "swim", "mountain bike"]
    assert found[4] == 'it\'s \\ "odd" ?'


@pytest.mark.parametrize("parser", ["orjson", "simdjson", "literal"])
def test_every_point_is_what_a_plain_loop_says(parser: str, tmp_path: Path) -> None:
    path = write(tmp_path / "made.json", users=3, workouts=2, points=40)
    found, plain = read(path, parser=parser, part_bytes=5000), read_plainly(path)
    pd.testing.assert_frame_equal(found.sessions, plain.sessions)
    samples = found.samples[list(plain.samples)]
    pd.testing.assert_frame_equal(samples, plain.samples, rtol=1e-6, atol=1e-7)


TEXTS = st.lists(
    st.sampled_from([b"\n", b"a\n", b"bcd\n", b"efghij\n", b"\r\n", b"k" * 12 + b"\n"])
)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.sampled_from([b"", b"end", b"e" * 12]), st.integers(1, 12))
def test_parts_at_every_offset_give_every_line_once(
    texts: list[bytes], end: bytes, limit: int
) -> None:
    lines = [*texts, end] if end else texts
    whole = b"".join(lines)
    expected = [text if len(text) <= limit + 1 else text[: limit + 1] for text in lines]
    starts = np.cumsum([0, *map(len, lines)])[:-1].tolist()
    for size in range(1, len(whole) + 2):
        found = []
        for start in range(0, len(whole), size):
            stream = io.BytesIO(whole)
            stream.seek(max(start - 1, 0))
            found += lines_from(stream, start, start + size, limit)
        assert found == list(zip(starts, expected, strict=True))


def test_gz_and_the_size_of_parts_do_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path / "made.json", users=2, workouts=3, points=30)
    path.write_bytes(path.read_bytes() + b"damaged\n" + line({**GOOD, "id": 1})[:-1])
    zipped = tmp_path / "made.json.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    whole = read(path)
    assert len(whole.sessions) == 7
    for size in (999, 2345, 10_000):
        equal(read(path, part_bytes=size), whole)
        equal(read(zipped, part_bytes=size), whole)


def test_several_processes_give_the_same(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "made.json", users=2, workouts=3, points=30)
    zipped = tmp_path / "made.json.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    alone = read(path, part_bytes=2000)
    cache.rename(cache.with_name("alone"))
    equal(read(path, part_bytes=2000, workers=2), alone)
    equal(read(zipped, part_bytes=2000, workers=2), alone)


def test_a_second_reading_parses_nothing_and_maps_the_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "made.json", users=1, workouts=2, points=30)
    first = read(path)
    monkeypatch.setattr(endomondo, "make_part", None)  # calling it fails
    second = read(path)
    equal(first, second)
    base: Any = second.samples["time_s"].to_numpy()
    while not isinstance(base, np.memmap):
        assert base.base is not None, "the column is a copy in memory"
        base = base.base


def test_a_changed_or_damaged_cache_is_made_anew(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "made.json", users=1, workouts=2, points=30)
    time = read(path).samples["time_s"].tolist()
    stored = next(cache.rglob("time_s.bin"))
    stored.unlink()  # before it is cut: the table above is mapped from it
    stored.write_bytes(b"short")
    assert read(path).samples["time_s"].tolist() == time
    path.write_bytes(path.read_bytes() + line(GOOD))
    assert len(read(path).sessions) == 3


KILLED = """
import os, signal, sys
from fitexp.data.workouts import endomondo
made, write = 0, endomondo.make_part
def dying(*job):
    global made
    if made == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    made += 1
    write(*job)
endomondo.make_part = dying
endomondo.read_endomondo(
    path=sys.argv[1], workers=1, parser="auto", part_bytes=2000, max_line_bytes=100_000
)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_reading_goes_on_at_the_first_missing_part(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "made.json", users=4, workouts=3, points=30)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == -signal.SIGKILL
    parts = sorted(p.name for p in cache.rglob("parts/*.part"))
    assert parts == ["000000.part", "000001.part", "000002.part"]
    starts = np.cumsum([0, *(len(text) for text in path.read_bytes().splitlines(True))])[:-1]
    parsed: list[bytes] = []
    slow = endomondo_lines.parse

    def counted(text: bytes, fast: Any) -> Any:
        parsed.append(text)
        return slow(text, fast)

    monkeypatch.setattr(endomondo_lines, "parse", counted)
    table = read(path, part_bytes=2000, max_line_bytes=100_000)
    # the first line is looked at each time, to know the file
    assert 1 < len(parsed) == 1 + int((starts >= 3 * 2000).sum()) < 12
    pd.testing.assert_frame_equal(table.sessions, read_plainly(path).sessions)
    assert not list(cache.rglob("parts")), "parts are removed when they are joined"


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A file four times as long: numpy and Python take no more than lists of its workouts."""
    paths = [write(tmp_path / f"{n}.json", users=1, workouts=n) for n in (2, 25, 100)]
    peaks = []
    for path in paths:  # the first one loads code
        tracemalloc.start()
        read(path, part_bytes=200_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    growth = paths[2].stat().st_size - paths[1].stat().st_size
    assert growth > 2_000_000
    assert peaks[2] - peaks[1] < growth / 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": None}, r"needs data\.path=FILE"),
        ({"path": "absent.json"}, "not a file"),
        ({"workers": 0}, r"data\.source\.workers=0"),
        ({"part_bytes": 0}, r"data\.source\.part_bytes=0"),
        ({"parser": "json"}, r"data\.source\.parser=json"),
    ],
)
def test_one_line_says_what_is_wrong(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "made.json", users=1, workouts=1, points=30)
    keys = {"workers": 1, "parser": "auto", "part_bytes": 9000, "max_line_bytes": 9000}
    with pytest.raises(InputError, match=message) as caught:
        read_endomondo(**{"path": str(path), **keys, **change})
    assert "\n" not in str(caught.value)


def test_files_that_are_something_else_or_cut(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    for content in (b"", b"a,b\n1,2\n"):
        other.write_bytes(content)
        with pytest.raises(InputError, match=r"no workout in the first [02] lines"):
            read(other)
    long = tmp_path / "long.csv"
    long.write_bytes(b"1,2\n" * 5000)
    with pytest.raises(
        InputError, match=r"no workout in the first 25 lines \(25 lines that hold no"
    ):
        read(long, part_bytes=100)  # said after the first part
    whole = gzip.compress(write(tmp_path / "made.json", 1, 3, 200).read_bytes())
    for damaged in (whole[: len(whole) // 2], whole[:-1], whole[:2000] + b"x" + whole[2001:]):
        other.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged or cut short"):
            read(other)


@pytest.mark.parametrize("junk", [b"\0", b"a\n", b"\n"], ids=["one line", "lines", "blank lines"])
def test_a_gzip_bomb_is_refused_without_inflating_it(
    junk: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 64 MB at most 4 MiB, their last line's 1 MiB and some buffers are inflated."""
    bomb = tmp_path / "bomb.json.gz"
    bomb.write_bytes(gzip.compress(junk * (64_000_000 // len(junk)), 1))
    inflated = 0
    unpack = gzip._GzipReader.read

    def counted(self: Any, size: int = -1) -> bytes:
        nonlocal inflated
        found: bytes = unpack(self, size)
        inflated += len(found)
        return found

    monkeypatch.setattr("gzip._GzipReader.read", counted)
    with pytest.raises(InputError, match="no workout in the first 1"):
        read(bomb)
    assert 0 < inflated < 6 << 20


def test_a_cache_that_cannot_be_written(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="set FITEXP_CACHE"):
        read(write(tmp_path / "made.json", 1, 1, 30))


def test_the_way_to_a_batch(tmp_path: Path) -> None:
    """6 users x 12 workouts through the protocol of conf/data/endomondo.yaml."""
    own = yaml.safe_load((CONF / "data/endomondo.yaml").read_text())
    del own["defaults"]
    own["path"] = str(write(tmp_path / "made.json", users=6, workouts=12, points=200))
    own["source"]["workers"] = 1
    prepared = protocol(**own).prepare()
    assert prepared.report["counts"]["workouts read"] == 72
    assert prepared.report["counts"]["train workouts"] > 6 * 8
    assert prepared.spec.attributes["sport"][1:] == tuple(sorted(SPORTS))
    batch = next(iter(WorkoutsData(prepared=prepared, batch_size=4, seed=0).train_dataloader()))
    assert batch["x"].shape == (4, 300, 2)
    measured = batch["y"][batch["mask"] > 0]
    assert len(measured) > 4 * 200
    assert 100 < float(measured.min()) <= float(measured.max()) < 170


@pytest.mark.parametrize(("hours", "whole", "short"), [(1.0, True, True), (3.5, True, False)])
def test_limits_fit_500_points_of_workouts_of_hours(hours: float, whole: bool, short: bool) -> None:
    """The YAML's reason: 500 even points in 1 h are 7 s apart, in 3.5 h 25 s."""
    own = yaml.safe_load((CONF / "data/endomondo.yaml").read_text())
    spacing = hours * 3600 / 500
    for regime, measured in (("whole", whole), ("short", short)):
        limits = own["for_regime"][regime]
        assert (spacing <= limits["max_target_gap_s"]) == measured
        assert own["max_gap_s"] > limits["max_target_gap_s"]
