"""Routes of files and of recorded workouts, and the habit that gives them times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitexp.data.workouts.habits import GRADES, PRIOR_STEPS, Habit, habit, moving_steps
from fitexp.data.workouts.recording import Activity
from fitexp.data.workouts.routes import (
    RECORDED,
    Along,
    covered,
    length_km,
    planned,
    read_routes,
    recorded,
)
from fitexp.errors import InputError
from tests.data.workouts.made import table

FLAT = 5  # the bin of no grade
TEN = Habit(np.full(len(GRADES), 10.0))


def way(km: float = 1.0, climb_m: float = 0.0, **fields: object) -> Activity:
    """A straight way without times, a point every 20 m."""
    n = round(km / 0.02) + 1
    nothing = np.full(n, np.nan)
    known: dict[str, object] = {
        "sport": "unknown",
        "start": np.nan,
        "time_s": nothing,
        "heart_rate_bpm": nothing,
        "speed_km_h": nothing,
        "altitude_m": np.linspace(100, 100 + climb_m, n),
        "distance_km": np.linspace(0, km, n),
        "latitude": nothing,
        "longitude": nothing,
        "problems": {},
    }
    return Activity(**{**known, **fields})  # type: ignore[arg-type]


def plan(activity: Activity) -> object:
    from fitexp.data.workouts.plans import Plan

    return Plan("way", Path("way"), activity)


def gpx(file: Path, points: int = 30, time: bool = False) -> Path:
    """A way to the north, 11.1 m a point."""
    rows = "".join(
        f'<trkpt lat="{47 + 0.0001 * i:.5f}" lon="11"><ele>{500 + i}</ele>'
        + (f"<time>2024-05-01T10:00:{i:02d}Z</time>" if time else "")
        + "</trkpt>"
        for i in range(points)
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"<gpx><trk><type>running</type><trkseg>{rows}</trkseg></trk></gpx>")
    return file


# Habit


def steps(speed: float, grade: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(n, speed), np.full(n, grade)


def both(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def test_habit_by_hand() -> None:
    """60 own flat steps at 12 where everybody goes 10: r = d/2, there (60 d + 60 r) / 120."""
    assert PRIOR_STEPS == 60
    everybody = both(steps(10, 0.0, 100), steps(6, 0.10, 100))
    found = habit(steps(12, 0.0, 60), everybody)
    apart = np.log(12 / 10)
    assert found.speed_km_h[FLAT] == pytest.approx(10 * np.exp(0.75 * apart))
    assert found.speed_km_h[-1] == pytest.approx(6 * np.exp(0.5 * apart))  # no own steps: r
    assert found.at(np.zeros(2), np.array([0.0, 0.3]))[1] == found.speed_km_h[-1]


def test_habit_of_a_stranger_is_everybody_s_and_of_a_regular_his_own() -> None:
    everybody = both(steps(10, 0.0, 100), steps(6, 0.10, 100), steps(99, 0.02, 3))
    nobody = habit((np.zeros(0), np.zeros(0)), everybody).speed_km_h
    assert nobody[FLAT] == pytest.approx(10)
    np.testing.assert_allclose(nobody[FLAT:], np.linspace(10, 6, 6))  # 3 steps at 99 are too few
    np.testing.assert_allclose(nobody[:FLAT], 10)
    regular = habit(steps(14, 0.0, 10**6), everybody).speed_km_h
    assert regular[FLAT] == pytest.approx(14, rel=1e-3)


def test_moving_steps_leave_standing_out() -> None:
    time = np.arange(0, 601, 5.0)
    speed = np.where(time < 300, 12.0, 0.0)
    nothing = np.full(len(time), np.nan)
    one = way(
        sport="run",
        time_s=time,
        speed_km_h=speed,
        altitude_m=nothing,
        **dict.fromkeys(("heart_rate_bpm", "distance_km", "latitude", "longitude"), nothing),
    )
    found, grade = moving_steps([one], 60.0)
    assert len(found) == 30
    np.testing.assert_allclose(found, 12.0)
    np.testing.assert_allclose(grade, 0.0)
    assert len(moving_steps([], 60.0)[0]) == 0


# Routes


def test_a_flat_kilometre_at_ten_km_h_takes_six_minutes() -> None:
    found = covered(way(1.0), TEN)
    assert found.time_s[-1] == pytest.approx(360)
    assert length_km(found) == pytest.approx(1.0)
    np.testing.assert_allclose(np.diff(found.time_s), 3.6)


def test_a_climb_is_covered_at_the_speed_of_its_grade() -> None:
    slower_up = Habit(np.interp(GRADES, [-0.1, 0, 0.1], [12, 10, 5]))
    up, down = (covered(way(1.0, climb), slower_up) for climb in (60.0, -60.0))
    assert up.time_s[-1] == pytest.approx(3600 / 7)  # 6 %: 10 - 5 x 0.6
    assert down.time_s[-1] == pytest.approx(3600 / 11.2)
    flat = covered(way(1.0, altitude_m=np.full(51, np.nan)), slower_up)
    assert flat.time_s[-1] == pytest.approx(360)
    assert np.isnan(flat.altitude_m).all()


def test_each_step_of_a_route_is_covered_at_its_speed() -> None:
    """50 m at 10, 20 and 5 km/h, then on at 5: 18 + 9 + 36 s, and 10 m in 7.2 s."""
    found = covered(way(0.2), Along(0.05, np.array([10.0, 20.0, 5.0]), "made up"))
    at = {round(km, 3): s for km, s in zip(found.distance_km, found.time_s, strict=True)}
    assert [at[km] for km in (0.05, 0.1, 0.15, 0.2)] == pytest.approx([18, 27, 63, 99])


def test_recorded_times_stay_in_the_same_sport_only() -> None:
    made = table()
    (one,) = recorded(made, [3])
    run, other = (
        planned(one, sport, TEN, step_s=10, max_gap_s=60) for sport in (one.activity.sport, "walk")
    )
    assert run is not None
    assert other is not None
    assert run.speed == RECORDED
    assert other.speed == "habit"
    np.testing.assert_array_equal(run.plan.activity.time_s, one.activity.time_s)
    assert other.plan.activity.time_s[-1] == pytest.approx(360 * length_km(one.activity), abs=4)
    for candidate in (run, other):
        assert np.isnan(candidate.plan.activity.heart_rate_bpm).all()
        assert np.isnan(candidate.plan.activity.start)
    rows = made.samples["session"] == 3
    np.testing.assert_array_equal(one.activity.time_s, made.samples["time_s"][rows])


def test_no_candidate_without_a_way_a_habit_or_two_steps() -> None:
    timed = way(time_s=np.arange(51) * 100.0, sport="run")  # a gap between all samples
    for activity, usual in ((way(0.05), TEN), (way(), None), (timed, None)):
        assert planned(plan(activity), "run", usual, step_s=10, max_gap_s=60) is None  # type: ignore[arg-type]


def test_folders_of_files(tmp_path: Path) -> None:
    gpx(tmp_path / "a/hill.gpx")
    gpx(tmp_path / "timed.gpx", time=True)
    gpx(tmp_path / "short.gpx", points=3)
    (tmp_path / "broken.tcx").write_text("no")
    (tmp_path / "notes.txt").write_text("no route")
    routes, notes = read_routes(tmp_path)
    assert [route.name for route in routes] == ["a/hill.gpx", "timed.gpx"]
    assert np.isnan(routes[0].activity.time_s).all()
    assert routes[1].activity.time_s[-1] == 29
    assert [note for note in notes if "broken.tcx" in note]
    assert [note for note in notes if "short.gpx: no way of over 100 m" in note]
    assert len(notes) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no route in GPX, TCX or FIT files"):
        read_routes(tmp_path / "empty")
    with pytest.raises(InputError, match="no such folder"):
        read_routes(tmp_path / "nowhere")
