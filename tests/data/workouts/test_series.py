import numpy as np
import pytest

from fitexp.data.workouts.series import Samples, to_steps


def ride(time: np.ndarray, speed_km_h: float | np.ndarray = 18.0, **changed: object) -> Samples:
    speed = np.broadcast_to(np.asarray(speed_km_h, float), time.shape)
    distance = np.concatenate([[0.0], np.cumsum(speed[1:] * np.diff(time) / 3600)])
    fields: dict[str, object] = {
        "sport": "bike",
        "time_s": time,
        "heart_rate_bpm": 100 + time / 10,
        "speed_km_h": speed.copy(),
        "altitude_m": 50 + distance * 1000 * 0.04,
        "distance_km": distance,
        "expected_heart_rate_bpm": None,
        **changed,
    }
    return Samples(**fields)  # type: ignore[arg-type]


def steps_of(samples: Samples, grid: str = "time", step: float = 10.0, least: int = 2):
    return to_steps(
        samples, grid=grid, step=step, max_gap_s=60.0, max_target_gap_s=10.0, min_piece_steps=least
    )


def test_time_grid_of_a_steady_ride() -> None:
    time = np.arange(0.0, 301, 3)
    steps, dropped = steps_of(ride(time))
    assert steps is not None
    assert dropped == 0
    v = steps.values
    assert len(v["heart_rate"]) == 31
    np.testing.assert_allclose(v["heart_rate"], 100 + np.arange(31))
    np.testing.assert_allclose(v["derived_speed"], 18.0)
    np.testing.assert_allclose(v["distance"], np.arange(31) * 0.05)
    np.testing.assert_allclose(v["grade"][4:-1], 0.04, atol=1e-9)
    np.testing.assert_allclose(v["vertical_speed"][5:-1], 0.2, atol=1e-9)  # 5 m/s * 4 %
    np.testing.assert_allclose(v["time_elapsed"], np.arange(31) * 10)
    assert (v["total_time"] == 300).all()


def test_distance_grid_of_a_ride_with_two_speeds() -> None:
    time = np.arange(0.0, 201, 1)
    steps, _ = steps_of(ride(time, np.where(time <= 100, 18.0, 36.0)), "distance", 50.0)
    assert steps is not None
    # 5 m/s: 500 m in 100 s, then 10 m/s: 1000 m in 100 s; step k ends at k * 50 m
    expected = [18.0] * 10 + [36.0] * 20
    np.testing.assert_allclose(steps.values["derived_speed"], expected, rtol=1e-6)
    np.testing.assert_allclose(steps.values["time_elapsed"][[0, 9, 10]], [10, 100, 105], rtol=1e-6)


def test_standing_still_makes_the_next_stretch_slow() -> None:
    time = np.arange(0.0, 150, 1)
    speed = np.where((time > 50) & (time <= 90), 0.0, 18.0)
    steps, _ = steps_of(ride(time, speed), "distance", 50.0)
    assert steps is not None
    got = steps.values["derived_speed"]
    # 250 m at 50 s, then 40 s of standing: the stretch 250..300 m takes 50 s
    np.testing.assert_allclose(got[:6], [18.0] * 5 + [3.6], rtol=1e-6)


def test_pieces_join_with_true_elapsed_time_and_short_ones_drop() -> None:
    time = np.concatenate([np.arange(0, 101, 5), [500.0, 505.0], np.arange(1000, 1101, 5)])
    steps, dropped = steps_of(ride(time), least=5)
    assert steps is not None
    assert dropped == 1
    assert steps.piece.tolist() == [0] * 11 + [1] * 11
    assert steps.values["time_elapsed"].tolist() == [*range(0, 101, 10), *range(1000, 1101, 10)]
    nothing, dropped = steps_of(ride(time), least=50)
    assert nothing is None
    assert dropped == 3


def test_device_errors_become_missing() -> None:
    time = np.arange(0.0, 301, 5)
    altitude = np.full(len(time), 20.0)
    altitude[20] = -500.0
    nothing = np.full(len(time), np.nan)
    samples = ride(time, 18.0, altitude_m=altitude, distance_km=nothing)
    samples.speed_km_h[10] = 400.0
    steps, _ = steps_of(samples)
    assert steps is not None
    np.testing.assert_allclose(steps.values["derived_speed"], 18.0)  # bridged from the neighbours
    np.testing.assert_allclose(steps.values["altitude"], 20.0)
    np.testing.assert_allclose(steps.values["distance"], np.arange(31) * 0.05)  # from speed


def test_speed_limits_go_by_sport() -> None:
    time = np.arange(0.0, 301, 5)
    fast = ride(time, 40.0)
    runner = Samples(**{**fast.__dict__, "sport": "run"})
    assert np.isfinite(steps_of(fast)[0].values["derived_speed"]).all()  # type: ignore[union-attr]
    assert np.isnan(steps_of(runner)[0].values["derived_speed"]).all()  # type: ignore[union-attr]


def test_a_long_hole_in_heart_rate_stays_missing() -> None:
    time = np.arange(0.0, 301, 5)
    hr = np.where((time > 100) & (time < 200), np.nan, 120.0)
    steps, _ = steps_of(ride(time, heart_rate_bpm=hr))
    assert steps is not None
    missing = np.isnan(steps.values["heart_rate"])
    assert missing.tolist() == [100 < t < 200 for t in range(0, 301, 10)]


@pytest.mark.parametrize("grid", ["time", "distance"])
def test_later_samples_do_not_reach_back(grid: str) -> None:
    """Heart rates and plans of one minute on leave the first half of the steps as they are."""
    time = np.arange(0.0, 601, 4)
    rng = np.random.default_rng(0)
    speed = 15 + rng.normal(size=len(time))
    a = ride(time, speed)
    later = time > 300
    b = ride(
        time,
        np.where(later, 10.0, speed),
        heart_rate_bpm=np.where(later, 180.0, a.heart_rate_bpm),
    )
    one, other = (
        steps_of(a, grid, 50.0 if grid == "distance" else 10.0)[0],
        steps_of(b, grid, 50.0 if grid == "distance" else 10.0)[0],
    )
    assert one is not None
    assert other is not None
    for name in ("heart_rate", "derived_speed", "grade", "distance", "time_elapsed"):
        early = one.values["time_elapsed"] < 240
        n = int(early.sum())
        np.testing.assert_allclose(one.values[name][:n], other.values[name][:n], err_msg=name)
