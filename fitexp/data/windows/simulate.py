"""Simulated Fenland study: SIMULATED people who wear a wrist accelerometer and a chest strap.

The study (Spathis et al., Self-supervised transfer learning of physiological representations from
free-living wearable data, section "Dataset") is not public.

FROZEN: written down before any network was trained; no constant below may be tuned to a model.
N(m, s) is normal with standard deviation s, U(a, b) uniform, LN(m, s) = m exp(N(0, s)), [a, b]
after a value clips it, z is N(0, 1) [-2.5, 2.5]. What has no source beside it is assumed.

CALIBRATED, on 1,500 users of seed 1: MET_SCALE to a median PAEE of 48 J/min/kg, DRIFT_SD to a
user-mean RMSE of 13.64 bpm, REST_SD to a global-mean RMSE of 15.84 (both over all rows) and
NOISE_SD to a lag-1 autocorrelation (15 s, mean over users) of 0.99. Those four figures agree with
the paper by construction and are no evidence. Before that, METs, shares of the states, posture,
circadian amplitude and level at rest were revised by hand, five times, so that the drift keeps
about the 8 bpm that were planned and people sleep below their resting heart rate; and the effects
of sex and habit on what people do were made stronger twice, since hardly anything told sex or
VO2max from the wrist (a logistic regression on means, standard deviations and shares of states,
300 users: AUC 60 % and 55 %, then 66 % and 58 %). Nothing else was tuned. The first 2,000 users of
seed 7, after the freeze: 15.92 and 13.77 bpm, 0.990, 48.4; resting heart rate alone tells the
upper half of VO2max with an AUC of 72 % and sex with 67 %.

User k draws from numpy's default_rng([seed, k]).spawn(5): person, days, heart, wrist and losses
have a stream each. So a user does not depend on how many there are, and wrist and heart have
nothing in common but the METs and states of the day.

Person
- male with probability 0.47; age 35 to 65 whole years; fitness z1; habit h = 0.6 z1 + 0.8 z2.
- height N(177, 7) cm, women N(164, 6.3); BMI 26.3 exp(0.02 male + 0.003 (age - 50) - 0.06 z1
  + N(0, 0.14)) [17, 50] kg/m^2; weight = BMI height^2.
- VO2max 79.9 - 0.39 age - 13.7 female - 0.127 weight[lb] (FRIEND registry, Myers et al. 2017)
  + 8 + 6 z1 [18, 65] ml/min/kg; M = (VO2max - 3.5) / 3.5, the net METs at VO2max.
- resting heart rate, supine: 59 + 4 female - 4 z1 + N(0, REST_SD) [42, 92] bpm; maximal
  208 - 0.7 age + N(0, 6) [-12, 12] (Tanaka et al. 2001); reserve = maximal - resting.
- time constants of the heart: up LN(45, 0.15) e^(-0.12 z1), down LN(80, 0.15) e^(-0.12 z1) s.
- the lab visit measures resting heart rate + N(4, 2.5), nobody being quite at rest in a clinic,
  and VO2max + N(0, 2.5).

Days: the monitors are put on on a day of 2010 between 9 h and 16 h, at any whole row.
- bed at N(23 - 0.02 (age - 50), 0.7) [20.5, 25.5] h, personal, + N(0, 0.6) a night; asleep for
  N(7.5, 0.7) [5.5, 9.5] h, personal, + N(0, 0.6) a night, [4.5, 10.5].
- awake, a semi-Markov chain: the next bout is of a state with probability in proportion to
  sit 0.36, light 0.46 e^(0.35 h - 0.3 male), walk 0.13 e^(0.4 h),
  vigorous 0.003 e^(0.9 h + 0.3 male); walk and vigorous x 1 + 0.15 cos(2 pi (day of year - 190)
  / 365); from 20 h to 6 h light x 0.6, walk x 0.4, vigorous x 0.2.
- minutes of a bout: sleep (in one position) LN(30, 0.6), sit LN(20, 0.8), light LN(9, 0.7),
  walk LN(7, 0.7), vigorous LN(30, 0.4); at least 1, cut at falling asleep and waking.
- net METs (above rest) of a bout: sleep 0, sit LN(0.45, 0.3), light LN(1.1, 0.3), walk
  LN(2.4, 0.2), all x MET_SCALE x a personal exp(0.1 h + N(0, 0.08)), at most 0.8 M; vigorous
  U(0.45, 0.75) M. Row by row x exp(s w), w an Ornstein-Uhlenbeck process of 45 s, s = 0.3
  (sit), 0.35 (light), 0.1 (walk, vigorous); at most 0.9 M.
- PAEE = 71.2 x mean net METs of the recording x LN(1, 0.1) in J/min/kg (1 MET = 3.5 ml/min/kg of
  oxygen x 20.35 J/ml): like the study's, a function of the days that were recorded.

Heart rate in bpm
- steady share of the reserve = e + (1 - e) posture / reserve, e = METs / M (share of the oxygen
  reserve = share of the heart-rate reserve: Swain and Leutholtz 1997), posture 0 lying, 2 sitting,
  5 upright; s follows it by ds/dt = (steady - s) / tau, tau up or down, exact row by row.
- H = resting + reserve s + (1 - s) felt + N(0, NOISE_SD), at least 35; as effort takes over,
  the rest fades: felt = -c cos(2 pi (hour - 4) / 24), c personal LN(1.5, 0.3),
  + DRIFT_SD resting / 59 (1 - a / 2) x Ornstein-Uhlenbeck of 90 min
  + p (1 - a) x positive half of an Ornstein-Uhlenbeck of 40 min (stress), p personal LN(4, 0.4);
  a follows being asleep (1) or not (0) with 20 min up and 5 min down.
- sleeping heart rate: the median of what was recorded while asleep, so derived from the target.

Wrist in milli-g
- VM-HPF mean m = LN(3, 0.12) + 32 g r METs^1.15 LN(1, 0.35), the last an Ornstein-Uhlenbeck of
  40 s; g personal LN(1, 0.2); r of the bout LN(1, 0.25), x 1.3 (light), x 1.4 (vigorous), and
  x 0.25 in a personal share U(0, 1) of vigorous bouts, where the arms are quiet (cycling).
  Asleep, 2 % of rows are twitches: m x exp(N(2, 0.8)).
- VM-HPF min m LN(0.001, 0.9), max m (1 + LN(8, 0.3)); ENMO mean k max(m - 2.5, 0.3) LN(1, 0.15),
  k personal LN(0.65, 0.12), at most m.
- gravity in the forearm's frame: per bout a direction usual for the state (FOREARM) + N(0,
  FOREARM_SD) on each axis, asleep anywhere; wandering (0.3 min(m / 60, 1), 5 min); turned by a
  personal strap, N(0, 0.7) rad about the forearm, N(0, 0.2) about the two others. A unit vector u.
- spread v = 0.6 m / (m + 150): mean 1000 u sqrt(1 - v) + N(0, 8) personal on each axis;
  variance 1000^2 v (1 - u^2) / 2, which adds up to 1 g^2 with the means, + 3 q (1.2 m)^2, q
  personal, Dirichlet(6, 6, 6); its root x LN(1, 0.15).
  Sex and height enter the wrist only through what the person does: strap and q see to it that no
  axis ratio tells them.

Losses (NaN)
- heart rate: the strap comes loose 0.10 times a day for U(20, 120) min; 8 times a day noise for
  0.25 min + exponential(0.75 min): some 1.0 % of rows.
- wrist, all ten series: taken off 0.08 times a day for U(60, 180) min: some 0.7 % of rows.
- VO2max and PAEE of 194 in 1,700 users, who have no lab outcome (1,506 have); they keep their
  resting heart rate, which models take as an input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

from fitexp.data.windows.epochs import Epochs, Recording
from fitexp.errors import InputError

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

STEP_S = 15.0
DAY_ROWS = 5760
STATES = ("sleep", "sit", "light", "walk", "vigorous")
SLEEP, SIT, LIGHT, WALK, VIGOROUS = range(5)
SERIES = (
    *("x_mean", "x_std", "y_mean", "y_std", "z_mean", "z_std"),
    *("enmo_mean", "vm_hpf_mean", "vm_hpf_min", "vm_hpf_max"),
)
J_PER_MET = 71.2  # J/min/kg of one metabolic equivalent: 3.5 ml/min/kg of oxygen x 20.35 J/ml
NOTES = {
    "study": "SIMULATED, frozen before any network was trained",
    "heart rate": "simulated chest strap, missing where the strap came loose",
    "paee_j_min_kg": "from the recording's own METs; nobody without a lab visit has one",
    "sleeping_hr_bpm": "derived from the target signal: median heart rate while asleep",
}
# Calibrated, see above.
REST_SD = 5.5
DRIFT_SD = 7.8
NOISE_SD = 1.05
MET_SCALE = 1.16
# One value a state.
MINUTES = np.array([30.0, 20.0, 9.0, 7.0, 30.0])
MINUTES_SD = np.array([0.6, 0.8, 0.7, 0.7, 0.4])
METS = np.array([0.0, 0.45, 1.1, 2.4, np.nan])
METS_SD = np.array([0.0, 0.3, 0.3, 0.2, 0.0])
FLICKER_SD = np.array([0.0, 0.30, 0.35, 0.10, 0.10])
POSTURE_BPM = np.array([0.0, 2.0, 5.0, 5.0, 5.0])
ARM = np.array([1.0, 1.0, 1.3, 1.0, 1.4])
FOREARM = np.array(
    [[0, 0, 0], [0.4, -0.1, -0.8], [0.6, -0.1, -0.5], [0.9, -0.2, -0.2], [0.6, -0.3, -0.5]]
)  # axes x, y, z
FOREARM_SD = np.array([1.0, 0.35, 0.40, 0.15, 0.30])
WEIGHTS = np.array([0.0, 0.36, 0.46, 0.13, 0.003])


@dataclass(frozen=True, kw_only=True)
class Person:
    """What stays the same of one person."""

    age_years: float
    male: bool
    height_cm: float
    weight_kg: float
    bmi: float
    pace: float  # factor of METs of sit, light and walk
    vo2max: float  # true, ml/min/kg
    rest_bpm: float  # true
    max_bpm: float
    mets_max: float  # net METs at VO2max
    tau_up_s: float
    tau_down_s: float
    circadian_bpm: float
    stress_bpm: float
    bed_hour: float
    sleep_hours: float
    weights: Array  # (5,) of the next bout's state
    rides: float  # share of vigorous bouts with quiet arms
    lab_rest_bpm: float
    lab_vo2max: float
    paee_error: float  # factor
    has_lab: bool


@dataclass(frozen=True, kw_only=True)
class Days:
    """What one person does: n rows of 15 s, and the bout of each."""

    start_s: float
    hour: Array  # (n,) of the day, at the middle of the row
    bout: Ints  # (n,) number of the bout
    state: Ints  # (n,) into STATES
    mets: Array  # (n,) net of rest
    arm: Array  # (n,) wrist movement for the METs, 1 = as usual


@dataclass(frozen=True, kw_only=True)
class User:
    """One person, what they do, and what the monitors give of it (NaN where lost)."""

    person: Person
    days: Days
    heart_rate: Array  # (n,) bpm
    series: Array  # (n, 10) milli-g


def smooth(noise: Array, tau_s: float) -> Array:
    """Ornstein-Uhlenbeck process of sd 1 from white noise of sd 1 (n,), exact at the grid."""
    keep = np.exp(-STEP_S / tau_s)
    noise = noise.copy()
    noise[1:] *= np.sqrt(1 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], noise))


def respond(wanted: Array, *, up_s: float, down_s: float) -> Array:
    """First-order response to steady states (n,): dy/dt = (wanted - y) / tau, y(0) = wanted(0).

    tau is up_s where wanted > y, else down_s; exact for a steady state that holds a whole row.
    """
    up, down = (float(-np.expm1(-STEP_S / tau)) for tau in (up_s, down_s))
    now = float(wanted[0])
    out = []
    for goal in wanted.tolist():
        gap = goal - now
        now += (up if gap > 0 else down) * gap
        out.append(now)
    return np.array(out)


def draw_person(rng: np.random.Generator) -> Person:
    """One person of the study."""
    normal = rng.normal
    male = bool(rng.random() < 0.47)
    age = float(rng.integers(35, 65, endpoint=True))
    fit = float(np.clip(normal(), -2.5, 2.5))
    habit = 0.6 * fit + 0.8 * float(np.clip(normal(), -2.5, 2.5))
    height = float(normal(177, 7) if male else normal(164, 6.3))
    bmi = 26.3 * np.exp(0.02 * male + 0.003 * (age - 50) - 0.06 * fit + normal(0, 0.14))
    bmi = float(np.clip(bmi, 17, 50))
    weight = bmi * (height / 100) ** 2
    vo2max = 79.9 - 0.39 * age - 13.7 * (not male) - 0.127 * weight / 0.45359 + 8 + 6 * fit
    vo2max = float(np.clip(vo2max, 18, 65))
    rest = float(np.clip(59 + 4 * (not male) - 4 * fit + normal(0, REST_SD), 42, 92))
    top = 208 - 0.7 * age + float(np.clip(normal(0, 6), -12, 12))
    taus = np.array([45, 80]) * np.exp(normal(0, 0.15, 2) - 0.12 * fit)
    lean = np.array([0, 0, 0.35 * habit - 0.3 * male, 0.4 * habit, 0.9 * habit + 0.3 * male])
    return Person(
        age_years=age,
        male=male,
        height_cm=height,
        weight_kg=weight,
        bmi=bmi,
        pace=float(np.exp(0.1 * habit + normal(0, 0.08))),
        vo2max=vo2max,
        rest_bpm=rest,
        max_bpm=top,
        mets_max=(vo2max - 3.5) / 3.5,
        tau_up_s=float(taus[0]),
        tau_down_s=float(taus[1]),
        circadian_bpm=1.5 * float(np.exp(normal(0, 0.3))),
        stress_bpm=4 * float(np.exp(normal(0, 0.4))),
        bed_hour=float(np.clip(normal(23 - 0.02 * (age - 50), 0.7), 20.5, 25.5)),
        sleep_hours=float(np.clip(normal(7.5, 0.7), 5.5, 9.5)),
        weights=WEIGHTS * np.exp(lean),
        rides=float(rng.random()),
        lab_rest_bpm=rest + float(normal(4, 2.5)),
        lab_vo2max=vo2max + float(normal(0, 2.5)),
        paee_error=float(np.exp(normal(0, 0.1))),
        has_lab=bool(rng.random() < 1506 / 1700),
    )


def draw_days(person: Person, rows: int, rng: np.random.Generator) -> Days:
    """Where the person sleeps, sits and moves, from the hour at which the monitors are put on."""
    date = int(rng.integers(365))
    start_s = 86_400 * (14_610 + date) + STEP_S * int(rng.integers(9 * 240, 16 * 240))
    begin = start_s % 86_400 / 3600
    hour = begin + (np.arange(rows) + 0.5) * STEP_S / 3600  # since midnight before the start
    nights = int(hour[-1] // 24) + 2
    bed = person.bed_hour + 24 * np.arange(-1, nights - 1) + rng.normal(0, 0.6, nights)
    sleep = np.clip(person.sleep_hours + rng.normal(0, 0.6, nights), 4.5, 10.5)
    borders = np.column_stack([bed, bed + sleep]).ravel()  # falls asleep, wakes, falls asleep, ...
    season = 1 + 0.15 * np.cos(2 * np.pi * (date - 190) / 365)

    at, ends, states, levels, arms = begin, [], [], [], []
    while at <= hour[-1]:
        turn = int(np.searchsorted(borders, at, side="right"))
        state = SLEEP if turn % 2 else next_state(person, at % 24, season, rng)
        length = MINUTES[state] * np.exp(MINUTES_SD[state] * rng.normal()) / 60
        end = min(at + max(length, 1 / 60), borders[turn] if turn < len(borders) else np.inf)
        arm = ARM[state] * np.exp(rng.normal(0, 0.25))
        if state == VIGOROUS:
            level = rng.uniform(0.45, 0.75) * person.mets_max
            arm *= 0.25 if rng.random() < person.rides else 1.0
        else:
            level = MET_SCALE * person.pace * METS[state] * np.exp(METS_SD[state] * rng.normal())
        ends.append(end)
        states.append(state)
        levels.append(min(level, 0.8 * person.mets_max))
        arms.append(arm)
        at = end
    bout = np.searchsorted(np.array(ends), hour, side="right")
    state_of = np.array(states)[bout]
    flicker = np.exp(FLICKER_SD[state_of] * smooth(rng.standard_normal(rows), 45))
    return Days(
        start_s=start_s,
        hour=hour % 24,
        bout=bout,
        state=state_of,
        mets=np.minimum(np.array(levels)[bout] * flicker, 0.9 * person.mets_max),
        arm=np.array(arms)[bout],
    )


def next_state(person: Person, hour: float, season: float, rng: np.random.Generator) -> int:
    """State of the next bout of someone awake."""
    weights = person.weights.copy()
    weights[WALK:] *= season
    if hour >= 20 or hour < 6:
        weights[LIGHT:] *= (0.6, 0.4, 0.2)
    chances = np.cumsum(weights)
    return int(np.searchsorted(chances, rng.random() * chances[-1], side="right"))


def heart_rate(person: Person, days: Days, rng: np.random.Generator) -> Array:
    """Heart rate of the rows, bpm (n,), before anything is lost."""
    rows = len(days.mets)
    reserve = person.max_bpm - person.rest_bpm
    effort = days.mets / person.mets_max
    wanted = effort + (1 - effort) * POSTURE_BPM[days.state] / reserve
    share = respond(wanted, up_s=person.tau_up_s, down_s=person.tau_down_s)
    asleep = respond((days.state == SLEEP).astype(float), up_s=1200, down_s=300)
    drift, stress = (smooth(rng.standard_normal(rows), tau) for tau in (5400, 2400))
    felt = person.circadian_bpm * -np.cos(2 * np.pi * (days.hour - 4) / 24)
    felt += DRIFT_SD * person.rest_bpm / 59 * drift * (1 - 0.5 * asleep)
    felt += person.stress_bpm * np.maximum(stress, 0) * (1 - asleep)
    bpm = person.rest_bpm + reserve * share + (1 - share) * felt
    return np.clip(bpm + NOISE_SD * rng.standard_normal(rows), 35, None)


def wrist(days: Days, rng: np.random.Generator) -> Array:
    """The ten series of the wrist in milli-g (n, 10), before anything is lost."""
    rows = len(days.mets)
    gain, share = np.exp(rng.normal(0, 0.2)), 0.65 * np.exp(rng.normal(0, 0.12))
    mix = rng.dirichlet([6, 6, 6])
    offset = rng.normal(0, 8, 3)
    turn, tilt = rng.normal(0, 0.7), rng.normal(0, 0.2, 2)

    # how much it moves
    floor = 3 * np.exp(rng.normal(0, 0.12, rows))
    swing = np.exp(0.35 * smooth(rng.standard_normal(rows), 40))
    move = floor + 32 * gain * days.arm * days.mets**1.15 * swing
    twitch = (days.state == SLEEP) & (rng.random(rows) < 0.02)
    move = np.where(twitch, move * np.exp(rng.normal(2, 0.8, rows)), move)
    enmo = share * np.maximum(move - 2.5, 0.3) * np.exp(rng.normal(0, 0.15, rows))
    enmo = np.minimum(enmo, move)
    low, high = np.exp(rng.normal(0, [[0.9], [0.3]], (2, rows))) * [[0.001], [8.0]]

    # where it points
    bouts = int(days.bout[-1]) + 1
    state = np.zeros(bouts, dtype=np.int64)
    state[days.bout] = days.state
    rest = FOREARM[state] + FOREARM_SD[state, None] * rng.normal(size=(bouts, 3))
    wander = np.stack([smooth(z, 300) for z in rng.standard_normal((3, rows))], 1)
    loose = np.minimum(move / 60, 1)[:, None]
    points = rest[days.bout] + 0.3 * loose * wander
    points = points / np.linalg.norm(points, axis=1, keepdims=True) @ strap(turn, tilt)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    spread = 0.6 * move / (move + 150)
    mean = 1000 * points * np.sqrt(1 - spread)[:, None] + offset
    variance = 1e6 * spread[:, None] * (1 - points**2) / 2 + 3 * mix * (1.2 * move[:, None]) ** 2
    std = np.sqrt(variance) * np.exp(rng.normal(0, 0.15, (rows, 3)))
    return np.column_stack(
        [np.stack([mean, std], -1).reshape(rows, 6), enmo, move, low * move, (1 + high) * move]
    )


def strap(turn: float, tilt: Array) -> Array:
    """Rotation (3, 3) about the forearm by `turn` and then by two small tilts, radians."""
    out = np.eye(3)
    for axis, angle in enumerate((turn, *tilt)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        out = out @ one
    return out


def lost(rows: int, rng: np.random.Generator) -> tuple[Bools, Bools]:
    """Rows (n,) without heart rate, and rows without wrist series."""
    days = rows / DAY_ROWS
    loose = stretches(rows, rng.uniform(20, 120, rng.poisson(0.10 * days)), rng)
    noisy = stretches(rows, 0.25 + rng.exponential(0.75, rng.poisson(8 * days)), rng)
    off = stretches(rows, rng.uniform(60, 180, rng.poisson(0.08 * days)), rng)
    return loose | noisy, off


def stretches(rows: int, minutes: Array, rng: np.random.Generator) -> Bools:
    """True within stretches of so many minutes (k,) that begin anywhere -> (rows,)."""
    out = np.zeros(rows, dtype=np.bool_)
    for first, length in zip(rng.integers(rows, size=len(minutes)), minutes, strict=True):
        out[first : first + round(60 * length / STEP_S)] = True
    return out


def draw_user(seed: int, user: int, rows: int) -> User:
    """User number `user`, the same however many there are."""
    streams = np.random.default_rng([seed, user]).spawn(5)
    for_person, for_days, for_heart, for_wrist, for_lost = streams
    person = draw_person(for_person)
    days = draw_days(person, rows, for_days)
    bpm, series = heart_rate(person, days, for_heart), wrist(days, for_wrist)
    silent, off = lost(rows, for_lost)
    bpm[silent] = np.nan
    series[off] = np.nan
    return User(person=person, days=days, heart_rate=bpm, series=series)


def describe(user: User) -> dict[str, float]:
    """The user's row of the table of users."""
    person, days = user.person, user.days
    asleep = user.heart_rate[days.state == SLEEP]
    asleep = asleep[~np.isnan(asleep)]
    lab = 1.0 if person.has_lab else np.nan
    return {
        "age_years": person.age_years,
        "sex": float(person.male),
        "height_cm": person.height_cm,
        "weight_kg": person.weight_kg,
        "bmi": person.bmi,
        "resting_hr_bpm": person.lab_rest_bpm,
        "sleeping_hr_bpm": float(np.median(asleep)) if len(asleep) else np.nan,
        "vo2max_ml_min_kg": lab * person.lab_vo2max,
        "paee_j_min_kg": lab * person.paee_error * J_PER_MET * float(days.mets.mean()),
    }


def simulated_fenland(*, users: int, days: float, seed: int, path: str | None) -> Epochs:
    """Simulate `users` people for `days` days each; equal seeds, equal recordings.

    Everyone is simulated twice, for the table and again when the recordings are read, so that
    nobody's rows are kept. Raises InputError for a path (nothing is read), for no users, a
    negative seed, or days that are not between one row and a year.
    """
    if path is not None:
        raise InputError(f"data.path={path}: this study is simulated and reads no files; drop it")
    if users < 1 or seed < 0 or not 1 / DAY_ROWS <= days <= 366:
        raise InputError(
            f"data.source: users={users}, days={days}, seed={seed}: users must be at least 1, "
            "seed at least 0, days above 0 and at most 366"
        )
    rows = round(days * DAY_ROWS)
    names = [f"user_{k:04d}" for k in range(users)]

    def recordings() -> Iterator[Recording]:
        for k, name in enumerate(names):
            user = draw_user(seed, k, rows)
            yield Recording(
                user=name,
                start_s=user.days.start_s,
                series=user.series.astype(np.float32),
                heart_rate=user.heart_rate.astype(np.float32),
            )

    table = pd.DataFrame([describe(draw_user(seed, k, rows)) for k in range(users)])
    return Epochs(
        source="fenland_sim",
        simulated=True,
        series=SERIES,
        step_s=STEP_S,
        users=table.set_index(pd.Index(names, name="user")),
        recordings=recordings,
        rejected={},
        notes=NOTES,
    )
