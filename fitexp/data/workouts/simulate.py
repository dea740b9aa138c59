"""Simulated workouts of simulated people: SIMULATED data for trying methods and for tests.

FROZEN: written down before any network was trained; no constant below may be tuned to a model.
N(m, s) is normal with standard deviation s, U(a, b) uniform, LN(m, s) = m exp(N(0, s)),
[a, b] after a value clips it. "Assumed" marks what has no source beyond plausibility.

People (athlete k draws from SeedSequence(seed).spawn(...)[k]: the same however many there are)
- female with probability 0.4; age N(38, 10) [20, 65] years; height N(1.78, 0.07) m, women
  N(1.65, 0.06); body mass = N(23.5, 2.2) [19, 29] kg/m^2 x height^2.
- VO2max in ml/kg/min: 79.9 - 0.39 age - 13.7 female - 0.127 mass[lb] (FRIEND registry, Myers et
  al. 2017) + 10 for people who train (assumed) + 6 z, z = N(0, 1) "fitness among peers" [-2, 2];
  the sum [38, 72]. Cycling reaches 0.93 of it (assumed from treadmill-cycle comparisons).
- maximal heart rate 208 - 0.7 age + N(0, 6) bpm (Tanaka et al. 2001), N in [-12, 12]; resting
  62 + 3 female - 4 z + N(0, 4) [40, 80] bpm; reserve = maximal - resting.
- time constants: up LN(40, 0.15) e^(-0.12 z) s, down LN(70, 0.15) e^(-0.12 z) s: faster when fit.
- economy LN(1, 0.05) per sport: multiplies the oxygen cost above rest.
- fitness at the k-th workout: VO2max e^(f_k), f a stationary Gaussian process over days with
  sd 0.06 and covariance falling as e^(-days / 90): what earlier workouts tell of a later one.

Demand V in ml/kg/min at speed v and grade G (rise over distance); ACSM metabolic equations
- run: 3.5 + 0.2 v + 0.9 v G, walk: 3.5 + 0.1 v + 1.8 v G, v in m/min. Downhill these fall too
  low: for G < 0, G is replaced by -g (1 - e^(G/g)), g = 0.15 (run), 0.03 (walk), which is near
  Minetti et al. 2002 down to -10 %.
- bike: power P = v (m g (0.005 + G) + 0.5 x 1.2 x 0.40 v^2) / 0.976 W, v in m/s, m body + 9 kg,
  g = 9.81 (rolling and air resistance, drive losses: Martin et al. 1998, without inertia, wind
  and cos of the slope). Legs give no negative power: P+ = 10 ln(1 + e^(P/10)).
  V = 7 + 10.8 P+ / body mass.
- u = economy (V - 3.5) / (VO2max_now - 3.5), the share of the oxygen reserve, taken as the share
  of the heart-rate reserve (Swain and Leutholtz 1997).

Heart rate H in bpm
- slow drift D: dD/dt = (kappa hot u - D) / 1800 s, D(0) = 0, kappa = LN(0.10, 0.3) personal,
  hot = 1 + 0.08 max(temperature - 15 C, 0): some 5 to 10 bpm in an hour (cardiovascular drift).
- steady state S = rest + reserve s(u + D + offset / reserve), with the smooth ceiling
  s(x) = 0.98 - 0.06 ln(1 + e^((0.98 - x) / 0.06)), so s(x) = x when easy and s < 0.98 always.
- dH/dt = (S - H) / tau, tau = up where S > H, else down; stepped by 1 s with the exact factor
  1 - e^(-1/tau); H(0) is the steady state of a personal u = U(0.12, 0.22), 0.6 of that
  before walks.
- the day: offset N(0, 4) bpm; temperature 12 - 9 cos(2 pi (day of year - 20) / 365)
  + 3 cos(2 pi (hour - 15) / 24) + N(0, 3.5) C.
- the sensor: + AR(1) wander (sd 1.5 bpm, 30 s) + white N(0, 1), rounded to 1 bpm; drop-outs: up
  to 4, Poisson(0.8) of them, 5 s + exponential(25 s), at most 120 s long, heart rate missing.
- `expected_heart_rate_bpm`: H with offset 0 and hot 1, not rounded, never missing: what someone
  would say who knows the person (fitness of the day included) and the true speed and grade,
  but neither offset, heat nor sensor. Its error is the noise floor of the data.

Routes: three a person and sport, used with probabilities 0.5, 0.3, 0.2; closed loops of U(4, 9)
km (run), U(12, 30) (bike), U(2.5, 6) (walk), ridden round as often as the time allows. Grade at
distance d is sum_k a_k cos(2 pi n_k d / length + phase_k) of 6 terms with whole n_k from 1 to
length / 600 m (bike 1,500 m), a = sqrt(2) sigma x random unit vector, sigma = region LN(0.012, 0.5)
x route U(0.5, 1.6) [0.002, 0.03]; altitude is its integral from home, U(120, 600) m.

Days: the first 1 January 2023 + U(0, 180) whole days; gaps of 1 day + floor of gamma(1.2, mean
U(1, 4) personal) and, at 4 %, a break of 14 to 35 days more. Hour personal, 7 or 18 (at odds),
+ N(0, 1), in [6, 21].

Plans: sport by a personal mix, Dirichlet(1.5, 1, 0.7) for run, bike, walk; minutes
N(42, 12) [20, 75], N(62, 10) [35, 75], N(38, 11) [20, 70]. Effort is a share of the oxygen reserve
at VO2max e^(f/2), half way between holding the habitual pace and the habitual feeling:
- run: steady (45 %) U(0.62, 0.74), tempo (20 %) U(0.74, 0.84), intervals (20 %) and fartlek
  (15 %) U(0.64, 0.70); all + a personal N(0, 0.03) [-0.06, 0.06]; bike 0.85 of it.
- walk: 80 % steady, 20 % fartlek, at the effort of a personal N(5.6, 0.4) [4.6, 6.6] km/h
  on the level, day by day x N(1, 0.03).
- warm-up of U(240, 600) s (walk U(60, 180)) rising from 0.75 to 1 x effort; 70 % end with a
  cool-down of U(120, 360) s at 0.7. Intervals: x U(1.28, 1.42) for 60, 90, 120, 180 or 240 s, then
  x U(0.65, 0.85) for U(0.5, 1) of that. Fartlek: stretches of U(30, 180) s at x U(0.75, 1.35) (walk
  U(0.85, 1.15)). Split: x 1 + N(0, 0.04) (t / duration - 1/2), personal. At most 0.98.
- x e^(sd z), z AR(1) of 40 s, sd 0.03 (run), 0.10 (bike), 0.04 (walk): nobody holds a pace exactly.
- stops (lights): up to 6, Poisson(0.5, 3, 0.3) of them, U(8, 40) s.

Speed: on foot the level speed of that effort x e^(-a G) in [0.5, 1.15], a = U(1.5, 4) (run),
U(2, 6) (walk); on a bike the effort's power x e^(b G) in [0.7, 1.4], b = U(3, 8), gives the
speed that P asks for. At most 20, 52 and 7.5 km/h. Followed with a lag of 3 s (bike 8 s), when
stopping 2 s (bike 3 s); v(0) = 0; distance by the trapezoid rule at 1 s.

The device: a sample every 3 to 7 whole seconds, from 0; speed x N(1, 0.02); altitude + N(0, 4) m
+ N(0, 4) m per hour of the day's barometer + white N(0, 0.2) m, in steps of 0.2 m; distance true.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp.data.workouts.table import WorkoutTable
from fitexp.errors import InputError

Array = NDArray[np.float64]
Floats = NDArray[np.float32]  # large draws
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

SPORTS = ("run", "bike", "walk")
RUN, BIKE, WALK = range(3)
LONGEST_S = 75 * 60
CEILING, BEND = 0.98, 0.06  # of the heart-rate reserve
REST_VO2 = 3.5  # ml/kg/min, one metabolic equivalent
FLAT_COST = np.array([0.2, np.nan, 0.1])  # ml/kg/min per m/min
CLIMB_COST = np.array([0.9, np.nan, 1.8])
DOWNHILL = np.array([0.15, np.nan, 0.03])
TOP_KM_H = np.array([20.0, 52.0, 7.5])
CYCLE_SHARE = 0.93
GRAVITY, BICYCLE_KG, ROLLING, DRIVE = 9.81, 9.0, 0.005, 0.976
AIR = 0.5 * 1.2 * 0.40  # kg/m: half the density of air x drag area
DRIFT_S = 1800.0
PACE_SD = np.array([0.03, 0.10, 0.04])
WORKOUTS_AT_ONCE = 1500  # bounds memory: some 200 bytes a workout and second


@dataclass(frozen=True)
class Draw:
    """All that chance decides about W workouts; the last axis of every array is W.

    T = 4,501 seconds, N = 1,501 samples, K = 6 terms of a route.
    """

    athlete: Ints  # number of the athlete
    sport: Ints  # index into SPORTS
    female: Bools
    weight_kg: Array
    vo2max: Array  # of the sport, on that day, ml/kg/min
    usual_vo2max: Array  # of the person, running
    effort_vo2max: Array  # that efforts are meant relative to
    economy: Array
    rest_bpm: Array
    max_bpm: Array
    tau_up_s: Array
    tau_down_s: Array
    drift: Array  # kappa
    start_share: Array  # of the reserve at time 0
    grade_habit: Array
    start: Array  # unix s
    hot: Array
    offset_bpm: Array
    length_m: Array  # of the route
    home_m: Array
    waves: Array  # (K, W)
    slopes: Array  # (K, W) grade amplitude
    phases: Array  # (K, W)
    duration_s: Array
    effort: Floats  # (T, W) share of the oxygen reserve on the level
    stopped: Bools  # (T, W)
    missing: Bools  # (T, W) heart rate dropped out
    pace_noise: Floats  # (T, W) standard normal
    sensor_noise: Floats  # (T, W) standard normal
    interval_s: NDArray[np.int16]  # (N, W) from sample to sample
    white: Floats  # (3, N, W) standard normal: heart rate, speed, altitude
    barometer: Array  # (2, W) m, m/h


def oxygen_uptake(sport: Ints, speed_m_s: Array, grade: Array, weight_kg: Array) -> Array:
    """Oxygen demand in ml/kg/min: sport and weight (W,), speed and grade (..., W) -> (..., W)."""
    uptake = np.empty(speed_m_s.shape)
    for code in (RUN, WALK):
        on = np.flatnonzero(sport == code)
        slope, down = grade[..., on], DOWNHILL[code]
        slope = np.where(slope < 0, down * np.expm1(np.minimum(slope, 0) / down), slope)
        cost = 60.0 * (FLAT_COST[code] + CLIMB_COST[code] * slope)
        uptake[..., on] = REST_VO2 + cost * speed_m_s[..., on]
    on = np.flatnonzero(sport == BIKE)
    power = cycling_power(speed_m_s[..., on], grade[..., on], weight_kg[on])
    uptake[..., on] = 7.0 + 108.0 * np.logaddexp(0.0, power / 10.0) / weight_kg[on]
    return uptake


def cycling_power(speed_m_s: Array, grade: Array, weight_kg: Array) -> Array:
    """Power in W that holds a speed on a grade; negative where a descent drives the bicycle."""
    slope_force = (weight_kg + BICYCLE_KG) * GRAVITY * (ROLLING + grade)
    return speed_m_s * (slope_force + AIR * speed_m_s**2) / DRIVE


def cycling_speed(power_w: Array, grade: Array, weight_kg: Array) -> Array:
    """Speed in m/s that a power >= 0 holds on a grade: the inverse of `cycling_power`.

    Newton's method from above the largest root, where the cubic is convex; 7 steps leave
    less than 1 mm/s.
    """
    force = (weight_kg + BICYCLE_KG) * GRAVITY * (ROLLING + grade)
    power = power_w * DRIVE
    speed = np.cbrt(power / AIR) + np.sqrt(np.maximum(-force, 0.0) / AIR)
    climb = force > 0
    speed = np.where(climb, np.minimum(speed, power / np.where(climb, force, 1.0)), speed)
    for _ in range(7):
        square = AIR * speed * speed
        speed = (2.0 * square * speed + power) / (3.0 * square + force + 1e-9)
    return speed


def steady_share(demand: Array) -> Array:
    """Share of the heart-rate reserve reached at a demand: x, smoothly bounded by CEILING."""
    return CEILING - BEND * np.logaddexp(0.0, (CEILING - demand) / BEND)


def heart_rate(demand: Array, person: Draw, *, hot: Array, offset_bpm: Array) -> Array:
    """Heart rate in bpm of demands (T, W), shares of the oxygen reserve at 1 s -> (T, W)."""
    reserve = person.max_bpm - person.rest_bpm
    up, down = -np.expm1(-1.0 / person.tau_up_s), -np.expm1(-1.0 / person.tau_down_s)
    warm = -np.expm1(-1.0 / DRIFT_S)
    offset, gain = offset_bpm / reserve, person.drift * hot
    share = steady_share(person.start_share + offset)
    drift = np.zeros_like(share)
    out = np.empty_like(demand)
    out[0] = share
    for t in range(1, len(demand)):
        drift += warm * (gain * demand[t - 1] - drift)
        missing = steady_share(demand[t - 1] + drift + offset) - share
        share = share + np.where(missing > 0, up, down) * missing
        out[t] = share
    return person.rest_bpm + reserve * out


def move(plan: Draw, seconds: int) -> tuple[Array, Array, Array]:
    """Speed (m/s), distance (m) and grade, each (seconds, W), of people following their plans."""
    bike = plan.sport == BIKE
    rider, walker = np.flatnonzero(bike), np.flatnonzero(~bike)
    top = TOP_KM_H[plan.sport] / 3.6
    follow = -np.expm1(-1.0 / np.where(bike, 8.0, 3.0))
    brake = -np.expm1(-1.0 / np.where(bike, 3.0, 2.0))
    reserve = (plan.effort_vo2max - REST_VO2) / plan.economy
    metres_s = (reserve / FLAT_COST[plan.sport] / 60.0)[walker]  # level speed at effort 1
    weight = plan.weight_kg[rider]
    keep = np.exp(-1.0 / 40.0)
    fresh = np.sqrt(1.0 - keep**2)
    pace_sd = PACE_SD[plan.sport]
    turns = 2.0 * np.pi * plan.waves / plan.length_m

    shape = (seconds, len(plan.sport))
    speed, distance, grade = np.zeros(shape), np.zeros(shape), np.empty(shape)
    pace = plan.pace_noise[0].astype(np.float64)
    wanted = np.empty(shape[1])
    for t in range(seconds):
        slope = (plan.slopes * np.cos(turns * distance[t] + plan.phases)).sum(0)
        grade[t] = slope
        if t + 1 == seconds:
            break
        effort = plan.effort[t] * np.exp(pace_sd * pace)
        lean = plan.grade_habit * slope
        on_foot = np.clip(np.exp(-lean[walker]), 0.5, 1.15)
        wanted[walker] = metres_s * effort[walker] * on_foot
        uptake = REST_VO2 + reserve[rider] * effort[rider] - 7.0
        power = np.maximum(uptake, 0.0) * weight / 10.8
        power = power * np.clip(np.exp(lean[rider]), 0.7, 1.4)
        wanted[rider] = cycling_speed(power, slope[rider], weight)
        np.minimum(wanted, top, out=wanted)
        stopped = plan.stopped[t]
        target = np.where(stopped, 0.0, wanted)
        speed[t + 1] = speed[t] + np.where(stopped, brake, follow) * (target - speed[t])
        distance[t + 1] = distance[t] + 0.5 * (speed[t] + speed[t + 1])
        pace = keep * pace + fresh * plan.pace_noise[t + 1]
    return speed, distance, grade


def draw_athlete(number: int, workouts: int, rng: np.random.Generator) -> Draw:
    """One person and the plans, routes, days and noise of the person's workouts."""
    w, seconds, samples = workouts, LONGEST_S + 1, LONGEST_S // 3 + 1
    uniform, normal = rng.uniform, rng.normal

    # the person
    female = bool(rng.random() < 0.4)
    age = float(np.clip(normal(38, 10), 20, 65))
    height = normal(1.65, 0.06) if female else normal(1.78, 0.07)
    weight = float(np.clip(normal(23.5, 2.2), 19, 29) * height**2)
    fit = float(np.clip(normal(), -2, 2))
    vo2max = 79.9 - 0.39 * age - 13.7 * female - 0.127 * weight / 0.45359 + 10 + 6 * fit
    vo2max = float(np.clip(vo2max, 38, 72))
    maximum = 208 - 0.7 * age + float(np.clip(normal(0, 6), -12, 12))
    rest = float(np.clip(62 + 3 * female - 4 * fit + normal(0, 4), 40, 80))
    tau_up = 40 * np.exp(normal(0, 0.15) - 0.12 * fit)
    tau_down = 70 * np.exp(normal(0, 0.15) - 0.12 * fit)
    drift = 0.10 * np.exp(normal(0, 0.3))
    start_share = uniform(0.12, 0.22)
    economy = np.exp(normal(0, 0.05, 3))
    grade_habit = uniform([1.5, 3, 2], [4, 8, 6])
    push = float(np.clip(normal(0, 0.03), -0.06, 0.06))
    split = normal(0, 0.04)
    walk_m_min = float(np.clip(normal(5.6, 0.4), 4.6, 6.6)) / 0.06
    sport = rng.choice(3, w, p=rng.dirichlet([1.5, 1.0, 0.7]))

    # days
    gap = 1 + np.floor(rng.gamma(1.2, uniform(1, 4) / 1.2, w))
    gap += np.where(rng.random(w) < 0.04, rng.integers(14, 36, w), 0)
    day = np.floor(uniform(0, 180)) + np.cumsum(gap) - gap[0]
    hour = np.clip((7 if rng.random() < 0.5 else 18) + normal(0, 1, w), 6, 21)
    start = 1_672_531_200.0 + np.round(86_400 * day + 3600 * hour)
    season = -9 * np.cos(2 * np.pi * (day - 20) / 365) + 3 * np.cos(2 * np.pi * (hour - 15) / 24)
    hot = 1 + 0.08 * np.maximum(12 + season + normal(0, 3.5, w) - 15, 0)
    covariance = 0.06**2 * np.exp(-np.abs(day[:, None] - day) / 90)
    fitness = np.linalg.cholesky(covariance) @ rng.standard_normal(w)
    capacity = vo2max * np.where(sport == BIKE, CYCLE_SHARE, 1.0)

    # routes (sport, route, term)
    length = 1000 * uniform(np.array([[4], [12], [2.5]]), np.array([[9], [30], [6]]), (3, 3))
    shortest = np.array([[[600]], [[1500]], [[600]]])
    most = (length[..., None] // shortest).astype(np.int64)
    waves = rng.integers(1, most, (3, 3, 6), endpoint=True)
    region = 0.012 * np.exp(normal(0, 0.5))
    steep = np.clip(region * uniform(0.5, 1.6, (3, 3, 1)), 0.002, 0.03)
    slopes = rng.standard_normal((3, 3, 6))
    slopes *= np.sqrt(2) * steep / np.linalg.norm(slopes, axis=-1, keepdims=True)
    phases = uniform(0, 2 * np.pi, (3, 3, 6))
    home = uniform(120, 600)
    route = rng.choice(3, w, p=[0.5, 0.3, 0.2])

    # plans
    low, high = np.array([[20, 75], [35, 75], [20, 70]])[sport].T
    minutes = np.array([42, 62, 38])[sport] + np.array([12, 10, 11])[sport] * normal(0, 1, w)
    duration = np.round(60 * np.clip(minutes, low, high))
    kinds = np.array([[0.45, 0.65, 0.85], [0.45, 0.65, 0.85], [0.8, 0.8, 0.8]])[sport]
    kind = (rng.random(w)[:, None] >= kinds).sum(1)  # steady, tempo, intervals, fartlek
    base = np.array([[0.62, 0.74], [0.74, 0.84], [0.64, 0.70], [0.64, 0.70]])[kind]
    level = uniform(base[:, 0], base[:, 1])
    level = (level + push) * np.where(sport == BIKE, 0.85, 1.0)
    walk_effort = FLAT_COST[WALK] * walk_m_min * economy[WALK] / (vo2max - REST_VO2)
    level = np.where(sport == WALK, walk_effort * normal(1, 0.03, w), level)
    warm = np.where(sport == WALK, uniform(60, 180, w), uniform(240, 600, w))
    cool = np.where(rng.random(w) < 0.7, uniform(120, 360, w), 0)
    work = rng.choice([60.0, 90.0, 120.0, 180.0, 240.0], w)
    ease = work * uniform(0.5, 1, w)
    hard, easy = uniform(1.28, 1.42, w), uniform(0.65, 0.85, w)
    ends = np.cumsum(uniform(30, 180, (seconds // 30, w)), 0)
    mild = sport == WALK
    levels = uniform(np.where(mild, 0.85, 0.75), np.where(mild, 1.15, 1.35), ends.shape)
    t = np.arange(seconds, dtype=float)[:, None]
    profile = np.ones((seconds, w))
    reps = np.where((t - warm) % (work + ease) < work, hard, easy)
    profile = np.where(kind == 2, reps, np.where(kind == 3, _stretches(ends, levels), profile))
    ramp = 0.75 + 0.25 * t / warm
    profile = np.where(t < warm, ramp, np.where(t > duration - cool, 0.7, profile))
    effort = np.minimum(level * profile * (1 + split * (t / duration - 0.5)), 0.98)
    lights = np.minimum(rng.poisson(np.array([0.5, 3, 0.3])[sport]), 6)
    stopped = _spells(t, lights, uniform(0, 1, (6, w)) * duration, uniform(8, 40, (6, w)))

    # the sensor and the device
    dropped = np.minimum(rng.poisson(0.8, w), 4)
    lengths = np.minimum(5 + rng.exponential(25, (4, w)), 120)
    missing = _spells(t, dropped, uniform(0, 1, (4, w)) * duration, lengths)

    def everywhere(value: float) -> Array:
        return np.full(w, value, dtype=np.float64)

    return Draw(
        athlete=np.full(w, number),
        sport=sport,
        female=np.full(w, female),
        weight_kg=everywhere(weight),
        vo2max=capacity * np.exp(fitness),
        usual_vo2max=everywhere(vo2max),
        effort_vo2max=capacity * np.exp(fitness / 2),
        economy=economy[sport],
        rest_bpm=everywhere(rest),
        max_bpm=everywhere(maximum),
        tau_up_s=everywhere(tau_up),
        tau_down_s=everywhere(tau_down),
        drift=everywhere(drift),
        start_share=start_share * np.where(sport == WALK, 0.6, 1.0),
        grade_habit=grade_habit[sport],
        start=start,
        hot=hot,
        offset_bpm=normal(0, 4, w),
        length_m=length[sport, route],
        home_m=everywhere(home),
        waves=waves[sport, route].T.astype(np.float64),
        slopes=slopes[sport, route].T,
        phases=phases[sport, route].T,
        duration_s=duration,
        effort=effort.astype(np.float32),
        stopped=stopped,
        missing=missing,
        pace_noise=rng.standard_normal((seconds, w), np.float32),
        sensor_noise=rng.standard_normal((seconds, w), np.float32),
        interval_s=rng.integers(3, 7, (samples, w), np.int16, endpoint=True),
        white=rng.standard_normal((3, samples, w), np.float32),
        barometer=normal(0, 4, (2, w)),
    )


def _stretches(ends: Array, levels: Array) -> Array:
    """Levels (K, W) held until their ends (K, W) in s, at every second -> (T, W)."""
    change = np.zeros((LONGEST_S + 1, ends.shape[1]))
    change[0] = levels[0]
    at = np.ceil(ends[:-1]).astype(np.int64)
    inside = at <= LONGEST_S
    column = np.broadcast_to(np.arange(ends.shape[1]), at.shape)
    change[at[inside], column[inside]] = np.diff(levels, axis=0)[inside]
    return np.cumsum(change, 0)


def _spells(t: Array, count: Ints, starts: Array, lengths: Array) -> Bools:
    """True at seconds t (T, 1) within the first `count` (W,) of the spells (K, W) -> (T, W)."""
    inside = np.zeros((len(t), len(count)), dtype=np.bool_)
    for k in range(len(starts)):
        inside |= (k < count) & (t >= starts[k]) & (t < starts[k] + lengths[k])
    return inside


def _record(draw: Draw) -> tuple[pd.DataFrame, Ints]:
    """What devices record of the drawn workouts: samples and the workout of each."""
    seconds = int(draw.duration_s.max()) + 1
    speed, distance, grade = move(draw, seconds)
    uptake = oxygen_uptake(draw.sport, speed, grade, draw.weight_kg)
    demand = draw.economy * (uptake - REST_VO2) / (draw.vo2max - REST_VO2)
    still, calm = np.zeros_like(draw.hot), np.ones_like(draw.hot)
    expected = heart_rate(demand, draw, hot=calm, offset_bpm=still)
    felt = heart_rate(demand, draw, hot=draw.hot, offset_bpm=draw.offset_bpm)
    keep = np.exp(-1.0 / 30.0)
    wander = draw.sensor_noise[0].astype(np.float64)
    for t in range(seconds):
        felt[t] += 1.5 * wander
        if t + 1 < seconds:
            wander = keep * wander + np.sqrt(1 - keep**2) * draw.sensor_noise[t + 1]

    clock = np.cumsum(draw.interval_s, 0, dtype=np.int64) - draw.interval_s[0]  # (N, W), from 0
    w, n = np.nonzero((clock <= draw.duration_s).T)
    t = clock[n, w]
    along = distance[t, w]
    altitude = draw.home_m[w] + draw.barometer[0, w] + draw.barometer[1, w] * t / 3600
    for term in range(len(draw.waves)):
        turn = 2 * np.pi * draw.waves[term, w] / draw.length_m[w]
        phase = draw.phases[term, w]
        altitude += draw.slopes[term, w] / turn * (np.sin(turn * along + phase) - np.sin(phase))
    pulse = np.round(felt[t, w] + draw.white[0, n, w])
    columns = {
        "heart_rate_bpm": np.where(draw.missing[t, w], np.nan, pulse),
        "speed_km_h": 3.6 * speed[t, w] * (1 + 0.02 * draw.white[1, n, w]),
        "altitude_m": 0.2 * np.round((altitude + 0.2 * draw.white[2, n, w]) / 0.2),
        "distance_km": along / 1000,
        "expected_heart_rate_bpm": expected[t, w],
    }
    samples = pd.DataFrame({"time_s": t.astype(np.float64)})
    return samples.assign(**{k: v.astype(np.float32) for k, v in columns.items()}), w


def simulated_workouts(
    *, path: str | None, athletes: int, workouts: int, seed: int
) -> WorkoutTable:
    """Simulate `workouts` workouts of each of `athletes` people; equal seeds, equal tables.

    Raises InputError for a path (nothing is read), for no athletes or workouts, a negative seed.
    """
    if path is not None:
        raise InputError(
            "data=workouts_sim reads no files; use data=workout_table data.path=" + str(path)
        )
    if athletes < 1 or workouts < 1 or seed < 0:
        raise InputError(
            f"data.source: athletes={athletes}, workouts={workouts}, seed={seed}: "
            "athletes and workouts must be at least 1, seed at least 0"
        )
    children = np.random.SeedSequence(seed).spawn(athletes)
    at_once = max(1, WORKOUTS_AT_ONCE // workouts)
    sessions, samples, people = [], [], []
    for first in range(0, athletes, at_once):
        numbers = range(first, min(first + at_once, athletes))
        drawn = [draw_athlete(k, workouts, np.random.default_rng(children[k])) for k in numbers]
        block = Draw(
            **{
                field.name: np.concatenate([getattr(one, field.name) for one in drawn], axis=-1)
                for field in dataclasses.fields(Draw)
            }
        )
        recorded, of = _record(block)
        recorded.insert(0, "session", (first * workouts + of).astype(np.int32))
        samples.append(recorded)
        names = [f"athlete_{k:03d}" for k in block.athlete]
        known = {
            "athlete": names,
            "vo2max_ml_kg_min": block.usual_vo2max,
            "resting_bpm": block.rest_bpm,
            "maximal_bpm": block.max_bpm,
        }
        people.append(pd.DataFrame(known).drop_duplicates())
        order = range(len(names))
        sessions.append(
            pd.DataFrame(
                {
                    "workout": [f"{names[i]}_{i % workouts:03d}" for i in order],
                    "athlete": names,
                    "sport": [SPORTS[code] for code in block.sport],
                    "gender": ["female" if female else "male" for female in block.female],
                    "start": block.start,
                }
            )
        )
    return WorkoutTable(
        sessions=pd.concat(sessions, ignore_index=True),
        samples=pd.concat(samples, ignore_index=True),
        simulated=True,
        name="workouts_sim",
        rejected={},
        people=pd.concat(people).set_index("athlete"),
    )
