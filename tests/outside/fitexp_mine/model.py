from torch import Tensor, nn

from fitexp.data.spec import WorkoutSpec


class Mine(nn.Module):
    kind = "workouts"  # the data it takes

    def __init__(self, *, spec: WorkoutSpec, width: int) -> None:  # spec: by fitexp; the rest: YAML
        super().__init__()
        self.athlete = nn.Embedding(len(spec.attributes["user"]), width, padding_idx=0)
        self.gru = nn.GRU(len(spec.inputs), width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        start = self.athlete(batch["attributes"][:, 0])  # user, sport, gender; 0: unknown
        state, _ = self.gru(batch["x"], start[None])  # x (B, T, F) -> state (B, T, D)
        return self.head(state)[..., 0]  # (B, T), scaled as the target is
