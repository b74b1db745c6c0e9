"""A person's trials: blinding, order, answers, taking back, stopping, the journal."""

import json

import pytest
from runs import RATES, make_run

from demonstrably.evaluation.allocation import top_two_thompson
from demonstrably.evaluation.manual import Paused, blinded, interleaved, meanings, select_manually


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "robot", members=1)


class Operator:
    """Runs what it is told and answers as the policy behind the label does; stops after some answers."""

    def __init__(self, run, stop_after=None, graded=False):
        self.run, self.stop_after, self.graded, self.prompts = run, stop_after, graded, []

    def __call__(self, prompt):
        self.prompts.append(prompt)
        if self.stop_after is not None and len(self.prompts) > self.stop_after:
            return "q\n"
        label, condition = self.trial(prompt)
        step, member = (int(word) for word in meanings(self.run.path)[label].replace("step ", "").split(", member "))
        luck = (condition * 7919 % 97) / 97
        return f"{RATES[step, member] * luck:.3f}\n" if self.graded else "Y\n" if luck < RATES[step, member] else "n\n"

    @staticmethod
    def trial(prompt):
        words = prompt.split()
        return words[words.index("run") + 1], int(words[words.index("condition") + 1])


def lines(run):
    return [json.loads(line) for line in (run.path / "manual.jsonl").read_text().splitlines()]


def test_an_operator_selects_blindly(run):
    operator = Operator(run)
    found = select_manually(run.path, 60, operator)
    assert found.label == "step 200, member 0"
    assert len(operator.prompts) == found.spent <= 60
    assert operator.prompts[0].startswith("trial 1 of 60: run ")
    assert not any("step" in prompt or "member" in prompt for prompt in operator.prompts)
    first, *trials = lines(run)
    assert first["labels"] == meanings(run.path) and set(first["labels"].values()) == {arm.label for arm in found.arms}
    assert [trial["label"] for trial in trials] == [Operator.trial(prompt)[0] for prompt in operator.prompts]
    assert all(trial["score"] in (0.0, 1.0) and "time" in trial for trial in trials)
    record = run.read_json("selection.json")
    assert (record["checkpoint"], record["member"], record["score"]) == (200, 0, None)


def test_trials_are_interleaved(run):
    operator = Operator(run)
    select_manually(run.path, 100, operator)
    first = [Operator.trial(prompt) for prompt in operator.prompts[:15]]
    assert len(set(first)) == 15
    for block in range(0, 15, 3):  # each condition once with every policy before the next condition
        labels, conditions = zip(*first[block : block + 3], strict=True)
        assert set(labels) == {"A", "B", "C"} and len(set(conditions)) == 1
    assert len({tuple(label for label, _ in first[block : block + 3]) for block in range(0, 15, 3)}) > 1


def test_order_is_random_but_fixed():
    batches = [((0, 1, 2), range(10, 14)), ((3,), range(14, 16))]
    order = interleaved(batches, seed=5)
    assert order == interleaved(batches, seed=5) != interleaved(batches, seed=6)
    assert sorted(order) == sorted([(a, c) for a in (0, 1, 2) for c in range(10, 14)] + [(3, 14), (3, 15)])
    assert [c for _, c in order] != sorted(c for _, c in order)


def test_labels_are_random_and_many():
    labels = blinded(60, seed=0)
    assert len(set(labels)) == 60 and {"A", "Z", "AA", "BH"} <= set(labels)
    assert labels != sorted(labels, key=lambda label: (len(label), label))
    assert labels == blinded(60, seed=0) != blinded(60, seed=1)


@pytest.mark.parametrize("allocation", [None, top_two_thompson])
def test_stopping_and_going_on_changes_nothing(tmp_path, allocation):
    options = {} if allocation is None else {"allocation": allocation}
    whole = select_manually((run := make_run(tmp_path / "a", members=1)).path, 60, Operator(run), **options)
    run = make_run(tmp_path / "b", members=1)
    answered, found = 0, None
    while found is None:
        operator = Operator(run, stop_after=7)
        try:
            found = select_manually(run.path, 60, operator, **options)
            answered += len(operator.prompts)
        except Paused as pause:
            answered += 7
            assert f"{answered} trials are kept" in str(pause)
    assert found == whole and answered == whole.spent
    assert len(lines(run)) == 1 + answered


def scripted(run, typed):
    """Types these words and then leaves; returns the prompts."""
    prompts, words = [], iter(typed)

    def ask(prompt):
        prompts.append(prompt)
        return next(words, "")

    with pytest.raises(Paused):
        select_manually(run.path, 60, ask)
    return prompts


def test_the_last_answer_can_be_taken_back(run):
    prompts = scripted(run, ["y\n", "n\n", "u\n", "U\n", "n\n", "y\n"])
    assert prompts[0] == prompts[4] and prompts[1] == prompts[3] == prompts[5]
    scores = [line["score"] for line in lines(run)[1:]]
    assert scores == [1.0, 0.0, None, None, 0.0, 1.0]
    assert "trial 3 of 60" in scripted(run, [])[0]  # going on starts after the two that stand


def test_nothing_to_take_back(run):
    prompts = scripted(run, ["u\n", "y\n"])
    assert "there is nothing to take back in this round" in prompts[1]
    assert len(lines(run)) == 2


def test_answers_that_are_not_understood_are_asked_again(run):
    prompts = scripted(run, ["\n", "maybe\n", "1.5\n", "-1\n", "nan\n", "0.25\n", " YES \n", "1\n"])
    assert [line["score"] for line in lines(run)[1:]] == [0.25, 1.0, 1.0]
    assert "'maybe' is not understood: y, n, or a number from 0 to 1" in prompts[2]
    assert len(prompts) == 9


def test_graded_answers_become_scores(run):
    found = select_manually(run.path, 60, Operator(run, graded=True))
    assert found.scale.measure == "score" and found.confirmed.count is None


def test_a_line_cut_short_by_a_crash_is_asked_again(run):
    scripted(run, ["y\n", "n\n"])
    with (run.path / "manual.jsonl").open("a") as file:
        file.write('{"label": "A", "cond')
    assert "trial 3 of 60" in scripted(run, ["y\n"])[0]
    assert [line.get("score") for line in lines(run)] == [None, 1.0, 0.0, 1.0]


def test_a_journal_that_does_not_fit_is_refused_and_can_be_set_aside(run):
    scripted(run, ["y\n"])
    with pytest.raises(ValueError, match="about other policies or another seed: begin anew with --restart"):
        select_manually(run.path, 60, lambda prompt: "", checkpoints=[100, 200])
    with pytest.raises(ValueError, match="another seed"):
        select_manually(run.path, 60, lambda prompt: "", seed=1)
    with pytest.raises(Paused, match="0 trials"):
        select_manually(run.path, 60, lambda prompt: "", seed=1, restart=True)
    assert len((run.path / "manual.1.jsonl").read_text().splitlines()) == 2
    (run.path / "manual.jsonl").write_text('{"labels"\n')
    with pytest.raises(ValueError, match="line 1 is no JSON"):
        select_manually(run.path, 60, lambda prompt: "", seed=1)
    (run.path / "manual.jsonl").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        select_manually(run.path, 60, lambda prompt: "", seed=1)
