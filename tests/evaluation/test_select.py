"""The selection's steps: seeds, resuming, stopping, dropping, the record, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from demonstrably.evaluation.allocation import Allocation, Batch, Standing, sequential_halving, top_two_thompson
from demonstrably.evaluation.evidence import PairedEvidence
from demonstrably.evaluation.scale import Scale
from demonstrably.evaluation.select import select
from demonstrably.evaluation.selection import Selection
from demonstrably.evaluation.sequential import betting_test, sign_test
from demonstrably.evaluation.state import SelectionState

RATES = np.array([0.1, 0.3, 0.9, 0.5, 0.75, 0.7])
LABELS = [f"step {100 * index}, member 0" for index in range(6)]


def luck(arm: int, seed: int) -> float:
    """A number in [0, 1) that is always the same for an arm and a seed, half of it the seed's."""
    shared, own = np.random.default_rng(seed).random(), np.random.default_rng([arm, seed]).random()
    return own if own + shared < 1 else shared


class Game:
    """Deterministic outcomes by arm and seed, and a log of what was played."""

    def __init__(self, rates=RATES, graded=False):
        self.rates, self.graded, self.calls = rates, graded, []

    def __call__(self, arms, seeds):
        self.calls.append((tuple(arms), tuple(seeds)))
        lucks = np.array([[luck(arm, seed) for seed in seeds] for arm in arms])
        rates = np.asarray(self.rates)[list(arms)][:, None]
        return np.clip(rates + 0.4 * (0.5 - lucks), 0, 1) if self.graded else (lucks < rates).astype(float)


ALLOCATIONS = pytest.mark.parametrize("allocation", [sequential_halving, top_two_thompson], ids=lambda a: a.name)


def test_finds_the_best_and_says_what_it_is_worth():
    found = select(Game(), LABELS, 600)
    assert found.label == "step 200, member 0"
    assert 2 in found.confidence_set and 0 in found.dropped
    assert found.confirmed.count == round(found.confirmed.mean * found.confirmed.episodes)
    assert found.confirmed.episodes == 120
    assert found.spent == sum(arm.episodes for arm in found.arms) + 120 <= 600
    dropped = found.arms[0]
    assert dropped.e_value >= 1 / found.delta and dropped.beaten_by is not None
    assert all(arm.low <= arm.mean <= arm.high for arm in found.arms)


@ALLOCATIONS
def test_every_seed_is_handed_out_once_and_confirmation_is_fresh(allocation):
    game = Game()
    found = select(game, LABELS, 200, allocation=allocation, first_seed=1000)
    seeds = [seed for _, of in game.calls for seed in of]
    assert seeds == list(range(1000, 1000 + len(seeds)))  # each in one call only, ever upwards
    assert game.calls[-1] == ((found.winner,), tuple(range(*found.confirm_seeds)))
    assert all(len(arms) > 1 for arms, _ in game.calls[:-1]) == allocation.paired
    assert found.rounds[0].seeds[0] == 1000 and found.rounds[-1].seeds[1] == found.confirm_seeds[0]


@ALLOCATIONS
@pytest.mark.parametrize("graded", [False, True])
def test_a_selection_interrupted_anywhere_ends_like_one_that_was_not(allocation, graded):
    def run(state, stop_after=None):
        states = []

        def save(new):
            states.append(json.loads(json.dumps(new.to_dict())))
            if len(states) == stop_after:
                raise KeyboardInterrupt

        game = Game(graded=graded)
        try:
            found = select(game, LABELS, 150, allocation=allocation, round_seeds=4, state=state, save=save)
        except KeyboardInterrupt:
            found = None
        return found, states, sum(len(arms) * len(seeds) for arms, seeds in game.calls)

    whole, states, episodes = run(None)
    assert len(states) > 5
    for stop in range(1, len(states), 3):
        _, begun, before = run(None, stop)
        found, _, after = run(SelectionState.from_dict(begun[-1]))
        assert found == whole
        assert before + after == episodes
    again, nothing, played = run(SelectionState.from_dict(states[-1]))
    assert again == whole and not nothing and not played


@ALLOCATIONS
def test_more_rollouts_go_on_where_the_budget_ended(allocation):
    states = []
    first = select(Game(), LABELS, 100, allocation=allocation, save=states.append)
    game = Game()
    second = select(game, LABELS, 400, allocation=allocation, state=states[-1])
    assert min(seed for _, seeds in game.calls for seed in seeds) == first.confirm_seeds[1]
    assert second.confirm_seeds[0] >= first.confirm_seeds[1]
    assert second.confirmed.episodes == 80 and 380 < second.spent <= 400
    assert all(new.episodes >= old.episodes for new, old in zip(second.arms, first.arms, strict=True))
    assert set(second.confidence_set) <= set(first.confidence_set)


def test_the_design_may_not_change_on_the_way():
    states = []
    select(Game(), LABELS, 100, save=states.append)
    for change, message in (
        ({"delta": 0.1}, "delta was 0.05 when this selection began and is 0.1"),
        ({"epsilon": 0.2}, "epsilon"),
        ({"allocation": top_two_thompson}, "allocation"),
        ({"first_seed": 7}, "first_seed"),
        ({"prior": [0.4] * 6}, "prior was 6 entries"),
    ):
        with pytest.raises(ValueError, match=message):
            select(Game(), LABELS, 200, state=states[-1], **change)
    with pytest.raises(ValueError, match="arms was"):
        select(Game(), LABELS[::-1], 200, state=states[-1])
    with pytest.raises(ValueError, match="format 99"):
        SelectionState.from_dict({**states[-1].to_dict(), "format": 99})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rollouts": 14}, "14 rollouts for 6 arms: give at least 16"),
        ({"delta": 0.0}, "delta"),
        ({"epsilon": 1.5}, "epsilon"),
        ({"confirm_fraction": 1.0}, "confirm_fraction"),
        ({"prior": [0.5]}, "prior"),
        ({"prior": [0.5] * 5 + [1.0]}, "prior"),
        ({"prior_weight": 0.0}, "prior_weight"),
        ({"round_seeds": 0}, "round_seeds"),
        ({"first_seed": -1}, "first_seed"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_played(options, message):
    game = Game()
    with pytest.raises(ValueError, match=message):
        select(game, LABELS, **({"rollouts": 100} | options))
    assert not game.calls


def test_more_arms_than_memory_would_hold_in_pairs_are_refused():
    many = [f"arm {index}" for index in range(1001)]
    with pytest.raises(ValueError, match="1001 arms: pairing more than 1000 takes gigabytes"):
        select(Game(), many, 10_000)


def test_the_smallest_budget_named_is_enough():
    assert select(Game(), LABELS, 16).spent <= 16
    with pytest.raises(ValueError, match="1 arm"):
        select(Game(), LABELS[:1], 100)


@pytest.mark.parametrize(
    ("scores", "message"),
    [(np.zeros((2, 1)), "shape"), (np.full((6, 3), 1.5), "rescale"), (np.full((6, 3), np.nan), "rescale")],
)
def test_wrong_scores_are_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        select(lambda arms, seeds: scores, LABELS, 100, round_seeds=3)


def test_halving_plays_all_then_half_on_shared_seeds():
    game = Game(rates=np.linspace(0.4, 0.6, 8))
    select(game, [str(i) for i in range(8)], 300, round_seeds=1000)
    widths = [len(arms) for arms, _ in game.calls]
    assert widths == [8, 4, 2, 1]
    assert [len(seeds) for _, seeds in game.calls] == [10, 20, 40, 60]
    for (before, _), (after, _) in zip(game.calls[:3], game.calls[1:], strict=False):
        assert set(after) <= set(before)


def test_halving_ends_with_one_seed_a_stage_where_there_is_little():
    game = Game(rates=np.linspace(0.4, 0.6, 8))
    select(game, [str(i) for i in range(8)], 20, confirm_fraction=0.2)
    assert [(len(arms), len(seeds)) for arms, seeds in game.calls] == [(8, 1), (4, 1), (2, 2), (1, 4)]


def standing(counts, totals, last=(), remaining=100, dropped=()):
    out = np.zeros(len(counts), dtype=bool)
    out[list(dropped)] = True
    prior = np.full(len(counts), 0.5)
    return Standing(np.array(counts), np.array(totals, dtype=float), prior, 2.0, out, tuple(last), remaining)


def test_halving_keeps_the_better_half_without_the_dropped():
    generator = np.random.default_rng(0)
    seen = standing([10] * 5, [9, 2, 7, 8, 1], last=range(5), dropped=[3])
    assert sequential_halving.plan(seen, generator) == (Batch((0, 1, 2), 16),)
    assert sequential_halving.leader(seen) == 0
    finals = standing([10, 2, 10], [9, 2, 8], last=(0, 2))
    assert sequential_halving.leader(finals) == 0  # two of two are no match for a finalist
    assert sequential_halving.plan(finals, generator) == (Batch((0, 1, 2), 16),)  # rollouts left: once more
    assert sequential_halving.plan(replace(finals, remaining=5), generator) == ()


def test_thompson_plays_each_arm_once_and_then_mostly_the_best_two():
    generator = np.random.default_rng(1)
    assert top_two_thompson.plan(standing([0] * 4, [0] * 4), generator) == tuple(Batch((i,), 1) for i in range(4))
    pulls = np.zeros(4)
    for _ in range(100):
        for batch in top_two_thompson.plan(standing([50] * 4, [10, 40, 42, 5]), generator):
            pulls[batch.arms[0]] += batch.seeds
    assert pulls[1] + pulls[2] > 0.95 * pulls.sum()
    assert 0.35 < pulls[1] / pulls.sum() < 0.65
    assert sum(b.seeds for b in top_two_thompson.plan(standing([5] * 4, [3] * 4, remaining=2), generator)) == 2
    assert top_two_thompson.plan(standing([5] * 4, [3] * 4, dropped=[0, 1, 2]), generator) == ()


def test_equal_policies_stop_as_equivalent():
    found = select(Game(rates=[1.0] * 3), LABELS[:3], 4000, epsilon=0.1)
    assert found.stopped == "equivalent"
    assert len(found.equivalent) >= 1 and found.winner not in found.equivalent
    assert found.spent < 2000
    assert found.more_rollouts is None and "by 0.10 or more" in str(found)


def test_a_clear_winner_stops_as_separated():
    for allocation in (sequential_halving, top_two_thompson):
        found = select(Game(rates=[0.02, 0.97]), LABELS[:2], 1000, allocation=allocation)
        assert found.stopped == "separated" and found.confidence_set == (1,)
        assert found.spent < 400


def test_close_policies_are_said_not_to_be_separated():
    found = select(Game(rates=[0.5, 0.52, 0.51]), LABELS[:3], 120)
    assert found.stopped == "budget" and len(found.confidence_set) == 3
    assert found.more_rollouts > 100
    assert "cannot separate them yet" in str(found)


def test_graded_scores_separate_faster_than_successes():
    rates = [0.45, 0.5, 0.55, 0.6]
    graded = select(Game(rates, graded=True), LABELS[:4], 400)
    binary = select(Game(rates), LABELS[:4], 400)
    assert len(graded.confidence_set) < len(binary.confidence_set)
    assert graded.confirmed.count is None
    assert graded.confirmed.high - graded.confirmed.low < binary.confirmed.high - binary.confirmed.low


def test_a_prior_steers_but_is_no_evidence():
    good, bad = [0.1, 0.1, 0.99, 0.1, 0.1, 0.1], [0.9, 0.9, 0.01, 0.9, 0.9, 0.9]
    options = {"allocation": top_two_thompson, "prior_weight": 20.0}
    helped = select(Game(), LABELS, 60, prior=good, **options)
    misled = select(Game(), LABELS, 60, prior=bad, **options)
    assert helped.arms[2].episodes > misled.arms[2].episodes
    even = select(Game(), LABELS, 600, prior=bad)
    assert even.winner == select(Game(), LABELS, 600).winner
    assert 2 in even.confidence_set


def test_an_allocation_of_ones_own():
    everyone = Allocation(
        "everyone",
        True,
        lambda seen, generator: (Batch(seen.contenders, n),) if (n := seen.remaining // len(seen.counts)) else (),
        lambda seen: int(seen.posterior.argmax()),
    )
    game = Game()
    found = select(game, LABELS, 300, allocation=everyone)
    assert found.winner == 2 and found.allocation == "everyone"
    assert found.spent <= 300


def test_two_batches_with_the_same_arms_are_both_played():
    twice = Allocation(
        "twice",
        True,
        lambda seen, generator: () if seen.last else (Batch((0, 1, 2), 7), Batch((0, 1, 2), 3)),
        lambda seen: 0,
    )
    found = select(Game(), LABELS[:3], 100, allocation=twice, round_seeds=5, delta=1e-9)
    assert [arm.episodes for arm in found.arms] == [10, 10, 10]


def test_evidence_of_successes_is_the_sign_test_and_of_scores_the_betting_test():
    generator = np.random.default_rng(2)
    success = (generator.random((3, 40)) < [[0.2], [0.5], [0.8]]).astype(float)
    evidence = PairedEvidence(4, 0.05)
    evidence.add((0, 2, 3), success[:, :25])
    evidence.add((0, 2, 3), success[:, 25:])
    wins, losses = np.sum(success[2] > success[0]), np.sum(success[2] < success[0])
    assert evidence.better()[3, 0] == pytest.approx(float(sign_test(wins, losses)), abs=2e-3)
    assert evidence.better()[1, 0] == 0.0  # never met
    scores = generator.random((3, 40))
    evidence = PairedEvidence(4, 0.05)
    evidence.add((0, 2, 3), scores)
    assert evidence.better()[3, 0] == pytest.approx(betting_test(scores[2] - scores[0])[-1])
    assert evidence.not_worse(2)[0] == pytest.approx(betting_test(scores[1] - scores[0], margin=-0.05)[-1])


def test_an_arm_is_dropped_when_the_mean_evidence_against_it_reaches_one_over_delta():
    """By hand, from the outcomes of two rounds: the mean over the others of the sign test's e-values."""
    game, labels = Game(rates=[0.35, 0.5, 0.8]), LABELS[:3]
    both = Allocation(
        "both", True, lambda seen, generator: () if seen.last else (Batch((0, 1, 2), 40),), lambda seen: 2
    )
    for delta in (0.3, 0.1, 0.03, 0.01, 0.001):
        found = select(game, labels, 150, allocation=both, round_seeds=20, delta=delta)
        outcomes = game((0, 1, 2), range(20 * len(found.rounds)))
        dropped: dict[int, float] = {}
        for index, record in enumerate(found.rounds):
            seen = outcomes[:, : record.seeds[1]]
            for arm in set(range(3)) - set(dropped):
                values = [np.exp(sign_test(*against(seen, other, arm))) for other in range(3) if other != arm]
                if np.mean(values) >= 1 / delta and arm in record.arms:
                    dropped[arm] = index
        assert {arm: found.arms[arm].dropped_round for arm in found.dropped} == dropped
        assert all(found.arms[arm].e_value >= 1 / delta for arm in dropped)
        assert all(found.arms[arm].e_value < 1 / delta for arm in found.confidence_set)


def against(outcomes, better, worse):
    """Wins and losses of one arm over another."""
    return np.sum(outcomes[better] > outcomes[worse]), np.sum(outcomes[better] < outcomes[worse])


def test_announce_hears_a_round_before_it_is_played():
    game, heard = Game(), []

    def announce(batches):
        heard.extend((tuple(arms), tuple(seeds)) for arms, seeds in batches)
        assert len(game.calls) + len(batches) == len(heard)

    select(game, LABELS, 100, allocation=top_two_thompson, announce=announce)
    assert heard == game.calls


@pytest.mark.parametrize("scale", [Scale(), Scale("return", -200.0, 100.0)])
def test_record_becomes_json_text_and_html(scale):
    found = select(Game(), LABELS, 400, scale=scale)
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert Selection.from_dict(written) == found
    assert written["label"] == found.label and written["dropped"] == list(found.dropped)
    text = str(found)
    assert "on fresh seeds" in text and "naive maximum" in text and "confidence set (0.95)" in text
    page = replace(found, arms=(replace(found.arms[0], label="<b>"), *found.arms[1:]))._repr_html_()
    assert "<b>" not in page and page.count("<tr>") == 7
    assert len(found.table()) == 6


def test_scale_turns_returns_into_scores_and_back():
    scale = Scale("return", -100.0, 300.0)
    scores, clipped = scale.scores([-100.0, 100.0, 300.0, 500.0, -101.0])
    assert scores.tolist() == [0.0, 0.5, 1.0, 1.0, 0.0] and clipped == 2
    assert scale.value(0.25) == 0.0 and scale.difference(0.25) == 100.0
    assert (scale.text(0.25), scale.text(0.25, sign=True), Scale().text(0.5)) == ("0", "+100", "0.50")
    assert Scale.from_dict(scale.to_dict()) == scale
    with pytest.raises(ValueError, match="below"):
        Scale("return", 1.0, 1.0)
