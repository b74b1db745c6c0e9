"""Image encoders: members, crops, keypoints, the shape of the trunk, and that they learn."""

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demonstrably.nets.convolution import (
    Block,
    Convolution,
    GroupNorm,
    PlainTrunk,
    ResidualTrunk,
    in_turn,
    scaled,
    together,
)
from demonstrably.nets.linear import Linear, generators
from demonstrably.nets.members import join_members, take_members
from demonstrably.nets.vision import (
    ImageEncoder,
    ResNet18,
    SmallCNN,
    center_crop,
    random_crop,
    spatial_softmax,
)

ENCODERS = (ResNet18(keypoints=4, features=6), SmallCNN(channels=(4, 8), features=6))
KEYS = torch.tensor([11, 22, 33])
COUNTER = torch.tensor(4)


def pictures(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def coordinates(members: int, count: int, height: int, width: int) -> Tensor:
    """Images whose two channels are the row and the column."""
    rows = torch.arange(height, dtype=torch.uint8)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=torch.uint8).expand(height, width)
    return torch.stack([rows, columns], -1).expand(members, count, height, width, 2)


@pytest.mark.parametrize("config", ENCODERS)
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_members_equal_single_runs(config: ResNet18 | SmallCNN, channels: int) -> None:
    images = pictures(3, 2, 40, 36, channels)
    many = config.build((40, 36, channels), generators(3, seed=5))
    both = many(images, KEYS, COUNTER)
    both.square().sum().backward()
    assert both.shape == (3, 2, 6) and both.min() >= 0
    for i in range(3):
        one = config.build((40, 36, channels), generators(1, seed=5 + i))
        alone = one(images[i : i + 1], KEYS[i : i + 1], COUNTER)
        torch.testing.assert_close(alone[0], both[i])
        alone.square().sum().backward()
        for mine, ours in zip(one.parameters(), many.parameters(), strict=True):
            torch.testing.assert_close(mine.grad[0], ours.grad[i], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("members", [1, 3])
def test_grouped_convolutions_equal_members_in_turn(members: int) -> None:
    trunk = ResidualTrunk(3, generators(members, seed=0))
    images = pictures(members, 2, 3, 40, 40)
    torch.testing.assert_close(together(trunk, images), in_turn(trunk, images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("config", ENCODERS)
def test_members_can_be_taken_and_joined(config: ResNet18 | SmallCNN) -> None:
    images = pictures(3, 2, 20, 20, 3)
    encoder = config.build((20, 20, 3), generators(3, seed=0))
    with torch.no_grad():
        whole = encoder(images)
        torch.testing.assert_close(take_members(encoder, [2])(images[2:]), whole[2:])
        parts = [take_members(encoder, [i]) for i in range(3)]
        torch.testing.assert_close(join_members(parts)(images), whole)


@pytest.mark.parametrize("config", ENCODERS)
@pytest.mark.parametrize("members", [1, 2])
def test_gradient_reaches_every_parameter(config: ResNet18 | SmallCNN, members: int) -> None:
    encoder = config.build((40, 40, 3), generators(members, seed=0))
    encoder(pictures(members, 4, 40, 40, 3), KEYS[:members]).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.shape[0] == members, name
        for i in range(members):
            assert parameter.grad[i].abs().sum() > 0, name


def test_trunk_has_the_parameters_of_resnet18() -> None:
    # The published network has 11,689,512, of which 513,000 are its last layer.
    assert sum(p.numel() for p in ResidualTrunk(3, generators(1, seed=0)).parameters()) == 11_176_512
    assert sum(p.numel() for p in ResidualTrunk(3, generators(2, seed=0)).parameters()) == 2 * 11_176_512


@pytest.mark.parametrize(("size", "left"), [(76, 3), (64, 2), (224, 7), (5, 1)])
def test_trunk_ends_at_a_thirty_second_of_the_size(size: int, left: int) -> None:
    with torch.no_grad():
        assert ResidualTrunk(1, generators(1, seed=0))(torch.zeros(1, 1, size, size)).shape == (
            1,
            512,
            left,
            left,
        )


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_convolution_of_each_member_equals_the_plain_one(kernel: int) -> None:
    layer = Convolution(3, 5, kernel, 2, generators(2, seed=0), bias=True)
    nn.init.normal_(layer.bias)
    x = torch.randn(4, 2, 3, 9, 9)
    y = layer(x.flatten(1, 2)).unflatten(1, (2, 5))
    for i in range(2):
        alone = F.conv2d(x[:, i], layer.weight[i], layer.bias[i], 2, kernel // 2)
        torch.testing.assert_close(y[:, i], alone)


def test_convolution_keeps_the_variance_of_rectified_inputs() -> None:
    layer = Convolution(64, 64, 3, 1, generators(1, seed=0))
    x = torch.relu(torch.randn(8, 64, 16, 16, generator=torch.Generator().manual_seed(0)))
    inner = layer(x)[:, :, 1:-1, 1:-1]
    assert inner.square().mean().item() == pytest.approx(2 * x.square().mean().item(), rel=0.1)


def test_normalization_of_each_member_equals_the_plain_one() -> None:
    layer = GroupNorm(32, generators(2, seed=0))
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(4, 2, 32, 5, 5)
    y = layer(x.flatten(1, 2)).unflatten(1, (2, 32))
    for i in range(2):
        torch.testing.assert_close(y[:, i], F.group_norm(x[:, i], 2, layer.weight[i], layer.bias[i]))


@pytest.mark.parametrize(("outputs", "stride"), [(16, 1), (32, 2), (32, 1)])
def test_block_is_two_convolutions_and_a_shortcut(outputs: int, stride: int) -> None:
    block = Block(16, outputs, stride, generators(1, seed=0))
    x = torch.randn(2, 16, 8, 8)
    groups = outputs // 16
    y = F.relu(F.group_norm(F.conv2d(x, block.first.weight[0], None, stride, 1), groups))
    y = F.group_norm(F.conv2d(y, block.second.weight[0], None, 1, 1), groups)
    if outputs == 16:
        shortcut = x
    else:
        shortcut = F.group_norm(F.conv2d(x, block.shortcut[0].weight[0], None, stride), groups)
    torch.testing.assert_close(block(x), F.relu(y + shortcut), rtol=1e-4, atol=1e-5)


def test_plain_trunk_is_convolutions_and_rectifiers() -> None:
    trunk = PlainTrunk(3, (4, 5), generators(1, seed=0))
    x = torch.randn(2, 3, 9, 9)
    first, second = trunk.layers
    y = F.relu(F.conv2d(x, first.weight[0], first.bias[0], 2, 1))
    torch.testing.assert_close(trunk(x), F.relu(F.conv2d(y, second.weight[0], second.bias[0], 2, 1)))


def test_one_bright_pixel_is_the_keypoint() -> None:
    maps = torch.zeros(1, 1, 3, 5, 9)
    maps[0, 0, 0, 4, 8] = maps[0, 0, 1, 0, 2] = maps[0, 0, 2, 2, 4] = 200.0
    expected = torch.tensor([1.0, 1.0, -0.5, -1.0, 0.0, 0.0])  # x and y of each map
    torch.testing.assert_close(spatial_softmax(maps)[0, 0], expected)


def test_keypoint_is_the_mean_under_the_softmax() -> None:
    maps = torch.tensor([1.0, 3.0]).log()  # a quarter of the weight at x = -1, the rest at 1
    keypoint = spatial_softmax(maps.view(1, 1, 1, 1, 2))[0, 0]
    torch.testing.assert_close(keypoint[0], torch.tensor(0.5))
    flat = spatial_softmax(torch.zeros(1, 1, 1, 7, 7))[0, 0]
    torch.testing.assert_close(flat, torch.zeros(2), atol=1e-6, rtol=0)


def test_bytes_are_scaled_to_the_unit_interval() -> None:
    levels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    torch.testing.assert_close(scaled(levels).flatten(), torch.tensor([0.0, 0.2, 1.0]))


def test_random_crops_are_windows_of_their_image() -> None:
    images = coordinates(2, 50, 12, 10)
    crops = random_crop(images, (9, 8), KEYS[:2], COUNTER)
    assert crops.shape == (2, 50, 9, 8, 2) and crops.dtype == torch.uint8
    corners = crops[:, :, :1, :1].long()
    steps = coordinates(2, 50, 9, 8).long()
    assert torch.equal(crops.long(), corners + steps)


def test_random_crops_take_their_own_image() -> None:
    images = torch.arange(6, dtype=torch.uint8).view(2, 3, 1, 1, 1).expand(2, 3, 8, 8, 1)
    crops = random_crop(images, (6, 6), KEYS[:2], 0)
    assert torch.equal(crops, images[:, :, :6, :6])


def test_every_place_is_cropped_equally_often() -> None:
    count = 6000
    corners = random_crop(coordinates(1, count, 12, 10), (9, 8), KEYS[:1], 0)[0, :, 0, 0].long()
    counts = torch.bincount(corners[:, 0] * 3 + corners[:, 1], minlength=12)
    assert counts.shape == (12,)  # 4 rows, 3 columns
    expected = count / 12
    assert ((counts - expected).square() / expected).sum() < 31.3  # chi-squared, 11 degrees, p = 0.001


def test_crops_follow_from_key_and_counter_alone() -> None:
    images = coordinates(3, 20, 30, 30)
    crops = random_crop(images, (20, 20), KEYS, COUNTER)
    state = torch.get_rng_state()
    assert torch.equal(crops, random_crop(images, (20, 20), KEYS, torch.tensor(4)))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(crops[1:2], random_crop(images[1:2], (20, 20), KEYS[1:2], COUNTER))
    later = random_crop(images, (20, 20), KEYS, COUNTER + 1)
    assert not torch.equal(crops[..., 0], later[..., 0]) and not torch.equal(crops[..., 1], later[..., 1])
    assert not torch.equal(crops[0], crops[1])
    assert len(crops[0, :, 0, 0].unique(dim=0)) > 10


def test_evaluation_crops_the_center() -> None:
    crops = center_crop(coordinates(1, 1, 84, 84), (76, 76))
    assert crops[0, 0, 0, 0].tolist() == [4, 4] and crops[0, 0, -1, -1].tolist() == [79, 79]


@pytest.mark.parametrize("config", ENCODERS)
def test_evaluation_reads_the_center_alone(config: ResNet18 | SmallCNN) -> None:
    encoder = config.build((84, 84, 3), generators(1, seed=0))
    images = pictures(1, 1, 84, 84, 3)
    framed = images.clone()
    framed[:, :, :4] = framed[:, :, 80:] = framed[:, :, :, :4] = framed[:, :, :, 80:] = 0
    with torch.no_grad():
        assert torch.equal(encoder(images), encoder(framed))
        assert not torch.equal(encoder(images), encoder(images, KEYS[:1], 0))


def test_whole_image_is_kept_at_crop_one() -> None:
    encoder = SmallCNN(channels=(4,), features=3, crop=1.0).build((5, 4, 2), generators(1, seed=0))
    images = pictures(1, 2, 5, 4, 2)
    assert encoder.size == (5, 4)
    assert torch.equal(encoder(images), encoder(images, KEYS[:1], 0))


@pytest.mark.parametrize("size", [1, 2, 5, 33])
def test_small_network_takes_any_size(size: int) -> None:
    encoder = SmallCNN(crop=1.0).build((size, size + 1, 3), generators(1, seed=0))
    assert encoder(pictures(1, 2, size, size + 1, 3)).shape == (1, 2, 64)


def test_encoder_refuses_floats() -> None:
    encoder = SmallCNN().build((8, 8, 3), generators(1, seed=0))
    with pytest.raises(jaxtyping.TypeCheckError):
        encoder(torch.rand(1, 2, 8, 8, 3))


@pytest.mark.parametrize("crop", [0.0, -0.5, 1.1])
@pytest.mark.parametrize("config", [ResNet18, SmallCNN])
def test_crop_must_be_a_share(config: type[ResNet18 | SmallCNN], crop: float) -> None:
    with pytest.raises(ValueError, match=f"crop {crop}"):
        config(crop=crop)


def test_other_fields_are_checked() -> None:
    with pytest.raises(ValueError, match="features 0"):
        SmallCNN(features=0)
    with pytest.raises(ValueError, match="keypoints 0"):
        ResNet18(keypoints=0)
    with pytest.raises(ValueError, match="channels"):
        SmallCNN(channels=())


def dots(count: int, size: int) -> tuple[Tensor, Tensor]:
    """Dim images with a bright dot of 3x3, and the pixel of its center."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 60, (count, size, size, 3), dtype=torch.uint8, generator=generator)
    centers = torch.randint(2, size - 2, (count, 2), generator=generator)
    for image, (row, column) in zip(images, centers.tolist(), strict=True):
        image[row - 1 : row + 2, column - 1 : column + 2] = 255
    return images[None], centers[None].float()


def position_error(encoder: ImageEncoder, head: Linear, images: Tensor, centers: Tensor) -> float:
    with torch.no_grad():
        return ((head(encoder(images)) * 48) - centers).norm(dim=-1).mean().item()


@pytest.mark.slow
def test_small_network_learns_where_a_dot_is() -> None:
    images, centers = dots(200, 48)
    draws = generators(1, seed=0)
    encoder = SmallCNN(crop=1.0).build((48, 48, 3), draws)
    head = Linear(64, 2, draws)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=2e-3)
    assert position_error(encoder, head, images, centers) > 10
    order = torch.Generator().manual_seed(0)
    for _ in range(120):
        chosen = torch.randint(0, 200, (40,), generator=order)
        loss = (head(encoder(images[:, chosen])) - centers[:, chosen] / 48).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert position_error(encoder, head, images, centers) < 2
