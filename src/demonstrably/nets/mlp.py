"""Multilayer perceptron."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from demonstrably.nets.linear import Generators, Linear
from demonstrably.nets.products import perceptron


@dataclass(frozen=True)
class MLP:
    """Hidden layers of the given widths, ReLU after each."""

    hidden: tuple[int, ...] = (1024, 1024)

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden widths {self.hidden}: give at least one, each at least 1")

    def build(self, inputs: int, draws: Generators) -> "Layers":
        """The network for inputs of that width."""
        return Layers(inputs, self.hidden, draws)


class Memoryless(nn.Module):
    """A body that maps every step by itself."""

    def start(self, members: int, batch: int, device: torch.device) -> dict[str, Tensor]:
        """No memory."""
        return {}

    def step(
        self, x: Float[Tensor, "M B inputs"], carry: dict[str, Tensor]
    ) -> tuple[Float[Tensor, "M B outputs"], dict[str, Tensor]]:
        """The same map, one step at a time."""
        return self(x), carry


class Layers(Memoryless):
    """The layers of an `MLP`. Without memory: it maps (M, ..., inputs) to (M, ..., outputs)."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], draws: Generators):
        super().__init__()
        widths = (inputs, *hidden)
        self.layers = nn.ModuleList(Linear(a, b, draws) for a, b in zip(widths, hidden, strict=False))
        self.outputs = hidden[-1]

    def forward(self, x: Float[Tensor, "M ... inputs"]) -> Float[Tensor, "M ... outputs"]:
        """All leading axes but the member's are one batch to the products."""
        lead = x.shape[:-1]
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        x = perceptron(x, self.pairs(), rectified=len(self.layers))
        return x.view(*lead, self.outputs)

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Bias and weight of each layer."""
        return [(layer.bias, layer.weight) for layer in self.layers if isinstance(layer, Linear)]
