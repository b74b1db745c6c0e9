"""A learner's fields as JSON and as short text, and back."""

import json
import math
from dataclasses import dataclass, fields, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demonstrably.learners import LEARNERS
from demonstrably.learners.bc import BC
from demonstrably.learners.bc_rnn import BCRNN
from demonstrably.learners.iq_learn import IQLearn
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ
from demonstrably.nets.heads import Categorical, Deterministic, GaussianMixture, TanhGaussian
from demonstrably.nets.mlp import MLP
from demonstrably.nets.recurrent import LSTM
from demonstrably.nets.transformer import Transformer
from demonstrably.nets.vision import ResNet18, SmallCNN
from demonstrably.training.fields import example as example_of
from demonstrably.training.fields import (
    from_fields,
    from_text,
    parts_of,
    require_finite,
    text_name,
    to_fields,
    to_text,
)

PARTS = (MLP, LSTM, Transformer, ResNet18, SmallCNN, Deterministic, TanhGaussian, GaussianMixture, Categorical)
HEADS = (Deterministic, TanhGaussian, GaussianMixture, Categorical)
SETTINGS = [
    *(preset for _, presets in LEARNERS.values() for preset in presets.values()),
    BC(),
    BC(learning_rate=(1e-3, 1e-4), gradient_clip=0.5, head=TanhGaussian(), vision=SmallCNN((4,), 6, 1.0)),
    BCRNN(body=Transformer(layers=2, dropout=0.0), window=3, head=GaussianMixture(min_std=1e-3), weight_decay=(0.1,)),
]


@dataclass(frozen=True)
class Switch:
    on: bool = False
    rate: float = 0.5


@pytest.mark.parametrize("learner", SETTINGS)
def test_fields_come_back_from_json(learner) -> None:
    values = to_fields(learner)
    plain = json.loads(json.dumps(values))
    assert plain == values
    assert from_fields(type(learner), plain) == learner


def test_defaults_stand_where_a_field_is_absent() -> None:
    assert from_fields(BC, {"batch_size": 7}) == BC(batch_size=7)


def test_a_field_that_is_unknown_is_named() -> None:
    with pytest.raises(ValueError, match="BC has no field expectile, tau: was it saved by another version?"):
        from_fields(BC, {"tau": 1, "expectile": 0.7})


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (MLP(), "mlp"),
        (MLP((64,)), "mlp(hidden=(64,))"),
        (LSTM(1000), "lstm(hidden=1000)"),
        (Transformer(layers=2, dropout=0.0), "transformer(layers=2, dropout=0.0)"),
        (ResNet18(crop=1.0), "resnet18(crop=1.0)"),
        (SmallCNN(), "small-cnn"),
        (TanhGaussian(), "tanh-gaussian"),
        (GaussianMixture(3, 1e-3), "gaussian-mixture(modes=3, min_std=0.001)"),
        (GaussianMixture(acts="mean"), "gaussian-mixture(acts='mean')"),
    ],
)
def test_short_text(part, text: str) -> None:
    assert to_text(part) == text
    assert from_text(text, PARTS, "part") == part


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (" LSTM ( layers = 1 , hidden=3 ) ", LSTM(3, 1)),
        ("mlp()", MLP()),
        ("mlp(hidden=(8, 8,))", MLP((8, 8))),
        ("deterministic(squared=2)", Deterministic(2.0)),
        ("gaussian-mixture(min_std=1e-3)", GaussianMixture(min_std=1e-3)),
    ],
)
def test_text_as_people_write_it(text: str, part) -> None:
    assert from_text(text, PARTS, "part") == part


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gausian-mixture", "give one of deterministic, tanh-gaussian.*did you mean gaussian-mixture"),
        ("GaussianMixture", "did you mean gaussian-mixture"),
        ("", "give one of"),
        ("gaussian-mixture(", "give one of"),
        ("gaussian-mixture(modes)", r"gaussian-mixture takes modes, min_std|write it as gaussian-mixture\(modes=5\)"),
        ("gaussian-mixture(3)", r"write it as gaussian-mixture\(modes=5\)"),
        ("gaussian-mixture(mode=3)", r"takes modes, min_std, acts, as in .*\(modes=5\); did you mean modes\?"),
        ("gaussian-mixture(acts='meen')", "acts cannot be 'meen'; give one of 'mode', 'mean'"),
        ("gaussian-mixture(acts=1)", "acts cannot be 1; give one of 'mode', 'mean'"),
        ("gaussian-mixture(modes=three)", "modes cannot be 'three'; give a whole number"),
        ("gaussian-mixture(min_std=low)", "min_std cannot be 'low'; give a number"),
        ("gaussian-mixture(modes='3')", "modes cannot be '3'"),
        ("gaussian-mixture(modes=3.5)", "modes cannot be 3.5"),
        ("gaussian-mixture(modes=True)", "modes cannot be True"),
        ("gaussian-mixture(modes=None)", "modes cannot be None"),
        ("gaussian-mixture(modes=1, modes=2)", "write it as"),
        ("gaussian-mixture(modes=3)(4)", "write it as"),
        ("gaussian-mixture() + categorical()", "write it as"),
        ("gaussian-mixture(**{'modes': 3})", "takes modes|write it as"),
        ("gaussian-mixture(modes=__import__('os').getpid())", "write it as"),
        ("gaussian-mixture(modes={[]: 1})", "write it as|cannot be"),
        ("gaussian-mixture(modes=0)", "modes 0 must be at least 1"),
        ("tanh-gaussian(std=1)", "tanh-gaussian takes nothing, as in tanh-gaussian"),
        ("categorical(temperature=(1.0,))", r"temperature cannot be \(1.0,\)"),
    ],
)
def test_other_text_is_refused_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        from_text(text, HEADS, "--head")
    assert "\n" not in str(caught.value)


def test_other_values_of_a_field_of_several_kinds() -> None:
    with pytest.raises(ValueError, match="temperature cannot be 'low'; give a number or None"):
        from_text("sac(temperature=low)", (SAC,), "generator")
    with pytest.raises(ValueError, match="layer_norm cannot be 'yes'; give True or False"):
        from_text("sac(layer_norm=yes)", (SAC,), "generator")


def test_what_is_left_out_is_as_usual() -> None:
    usual = (SAC(temperature=0.01, average=0.9), SoftQ(temperature=0.02))
    found = from_text("sac(temperature=none, critics=1)", (SAC, SoftQ), "generator", usual)
    assert found == SAC(temperature=None, critics=1, average=0.9)
    assert from_text("soft-q", (SAC, SoftQ), "generator", usual) == usual[1]
    assert from_text("sac", (SAC, SoftQ), "generator", usual[1:]) == SAC()


@pytest.mark.parametrize(("text", "value"), [("mlp(hidden=64)", "64"), ("mlp(hidden=(8, 'a'))", r"\(8, 'a'\)")])
def test_a_tuple_of_numbers_is_written_as_one(text: str, value: str) -> None:
    with pytest.raises(ValueError, match=rf"hidden cannot be {value}; write it as mlp\(hidden=\(1024, 1024\)\)"):
        from_text(text, PARTS, "--body")


def test_a_truth_value_is_no_number() -> None:
    for on in ("True", "true"):
        assert from_text(f"switch(on={on}, rate=1)", (Switch,), "part") == Switch(True, 1.0)
    for wrong in ("switch(on=1)", "switch(rate=True)"):
        with pytest.raises(ValueError, match="cannot be"):
            from_text(wrong, (Switch,), "part")


words = st.text(st.sampled_from("mlp(hidden=1024,)+'*[]{}:.eE- \n\0#_"), max_size=25)


@given(words.map(lambda rest: f"mlp(hidden=({rest}))") | words.map(lambda rest: f"mlp({rest})") | st.text(max_size=30))
@example("mlp(hidden=" + "(" * 300 + ")" * 300 + ")")
@example("mlp(hidden=" + "-" * 5000 + "1)")
@example("mlp(hidden=\0)")
@example("mlp(hidden=(1_0,))")
def test_any_text_gives_a_part_or_one_clear_error(text: str) -> None:
    try:
        part = from_text(text, (MLP,), "--body")
    except ValueError:
        return
    assert isinstance(part, MLP) and from_text(to_text(part), (MLP,), "--body") == part


@pytest.mark.parametrize("kind", PARTS)
def test_every_part_has_a_name_and_an_example_that_reads(kind: type) -> None:
    assert text_name(kind) == text_name(kind).lower() and " " not in text_name(kind)
    assert from_text(example_of(kind), PARTS, "part") == kind()


def test_parts_of_a_type() -> None:
    hints = {field.name: field.type for field in fields(BC)}
    assert parts_of(hints["vision"]) == (ResNet18, SmallCNN)
    assert parts_of(BC.__annotations__["head"]) == HEADS
    assert parts_of(hints["body"]) == (MLP,)
    assert parts_of(hints["learning_rate"]) == parts_of(hints["batch_size"]) == ()


def test_numbers_that_are_none_are_named() -> None:
    require_finite(IQLearn(generator=SAC()))
    with pytest.raises(ValueError, match="penalty of iqlearn is nan: give a finite number"):
        require_finite(IQLearn(penalty=math.nan))
    with pytest.raises(ValueError, match="discount of sac is inf|temperature of sac is inf"):
        require_finite(IQLearn(generator=SAC(temperature=math.inf)))


def test_a_changed_part_of_a_learner_is_short_text() -> None:
    values = to_fields(replace(BC(), body=MLP((8,)), head=None))
    assert values["body"] == "mlp(hidden=(8,))" and values["head"] is None and values["vision"] == "resnet18"
