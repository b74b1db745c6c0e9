"""Matrix products of a population, by the fastest exact kernel that the processor has.

On a CPU torch sends float32 products to MKL, which on many processors leaves half of the vector width unused. oneDNN,
which torch carries for its fused layers, does not: it is used here where it is known to be quicker. Both work in full
float32. Under `torch.autocast` the operands of large products are rounded to the autocast type.
"""

import torch
from jaxtyping import Float
from torch import Tensor

# Below this many multiplications the call costs more than the kernel saves (measured, benchmarks/products.py).
SMALL = 1 << 20
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
    if x.device.type == "cpu":
        return Affine.apply(bias, x, weight)
    return torch.baddbmm(bias, x, weight)


def matmul(a: Float[Tensor, "M N K"], b: Float[Tensor, "M K P"]) -> Float[Tensor, "M N P"]:
    """a b. Where gradients are recorded, as in a pass that will be differentiated again, by torch's own kernel."""
    if not _wide(a, b):
        return torch.bmm(a, b)
    return _stack([_fused(a[i], b[i]) for i in range(len(a))], a.dtype)


def add_matmul(
    c: Float[Tensor, "M #N P"], a: Float[Tensor, "M N K"], b: Float[Tensor, "M K P"]
) -> Float[Tensor, "M N P"]:
    """c + a b, likewise."""
    if not _wide(a, b):
        return torch.baddbmm(c, a, b)
    return matmul(a, b).add_(c)


class Affine(torch.autograd.Function):
    """x W + b with all three products of the pass by `matmul`."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx, bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return add_matmul(bias, x, weight)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        bias_needs, x_needs, weight_needs = ctx.needs_input_grad
        return (
            gradient.sum(1, keepdim=True) if bias_needs else None,
            matmul(gradient, weight.transpose(1, 2)) if x_needs else None,
            matmul(x.transpose(1, 2), gradient) if weight_needs else None,
        )


def _wide(a: Tensor, b: Tensor) -> bool:
    # The fused operator has no derivative: where one is asked for, it would be 0 without a word.
    usable = WIDE and a.dtype == torch.float32 and a.device.type == "cpu" and not torch.is_grad_enabled()
    return usable and a.shape[1] * a.shape[2] * b.shape[2] >= SMALL


def _fused(a: Float[Tensor, "N K"], b: Float[Tensor, "K P"]) -> Float[Tensor, "N P"]:
    if torch.is_autocast_enabled("cpu"):
        a, b = a.bfloat16(), b.bfloat16()
    if not (b.is_contiguous() or b.t().is_contiguous()):
        b = b.contiguous()  # a column slice or an expanded tensor would get a kernel a thousand times slower
    return torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], "")


def _stack(products: list[Tensor], dtype: torch.dtype) -> Tensor:
    joined = products[0].unsqueeze(0) if len(products) == 1 else torch.stack(products)
    return joined.to(dtype)
