"""Worker processes: what they load, how they fail, and that none is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from toy_environments import Sum
from toy_policies import BOX, SUM, spec_of

from demonstrably.evaluation import arena as arenas
from demonstrably.evaluation import worker
from demonstrably.evaluation.arena import Arena, default_workers, stop_workers
from demonstrably.evaluation.environments import check
from demonstrably.spec import Environment

ACTION = np.full((1, 1, 2), 0.25, np.float32)


def toy(name: str, **arguments) -> Environment:
    return Environment(f"toy/{name}-v0", arguments, ("toy_environments",))


def fitted(arena: Arena) -> Arena:
    arena.fit(check(spec_of(action=BOX), arena.open()))
    return arena


def played(environment: Environment, workers: int, seeds: list[int], steps: int = 4) -> dict[int, np.ndarray]:
    """The last observation of every seed's slot."""
    with Arena(environment, workers=workers) as arena:
        fitted(arena)
        slots = list(range(len(seeds)))
        reply = arena.play(list(zip(slots, seeds, strict=True)), [], ACTION[:0])
        for _ in range(steps):
            reply = arena.play([], slots, np.repeat(ACTION, len(slots), 0))
        return dict(zip(reply.slots, reply.observations["flat"], strict=True))


def gone(process: int) -> bool:
    """Whether a process ends within five seconds."""
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_workers_see_what_this_process_sees():
    inside = played(SUM, 0, [3, 4, 5, 6, 7])
    assert sorted(inside) == [0, 1, 2, 3, 4]
    for workers in (1, 2):
        there = played(SUM, workers, [3, 4, 5, 6, 7])
        for slot in inside:
            np.testing.assert_array_equal(there[slot], inside[slot])
    np.testing.assert_allclose(inside[0][1:], [4, 2.0])


def test_workers_are_kept_and_load_no_torch():
    first = played(toy("Process"), 2, [0, 1], steps=0)
    again = played(toy("Process"), 2, [0, 1], steps=0)
    processes = {int(observation[0]) for observation in first.values()}
    assert processes == {int(observation[0]) for observation in again.values()}
    assert len(processes) == 2 and os.getpid() not in processes
    assert not any(observation[1] for observation in first.values())
    stop_workers()
    assert all(gone(process) for process in processes)


def test_an_environment_that_raises():
    for workers in (0, 1):
        with pytest.raises(ValueError) as caught:
            played(toy("Trouble", how="raise"), workers, [2, 4, 7])
        assert str(caught.value) == (
            "toy/Trouble-v0 failed at step 2 of the episode with seed 7: ZeroDivisionError: the simulator diverged"
        )
    assert "_fail" in caught.value.__notes__[0]


def test_a_worker_that_dies():
    with pytest.raises(ValueError) as caught:
        played(toy("Trouble", how="die"), 1, [2, 7])
    assert str(caught.value) == (
        "toy/Trouble-v0: a worker process was killed by SIGKILL while playing the episodes of seeds 2 (step 2), "
        "7 (step 2)"
    )
    assert len(played(SUM, 1, [0])) == 1


def test_a_worker_that_died_while_idle_is_replaced():
    first = played(toy("Process"), 1, [0], steps=0)[0][0]
    os.kill(int(first), signal.SIGKILL)
    arenas._IDLE[-1]._process.wait()
    assert played(toy("Process"), 1, [0], steps=0)[0][0] != first


def test_a_worker_that_hangs(monkeypatch):
    stop_workers()
    environment = toy("Trouble", how="hang")
    played(environment, 1, [2])
    monkeypatch.setattr(arenas, "PATIENCE", 3.0)
    process = arenas._IDLE[-1]._process.pid
    with pytest.raises(ValueError, match=r"no answer for 3 s while playing the episodes of seeds 7 \(step 2\)"):
        played(environment, 1, [7])
    assert gone(process)


def test_what_environments_print_stays_out_of_the_results(capfd):
    played(toy("Trouble", how="never"), 1, [0])
    captured = capfd.readouterr()
    assert captured.out == "" and "printed by an environment" in captured.err


def test_an_environment_registered_only_here():
    gymnasium.register("toy/Here-v0", Sum, max_episode_steps=9)
    environment = Environment("toy/Here-v0")
    with pytest.raises(ValueError, match="is registered in this process but not in a worker's; name the module"):
        played(environment, 1, [0])
    assert len(played(environment, 0, [0])) == 1


def test_a_reset_that_remembers_is_made_anew(monkeypatch):
    def ages() -> list[float]:
        host = worker.Host()
        host.fit(check(spec_of(), host.open(toy("Remembers"), None)))
        found = []
        for _ in range(3):
            ended = host.play([(0, 5)], [], ACTION[:0]).ended
            while not ended:
                ended = host.play([], [0], ACTION).ended
            found.append(ended[0].final_reward)
        return found

    assert ages() == [0.0, 1.0, 2.0]
    monkeypatch.setattr("demonstrably.evaluation.environments.KEEP_STATE", ("toy/Remembers",))
    assert ages() == [0.0, 0.0, 0.0]


def test_default_workers():
    assert default_workers(Environment("CartPole-v1")) == 0
    assert default_workers(Environment("AdroitHandDoor-v1")) == arenas.WORKERS >= 1
    with pytest.raises(ValueError, match="workers -1"):
        Arena(SUM, workers=-1)


# No guard around the main program, torch loaded: what people write in scripts and notebooks.
SCRIPT = """
import sys, time
import numpy as np
if len(sys.argv) == 1:
    import torch
from demonstrably.evaluation.arena import Arena
from demonstrably.evaluation.environments import check
from demonstrably.spec import *
arena = Arena(Environment("toy/Process-v0", {}, ("toy_environments",)), workers=1)
with arena:
    arena.fit(check(Spec({"flat": Field((3,))}, Continuous((-1.0,) * 2, (1.0,) * 2)), arena.open()))
    first = arena.play([(0, 0)], [], np.zeros((0, 1, 2)))
    print(*first.observations["flat"][0].astype(int), flush=True)
    if len(sys.argv) > 1:
        time.sleep(30)
"""


@pytest.mark.parametrize("end", [None, signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_program(tmp_path: Path, end):
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [sys.executable, str(tmp_path / "script.py"), *(["wait"] if end else [])]
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=path, text=True) as program:
        process, torch_loaded, _ = map(int, program.stdout.readline().split())
        if end:
            program.send_signal(end)
        _, errors = program.communicate(timeout=30)
    assert not torch_loaded and gone(process)
    assert program.returncode == (-end if end else 0)
    assert errors.count("Traceback") == (end == signal.SIGINT)
