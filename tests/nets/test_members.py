"""Taking members out of a network, and joining the members of several."""

import pytest
import torch
from torch import Tensor, nn

from demonstrably.nets.encoder import Encoder
from demonstrably.nets.linear import generators
from demonstrably.nets.members import join_members, take_members
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Field

FIELDS = {"state": Field((3,), mean=(1.0, 2.0, 3.0), scale=(1.0, 0.0, 2.0)), "view": Field((8, 8, 3), "uint8")}


def network(members: int, seed: int = 0) -> Encoder:
    """Parameters, buffers, and a network within a network."""
    draws = generators(members, seed)
    return Encoder(FIELDS, SmallCNN((4,), 6, crop=1.0), normalize=True, draws=draws)


def tensors(module: nn.Module) -> dict[str, Tensor]:
    return module.state_dict()


@pytest.mark.parametrize("chosen", [[0], [2, 0], [1, 1, 1], (2,)])
def test_the_chosen_members_are_taken_in_order(chosen) -> None:
    whole = network(3)
    part = take_members(whole, chosen)
    assert tensors(part).keys() == tensors(whole).keys()
    for name, tensor in tensors(part).items():
        assert torch.equal(tensor, tensors(whole)[name][list(chosen)])


def test_what_is_taken_is_a_copy_that_tracks_no_gradient() -> None:
    whole = network(2)
    kept = {name: tensor.clone() for name, tensor in tensors(whole).items()}
    part = take_members(whole, [1])
    assert not any(parameter.requires_grad for parameter in part.parameters())
    with torch.no_grad():
        for tensor in tensors(part).values():
            tensor.add_(1)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in tensors(whole).items())
    assert all(parameter.requires_grad for parameter in whole.parameters())


def test_joined_members_keep_their_order() -> None:
    one, two = network(2), network(3, seed=50)
    both = join_members([one, two])
    for name, tensor in tensors(both).items():
        assert torch.equal(tensor, torch.cat([tensors(one)[name], tensors(two)[name]]))


def test_joining_what_was_taken_gives_the_network_again() -> None:
    whole = network(3)
    again = join_members([take_members(whole, [i]) for i in range(3)])
    assert all(torch.equal(tensor, tensors(whole)[name]) for name, tensor in tensors(again).items())


def test_types_of_tensors_are_kept() -> None:
    part = take_members(network(2), [0])
    assert {name for name, _ in part.named_buffers()} == {name for name, _ in network(2).named_buffers()}
    assert all(isinstance(parameter, nn.Parameter) for parameter in part.parameters())
