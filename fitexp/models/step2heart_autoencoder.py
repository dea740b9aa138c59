"""The convolutional autoencoder that Step2Heart's embeddings are compared with."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from fitexp.data.spec import WindowSpec
from fitexp.errors import InputError

RAISED = 4  # the decoder doubles the bottleneck twice


class Step2HeartAutoencoder(nn.Module):
    """A window through a bottleneck of a vector; nothing of heart rate is seen.

        c = relu(conv(pool(relu(conv(x)))))      kernel 3, padded; max-pooling by 2
        E = W mean_t(c)                          `embed` gives E, `bottleneck` wide
        x' = sigmoid(conv(up(relu(conv(up(relu(conv(E as a series)))))))    up: each step twice

    Source: Spathis et al., CHIL 2021, Baselines ("convolutional autoencoder ... similar number of
    parameters ... bottleneck 128"); the layers are those of the authors' program, which with 128
    filters has 123,402 parameters against 582,293 of the network it is compared with. 296 filters
    have 583,554.

    Shapes: `batch` as WindowsData yields it; returns (B, T, F). Raises InputError where T is not
    4 bottleneck and where inputs are not scaled to [0, 1], which a sigmoid answers in.
    """

    kind = "windows"
    reads: frozenset[str] = frozenset()  # the embedding is of the epochs alone

    def __init__(self, *, spec: WindowSpec, filters: int, bottleneck: int) -> None:
        super().__init__()
        for key, value in (("filters", filters), ("bottleneck", bottleneck)):
            if value < 1:
                raise InputError(f"model.{key}={value}: it takes a whole number, 1 up")
        if spec.steps != RAISED * bottleneck:
            raise InputError(
                f"data.steps={spec.steps}: the decoder makes {RAISED} steps of each of "
                f"model.bottleneck={bottleneck}; choose data.steps={RAISED * bottleneck}"
            )
        if spec.scaled == "zscore":
            raise InputError("the autoencoder answers from 0 to 1: data.scaling=window or train")
        F = len(spec.inputs)
        self.encoder = nn.Sequential(
            nn.Conv1d(F, filters, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(filters, filters, 3, padding=1),
            nn.ReLU(),
        )
        self.squeeze = nn.Linear(filters, bottleneck)
        self.decoder = nn.Sequential(
            nn.Conv1d(1, filters, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv1d(filters, filters, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv1d(filters, F, 3, padding=1),
            nn.Sigmoid(),
        )

    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """E (B, bottleneck)."""
        answer: Tensor = self.squeeze(self.encoder(batch["x"].transpose(1, 2)).mean(dim=2))
        return answer

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        answer: Tensor = self.decoder(self.embed(batch)[:, None]).transpose(1, 2)
        return answer

    def described(self) -> dict[str, str]:
        """How large it is, beside what it is compared with."""
        own = sum(values.numel() for values in self.parameters())
        return {"parameters": f"{own:,} (Step2Heart A/R/T of the paper: 582,293)"}
