"""What is observed and what can be done: checked, and the same after a trip through JSON."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demonstrably.spec import Continuous, Discrete, Environment, Field, Spec

FIELDS = {
    "state": Field((2, 3), mean=(0.1, 1 / 3, -2.0, 3e-7, 5.0, 6.0), scale=(1.0, 0.0, 0.5, 1e-9, 1e9, 2.0)),
    "raw": Field((4,)),
    "view": Field((84, 84, 3), "uint8"),
    "number": Field((), mean=(1.0,), scale=(2.0,)),
}
ENVIRONMENTS = (
    None,
    Environment("CartPole-v1"),
    Environment("demonstrably/Overcooked-v0", {"layout": "cramped_room", "nested": {"a": [1, 2]}}, ("one", "two"), 2),
)
ACTIONS = (Discrete(6), Continuous((-1.0, 0.0), (1.0, 1e-3)))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_spec_comes_back_from_json(action: Discrete | Continuous, environment: Environment | None) -> None:
    spec = Spec(FIELDS, action, environment)
    values = spec.to_dict()
    assert json.loads(json.dumps(values)) == values  # plain: what a file gives back compares equal
    assert Spec.from_dict(values) == spec


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
def test_statistics_come_back_to_the_bit(pairs: list[tuple[float, float]]) -> None:
    mean, scale = zip(*pairs, strict=True)
    spec = Spec({"state": Field((len(pairs),), mean=mean, scale=scale)}, Discrete(2))
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("field", "size", "image"),
    [
        (Field((4,)), 4, False),
        (Field(()), 1, False),
        (Field((2, 3)), 6, False),
        (Field((8, 8, 3), "uint8"), 192, True),
        (Field((8, 8, 3)), 192, False),  # real numbers: not read by a vision encoder
        (Field((8, 8), "uint8"), 64, False),
    ],
)
def test_size_and_kind_of_a_field(field: Field, size: int, image: bool) -> None:
    assert (field.size, field.is_image) == (size, image)


def test_the_number_of_action_dimensions() -> None:
    assert Continuous((0.0,) * 7, (1.0,) * 7).dim == 7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Field((3,), mean=(0.0, 1.0)), r"mean has 2 values for shape \(3,\); give 3"),
        (lambda: Field((2, 2), mean=(0.0,) * 4, scale=(1.0,)), r"scale has 1 values for shape \(2, 2\); give 4"),
        (lambda: Continuous((0.0, 1.0), (1.0, 1.0)), r"low \(0.0, 1.0\) and high \(1.0, 1.0\): give finite low < high"),
        (lambda: Continuous((0.0,), (1.0, 1.0)), "give finite low < high in each dimension"),
        (lambda: Continuous((), ()), "give finite low < high in each dimension"),
        (lambda: Continuous((-math.inf,), (1.0,)), "give finite low < high"),
        (lambda: Continuous((0.0,), (math.nan,)), "give finite low < high"),
        (lambda: Discrete(1), "needs at least 2 choices, got 1"),
        (lambda: Spec({}, Discrete(2)), "at least one observation key"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
