"""Random numbers as a pure function of (key, counter): no generator state to save, nothing to synchronize.

Every key is an independent stream. The same key and counter give the same number on any device, in any batch, so a
member of a population draws what it would draw alone and a resumed run draws what it would have drawn.
"""

import math
import re
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor

# splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"), written as signed integers.
GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
SECOND = 0x94D049BB133111EB - (1 << 64)


def mix(values: Int64[Tensor, "*any"]) -> Int64[Tensor, "*any"]:
    """splitmix64's finalizer: a bijection of 64-bit integers that scatters neighbors."""
    if values.is_cuda:
        return _one_kernel()(values)
    values = _shift(values, 30).bitwise_xor_(values).mul_(FIRST)
    values = _shift(values, 27).bitwise_xor_(values).mul_(SECOND)
    return _shift(values, 31).bitwise_xor_(values)


def streams(seeds: Int64[Tensor, "*any"]) -> Int64[Tensor, "*any"]:
    """Keys of independent streams from small consecutive seeds."""
    return mix(seeds * GOLDEN + GOLDEN)


def fork(keys: Int64[Tensor, "*any"], purpose: int) -> Int64[Tensor, "*any"]:
    """Keys of the stream that serves one purpose, so that two uses of a key never share numbers."""
    return mix(keys ^ (purpose * GOLDEN & 0x7FFFFFFFFFFFFFFF))


def bits(keys: Int64[Tensor, "*any"], counter: Int64[Tensor, "..."] | int, count: int) -> Int64[Tensor, "*any count"]:
    """`count` 64-bit integers a key at one value of the counter."""
    lanes = torch.arange(1, count + 1, dtype=torch.int64, device=keys.device)
    counter = torch.as_tensor(counter, dtype=torch.int64, device=keys.device)  # a Python int would not wrap around
    return mix(mix(keys + counter * GOLDEN).unsqueeze(-1) + lanes * GOLDEN)


def uniform(
    keys: Int64[Tensor, "*any"], counter: Int64[Tensor, "..."] | int, count: int
) -> Float[Tensor, "*any count"]:
    """`count` float32 numbers a key, strictly between 0 and 1."""
    # 23 bits and a half: with 24 the largest would be rounded up to 1
    return (_shift(bits(keys, counter, count), 41).float() + 0.5) * 2.0**-23


def normal(
    keys: Int64[Tensor, "*any"], counter: Int64[Tensor, "..."] | int, count: int
) -> Float[Tensor, "*any count"]:
    """`count` standard normal float32 numbers a key, at most 5.3 from 0."""
    return math.sqrt(2) * torch.erfinv(2 * uniform(keys, counter, count) - 1)


def below(
    limit: int | Int64[Tensor, ""], keys: Int64[Tensor, "*any"], counter: Int64[Tensor, "..."] | int, count: int
) -> Int64[Tensor, "*any count"]:
    """`count` integers in [0, limit) a key. Bias below limit / 2^62."""
    return _shift(bits(keys, counter, count), 2) % limit


@cache
def _one_kernel() -> Callable[[Tensor], Tensor]:
    """`mix` for CUDA, where eleven small kernels in a row are most of what a number costs."""
    code = """
        template <typename T> T mix(T value) {
            unsigned long long word = value;
            word = (word ^ (word >> 30)) * (unsigned long long)FIRST;
            word = (word ^ (word >> 27)) * (unsigned long long)SECOND;
            return word ^ (word >> 31);
        }"""
    constants = {"FIRST": f"{FIRST}ll", "SECOND": f"{SECOND}ll"}
    return torch.cuda.jiterator._create_jit_fn(re.sub("FIRST|SECOND", lambda name: constants[name[0]], code))


def _shift(values: Int64[Tensor, "*any"], places: int) -> Int64[Tensor, "*any"]:
    """Logical right shift: torch's own copies the sign."""
    return (values >> places).bitwise_and_((1 << (64 - places)) - 1)
