"""`demonstrably identify`: the text, the JSON, the page, the choices, and mistakes in one line."""

import json
import subprocess
import sys

import numpy as np
import pytest

from demonstrably.cli.main import main
from demonstrably.tabular import MDP, EpsilonGreedy, Myopic, identify, problems

NAMES = ["hall", "kitchen", "bath", "attic"]


@pytest.fixture
def house(tmp_path, monkeypatch):
    """house.npz in the working folder: four rooms, three doors from each, chance in every step."""
    monkeypatch.chdir(tmp_path)
    transitions = np.random.default_rng(0).dirichlet(np.ones(4), (4, 3))
    mdp = MDP(transitions, discount=0.9, initial=0, state_names=NAMES)
    problems.save("house.npz", mdp, features=np.eye(12)[:, :5])
    problems.save("numbered.npz", MDP(transitions, discount=0.9))
    return mdp


def answered(capsys, *arguments):
    assert main(["identify", *arguments]) == 0
    return capsys.readouterr().out


def test_text_is_the_problem_and_the_answer(house, capsys):
    page = answered(capsys, "house.npz")
    assert page == f"house.npz: 4 states, 3 actions, discount 0.9, without end\n{identify(house)}\n"
    assert page.splitlines()[1].startswith("4 directions of reward left open")


def test_several_discounts_are_several_people(house, capsys):
    page = answered(capsys, "house.npz", "--discount", "0.9", "0.5")
    assert page.count("house.npz: ") == 2 and "discount 0.5" in page
    assert "1 direction of reward left open; strongly identifiable" in page


def test_json_is_one_document(house, capsys):
    record = json.loads(answered(capsys, "house.npz", "--discount", "0.9", "--json"))
    assert record["problems"] == [{"name": "house.npz", "states": 4, "actions": 3, "discount": 0.9, "horizon": None}]
    assert record["reward"] == "state-action"
    assert {name: record[name] for name in identify(house).to_dict()} == identify(house).to_dict()


def test_a_horizon_a_start_and_what_the_reward_depends_on(house, capsys):
    record = json.loads(answered(capsys, "house.npz", "--horizon", "3", "--json"))
    assert record["problems"][0]["horizon"] == 3 and record["problems"][0]["discount"] == 1
    one, two = (answered(capsys, "house.npz", "--horizon", "2", "--start", name) for name in ("attic", "3"))
    assert one == two and one != answered(capsys, "house.npz", "--horizon", "2")
    for reward in ("state", "features"):
        form = reward if reward == "state" else np.eye(12)[:, :5]
        assert str(identify(house, reward=form)) in answered(capsys, "house.npz", "--reward", reward)


def test_an_environment_has_its_time_limit(capsys):
    assert answered(capsys, "FrozenLake-v1").startswith(
        "FrozenLake-v1: 16 states, 4 actions, discount 1, horizon 100\n"
    )
    page = answered(capsys, "CliffWalking-v1", "--discount", "0.9")
    assert "row 3 column 1" in page  # the cliff, on which nobody stands


def test_people_may_be_supposed_to_be_otherwise(house, capsys):
    behaviors = [EpsilonGreedy(), Myopic()]
    asked = ("--suppose", "epsilon-greedy", "myopic")
    assert str(identify(house, suppose=behaviors)) in answered(capsys, "house.npz", *asked)
    reward = np.random.default_rng(1).normal(size=(4, 3))
    problems.save("known.npz", house, reward=reward)
    record = json.loads(answered(capsys, "house.npz", "known.npz", *asked, "--json"))
    cases = identify([house, house], suppose=behaviors, known=reward).misspecifications
    assert record["misspecifications"] == [case.to_dict() for case in cases]


def test_the_page_is_written(house, tmp_path, capsys):
    assert main(["identify", "house.npz", "--html", "pages/house.html"]) == 0
    shown = capsys.readouterr()
    assert shown.err.strip() == str((tmp_path / "pages" / "house.html").resolve())
    assert "4 directions" in shown.out
    text = (tmp_path / "pages" / "house.html").read_text()
    assert text.count('class="node ') == 4 and "hall" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs a problem: an .npz file, or an id such as FrozenLake-v1"),
        (["hous.npz"], "no such file; did you mean 'house.npz'?"),
        (["FrozenLak-v1"], "did you mean FrozenLake-v1"),
        (["CliffWalking-v1"], "CliffWalking-v1 has no time limit: give a discount below 1, or a horizon"),
        (["CartPole-v1"], "CartPole-v1 has no table of transitions"),
        (
            ["house.npz", "--discont", "0.5"],
            "unknown flag --discont for `demonstrably identify`; did you mean --discount?",
        ),
        (["house.npz", "--discount", "1.5"], "discount 1.5 without a horizon"),
        (["house.npz", "--horizon", "0"], "horizon 0: give the number of decisions, at least 1"),
        (["house.npz", "--reward", "stat"], "invalid choice 'stat'"),
        (["house.npz", "--suppose", "greedy"], "invalid choice 'greedy'"),
        (["FrozenLake-v1", "--reward", "features"], "FrozenLake-v1 has no features"),
        (["house.npz", "--start", "kichen"], "house.npz has no such state; did you mean 'kitchen'?"),
        (["house.npz", "--start", "4"], "give a name, such as 'hall', or 0 to 3"),
        (["house.npz", "FrozenLake-v1"], "FrozenLake-v1 has 16 states and 4 actions, house.npz has 4 and 3"),
        (["FrozenLake-v1", "--start", "-1"], "FrozenLake-v1 has no such state; give a name, such as 'row 0"),
        (["numbered.npz", "--start", "-1"], "numbered.npz has no such state; give a name, such as '0', or 0 to 3"),
        (["house.npz", "--discount", "0.9", "0.5", "0.9"], "--discount 0.9 is given more than once: a second person"),
        (["house.npz", "--html", "."], "--html . is a folder"),
    ],
)
def test_mistakes_are_one_line_and_status_2(house, capsys, arguments, message):
    assert main(["identify", *arguments]) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.startswith("demonstrably: error: ")
    assert len(shown.err.splitlines()) == 1 and not shown.out


def test_neither_help_nor_the_room_loads_torch():
    code = (
        "import sys\nfrom demonstrably.cli import identify\ntry: identify.main(['--help'])\nexcept SystemExit: pass\n"
        "early = {'numpy', 'scipy', 'torch', 'gymnasium'} & set(sys.modules)\nimport demonstrably.tabular\n"
        "print(early, {'torch', 'gymnasium', 'h5py'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set() set()"
