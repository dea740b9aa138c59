"""Laws of the simulated workouts, and their freeze."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fitexp.data.workouts import simulate
from fitexp.data.workouts.simulate import (
    BIKE,
    LONGEST_S,
    REST_VO2,
    RUN,
    WALK,
    Draw,
    cycling_power,
    cycling_speed,
    draw_athlete,
    heart_rate,
    move,
    oxygen_uptake,
    simulated_workouts,
    steady_share,
)
from fitexp.data.workouts.table import WorkoutTable
from fitexp.errors import InputError

FROZEN_SAMPLES = 6264  # two people, five workouts each, seed 0
FROZEN_MEANS = {
    "session": 4.81,
    "time_s": 1714.95,
    "heart_rate_bpm": 143.26,
    "speed_km_h": 24.09,
    "altitude_m": 143.24,
    "distance_km": 12.23,
    "expected_heart_rate_bpm": 145.22,
}


def table(athletes: int = 6, workouts: int = 8, seed: int = 3) -> WorkoutTable:
    return simulated_workouts(path=None, athletes=athletes, workouts=workouts, seed=seed)


@pytest.fixture(scope="module")
def six() -> WorkoutTable:
    return table()


@pytest.fixture(scope="module")
def drawn() -> Draw:
    """One person with all three sports."""
    for number in range(50):
        draw = draw_athlete(number, 6, np.random.default_rng(number))
        if set(draw.sport) == {RUN, BIKE, WALK}:
            return draw
    raise AssertionError("nobody does all three sports")


def test_schema(six: WorkoutTable) -> None:
    sessions, samples = six.sessions, six.samples
    assert six.simulated
    assert six.name == "workouts_sim"
    assert six.rejected == {}
    assert list(sessions) == ["workout", "athlete", "sport", "gender", "start"]
    assert list(samples) == [
        "session",
        "time_s",
        "heart_rate_bpm",
        "speed_km_h",
        "altitude_m",
        "distance_km",
        "expected_heart_rate_bpm",
    ]
    assert samples.dtypes.astype(str).to_list() == ["int32", "float64"] + 5 * ["float32"]
    assert sessions.start.dtype == np.float64
    assert len(sessions) == 48
    assert sessions.workout.is_unique
    assert set(sessions.sport) <= {"run", "bike", "walk"}
    assert set(sessions.gender) <= {"male", "female"}
    assert (sessions.groupby("athlete").gender.nunique() == 1).all()
    assert (sessions.groupby("athlete").start.diff().dropna() > 8 * 3600).all()
    assert sessions.athlete.is_monotonic_increasing
    assert samples.session.is_monotonic_increasing
    assert samples.session.unique().tolist() == list(range(48))


def test_samples_are_irregular_and_only_heart_rates_are_missing(six: WorkoutTable) -> None:
    by = six.samples.groupby("session")
    assert (by.time_s.first() == 0).all()
    assert set(by.time_s.diff().dropna().unique()) == {3, 4, 5, 6, 7}
    assert by.time_s.last().between(20 * 60 - 7, 75 * 60).all()
    assert not six.samples.drop(columns="heart_rate_bpm").isna().any(axis=None)
    share = six.samples.heart_rate_bpm.isna().mean()
    assert 0 < share < 0.03
    assert (by.distance_km.diff().dropna() >= 0).all()


def test_equal_seeds_equal_tables(six: WorkoutTable) -> None:
    again, other = table(), table(seed=4)
    pd.testing.assert_frame_equal(again.samples, six.samples, check_exact=True)
    pd.testing.assert_frame_equal(again.sessions, six.sessions, check_exact=True)
    assert not np.array_equal(other.sessions.start, six.sessions.start)


@pytest.mark.slow
def test_a_person_does_not_depend_on_how_many_are_simulated(
    six: WorkoutTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = table(athletes=1)
    first = six.samples[six.samples.session < 8].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone.samples, first)
    pd.testing.assert_frame_equal(alone.sessions, six.sessions.head(8))
    monkeypatch.setattr(simulate, "WORKOUTS_AT_ONCE", 20)  # blocks of two people
    blocks = table()
    pd.testing.assert_frame_equal(blocks.samples, six.samples)
    pd.testing.assert_frame_equal(blocks.sessions, six.sessions)


def test_frozen() -> None:
    """Fails when a constant or the order of draws changes: the simulator is frozen.

    (NumPy may change its random streams between releases; then, only then, renew the numbers.)
    """
    got = table(athletes=2, workouts=5, seed=0)
    means = got.samples.mean().round(2).to_dict()
    assert len(got.samples) == FROZEN_SAMPLES
    assert means == pytest.approx(FROZEN_MEANS, abs=0.02)


def test_numbers_are_plausible() -> None:
    got = table(athletes=20, workouts=5, seed=1)
    samples = got.samples.join(got.sessions, on="session")
    by = samples.groupby("sport")
    heart, speed = by.heart_rate_bpm.mean(), by.speed_km_h.median()
    assert 135 < heart["run"] < 160
    assert 125 < heart["bike"] < 152
    assert 75 < heart["walk"] < 110
    assert 8 < speed["run"] < 12
    assert 20 < speed["bike"] < 31
    assert 4.5 < speed["walk"] < 6.5
    assert samples.speed_km_h.between(0, 58).all()
    assert samples.heart_rate_bpm.dropna().between(35, 210).all()
    assert samples.altitude_m.between(-100, 1000).all()
    jump = samples.groupby("session").heart_rate_bpm.diff().abs()
    assert jump.quantile(0.99) < 10


def test_people_are_known_by_name_and_are_those_who_were_simulated(six: WorkoutTable) -> None:
    """One row each; true heart rates lie between resting and maximal; VO2max within its range."""
    assert six.people is not None
    assert six.people.index.tolist() == sorted(set(six.sessions["athlete"]))
    athlete = six.sessions["athlete"].to_numpy()[six.samples["session"]]
    true = six.samples.groupby(athlete)["expected_heart_rate_bpm"]
    assert (true.min() > six.people["resting_bpm"]).all()
    assert (true.max() < six.people["maximal_bpm"]).all()
    assert six.people["vo2max_ml_kg_min"].between(38, 72).all()
    assert (six.people.nunique() > 1).all()


def test_heart_rates_lie_between_rest_and_maximum(drawn: Draw) -> None:
    demand = np.random.default_rng(0).uniform(0, 1.5, (3000, 6))
    felt = heart_rate(demand, drawn, hot=drawn.hot, offset_bpm=drawn.offset_bpm)
    assert (felt < drawn.max_bpm).all()
    assert (felt > drawn.rest_bpm + np.minimum(drawn.offset_bpm, 0) - 1e-6).all()


def test_recorded_distance_is_the_integral_of_speed(drawn: Draw) -> None:
    speed, distance, _ = move(drawn, 1800)
    assert np.allclose(np.diff(distance, axis=0), (speed[1:] + speed[:-1]) / 2)
    samples, of = simulate._record(drawn)
    one = samples[of == 0]
    mean = (one.speed_km_h + one.speed_km_h.shift(-1)) / 2
    travelled = float((mean * one.time_s.diff().shift(-1)).sum()) / 3600
    assert travelled == pytest.approx(float(one.distance_km.iloc[-1]), rel=0.01)


def test_altitude_is_the_integral_of_grade(drawn: Draw) -> None:
    calm = dataclasses.replace(
        drawn, white=np.zeros_like(drawn.white), barometer=np.zeros_like(drawn.barometer)
    )
    samples, of = simulate._record(calm)
    speed, _, grade = move(calm, LONGEST_S + 1)
    climbed = np.cumsum(speed * grade, axis=0) - speed * grade / 2
    for w in range(6):
        one = samples[of == w]
        want = calm.home_m[w] + climbed[one.time_s.to_numpy().astype(int), w]
        assert np.abs(one.altitude_m - want).max() < 0.5


def test_steeper_and_faster_demand_more() -> None:
    grade = np.repeat(np.linspace(-0.12, 0.12, 25)[:, None], 3, axis=1)
    sport, weight = np.array([RUN, BIKE, WALK]), np.full(3, 70.0)
    speed = np.tile([3.0, 7.0, 1.5], (25, 1))
    uptake = oxygen_uptake(sport, speed, grade, weight)
    steeper = np.diff(uptake, axis=0)
    assert (steeper[:, [0, 2]] > 0).all()
    assert (steeper[:, 1] >= 0).all()  # a bicycle coasts down steep grades
    assert (steeper[grade[1:, 1] > -0.02, 1] > 0).all()
    assert (uptake >= REST_VO2).all()
    faster = oxygen_uptake(sport, 1.1 * speed, grade, weight)
    uphill = grade[:, 0] >= 0
    assert (faster[uphill] > uptake[uphill]).all()


def test_demand_agrees_with_published_examples() -> None:
    """ACSM: 9.7 km/h (6 mph) on the level is 10.2 METs running; 5.6 km/h walking 3.7 METs;
    100 W on a bicycle at 70 kg is 22.4 ml/kg/min."""
    still = np.zeros(1)
    run = oxygen_uptake(np.array([RUN]), np.array([160.9 / 60]), still, np.array([70.0]))
    walk = oxygen_uptake(np.array([WALK]), np.array([93.9 / 60]), still, np.array([70.0]))
    assert run[0] / REST_VO2 == pytest.approx(10.2, abs=0.05)
    assert walk[0] / REST_VO2 == pytest.approx(3.7, abs=0.05)
    weight, hill = np.array([70.0]), np.array([0.01])
    speed = cycling_speed(np.array([100.0]), hill, weight)
    ride = oxygen_uptake(np.array([BIKE]), speed, hill, weight)
    assert ride[0] == pytest.approx(7 + 10.8 * 100 / 70, abs=0.01)


def test_cycling_speed_inverts_power() -> None:
    power, grade, weight = np.meshgrid(
        np.linspace(0, 400, 9), np.linspace(-0.1, 0.1, 21), [50.0, 100.0], indexing="ij"
    )
    speed = cycling_speed(power, grade, weight)
    assert (speed >= 0).all()
    assert (np.diff(speed, axis=0) > -1e-9).all()
    assert (np.diff(speed, axis=1) < 1e-9).all()
    some = power > 0
    assert np.abs(cycling_power(speed, grade, weight) - power)[some].max() < 1


def test_the_fitter_have_the_lower_heart_rate(drawn: Draw) -> None:
    speed, _, grade = move(drawn, 1500)
    uptake = oxygen_uptake(drawn.sport, speed, grade, drawn.weight_kg)
    rates = []
    for fitness in (1.0, 1.1):
        demand = drawn.economy * (uptake - REST_VO2) / (drawn.vo2max * fitness - REST_VO2)
        rates.append(heart_rate(demand, drawn, hot=drawn.hot, offset_bpm=drawn.offset_bpm))
    assert (rates[0][60:] > rates[1][60:]).all()


def test_heat_raises_and_steady_share_saturates(drawn: Draw) -> None:
    demand = np.full((2400, 6), 0.7)
    none, calm = np.zeros(6), np.ones(6)
    cool = heart_rate(demand, drawn, hot=calm, offset_bpm=none)
    warm = heart_rate(demand, drawn, hot=2 * calm, offset_bpm=none)
    assert (warm[2:] > cool[2:]).all()
    assert (warm[-1] - cool[-1] > 2).all()
    share = steady_share(np.array([0.0, 0.5, 2.0, 50.0]))
    assert share[:2] == pytest.approx([0, 0.5], abs=1e-4)
    assert (np.diff(share) >= 0).all()
    assert share[-1] <= 0.98


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.7), (0.7, 0.2)], ids=["up", "down"])
def test_a_step_is_63_percent_done_after_the_time_constant(
    drawn: Draw, low: float, high: float
) -> None:
    tau = np.array([30.0, 40.0, 50.0, 60.0, 70.0, 80.0])
    other = np.full(6, 5.0)
    person = dataclasses.replace(
        drawn,
        drift=np.zeros(6),
        start_share=np.full(6, low),
        tau_up_s=tau if high > low else other,
        tau_down_s=other if high > low else tau,
    )
    felt = heart_rate(np.full((901, 6), high), person, hot=np.ones(6), offset_bpm=np.zeros(6))
    reached = felt[tau.astype(int), np.arange(6)]
    done = (reached - felt[0]) / (felt[-1] - felt[0])
    assert done == pytest.approx(np.full(6, 1 - math.exp(-1)), abs=0.002)


def test_expected_is_the_heart_rate_of_a_day_without_offset_heat_and_noise(drawn: Draw) -> None:
    plain = dataclasses.replace(
        drawn,
        hot=np.ones(6),
        offset_bpm=np.zeros(6),
        sensor_noise=np.zeros_like(drawn.sensor_noise),
        white=np.zeros_like(drawn.white),
        missing=np.zeros_like(drawn.missing),
    )
    ideal, _ = simulate._record(plain)
    real, _ = simulate._record(drawn)
    assert np.array_equal(ideal.expected_heart_rate_bpm, real.expected_heart_rate_bpm)
    assert np.abs(ideal.heart_rate_bpm - ideal.expected_heart_rate_bpm).max() <= 0.5001
    assert real.heart_rate_bpm.isna().sum() > 0


def test_the_noise_floor_is_offset_and_sensor() -> None:
    got = table(athletes=15, workouts=12, seed=2)
    error = (got.samples.heart_rate_bpm - got.samples.expected_heart_rate_bpm).astype(float)
    by = error.groupby(got.samples.session)
    within = float(np.sqrt(by.var().mean()))
    between = float(by.mean().std())
    sensor = math.sqrt(1.5**2 + 1.0**2 + 1 / 12)
    assert between == pytest.approx(4, rel=0.2)
    assert within == pytest.approx(sensor, rel=0.2)
    assert float(np.sqrt((error**2).mean())) == pytest.approx(math.hypot(4, sensor), rel=0.2)


def literal(d: Any, w: int, seconds: int) -> tuple[list[float], list[float], list[float]]:
    """Speed, distance and expected heart rate of workout w, one number at a time."""
    bike, walk = d.sport[w] == BIKE, d.sport[w] == WALK
    kg, economy = float(d.weight_kg[w]), float(d.economy[w])
    flat, climb, down = (0.1, 1.8, 0.03) if walk else (0.2, 0.9, 0.15)

    def grade(distance: float) -> float:
        return math.fsum(
            a * math.cos(2 * math.pi * n * distance / d.length_m[w] + phase)
            for a, n, phase in zip(d.slopes[:, w], d.waves[:, w], d.phases[:, w], strict=True)
        )

    def power(v: float, g: float) -> float:
        return v * ((kg + 9) * 9.81 * (0.005 + g) + 0.24 * v * v) / 0.976

    def speed_at(watts: float, g: float) -> float:
        low, high = math.sqrt(max(0, -(kg + 9) * 9.81 * (0.005 + g) / 0.24)), 60.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if power(middle, g) < watts else (low, middle)
        return low

    speeds, distances, pace = [0.0], [0.0], float(d.pace_noise[0, w])
    for t in range(seconds - 1):
        g = grade(distances[-1])
        effort = d.effort[t, w] * math.exp((0.1 if bike else 0.04 if walk else 0.03) * pace)
        habit, room = d.grade_habit[w] * g, (d.effort_vo2max[w] - 3.5) / economy
        if bike:
            watts = max(0, (3.5 + room * effort - 7) * kg / 10.8)
            want = min(speed_at(watts * min(max(math.exp(habit), 0.7), 1.4), g), 52 / 3.6)
        else:
            want = room * effort / flat / 60 * min(max(math.exp(-habit), 0.5), 1.15)
            want = min(want, (7.5 if walk else 20) / 3.6)
        lag = 8.0 if bike else 3.0
        if d.stopped[t, w]:
            want, lag = 0.0, 3.0 if bike else 2.0
        v = speeds[-1]
        speeds.append(v + (1 - math.exp(-1 / lag)) * (want - v))
        distances.append(distances[-1] + (v + speeds[-1]) / 2)
        keep = math.exp(-1 / 40)
        pace = keep * pace + math.sqrt(1 - keep * keep) * float(d.pace_noise[t + 1, w])

    rest, reserve = float(d.rest_bpm[w]), float(d.max_bpm[w] - d.rest_bpm[w])

    def steady(x: float) -> float:
        return rest + reserve * (0.98 - 0.06 * math.log1p(math.exp((0.98 - x) / 0.06)))

    rates, drift = [steady(d.start_share[w])], 0.0
    for v, distance in zip(speeds[:-1], distances[:-1], strict=True):
        g = grade(distance)
        if bike:
            uptake = 7 + 10.8 * 10 * math.log1p(math.exp(power(v, g) / 10)) / kg
        else:
            g = g if g >= 0 else -down * (1 - math.exp(g / down))
            uptake = 3.5 + 60 * v * (flat + climb * g)
        u = economy * (uptake - 3.5) / (d.vo2max[w] - 3.5)
        drift += (1 - math.exp(-1 / 1800)) * (d.drift[w] * u - drift)
        gap = steady(u + drift) - rates[-1]
        tau = d.tau_up_s[w] if gap > 0 else d.tau_down_s[w]
        rates.append(rates[-1] + (1 - math.exp(-1 / tau)) * gap)
    return speeds, distances, rates


def test_vectorised_integration_equals_a_literal_loop(drawn: Draw) -> None:
    seconds = 900
    speed, distance, grade = move(drawn, seconds)
    uptake = oxygen_uptake(drawn.sport, speed, grade, drawn.weight_kg)
    demand = drawn.economy * (uptake - REST_VO2) / (drawn.vo2max - REST_VO2)
    felt = heart_rate(demand, drawn, hot=np.ones(6), offset_bpm=np.zeros(6))
    for w in range(6):
        speeds, distances, rates = literal(drawn, w, seconds)
        assert speed[:, w] == pytest.approx(np.array(speeds), abs=1e-3)
        assert distance[:, w] == pytest.approx(np.array(distances), abs=0.1)
        assert felt[:, w] == pytest.approx(np.array(rates), abs=0.02)


def test_routes_are_reused() -> None:
    draw = draw_athlete(0, 40, np.random.default_rng(0))
    for sport in np.unique(draw.sport):
        assert len(np.unique(draw.length_m[draw.sport == sport])) <= 3


def test_bad_arguments_name_the_remedy() -> None:
    with pytest.raises(InputError, match=r"reads no files; use data=workout_table data\.path=x"):
        simulated_workouts(path="x", athletes=1, workouts=1, seed=0)
    for athletes, workouts, seed in [(0, 1, 0), (1, 0, 0), (1, 1, -1)]:
        with pytest.raises(InputError, match="at least"):
            simulated_workouts(path=None, athletes=athletes, workouts=workouts, seed=seed)
