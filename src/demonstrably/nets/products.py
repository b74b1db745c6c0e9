"""Matrix products of a population, by the fastest exact kernel that the processor has.

On a CPU torch sends float32 products to MKL, which on many processors leaves half of the vector width unused. oneDNN,
which torch carries for its fused layers, does not: it is used here where it is known to be quicker. Both work in full
float32. Under `torch.autocast` the operands of large products are rounded to the autocast type.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor

# Below this many multiplications the call costs more than the kernel saves (measured, benchmarks/products.py).
SMALL = 1 << 20
# Below this many, a stack of products with vectors is quicker in one call.
THIN = 1 << 13
# torch's own fused layers are compiled to this operator; it is private, so its absence must not matter.
FUSED = "_linear_pointwise"
WIDE = (
    torch.backends.mkldnn.is_available()
    and torch.backends.cpu.get_cpu_capability() == "AVX512"
    and FUSED in dir(torch.ops.mkldnn)
)


def affine(
    bias: Float[Tensor, "M 1 outputs"], x: Float[Tensor, "M N inputs"], weight: Float[Tensor, "M inputs outputs"]
) -> Float[Tensor, "M N outputs"]:
    """x W + b, differentiable."""
    if x.device.type != "cpu":
        return torch.baddbmm(bias, x, weight)
    return Affine.apply(bias, x, weight) if torch.is_grad_enabled() else add_matmul(bias, x, weight)


def perceptron(
    x: Float[Tensor, "M N inputs"],
    layers: Sequence[tuple[Float[Tensor, "M 1 _"], Float[Tensor, "M _ _"]]],
    *,
    rectified: int,
) -> Float[Tensor, "M N outputs"]:
    """Layers of bias and weight, each x W + b; after the first `rectified` ones 0 where that is negative."""
    if x.device.type != "cpu":
        return _values(x, layers, rectified)[-1]
    return Perceptron.apply(rectified, x, *(parameter for layer in layers for parameter in layer))


def matmul(a: Float[Tensor, "*M N K"], b: Float[Tensor, "*M K P"]) -> Float[Tensor, "*M N P"]:
    """a b, of one member or of all. Where gradients are recorded, as in a pass that will be differentiated again, by
    torch's own kernel.
    """
    if a.dim() == 2:
        return _fused(a, b) if _wide(a, b) else torch.mm(a, b)
    if _wide(a, b) or _thin(a, b):
        return _joined([matmul(a[i], b[i]) for i in range(len(a))])
    return torch.bmm(a, b)


def add_matmul(
    c: Float[Tensor, "*M #N P"], a: Float[Tensor, "*M N K"], b: Float[Tensor, "*M K P"]
) -> Float[Tensor, "*M N P"]:
    """c + a b, likewise."""
    if a.dim() == 2 and _wide(a, b):
        bias = len(c) == 1 and not torch.is_autocast_enabled("cpu")
        return _fused(a, b, c[0]) if bias else _fused(a, b).add_(c)
    if a.dim() == 2:
        return torch.addmm(c, a, b)
    if _wide(a, b) or _thin(a, b):
        return _joined([add_matmul(c[i], a[i], b[i]) for i in range(len(a))])
    return torch.baddbmm(c, a, b)


class Affine(torch.autograd.Function):
    """x W + b with all three products of the pass by `matmul`."""

    @staticmethod
    def forward(ctx, bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rounded = torch.is_autocast_enabled("cpu")
        return add_matmul(bias, x, weight)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with _as_forward(ctx.rounded):
            return _gradients(gradient, *ctx.saved_tensors, *ctx.needs_input_grad)


class Perceptron(torch.autograd.Function):
    """`perceptron` as one operation: a small network spends as long between operations as in them.

    Where the products are large each member goes through all layers by itself, so that what one layer leaves in the
    cache is there for the next, and the members' outputs need not be joined before the last.
    """

    @staticmethod
    def forward(ctx, rectified: int, x: Tensor, *parameters: Tensor) -> Tensor:
        layers = _pairs(parameters)
        apart = len(x) == 1 or any(_wide(x, weight) for _, weight in layers)
        ctx.members = range(len(x)) if apart else [...]
        hidden = [_values(x[i], [(bias[i], weight[i]) for bias, weight in layers], rectified)[1:] for i in ctx.members]
        ctx.save_for_backward(x, *parameters, *(output for outputs in hidden for output in outputs))
        ctx.rectified, ctx.rounded = rectified, torch.is_autocast_enabled("cpu")
        outputs = [outputs[-1] for outputs in hidden]
        return _joined(outputs) if apart else outputs[0]

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        needs = ctx.needs_input_grad[1:]
        (x, *parameters), hidden = ctx.saved_tensors[: len(needs)], ctx.saved_tensors[len(needs) :]
        layers, found = _pairs(parameters), []
        with _as_forward(ctx.rounded):
            if torch.is_grad_enabled():
                return None, *_differentiable(x, parameters, ctx.rectified, gradient, needs)
            for place, i in enumerate(ctx.members):
                values = [x[i], *hidden[place * len(layers) : (place + 1) * len(layers)]]
                found.append(_backward(values, [weight[i] for _, weight in layers], ctx.rectified, gradient[i], needs))
        if ctx.members == [...]:
            return None, *found[0]
        return None, *(None if parts[0] is None else _joined(parts) for parts in zip(*found, strict=True))


def _values(x: Tensor, layers: Sequence[tuple[Tensor, Tensor]], rectified: int) -> list[Tensor]:
    """The input, and the outputs of all layers."""
    values = [x]
    for place, (bias, weight) in enumerate(layers):
        y = add_matmul(bias, values[-1], weight)
        # The fused operator could rectify too, but where it does it turns NaN into 0.
        values.append(y.relu_() if place < rectified else y)
    return values


def _backward(
    values: list[Tensor], weights: list[Tensor], rectified: int, gradient: Tensor, needs: Sequence[bool]
) -> list[Tensor | None]:
    """Gradients of x and of each layer's bias and weight, from what `_values` gave."""
    found: list[Tensor | None] = [None]
    for layer in reversed(range(len(weights))):
        x, y = values[layer : layer + 2]
        if layer < rectified:
            ours = layer < len(weights) - 1  # not what the caller gave, so it may be written to
            gradient = gradient.to(y.dtype)  # autocast may have rounded one and not the other
            place = gradient if ours else torch.empty_like(y)
            gradient = torch.ops.aten.threshold_backward.grad_input(gradient, y, 0, grad_input=place)
        wanted = (needs[2 * layer + 1], layer > 0 or needs[0], needs[2 * layer + 2])
        of_bias, of_x, of_weight = _gradients(gradient, x, weights[layer], *wanted)
        found = [of_x, of_bias, of_weight, *found[1:]]
        gradient = gradient if of_x is None else of_x
    return found


def _differentiable(
    x: Tensor, parameters: Sequence[Tensor], rectified: int, gradient: Tensor, needs: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """The same, to be differentiated again: the pass is made once more, by operations of torch that know how."""
    y = _values(x, _pairs(parameters), rectified)[-1]
    wanted = [value for value, need in zip((x, *parameters), needs, strict=True) if need]
    found = iter(torch.autograd.grad(y, wanted, gradient, create_graph=True))
    return tuple(next(found) if need else None for need in needs)


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, bias_needs: bool, x_needs: bool, weight_needs: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Of bias, x and weight."""
    return (
        gradient.sum(-2, keepdim=True) if bias_needs else None,
        matmul(gradient, weight.mT) if x_needs else None,
        matmul(x.mT, gradient) if weight_needs else None,
    )


def _as_forward(rounded: bool) -> AbstractContextManager[object]:
    """Autocast as it was in the forward pass; entering it where it is so already would cost as much as a product."""
    if rounded == torch.is_autocast_enabled("cpu"):
        return nullcontext()
    return torch.autocast("cpu", torch.bfloat16, enabled=rounded)


def _pairs(parameters: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(parameters[::2], parameters[1::2], strict=True))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """The members' own results as one."""
    return parts[0].unsqueeze(0) if len(parts) == 1 else torch.stack(list(parts))


def _thin(a: Tensor, b: Tensor) -> bool:
    # MKL's batched product of matrices with vectors is ten times slower than one product at a time.
    rows, inner, columns = *a.shape[1:], b.shape[2]
    return a.device.type == "cpu" and len(a) > 1 and 1 in (inner, columns) and rows * inner * columns >= THIN


def _wide(a: Tensor, b: Tensor) -> bool:
    # The fused operator has no derivative: where one is asked for, it would be 0 without a word.
    usable = WIDE and a.dtype == torch.float32 and a.device.type == "cpu" and not torch.is_grad_enabled()
    return usable and a.shape[-2] * b.shape[-2] * b.shape[-1] >= SMALL


def _fused(
    a: Float[Tensor, "N K"], b: Float[Tensor, "K P"], bias: Float[Tensor, "P"] | None = None
) -> Float[Tensor, "N P"]:
    dtype = a.dtype
    if torch.is_autocast_enabled("cpu"):
        a, b = a.bfloat16(), b.bfloat16()
    if not (b.is_contiguous() or b.t().is_contiguous()):
        b = b.contiguous()  # a column slice or an expanded tensor would get a kernel a thousand times slower
    return torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "").to(dtype)
