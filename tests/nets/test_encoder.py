"""From an observation by key to one vector: order, normalization, masks, images, and their crops."""

import pytest
import torch
from torch import Tensor

from demonstrably.nets.encoder import FARTHEST, Encoder
from demonstrably.nets.linear import generators
from demonstrably.nets.random import streams
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Field

CNN = SmallCNN((4,), 6, crop=0.75)
LOW = {
    "velocity": Field((2,), mean=(1.0, -2.0), scale=(0.5, 4.0)),
    "position": Field((2, 2), mean=(0.0, 1.0, 2.0, 3.0), scale=(1.0, 0.0, 2.0, 1.0)),
}


def encoder(fields: dict[str, Field], *, normalize: bool = True, members: int = 2, seed: int = 0) -> Encoder:
    return Encoder(fields, CNN, normalize=normalize, draws=generators(members, seed))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lead", [(3,), (4, 3)])
def test_keys_are_sorted_normalized_and_masked(lead: tuple[int, ...]) -> None:
    observations = {"velocity": drawn(2, *lead, 2), "position": drawn(2, *lead, 2, 2, seed=1)}
    x = encoder(LOW)(observations)
    position, velocity = observations["position"].flatten(-2), observations["velocity"]
    mean, scale = torch.tensor([0.0, 1, 2, 3]), torch.tensor([1.0, torch.inf, 2, 1])
    expected = torch.cat([(position - mean) / scale, (velocity - torch.tensor([1.0, -2])) / torch.tensor([0.5, 4])], -1)
    torch.testing.assert_close(x, expected)
    assert (x[..., 1] == 0).all()  # constant in the data, whatever it is now
    assert encoder(LOW).outputs == 6


def test_without_normalization_values_are_as_recorded() -> None:
    observations = {"velocity": 100 * drawn(2, 3, 2), "position": drawn(2, 3, 2, 2, seed=1)}
    x = encoder(LOW, normalize=False)(observations)
    assert torch.equal(x, torch.cat([observations["position"].flatten(2), observations["velocity"]], -1))


def test_statistics_that_change_nothing_cost_nothing() -> None:
    plain = encoder({"state": Field((2,), mean=(0.0, 0.0), scale=(1.0, 1.0))}, members=1)
    x = drawn(1, 3, 2)
    assert plain.plain and torch.equal(plain({"state": x}), x)


def test_freak_readings_are_clipped() -> None:
    x = encoder({"state": Field((2,), mean=(0.0, 1.0), scale=(0.5, 1.0))}, members=1)
    values = x({"state": torch.tensor([[[1e6, -1e6], [4.0, 2.0]]])})
    assert values.tolist() == [[[FARTHEST, -FARTHEST], [8.0, 1.0]]]


def test_bytes_that_are_no_image_become_numbers() -> None:
    fields = {"buttons": Field((3,), "uint8", mean=(1.0, 1.0, 1.0), scale=(1.0, 1.0, 1.0))}
    x = encoder(fields, members=1)({"buttons": torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)})
    assert x.dtype == torch.float32 and x.tolist() == [[[-1, 0, FARTHEST]]]


def test_a_key_without_statistics_is_left_as_it_is() -> None:
    fields = {"a": Field((1,)), "b": Field((1,), mean=(5.0,), scale=(2.0,))}
    x = encoder(fields, members=1)({"a": torch.full((1, 1, 1), 7.0), "b": torch.full((1, 1, 1), 7.0)})
    assert x.tolist() == [[[7.0, 1.0]]]


def test_features_of_images_follow_the_low_dimensional_keys() -> None:
    fields = {"view": Field((8, 8, 3), "uint8"), "state": Field((2,)), "camera": Field((8, 8, 1), "uint8")}
    net = encoder(fields)
    observations = {"view": pictures(2, 5, 8, 8, 3), "state": drawn(2, 5, 2), "camera": pictures(2, 5, 8, 8, 1)}
    x = net(observations)
    assert x.shape == (2, 5, 2 + 6 + 6) and net.outputs == 14
    assert torch.equal(x[..., :2], observations["state"])
    torch.testing.assert_close(x[..., 2:8], net.towers[0](observations["camera"]))
    torch.testing.assert_close(x[..., 8:], net.towers[1](observations["view"]))


def test_windows_of_images_keep_their_axes() -> None:
    net, images = encoder({"view": Field((8, 8, 3), "uint8")}), pictures(2, 4, 3, 8, 8, 3)
    x = net({"view": images})
    assert x.shape == (2, 4, 3, 6)
    torch.testing.assert_close(x[:, 2], net({"view": images[:, 2]}))


def test_each_camera_is_cropped_by_a_stream_of_its_own() -> None:
    """Two cameras with the same pictures and the same weights: only the crops can differ."""
    fields = {"left": Field((16, 16, 1), "uint8"), "right": Field((16, 16, 1), "uint8")}
    net = encoder(fields, members=1)
    net.towers[1].load_state_dict(net.towers[0].state_dict())
    images = pictures(1, 20, 16, 16, 1)
    both = net({"left": images, "right": images}, streams(torch.tensor([3])), 7)
    assert (both[..., :6] - both[..., 6:]).abs().amax(-1).count_nonzero() > 10
    centered = net({"left": images, "right": images})
    assert torch.equal(centered[..., :6], centered[..., 6:])


def test_members_equal_single_runs() -> None:
    fields = LOW | {"view": Field((8, 8, 3), "uint8")}
    keys = streams(torch.arange(3))
    observations = {"velocity": drawn(3, 4, 2), "position": drawn(3, 4, 2, 2), "view": pictures(3, 4, 8, 8, 3)}
    many = encoder(fields, members=3, seed=5)(observations, keys, 2)
    for i in range(3):
        own = {key: values[i : i + 1] for key, values in observations.items()}
        alone = encoder(fields, members=1, seed=5 + i)(own, keys[i : i + 1], 2)
        torch.testing.assert_close(alone[0], many[i])


def test_statistics_are_saved_with_the_weights() -> None:
    state = encoder(LOW).state_dict()
    assert state["mean"].tolist() == [[0, 1, 2, 3, 1, -2]] * 2
    assert state["factor"].tolist() == [[1, 0, 0.5, 1, 2, 0.25]] * 2
