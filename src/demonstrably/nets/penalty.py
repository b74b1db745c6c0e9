"""The penalty that keeps the columns of a network's layers apart."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from demonstrably.nets.linear import Linear


def orthogonal_penalty(network: nn.Module) -> Float[Tensor, "M"]:
    """The squared products of different columns of each affine layer's weights, summed; their lengths are free.

    Brock et al. 2019, "Large Scale GAN Training", arXiv 1809.11096, Eq. 3.
    """
    return torch.stack([_alike(layer.weight) for layer in network.modules() if isinstance(layer, Linear)]).sum(0)


def _alike(weight: Float[Tensor, "M inputs outputs"]) -> Float[Tensor, "M"]:
    products = weight.transpose(1, 2) @ weight
    across = 1 - torch.eye(products.shape[-1], device=weight.device)
    return (products * across).square().sum((1, 2))
