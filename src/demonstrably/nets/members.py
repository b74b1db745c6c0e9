"""Taking members out of a network, and joining the members of several."""

import copy
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def take_members(module: Network, members: Sequence[int]) -> Network:
    """A copy of a network with the chosen members only."""
    return _rebuild(module, lambda _, tensor: tensor[list(members)])


@torch.no_grad()
def join_members(modules: Sequence[Network]) -> Network:
    """One network over the members of all; they must be of one architecture."""
    sources = [module.state_dict() for module in modules]
    return _rebuild(modules[0], lambda name, _: torch.cat([source[name] for source in sources]))


def _rebuild(module: Network, make: Callable[[str, Tensor], Tensor]) -> Network:
    """A deep copy in which every tensor is replaced; gradients are not tracked."""
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    memo = {id(tensor): _alike(tensor, make(name, tensor).clone()) for name, tensor in tensors.items()}
    return copy.deepcopy(module, memo)


def _alike(old: Tensor, new: Tensor) -> Tensor:
    return nn.Parameter(new, requires_grad=False) if isinstance(old, nn.Parameter) else new
