"""Activity files: against plain counts and other libraries, and with damaged bytes."""

from __future__ import annotations

import gzip
import shutil
import struct
import time
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import fitdecode
import gpxpy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tcxreader.tcxreader import TCXReader

from fitexp.data.workouts.activities import read_activities, read_activity, read_parts
from fitexp.data.workouts.fit import EPOCH
from fitexp.data.workouts.recording import (
    DAMAGED,
    FIELDS,
    Activity,
    Recording,
    activity_of,
    haversine_km,
    increasing,
)
from fitexp.data.workouts.tracks import unix_time
from fitexp.errors import InputError

NAN = float("nan")
START = 1_600_000_000
DROPPED = (
    "samples without a time",
    "samples over 7 days from the others",
    "samples at a time that another has",
    "samples that go back in time",
)
FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# Files made here


def crc16(data: bytes) -> int:
    """CRC-16/ARC bit by bit, as the FIT protocol has it."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def definition(local: int, number: int, *fields: tuple[int, int, int]) -> bytes:
    """A FIT definition message; fields: (number, size, base type)."""
    packed = b"".join(bytes(f) for f in fields)
    return bytes([0x40 | local, 0, 0]) + struct.pack("<HB", number, len(fields)) + packed


RECORD = definition(0, 20, (253, 4, 0x86), (3, 1, 0x02), (5, 4, 0x86), (6, 2, 0x84), (2, 2, 0x84))
SESSION = definition(1, 18, (253, 4, 0x86), (2, 4, 0x86), (5, 1, 0x00))


def record(at: int, heart_rate: int) -> bytes:
    """At `at` s from START, 3 m/s, 100 m high."""
    now = START - int(EPOCH) + at
    return b"\0" + struct.pack("<IBIHH", now, heart_rate, 300 * at, 3000, (100 + 500) * 5)


def session(at: int, sport: int) -> bytes:
    now = START - int(EPOCH) + at
    return b"\1" + struct.pack("<IIB", now + 5, now, sport)


def fit(body: bytes, size: int | None = None) -> bytes:
    """A FIT file of one body; `size`: what the header says instead of the truth."""
    header = struct.pack("<BBHI4s", 14, 0x20, 2132, len(body) if size is None else size, b".FIT")
    whole = header + struct.pack("<H", crc16(header)) + body
    return whole + struct.pack("<H", crc16(whole))


def small_fit(n: int = 12) -> bytes:
    return fit(RECORD + b"".join(record(i, 100 + i) for i in range(n)) + SESSION + session(0, 1))


def stamp(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + at))


def small_tcx(n: int = 12) -> bytes:
    points = "".join(
        f"<Trackpoint><Time>{stamp(i)}</Time><AltitudeMeters>100</AltitudeMeters>"
        f"<DistanceMeters>{3 * i}</DistanceMeters><HeartRateBpm><Value>{100 + i}</Value>"
        "</HeartRateBpm><Extensions><x:TPX><x:Speed>3.0</x:Speed></x:TPX></Extensions></Trackpoint>"
        for i in range(n)
    )
    return (
        '<?xml version="1.0"?><TrainingCenterDatabase xmlns:x="e"><Activities><Activity '
        f'Sport="Running"><Lap><Track>{points}</Track></Lap></Activity></Activities>'
        "</TrainingCenterDatabase>"
    ).encode()


def small_gpx(n: int = 12, times: bool = True) -> bytes:
    points = "".join(
        f'<trkpt lat="50.0" lon="{5 + i * 1e-4:.4f}"><ele>100</ele>'
        + (f"<time>{stamp(i)}</time>" if times else "")
        + f"<extensions><g:TrackPointExtension><g:hr>{100 + i}</g:hr>"
        "</g:TrackPointExtension></extensions></trkpt>"
        for i in range(n)
    )
    return (
        '<?xml version="1.0"?><gpx version="1.1" xmlns:g="e"><trk><type>running</type>'
        f"<trkseg>{points}</trkseg></trk></gpx>"
    ).encode()


SMALL = {"fit": small_fit(), "tcx": small_tcx(), "gpx": small_gpx()}
CLOSING = {"tcx": b"</Trackpoint>", "gpx": b"</trkpt>"}


def complete(kind: str, data: bytes) -> int:
    """Samples that are whole in the first bytes of SMALL[kind]."""
    if kind != "fit":
        return data.count(CLOSING[kind])
    return min(max(0, len(data) - 14 - len(RECORD)) // len(record(0, 0)), 12)


def read(folder: Path, name: str, data: bytes) -> Activity:
    file = folder / name
    file.write_bytes(data)
    return read_activity(file)


def check(activity: Activity) -> None:
    """What every activity keeps to, whatever the bytes were."""
    columns = {k: v for k, v in vars(activity).items() if isinstance(v, np.ndarray)}
    assert len({len(v) for v in columns.values()}) == 1
    assert not any(np.isinf(v).any() for v in columns.values())
    time_s = activity.time_s
    assert np.isnan(time_s).all() or (time_s[0] == 0 and (np.diff(time_s) > 0).all())
    known = activity.heart_rate_bpm[np.isfinite(activity.heart_rate_bpm)]
    assert ((known >= 30) & (known <= 230)).all()
    distance = activity.distance_km[np.isfinite(activity.distance_km)]
    assert (np.diff(distance) >= 0).all()
    latitude, longitude = activity.latitude, activity.longitude
    assert (np.isnan(latitude) == np.isnan(longitude)).all()
    assert not (np.abs(latitude) > 90).any()
    assert not (np.abs(longitude) > 180).any()
    assert all(n > 0 for n in activity.problems.values())


def samples(activity: Activity) -> int:
    """Samples kept and dropped."""
    return len(activity.time_s) + sum(activity.problems.get(reason, 0) for reason in DROPPED)


# Rules


def test_haversine_by_hand() -> None:
    def km(*degrees: float) -> float:
        return float(haversine_km(*(np.array([d]) for d in degrees))[0])

    quarter = np.pi / 2 * 6371.0088
    assert km(0, 0, 0, 90) == pytest.approx(quarter)
    assert km(90, 12, 0, 50) == pytest.approx(quarter)
    assert km(0, 179.5, 0, -179.5) == pytest.approx(quarter / 90)
    assert km(48.8566, 2.3522, 52.52, 13.405) == pytest.approx(877.5, abs=0.3)  # Paris, Berlin
    assert km(1, 2, 1, 2) == 0


@given(st.lists(st.integers(0, 9), max_size=9), st.booleans())
def test_increasing_keeps_the_longest(values: list[int], strictly: bool) -> None:
    mask = increasing(np.array(values, float), strictly=strictly)
    kept = np.array(values)[mask]
    assert (np.diff(kept) > 0).all() if strictly else (np.diff(kept) >= 0).all()
    longest = [1] * len(values)  # of those that end here: the slow, obvious way
    for i, value in enumerate(values):
        fits = [longest[j] for j in range(i) if values[j] < value + (not strictly)]
        longest[i] += max(fits, default=0)
    assert len(kept) == max(longest, default=0)


def recording(**columns: list[float]) -> Recording:
    n = len(next(iter(columns.values())))
    empty = [NAN] * n
    return Recording(
        "Trail_Running", list(zip(*(columns.get(f, empty) for f in FIELDS), strict=True))
    )


def test_one_wrong_time_costs_one_sample() -> None:
    times = [START + t for t in (0, 1, 5000, 2, 3, 3, 10**8, 4)] + [NAN]
    found = activity_of(recording(time=times, heart_rate=[90, 91, 92, 93, 94, 95, 96, 97, 98]))
    assert found.time_s.tolist() == [0, 1, 2, 3, 4]
    assert found.heart_rate_bpm.tolist() == [90, 91, 93, 94, 97]
    assert found.sport == "run"
    assert found.problems == {
        "samples without a time": 1,
        "samples over 7 days from the others": 1,
        "samples at a time that another has": 1,
        "samples that go back in time": 1,
    }


def test_ranges_distances_and_units() -> None:
    found = activity_of(
        recording(
            time=[START, START + 1, START + 60, START + 61],
            heart_rate=[0, 29, 30, 231],
            speed=[NAN, 1, 2, 3],
            distance=[0, 10, 5, 30],
            latitude=[91, 10, 10, NAN],
            longitude=[0, 20, 181, 20],
        )
    )
    assert found.time_s.tolist() == [0, 1, 60, 61]
    np.testing.assert_array_equal(found.heart_rate_bpm, [NAN, NAN, 30, NAN])
    np.testing.assert_allclose(found.speed_km_h, [NAN, 3.6, 7.2, 10.8])
    assert np.isfinite(found.distance_km).sum() == 3
    assert found.distance_km[-1] == pytest.approx(0.03)
    np.testing.assert_array_equal(found.latitude, [NAN, 10, NAN, NAN])
    assert found.problems["heart rates outside 30..230 bpm"] == 3
    assert found.problems["positions that are not on Earth"] == 3
    assert found.problems["distances that fall back"] == 1


def test_distance_from_positions_and_an_unset_clock() -> None:
    places = {"latitude": [0.0, NAN, 0.0, 0.0], "longitude": [0.0, NAN, 1.0, 3.0]}
    found = activity_of(recording(time=[100, 101, 102, 103], distance=[0, 0, 0, 0], **places))
    degree = 2 * np.pi * 6371.0088 / 360
    np.testing.assert_allclose(found.distance_km, [0, NAN, degree, 3 * degree])
    assert np.isnan(found.start)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02T00:00:00Z", 86400.0),
        ("1970-01-01T00:00:01.500Z", 1.5),
        ("1970-01-01T02:00:00+02:00", 0.0),
        (" 1969-12-31T19:00:00-0500 ", 0.0),
        ("1970-01-01T00:00:07", 7.0),
        ("1970-13-01T00:00:00Z", NAN),
        ("yesterday", NAN),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert unix_time(text) == pytest.approx(seconds, nan_ok=True)


# Small files


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("packed", [False, True])
def test_small_files(tmp_path: Path, kind: str, packed: bool) -> None:
    data = gzip.compress(SMALL[kind]) if packed else SMALL[kind]
    found = read(tmp_path, f"a.{kind}" + ".gz" * packed, data)
    assert (found.sport, found.start, found.problems) == ("run", START, {})
    assert found.time_s.tolist() == [*range(12)]
    assert found.heart_rate_bpm.tolist() == [*range(100, 112)]
    assert (found.altitude_m == 100).all()
    if kind == "gpx":
        step = 1e-4 * np.pi / 180 * 6371.0088 * np.cos(np.radians(50))
        np.testing.assert_allclose(found.distance_km, step * np.arange(12), rtol=1e-6)
    else:
        np.testing.assert_allclose(found.speed_km_h, 10.8)
        np.testing.assert_allclose(found.distance_km, 0.003 * np.arange(12))


def test_sessions_of_a_fit_are_apart(tmp_path: Path) -> None:
    body = RECORD + b"".join(record(i, 100 + i) for i in range(10))
    (tmp_path / "a.fit").write_bytes(fit(body + SESSION + session(0, 2) + session(6, 1)))
    parts = read_parts(tmp_path / "a.fit")
    assert [(a.sport, a.start - START, len(a.time_s)) for a in parts] == [
        ("bike", 0, 6),
        ("run", 6, 4),
    ]
    chosen = read_activity(tmp_path / "a.fit")
    assert (chosen.sport, chosen.problems) == (
        "bike",
        {"samples of the file's other activities": 4},
    )


@pytest.mark.parametrize("size", [0, 40, 10**6, 2**32 - 1])
def test_a_header_that_lies_about_the_size(tmp_path: Path, size: int) -> None:
    body = RECORD + b"".join(record(i, 100 + i) for i in range(12))
    found = read(tmp_path, "a.fit", fit(body, size))
    assert found.heart_rate_bpm.tolist() == [*range(100, 112)]
    assert found.problems[DAMAGED] == 1


def test_chained_files_of_which_the_first_is_damaged(tmp_path: Path) -> None:
    first = fit(RECORD + b"".join(record(i, 100 + i) for i in range(5)))[:-20]
    second = fit(RECORD + b"".join(record(10 + i, 110 + i) for i in range(5)))
    found = read(tmp_path, "a.fit", first + second)
    assert found.heart_rate_bpm.tolist()[-5:] == [*range(110, 115)]
    assert found.heart_rate_bpm.tolist()[:3] == [100, 101, 102]
    assert found.problems[DAMAGED] == 1


@pytest.mark.parametrize(("kind", "lost"), [("fit", 3), ("tcx", 1), ("gpx", 1)])
def test_reading_goes_on_behind_damage(tmp_path: Path, kind: str, lost: int) -> None:
    data = bytearray(SMALL[kind])
    if kind == "fit":
        data[14 + len(RECORD) + 4 * len(record(0, 0))] = 0x0F  # a message that was never defined
    else:
        data[data.index(b"104") - 3] = ord("<")
    found = read(tmp_path, f"a.{kind}", bytes(data))
    assert {*range(100, 104), *range(107, 112)} <= set(found.heart_rate_bpm)
    assert len(found.time_s) >= 12 - lost
    assert found.problems[DAMAGED] == 1


def test_a_route_without_times(tmp_path: Path) -> None:
    found = read(tmp_path, "a.gpx", small_gpx(times=False))
    assert len(found.time_s) == 12
    assert np.isnan(found.time_s).all()
    assert np.isnan(found.start)
    assert found.distance_km[-1] > 0.07


# Damage


@pytest.mark.parametrize("kind", SMALL)
def test_cut_at_any_byte(tmp_path: Path, kind: str) -> None:
    whole = SMALL[kind]
    for at in range(0, len(whole), 1 if kind == "fit" else 7):
        expected = complete(kind, whole[:at])
        try:
            found = read(tmp_path, f"a.{kind}", whole[:at])
        except InputError:
            assert expected == 0, at
            continue
        check(found)
        assert found.heart_rate_bpm[:expected].tolist() == [*range(100, 100 + expected)], at
        assert found.problems[DAMAGED] == 1, at


@FUZZ
@given(st.data(), st.sampled_from([*SMALL]))
def test_flipped_bytes_lose_nothing_before_them(tmp_path: Path, draw: Any, kind: str) -> None:
    data = bytearray(SMALL[kind])
    places = draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4))
    for place in places:
        data[place] = draw.draw(st.integers(0, 255))
    expected = complete(kind, SMALL[kind][: min(places)])
    try:
        found = read(tmp_path, f"a.{kind}", bytes(data))
    except InputError:
        assert expected == 0
        return
    check(found)
    gone = sum(found.problems.values())  # a wrong time may cost its neighbours' place in time
    kept = set(found.heart_rate_bpm[np.isfinite(found.heart_rate_bpm)].tolist())
    assert len({*range(100, 100 + expected)} - kept) <= gone


@FUZZ
@given(st.binary(max_size=400), st.sampled_from([*SMALL]), st.booleans())
def test_random_bytes(tmp_path: Path, junk: bytes, kind: str, headed: bool) -> None:
    try:
        found = read(tmp_path, f"a.{kind}", SMALL[kind][:90] * headed + junk)
    except InputError:
        return
    check(found)


@pytest.mark.parametrize("kind", SMALL)
def test_a_gzip_that_is_cut_gives_what_is_there(tmp_path: Path, kind: str) -> None:
    packed = gzip.compress(SMALL[kind], 0)  # stored, so that a cut leaves the front readable
    found = read(tmp_path, f"a.{kind}.gz", packed[: len(packed) - 60])
    assert 0 < len(found.time_s) <= 12
    assert found.problems[DAMAGED] == 1


def test_entity_bombs_are_refused(tmp_path: Path) -> None:
    bomb = b'<!DOCTYPE g [<!ENTITY a "ha">' + b"".join(
        b'<!ENTITY %c "%b">' % (98 + i, b"&%c;" % (97 + i) * 20) for i in range(12)
    )
    started = time.monotonic()
    with pytest.raises(InputError, match="XML entities"):
        read(tmp_path, "a.gpx", bomb + b"]><gpx>&m;</gpx>")
    assert time.monotonic() - started < 1


def test_gzip_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(read_parts.__globals__["LARGEST_MB"], ".tcx", 20)
    bomb = gzip.compress(b" " * 21 * 10**6)
    assert len(bomb) < 10**5
    with pytest.raises(InputError, match="over 20 MB"):
        read(tmp_path, "a.tcx.gz", bomb)


def test_endless_chains_of_fit_are_cut(tmp_path: Path) -> None:
    started = time.monotonic()
    found = read(tmp_path, "a.fit", small_fit() + fit(b"", 0)[:14] * 10**5)
    assert len(found.time_s) == 12
    assert found.problems[DAMAGED] == 1
    assert time.monotonic() - started < 2


def test_deep_nesting_is_cut(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="before the first sample"):
        read(tmp_path, "a.gpx", b"<gpx>" + b"<a>" * 10**6)


# Folders


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Ann with two recordings of one run, Bob in a deeper folder, one file without a folder."""
    folder = tmp_path / "people"
    (folder / "bob" / "2020").mkdir(parents=True)
    (folder / "ann").mkdir()
    (folder / "ann" / "run.fit").write_bytes(small_fit())
    (folder / "ann" / "run.gpx").write_bytes(small_gpx(9))
    (folder / "bob" / "2020" / "run.TCX.GZ").write_bytes(gzip.compress(small_tcx()))
    (folder / "own.tcx").write_bytes(small_tcx())
    return folder


def test_folders_are_athletes(people: Path) -> None:
    table = read_activities(path=str(people), same_start_s=2.0)
    assert table.sessions["workout"].tolist() == ["ann/run.fit", "bob/2020/run.TCX.GZ", "own.tcx"]
    assert table.sessions["athlete"].tolist() == ["ann", "bob", "people"]
    assert table.sessions["start"].tolist() == [START] * 3
    assert table.rejected == {"second recordings of one activity": 1}
    assert table.samples.groupby("session").size().tolist() == [12, 12, 12]
    kinds = table.samples.dtypes.astype(str).to_dict()
    assert kinds.pop("session") == "int32"
    assert kinds.pop("time_s") == "float64"
    assert set(kinds.values()) == {"float32"}


def test_athletes_csv_names_owners(people: Path) -> None:
    (people / "athletes.csv").write_text(
        "file,athlete,gender,sport\nown.tcx,cleo,female,\nann/run.gpx,dora,,hike\n"
    )
    table = read_activities(path=str(people), same_start_s=2.0)
    rows = table.sessions.set_index("workout")[["athlete", "gender", "sport"]].T.to_dict("list")
    assert rows["own.tcx"] == ["cleo", "female", "run"]
    assert rows["ann/run.gpx"] == ["dora", "unknown", "hike"]
    assert rows["ann/run.fit"] == ["ann", "unknown", "run"]
    assert table.rejected == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,who\n", "line 1: no column 'athlete'"),
        ("file,athlete\nown.tcx,\n", "line 2, athlete: empty"),
        ("file,athlete\nown.tcx,a\nnone.tcx,a\n", "line 3, file: no file 'none.tcx'"),
        ("file,athlete\nown.tcx,a\nown.tcx,b\n", "line 3, file: 'own.tcx' is listed twice"),
    ],
)
def test_mistakes_in_athletes_csv(people: Path, text: str, message: str) -> None:
    (people / "athletes.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_activities(path=str(people), same_start_s=2.0)


def test_what_is_left_out_of_a_folder_is_counted(people: Path) -> None:
    (people / "notes.txt").write_text("x")
    (people / "empty.fit").write_bytes(b"")
    (people / "junk.gpx").write_bytes(b"PK\3\4 no xml")
    (people / "none.gpx").write_bytes(b"<gpx></gpx>")
    (people / "route.gpx").write_bytes(small_gpx(times=False))
    (people / "silent.gpx").write_bytes(small_gpx().replace(b"g:hr", b"g:xx"))
    (people / "cut.tcx").write_bytes(small_tcx(20)[:-500].replace(b"2020-09-13", b"2020-09-12"))
    table = read_activities(path=str(people), same_start_s=2.0)
    assert table.rejected == {
        "second recordings of one activity": 1,
        "other files": 1,
        "empty files": 1,
        "files damaged before the first sample": 1,
        "files without samples": 1,
        "files without times": 1,
        "files without heart rate (kept for prediction)": 1,
        "samples damaged": 1,
        DAMAGED: 1,
    }


def test_a_folder_without_activities(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the folder is empty"):
        read_activities(path=str(tmp_path), same_start_s=2.0)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="1 other files"):
        read_activities(path=str(tmp_path), same_start_s=2.0)
    with pytest.raises(InputError, match="not a folder"):
        read_activities(path=str(tmp_path / "absent"), same_start_s=2.0)
    with pytest.raises(InputError, match=r"data\.path is missing: it must be a folder with"):
        read_activities(path=None, same_start_s=2.0)


# Real recordings


@pytest.fixture
def real(real_data: Path) -> Path:
    folder = real_data / "fit-importer-samples"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


def plain_count(file: Path) -> tuple[int, int, int]:
    """Samples, samples with a heart rate, samples with a time, counted the plain way."""
    if file.suffix == ".fit":
        rows = [
            frame
            for frame in fitdecode.FitReader(file, check_crc=fitdecode.CrcCheck.DISABLED)
            if frame.frame_type == fitdecode.FIT_FRAME_DATA and frame.name == "record"
        ]

        def with_value(name: str) -> int:
            return sum(frame.get_value(name, fallback=None) is not None for frame in rows)

        return len(rows), with_value("heart_rate"), with_value("timestamp")
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    points = [e for e in ET.fromstring(data).iter() if e.tag.endswith(("}Trackpoint", "}trkpt"))]
    heart_rates = sum(
        any(c.tag.endswith(("}HeartRateBpm", "}hr")) for c in p.iter()) for p in points
    )
    times = sum(any(c.tag.endswith(("}Time", "}time")) for c in p) for p in points)
    return len(points), heart_rates, times


@pytest.mark.slow
def test_every_real_file_against_a_plain_count(real: Path) -> None:
    files = [f for f in sorted(real.iterdir()) if f.suffix != ".md"]
    assert len(files) >= 20
    for file in files:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            n, heart_rates, times = plain_count(file)
        if n == 0:
            with pytest.raises(InputError, match="files without samples"):
                read_activity(file)
            continue
        found = read_activity(file)
        check(found)
        assert samples(found) == n, file.name
        gone = n - len(found.time_s)
        assert heart_rates - gone <= np.isfinite(found.heart_rate_bpm).sum() <= heart_rates
        assert np.isnan(found.time_s).all() == (times == 0), file.name
        assert DAMAGED not in found.problems, file.name


@pytest.mark.parametrize(
    ("fit_name", "others"),
    [
        (
            "sweat_4801048867.fit",
            ["sweat_4801048867_strava.gpx.gz", "sweat_activity_4801048867.tcx.gz"],
        ),
        (
            "sweat_2020-06-01-16-52-40.fit",
            ["sweat_activity_5039744860.gpx", "sweat_activity_5039744860.tcx"],
        ),
    ],
)
def test_the_same_ride_in_three_formats_agrees(
    real: Path, fit_name: str, others: list[str]
) -> None:
    ours = read_activity(real / fit_name)
    for name in others:
        other = read_activity(real / name)
        assert (other.sport, other.start) == (ours.sport, ours.start)
        np.testing.assert_array_equal(other.time_s, ours.time_s)
        np.testing.assert_array_equal(other.heart_rate_bpm, ours.heart_rate_bpm)
        np.testing.assert_allclose(other.latitude, ours.latitude, atol=2e-6)
        np.testing.assert_allclose(other.altitude_m, ours.altitude_m, atol=0.11)
        if ".tcx" in name:
            np.testing.assert_allclose(other.distance_km, ours.distance_km, atol=1e-5)
            np.testing.assert_allclose(other.speed_km_h, ours.speed_km_h, atol=0.01)


def test_tcxreader_and_gpxpy_read_the_same(real: Path) -> None:
    tcx, gpx = real / "runpandas_run_garmin.tcx", real / "sweat_activity_5039744860.gpx"
    points = TCXReader().read(str(tcx), only_gps=False).trackpoints
    found = read_activity(tcx)
    assert found.heart_rate_bpm.tolist() == [p.hr_value for p in points]
    assert found.latitude.tolist() == [p.latitude for p in points]
    assert found.time_s.tolist() == [(p.time - points[0].time).total_seconds() for p in points]
    track = gpxpy.parse(gpx.read_text()).tracks[0]
    found = read_activity(gpx)
    steps = [p for s in track.segments for p in s.points]
    assert found.longitude.tolist() == [p.longitude for p in steps]
    assert found.start == steps[0].time.timestamp()
    assert found.distance_km[-1] * 1000 == pytest.approx(track.length_2d(), rel=0.005)


def test_a_real_fit_cut_and_bent_keeps_its_front(real: Path, tmp_path: Path) -> None:
    whole = (real / "sweat_2020-06-01-16-52-40.fit").read_bytes()
    full = read_activity(real / "sweat_2020-06-01-16-52-40.fit")
    rng = np.random.default_rng(0)
    for at in rng.integers(14, len(whole), 25).tolist():
        try:
            cut = read(tmp_path, "cut.fit", whole[:at])
        except InputError:
            cut = None
        if cut is not None:
            check(cut)
            n = len(cut.time_s)
            np.testing.assert_array_equal(cut.heart_rate_bpm, full.heart_rate_bpm[:n])
        bent = bytearray(whole)
        bent[at] ^= 0x55
        try:
            found = read(tmp_path, "bent.fit", bytes(bent))
        except InputError:
            continue
        check(found)
        assert found.problems  # nothing goes by unseen: the checksum tells
        front = len(cut.time_s) if cut is not None else 0
        kept = np.isin(full.time_s[:front], np.round(found.time_s + found.start - full.start, 3))
        assert (~kept).sum() <= sum(found.problems.values())


def test_the_real_folder_as_a_table(real: Path, tmp_path: Path) -> None:
    shutil.copytree(real, tmp_path / "someone")
    table = read_activities(path=str(tmp_path), same_start_s=2.0)
    assert set(table.sessions["athlete"]) == {"someone"}
    assert set(table.sessions["sport"]) == {"run", "bike", "walk"}
    assert table.rejected["second recordings of one activity"] == 4
    assert table.rejected["files without times"] == 1
    assert table.rejected["files without samples"] == 1
    assert (table.samples.groupby("session")["time_s"].diff().dropna() > 0).all()
