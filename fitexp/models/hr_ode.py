"""Heart rate as a first-order equation driven by speed and grade, with personal parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fitexp.data.spec import WorkoutSpec
from fitexp.errors import InputError
from fitexp.models.averages import decayed_sums

NEEDED = ("derived_speed", "grade")
# What training starts from, the same for every sport and person: assumed, textbook orders.
SPORT = {
    "standing": 0.1,  # share of the reserve at speed 0
    "flat": 0.1,  # share per m/s
    "climb": 0.5,  # share per m/s and unit of grade
    "air": 5e-4,  # share per (m/s)^3
}
PERSON = {
    "rest": 65.0,  # bpm
    "reserve": 120.0,  # bpm
    "capacity": 1.0,  # people of capacity 2 have half the demand
    "up": 50.0,  # s
    "down": 50.0,  # s
    "drift": 0.05,  # share of the reserve that a demand of 1 drifts up by in the end
}
BEND = 0.06  # softness of the reserve's ceiling and of the demand's floor, shares
DRIFT_S = 1800.0


def softplus(x: Tensor, bend: float) -> Tensor:
    """bend ln(1 + e^(x / bend)): about max(x, 0)."""
    return bend * nn.functional.softplus(x / bend)


def follow(steady: Tensor, start: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """H_t = H_(t-1) + k (S_t - H_(t-1)), k = up where S_t > H_(t-1), else down.

    Shapes: steady S (B, T); start H_0, up, down (B,), shares of the way in one step -> (B, T).
    """
    h, steps = start, []
    for s in steady.unbind(dim=1):
        missing = s - h
        h = torch.addcmul(h, torch.where(missing > 0, up, down), missing)
        steps.append(h)
    return torch.stack(steps, dim=1)


class HeartRateODE(nn.Module):
    """dH/dt = (S - H) / tau, tau = tau_up where S > H, else tau_down; H in bpm, H_0 given.

        S = rest + reserve s(u + D),       s(z) = 1 - softplus(1 - z), about min(z, 1)
        u = (c_0 + softplus(v (c_1 + c_2 G + c_3 v^2))) / capacity
        dD/dt = (kappa u - D) / 1800 s, D(0) = 0                         `drift` true

    v speed in m/s, G grade, u demand as a share of the reserve; c_0..c_3 per sport. rest, reserve,
    capacity, tau_up, tau_down and kappa are personal. Every coefficient is
    value x softplus(w + d) / ln 2 > 0: `w` that of the population (all sports; starts at 0 with
    the value of SPORT or PERSON), `d` the person's or sport's deviation, which starts at 0 and
    is pulled there by the Gaussian penalty decay / 2 d^2 (weight decay). An unknown person or sport
    has d = 0. In training a share `person_hidden` of the workouts, drawn anew for each batch, is
    of an unknown person: else few people with many workouts leave the population's values loose,
    and those are all that a new person gets. The population's
    capacity is 1: only its ratio to c can be known.

    Steps are exponential: H_t = S + (H_(t-1) - S) e^(-h/tau), exact while speed and grade hold
    over the step h; as H never passes S within a step, so is the switch. D likewise.

    Told y_(t-1) (short regime, teacher forcing), each step starts from it instead of H_(t-1). In
    the short regime D starts at 0 with every window. Joined pieces of a workout count as one.

    On simulated workouts the model has the simulator's own form (simulate.py, the same equation
    and drift; heat, the day's offset and the form of the demand aside): its error there is no
    evidence for other data, and every table of such a run says so.

    Source: the equation of `fitexp.data.workouts.simulate`; heart rate as a first-order response
    with personal parameters is an old model of exercise physiology.

    Inputs: derived_speed and grade, nothing else, time grid, target heart_rate in bpm
    (task.target_scaling none). Shapes: `batch` as WorkoutsData yields it; returns (B, T) bpm.
    Any T. Raises InputError for data and keys it cannot take.
    """

    kind = "workouts"
    person_start: Tensor
    sport_start: Tensor

    def __init__(
        self,
        *,
        spec: WorkoutSpec,
        target_scaling: str,
        drift: bool,
        person_decay: float,
        person_hidden: float,
        sport_decay: float,
    ) -> None:
        super().__init__()
        if spec.target != "heart_rate" or spec.step_unit != "s":
            raise InputError("hr_ode predicts heart rate over time: use data.target=heart_rate")
        if sorted(spec.inputs) != sorted(NEEDED):
            raise InputError(
                f"hr_ode is driven by data.inputs=[{','.join(NEEDED)}], "
                f"not [{','.join(spec.inputs)}]"
            )
        if target_scaling != "none":
            raise InputError(
                f"hr_ode answers in bpm: use task.target_scaling=none, not {target_scaling}"
            )
        for key, value in (("person_decay", person_decay), ("sport_decay", sport_decay)):
            if value < 0:
                raise InputError(f"model.{key}={value}: it takes a number, 0 up")
        if not 0 <= person_hidden <= 1:
            raise InputError(f"model.person_hidden={person_hidden}: it takes a share, 0 to 1")
        self.scales = [spec.scaling[name] for name in NEEDED]
        self.columns = [spec.inputs.index(name) for name in NEEDED]
        names = list(spec.attributes)
        self.user, self.sport = names.index("user"), names.index("sport")
        self.step, self.simulated = spec.step, spec.simulated
        self.drift = drift
        self.person_decay, self.sport_decay = person_decay, sport_decay
        self.person_hidden = person_hidden
        people, sports = len(spec.attributes["user"]), len(spec.attributes["sport"])
        learned = len(PERSON) if drift else len(PERSON) - 1
        self.register_buffer("person_start", torch.tensor(list(PERSON.values())[:learned]))
        self.register_buffer("sport_start", torch.tensor(list(SPORT.values())))
        self.population = nn.Parameter(torch.zeros(learned))
        self.all_sports = nn.Parameter(torch.zeros(len(SPORT)))
        self.person = nn.Embedding(people, learned, padding_idx=0)
        self.of_sport = nn.Embedding(sports, len(SPORT), padding_idx=0)
        nn.init.zeros_(self.person.weight)
        nn.init.zeros_(self.of_sport.weight)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        user = batch["attributes"][:, self.user]
        if self.training and self.person_hidden:
            hidden = torch.rand(len(user), device=user.device) < self.person_hidden
            user = user.masked_fill(hidden, 0)
        rest, reserve, capacity, up, down, *drift = self.personal(user)
        demand = self.demand(batch) / capacity[:, None]
        share = demand + self._drift(demand, drift[0]) if drift else demand
        steady = rest[:, None] + reserve[:, None] * (1.0 - softplus(1.0 - share, BEND))
        up, down = (-torch.expm1(-self.step / tau) for tau in (up, down))
        if "y_previous" not in batch:
            return follow(steady, batch["y0"], up, down)
        before = batch["y_previous"]
        missing = steady - before
        return before + torch.where(missing > 0, up[:, None], down[:, None]) * missing

    def personal(self, user: Tensor) -> list[Tensor]:
        """(B,) numbers of people -> (B,) rest, reserve, capacity, tau up, tau down [, kappa]."""
        deviation = self.person(user)
        fixed = torch.ones_like(self.population)
        fixed[list(PERSON).index("capacity")] = 0.0  # of the population: 1
        values = _positive(self.person_start, self.population * fixed + deviation)
        return list(values.unbind(dim=-1))

    def demand(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, T) share of the reserve that speed and grade ask of a person of capacity 1."""
        x = batch["x"].masked_fill(~batch["valid"][..., None], 0.0)
        km_h, grade = (
            x[..., column] * (scale.sd / scale.factor) + scale.mean
            for column, scale in zip(self.columns, self.scales, strict=True)
        )
        v = km_h / 3.6
        deviation = self.of_sport(batch["attributes"][:, self.sport])
        coefficients = _positive(self.sport_start, self.all_sports + deviation)
        standing, flat, climb, air = coefficients[:, None].unbind(dim=-1)  # (B, 1) each
        return standing + softplus(v * (flat + climb * grade + air * v * v), BEND)

    def _drift(self, demand: Tensor, kappa: Tensor) -> Tensor:
        """D at the start of every step: an exponential sum of the demands before it."""
        tau = demand.new_tensor([DRIFT_S / self.step])
        sums = decayed_sums(demand[None], tau)[0]
        earlier = nn.functional.pad(sums, (1, 0))[:, :-1]
        return kappa[:, None] * -math.expm1(-self.step / DRIFT_S) * earlier

    def parameter_groups(self) -> list[dict[str, object]]:
        """People's and sports' deviations with their penalties; the rest without one."""
        return [
            {"params": list(self.person.parameters()), "weight_decay": self.person_decay},
            {"params": list(self.of_sport.parameters()), "weight_decay": self.sport_decay},
            {"params": [self.population, self.all_sports], "weight_decay": 0.0},
        ]

    def described(self) -> dict[str, list[float] | str]:
        """The population's values, and on simulated data a word of warning."""
        with torch.no_grad():
            unknown = torch.zeros(1, dtype=torch.long, device=self.population.device)
            rest, reserve, _, up, down, *_ = (v.tolist() for v in self.personal(unknown))
        found: dict[str, list[float] | str] = {
            "population's rest (bpm)": rest,
            "population's reserve (bpm)": reserve,
            "population's tau up (s)": up,
            "population's tau down (s)": down,
        }
        if self.simulated:
            found["note"] = "hr_ode has the simulator's own form: no evidence for other data"
        return found


def _positive(value: Tensor, free: Tensor) -> Tensor:
    """value x softplus(free) / ln 2: `value` at 0, positive everywhere."""
    return value * nn.functional.softplus(free) / math.log(2.0)
