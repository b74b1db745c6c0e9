"""Adam over a population: each member is an independent run, with its own learning rate where one is given."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

PerMember = float | tuple[float, ...]


def per_member(value: PerMember, members: int, name: str) -> list[float]:
    """The value of each member. ValueError unless there is one value, or one a member."""
    values = list(value) if isinstance(value, tuple) else [float(value)] * members
    if len(values) != members:
        raise ValueError(f"{name} has {len(values)} values for {members} members: give one value, or one a member")
    return values


class Adam:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) on tensors whose first axis is the member.

    A tensor may hold several copies a member, such as twin critics, member by member.

    With equal learning rates and decays all members are updated by one fused kernel; with different ones it is called
    for each member's slices. The kernel is torch.optim.AdamW's own. Its class is not used: making one imports torch's
    compiler, which more than doubles the time to the first step, and its groups know no members.
    """

    def __init__(
        self,
        module: nn.Module,
        learning_rate: PerMember,
        *,
        members: int,
        weight_decay: PerMember = 0.0,
        gradient_clip: float | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ):
        named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters = [parameter for _, parameter in named]
        self.first = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.count = torch.zeros((), device=self.parameters[0].device)  # float32, as the kernel wants it
        self.members, self.gradient_clip, self.betas, self.epsilon = members, gradient_clip, betas, epsilon
        rates = per_member(learning_rate, members, "learning_rate")
        decays = per_member(weight_decay, members, "weight_decay")
        _check(rates, decays, gradient_clip)
        pairs = list(zip(rates, decays, strict=True))
        # What one call of the kernel updates: the members from `start` to `stop`.
        self.calls = (
            [(0, members, *pairs[0])] if len(set(pairs)) == 1 else [(i, i + 1, *p) for i, p in enumerate(pairs)]
        )

    def step(self, loss: Float[Tensor, "M"]) -> None:
        """One update of every member from its own loss."""
        for parameter in self.parameters:
            parameter.grad = None
        loss.sum().backward()
        with torch.no_grad():
            if self.gradient_clip is not None:
                self._clip(self.gradient_clip)
            self.count += 1
            for start, stop, rate, decay in self.calls:
                self._update(slice(start, stop), rate, decay)

    def _update(self, members: slice, rate: float, decay: float) -> None:
        lists = zip(self.parameters, self.first, self.second, strict=True)
        used = [(p, p.grad, m, v) for p, m, v in lists if p.grad is not None]
        if len(self.calls) > 1:
            used = [tuple(tensor[self._rows(tensor, members)] for tensor in group) for group in used]
        parameters, gradients, first, second = (list(column) for column in zip(*used, strict=True))
        torch._fused_adamw_(  # pyright: ignore[reportPrivateImportUsage]
            parameters,
            gradients,
            first,
            second,
            [],
            [self.count] * len(parameters),
            lr=rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=decay,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )

    def _rows(self, parameter: Tensor, members: slice) -> slice:
        """The members' rows of a tensor, which may hold several copies a member, one after the other."""
        copies = len(parameter) // self.members
        return slice(members.start * copies, members.stop * copies)

    def _clip(self, limit: float) -> None:
        """Scales each member's gradient to a norm of at most `limit`."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        squares = torch.stack([g.reshape(self.members, -1).square().sum(1) for g in gradients]).sum(0)  # (M,)
        factor = (limit / (squares.sqrt() + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            own = factor.repeat_interleave(len(gradient) // self.members)
            gradient.mul_(own.view(-1, *[1] * (gradient.dim() - 1)))

    def tensors(self) -> dict[str, Tensor]:
        """Both moments by parameter name, and the number of updates."""
        first = {f"{name}/first": moment for name, moment in zip(self.names, self.first, strict=True)}
        second = {f"{name}/second": moment for name, moment in zip(self.names, self.second, strict=True)}
        return first | second | {"count": self.count}

    def not_finite(self) -> Iterator[str]:
        """Names of the parameters that hold a NaN or an infinity."""
        for name, parameter in zip(self.names, self.parameters, strict=True):
            if not bool(torch.isfinite(parameter).all()):
                yield name


def _check(rates: list[float], decays: list[float], gradient_clip: float | None) -> None:
    for name, values in (("learning_rate", rates), ("weight_decay", decays)):
        wrong = [value for value in values if not 0 <= value < math.inf]
        if wrong:
            raise ValueError(f"{name} is {wrong[0]}: give 0 or above")
    if gradient_clip is not None and not gradient_clip > 0:
        raise ValueError(f"gradient_clip is {gradient_clip}: give a norm above 0, or leave it out")
