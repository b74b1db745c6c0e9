"""Long short-term memory (Hochreiter and Schmidhuber 1997) over windows, with a member axis and a backward pass."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from demonstrably.nets.linear import Generators, drawn
from demonstrably.nets.products import add_matmul, matmul

Carry = dict[str, Tensor]


class Scan(torch.autograd.Function):
    """One layer over a window, from a zero state.

    The backward pass is written out for two reasons: the weights' gradient is one product over all steps, not a sum
    of small ones, and nothing but the activated gates and the cells is kept. Gates: in, forget, out, new.
    """

    @staticmethod
    def forward(
        ctx,
        x: Float[Tensor, "M T B inputs"],
        inward: Float[Tensor, "M inputs four_h"],
        weight: Float[Tensor, "M h four_h"],
        bias: Float[Tensor, "M 1 four_h"],
    ) -> Float[Tensor, "M T B h"]:
        (members, steps, batch, _), width = x.shape, weight.shape[1]
        gates = add_matmul(bias, x.reshape(members, steps * batch, -1), inward).view(members, steps, batch, -1)
        gates = gates.to(weight.dtype)  # under autocast products are rounded, but not what is remembered
        hidden = gates.new_empty(members, steps, batch, width)
        cells, squashed = torch.empty_like(hidden), torch.empty_like(hidden)
        for t in range(steps):
            now = gates[:, t]
            if t:
                now.add_(matmul(hidden[:, t - 1], weight))
            now[..., : 3 * width].sigmoid_()
            now[..., 3 * width :].tanh_()
            enter, forget, out, new = now.chunk(4, dim=-1)
            torch.mul(enter, new, out=cells[:, t])
            if t:
                cells[:, t].addcmul_(forget, cells[:, t - 1])
            torch.tanh(cells[:, t], out=squashed[:, t])
            torch.mul(out, squashed[:, t], out=hidden[:, t])
        device = x.device.type
        ctx.autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        ctx.save_for_backward(x, inward, weight, gates, hidden, cells, squashed)
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Float[Tensor, "M T B h"]) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
        with torch.autocast(*ctx.autocast):  # the backward pass runs outside the forward's
            return Scan._gradients(ctx, gradient)

    @staticmethod
    def _gradients(ctx, gradient: Float[Tensor, "M T B h"]) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
        x, inward, weight, gates, hidden, cells, squashed = ctx.saved_tensors
        members, steps, batch, width = hidden.shape
        deltas = torch.empty_like(gates)
        back = weight.transpose(1, 2)
        d_hidden, d_cell = gradient[:, -1], hidden.new_zeros(members, batch, width)
        for t in reversed(range(steps)):
            enter, forget, out, new = gates[:, t].chunk(4, dim=-1)
            d_cell = d_cell + d_hidden * out * (1 - squashed[:, t].square())
            d_enter, d_forget, d_out, d_new = deltas[:, t].chunk(4, dim=-1)
            torch.mul(d_cell * new, enter * (1 - enter), out=d_enter)
            torch.mul(d_cell * enter, 1 - new.square(), out=d_new)
            torch.mul(d_hidden * squashed[:, t], out * (1 - out), out=d_out)
            if t:
                torch.mul(d_cell * cells[:, t - 1], forget * (1 - forget), out=d_forget)
                d_hidden = add_matmul(gradient[:, t - 1], deltas[:, t], back)
                d_cell = d_cell * forget
            else:
                d_forget.zero_()
        before = hidden[:, :-1].reshape(members, -1, width)
        d_weight = matmul(before.transpose(1, 2), deltas[:, 1:].reshape(members, -1, 4 * width))
        deltas = deltas.view(members, steps * batch, -1)
        d_inward = matmul(x.reshape(members, steps * batch, -1).transpose(1, 2), deltas)
        d_x = matmul(deltas, inward.transpose(1, 2)).view_as(x) if ctx.needs_input_grad[0] else None
        return d_x, d_inward, d_weight, deltas.sum(1, keepdim=True)


@dataclass(frozen=True)
class LSTM:
    """A stack of layers of one width. When acting, the state starts anew every window, as it did in training."""

    hidden: int = 400
    layers: int = 2

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.layers < 1:
            raise ValueError(f"hidden {self.hidden} and layers {self.layers}: each must be at least 1")

    def build(self, inputs: int, window: int, draws: Generators) -> "Recurrence":
        """The network for inputs of that width and windows of that many steps."""
        return Recurrence(inputs, self, window, draws)


class Recurrence(nn.Module):
    """The layers of an `LSTM`, initialized as PyTorch's own: uniform within 1 / sqrt(hidden)."""

    def __init__(self, inputs: int, shape: LSTM, window: int, draws: Generators):
        super().__init__()
        self.window = window
        bound = 1 / math.sqrt(shape.hidden)
        widths = [inputs] + [shape.hidden] * (shape.layers - 1)
        self.inward = nn.ParameterList(drawn((w, 4 * shape.hidden), bound, draws) for w in widths)
        self.onward = nn.ParameterList(drawn((shape.hidden, 4 * shape.hidden), bound, draws) for _ in widths)
        self.bias = nn.ParameterList(drawn((1, 4 * shape.hidden), bound, draws) for _ in widths)
        self.outputs = shape.hidden

    def forward(
        self, x: Float[Tensor, "M T B inputs"], keys: Int64[Tensor, "M"] | None = None, counter: Tensor | int = 0
    ) -> Float[Tensor, "M T B outputs"]:
        """Whole windows, each from a zero state. Nothing is drawn, so the keys are not used."""
        for inward, onward, bias in self._layers():
            x = Scan.apply(x, inward, onward, bias)
        return x

    def start(self, members: int, batch: int, device: torch.device) -> Carry:
        """A zero state, and the steps since it was zero."""
        zero = torch.zeros(members, batch, len(self.bias), self.outputs, device=device)
        steps = torch.zeros(members, batch, dtype=torch.int64, device=device)
        return {"hidden": zero, "cell": zero.clone(), "steps": steps}

    def step(self, x: Float[Tensor, "M B inputs"], carry: Carry) -> tuple[Float[Tensor, "M B outputs"], Carry]:
        """One step of every layer."""
        fresh = (carry["steps"] % self.window == 0)[..., None, None]
        hidden, cell = (carry[name].masked_fill(fresh, 0) for name in ("hidden", "cell"))
        hiddens, cells = [], []
        for i, (inward, onward, bias) in enumerate(self._layers()):
            gates = add_matmul(add_matmul(bias, x, inward), hidden[:, :, i], onward)
            enter, forget, out, new = gates.chunk(4, dim=-1)
            cells.append(forget.sigmoid() * cell[:, :, i] + enter.sigmoid() * new.tanh())
            hiddens.append(x := out.sigmoid() * cells[-1].tanh())
        return x, {"hidden": torch.stack(hiddens, 2), "cell": torch.stack(cells, 2), "steps": carry["steps"] + 1}

    def _layers(self) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        return zip(self.inward, self.onward, self.bias, strict=True)
