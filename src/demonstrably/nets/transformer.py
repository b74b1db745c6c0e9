"""Causal Transformer over windows, with a member axis.

The body of robomimic's BC-Transformer, a GPT (Radford et al. 2019, "Language models are unsupervised
multitask learners"): normalization before each part of a block, GELU, a learned embedding of the place in
the window.

Departures: attention weights are not dropped, only embeddings and what a block adds, so that the fused
kernel serves training too; weights are drawn as PyTorch draws a linear layer's, with a deviation of 0.0255
at width 512 in place of 0.02; the projections to queries, keys and values have biases.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from demonstrably.nets.linear import Generators, LayerNorm, Linear
from demonstrably.nets.random import bits, fork

Carry = dict[str, Tensor]
LEVELS = 1 << 16  # a dropout rate is rounded down to a multiple of 1 / LEVELS
PURPOSE = 1 << 16  # apart from the small numbers by which image crops fork the same keys


@dataclass(frozen=True)
class Transformer:
    """Blocks of self-attention and a hidden layer four times as wide. Acting reads the last window."""

    layers: int = 6
    heads: int = 8
    width: int = 512
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if min(self.layers, self.heads, self.width) < 1:
            raise ValueError(f"layers {self.layers}, heads {self.heads}, width {self.width}: each must be at least 1")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} and heads {self.heads}: give a width that the heads divide")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout}: give a rate of at least 0 and below 1")

    def build(self, inputs: int, window: int, draws: Generators) -> "Blocks":
        """The network for inputs of that width and windows of up to that many steps."""
        return Blocks(inputs, self, window, draws)


class Blocks(nn.Module):
    """The layers of a `Transformer`."""

    def __init__(self, inputs: int, shape: Transformer, window: int, draws: Generators):
        super().__init__()
        self.inputs, self.outputs, self.window, self.dropout = inputs, shape.width, window, shape.dropout
        self.embed = Linear(inputs, shape.width, draws)
        self.places = nn.Parameter(torch.zeros(len(draws), 1, window, shape.width))
        self.embed_norm = LayerNorm(shape.width, draws)
        self.blocks = nn.ModuleList(Block(shape.width, shape.heads, draws) for _ in range(shape.layers))
        self.last_norm = LayerNorm(shape.width, draws)

    def forward(
        self,
        x: Float[Tensor, "M T B inputs"],
        keys: Int64[Tensor, "M"] | None = None,
        counter: Tensor | int = 0,
    ) -> Float[Tensor, "M T B outputs"]:
        """Whole windows of at most `window` steps. `keys` and `counter` draw the dropout; None drops none."""
        return self._run(x.transpose(1, 2), Dropout(self.dropout, keys, counter)).transpose(1, 2)

    def start(self, members: int, batch: int, device: torch.device) -> Carry:
        """No step seen yet."""
        inputs = torch.zeros(members, batch, self.window, self.inputs, device=device)
        return {"inputs": inputs, "steps": torch.zeros(members, batch, dtype=torch.int64, device=device)}

    def step(self, x: Float[Tensor, "M B inputs"], carry: Carry) -> tuple[Float[Tensor, "M B outputs"], Carry]:
        """One step, given the `window` - 1 before it or as many as there were.

        The whole window is computed anew: once it moves, every step in it has another place.
        """
        steps = carry["steps"]
        full = (steps >= self.window)[..., None, None]
        inputs = torch.where(full, carry["inputs"].roll(-1, 2), carry["inputs"])
        slot = steps.clamp(max=self.window - 1)[..., None, None]  # those behind it are not seen
        inputs = inputs.scatter(2, slot.expand(-1, -1, 1, self.inputs), x.unsqueeze(2).to(inputs.dtype))
        y = self._run(inputs, Dropout(self.dropout, None, 0))
        last = y.gather(2, slot.expand(-1, -1, 1, self.outputs)).squeeze(2)
        return last, {"inputs": inputs, "steps": steps + 1}

    def _run(self, x: Float[Tensor, "M B T inputs"], dropout: "Dropout") -> Float[Tensor, "M B T outputs"]:
        members, batch, steps, _ = x.shape
        assert steps <= self.window, f"a window of {steps} steps where at most {self.window} were announced"
        y = self.embed(x.reshape(members, batch * steps, -1)).view(members, batch, steps, -1)
        y = dropout(self.embed_norm((y + self.places[:, :, :steps]).flatten(1, 2)))
        for block in self.blocks:
            y = block(y, steps, dropout)
        return self.last_norm(y).view(members, batch, steps, -1)


class Block(nn.Module):
    """y = x + attention(norm(x)), then y + hidden(norm(y)). Windows lie end to end along the second axis."""

    def __init__(self, width: int, heads: int, draws: Generators):
        super().__init__()
        self.heads = heads
        self.attention_norm = LayerNorm(width, draws)
        self.project = Linear(width, 3 * width, draws)
        self.join = Linear(width, width, draws)
        self.hidden_norm = LayerNorm(width, draws)
        self.widen = Linear(width, 4 * width, draws)
        self.narrow = Linear(4 * width, width, draws)

    def forward(self, x: Float[Tensor, "M BT width"], steps: int, dropout: "Dropout") -> Float[Tensor, "M BT width"]:
        """`steps` is the length T of a window."""
        x = x + dropout(self.join(self._attend(self.attention_norm(x), steps)))
        return x + dropout(self.narrow(F.gelu(self.widen(self.hidden_norm(x)))))

    def _attend(self, x: Float[Tensor, "M BT width"], steps: int) -> Float[Tensor, "M BT width"]:
        """Each step mixes itself and those before it. To the attention, members are more of the batch."""
        heads = self.project(x).view(-1, steps, 3, self.heads, x.shape[-1] // self.heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # (M * B, heads, T, width / heads) each
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).reshape(x.shape)


class Dropout:
    """Dropout of one pass through a network, from a key a member. Each use draws anew; no keys, no drop."""

    def __init__(self, rate: float, keys: Int64[Tensor, "M"] | None, counter: Tensor | int):
        self.threshold = int(rate * LEVELS)
        self.keys = keys
        self.counter = counter
        self.uses = 0

    def __call__(self, x: Float[Tensor, "M N width"]) -> Float[Tensor, "M N width"]:
        """Sets a share of the values to 0 and scales the others up to keep the mean."""
        if self.keys is None or self.threshold == 0:
            return x
        self.uses += 1
        count = x.shape[1] * x.shape[2]
        words = bits(fork(self.keys, PURPOSE + self.uses), self.counter, -(-count // 4))
        lanes = words.view(torch.int16)[:, :count].view(x.shape)  # four draws a word
        return x * (lanes >= self.threshold - LEVELS // 2) / (1 - self.threshold / LEVELS)
