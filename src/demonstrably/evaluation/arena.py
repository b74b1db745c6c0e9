"""Many environments behind one call a round: in worker processes that are kept for later calls, or in this process."""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import Pipe
from types import TracebackType
from typing import Any

import gymnasium
import numpy as np

from demonstrably.evaluation.environments import Adapter, Interface
from demonstrably.evaluation.worker import Host, Reply
from demonstrably.spec import Environment

PROGRAM = "from demonstrably.evaluation.worker import main; main()"
WORKERS = min(2, os.cpu_count() or 1)
# Environments of these modules step in less time than a message takes.
SMALLEST = ("gymnasium.envs.classic_control", "gymnasium.envs.toy_text")
PATIENCE = 600.0  # seconds without an answer after which a worker counts as hung


class Worker:
    """A worker process and the pipe to it.

    It is a plain new interpreter: a fork would copy torch's threads in an unknown state, and multiprocessing's spawn
    would import the caller's main module, torch with it. Ctrl-C goes to the caller alone.
    """

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, str(theirs.fileno())],
                env={
                    "OMP_NUM_THREADS": "1",
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                    **(variables or {}),
                },
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=2,  # what an environment prints must not mix with results
                process_group=0,
            )

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def send(self, command: str, *arguments: Any) -> None:
        """Ask for one command. ConnectionError if the process has died."""
        try:
            self._pipe.send((command, arguments))
        except OSError as error:
            raise self._death() from error

    def receive(self) -> Any:
        """The answer to the command that was asked first.

        Raises:
            ValueError: the command failed.
            ConnectionError: the process died, or does not answer.
        """
        if not self._pipe.poll(PATIENCE):
            raise ConnectionError(f"a worker process gave no answer for {PATIENCE:.0f} s")
        try:
            answer, trace = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        if trace is not None:
            failure = ValueError(answer)
            failure.add_note(f"In the worker process:\n{trace}")
            raise failure
        return answer

    def stop(self) -> None:
        """End the process: it goes by itself if it is idle, by force after a second if it is not."""
        self._pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        """End the process by force."""
        self._process.kill()
        self.stop()

    def _death(self) -> ConnectionError:
        self.stop()
        status = self._process.returncode
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return ConnectionError(f"a worker process {how}")


class Inside:
    """A host in this process, asked as a worker is."""

    def __init__(self) -> None:
        self._host = Host()
        self._asked: tuple[str, tuple[Any, ...]] = ("", ())

    def send(self, command: str, *arguments: Any) -> None:
        """Ask for one command."""
        self._asked = (command, arguments)

    def receive(self) -> Any:
        """Carry it out: what goes wrong shows with the answer, as it does with a worker."""
        commands = {"open": self._host.open, "fit": self._host.fit, "play": self._host.play}
        command, arguments = self._asked
        return commands[command](*arguments)

    def stop(self) -> None:
        """Close the environments."""
        self._host.close()

    def kill(self) -> None:
        """Leave the environments, of which one may be in no state to be closed, to the garbage collector."""


# What rests between two calls: starting a process and making environments can take longer than the episodes.
_IDLE: list[Worker] = []
_INSIDE: list[Inside] = []


def stop_workers() -> None:
    """End all idle workers. They end with the program without this; it only gives their memory back earlier."""
    while _IDLE:
        _IDLE.pop().stop()
    while _INSIDE:
        _INSIDE.pop().stop()


atexit.register(stop_workers)
os.register_at_fork(after_in_child=_IDLE.clear)


class Arena:
    """Numbered slots, each with an environment of one kind, spread over `workers` processes (0: in this process).

    Use it as a context manager. Slots are made when first reset, and an environment is used again for the episodes that
    follow. Whatever goes wrong in an environment or a worker is a ValueError; the workers of that arena are ended then.
    """

    def __init__(self, environment: Environment, *, workers: int, horizon: int | None = None) -> None:
        if workers < 0:
            raise ValueError(f"workers {workers}: give 0 to play in this process, or the number of processes")
        self._environment, self._horizon = environment, horizon
        self._ports = _hire(workers)
        self._under_way: dict[int, tuple[int, int]] = {}  # slot -> seed, steps done
        self._stepping: Sequence[int] = ()
        self._asked: list[bool] = []

    def __enter__(self) -> "Arena":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for port in self._ports:
            if error is not None:
                port.kill()
            elif isinstance(port, Worker):
                _IDLE.append(port)
            else:
                _INSIDE.append(port)
        self._ports = []

    def open(self) -> Interface:
        """Make the first environment of every worker and say what it gives and takes."""
        try:
            self._ask([("open", (self._environment, self._horizon))] * len(self._ports))
            return self._answers()[0]
        except ValueError as error:
            if "is registered;" in str(error) and self._environment.name in gymnasium.registry:
                raise ValueError(
                    f"{self._environment.name} is registered in this process but not in a worker's; name the module "
                    "that registers it in the environment's imports, or give workers=0"
                ) from error
            raise

    def fit(self, adapter: Adapter) -> None:
        """Translate for this policy from now on."""
        self._ask([("fit", (adapter,))] * len(self._ports))
        self._answers()

    def play(self, resets: Sequence[tuple[int, int]], steps: Sequence[int], actions: np.ndarray) -> Reply:
        """One round: reset slots, given as (slot, seed), and step others with actions (n, seats, ...), one each."""
        self.begin(resets, steps, actions)
        return self.finish()

    def begin(self, resets: Sequence[tuple[int, int]], steps: Sequence[int], actions: np.ndarray) -> None:
        """Ask for a round, and do not wait for it."""
        count, owners = len(self._ports), np.asarray(steps, dtype=np.int64) % len(self._ports)
        asked: list[tuple[str, Any] | None] = []
        for port in range(count):
            mine = np.flatnonzero(owners == port).tolist()
            begun = [(slot // count, seed) for slot, seed in resets if slot % count == port]
            going = [steps[i] // count for i in mine]
            asked.append(("play", (begun, going, actions[mine])) if begun or going else None)
        for slot, seed in resets:
            self._under_way[slot] = (seed, 0)
        self._stepping = steps
        self._ask(asked)

    def finish(self) -> Reply:
        """What came of the round that was begun."""
        replies = self._answers()
        for slot in self._stepping:
            seed, done = self._under_way[slot]
            self._under_way[slot] = (seed, done + 1)
        return self._merged([(port, reply) for port, reply in enumerate(replies) if reply is not None])

    def _merged(self, replies: list[tuple[int, Reply]]) -> Reply:
        """The workers' replies as one, with slots as the caller numbers them."""
        count = len(self._ports)
        ended = {slot * count + port: end for port, reply in replies for slot, end in reply.ended.items()}
        for slot in ended:
            del self._under_way[slot]
        slots = [slot * count + port for port, reply in replies for slot in reply.slots]
        keys, rewards = replies[0][1].observations, replies[0][1].rewards
        if len(replies) == 1:
            return Reply(slots, keys, rewards, ended)
        seen = {key: np.concatenate([reply.observations[key] for _, reply in replies]) for key in keys}
        return Reply(slots, seen, np.concatenate([reply.rewards for _, reply in replies]), ended)

    def _ask(self, asked: Sequence[tuple[str, Any] | None]) -> None:
        """Ask every port its command, all at once; None asks nothing."""
        self._asked = [command is not None for command in asked]
        with self._deaths():
            for port, command in zip(self._ports, asked, strict=True):
                if command is not None:
                    port.send(command[0], *command[1])

    def _answers(self) -> list[Any]:
        """The answers to what was asked; None where nothing was."""
        with self._deaths():
            return [port.receive() if asked else None for port, asked in zip(self._ports, self._asked, strict=True)]

    @contextlib.contextmanager
    def _deaths(self) -> Iterator[None]:
        try:
            yield
        except ConnectionError as error:
            playing = ", ".join(f"{seed} (step {done})" for seed, done in self._under_way.values())
            during = f"while playing the episodes of seeds {playing}" if playing else "while making the environment"
            raise ValueError(f"{self._environment.name}: {error} {during}") from error


def default_workers(environment: Environment) -> int:
    """As many processes as pay: none for the smallest environments, else one a core, up to two."""
    known = gymnasium.registry.get(environment.name)
    entry = known.entry_point if known else None
    return 0 if isinstance(entry, str) and entry.startswith(SMALLEST) else WORKERS


def _hire(count: int) -> list[Worker] | list[Inside]:
    """Idle workers that are still alive, and new ones to make up the number; none means a host in this process."""
    if count == 0:
        return [_INSIDE.pop() if _INSIDE else Inside()]
    ready = [worker for worker in (_IDLE.pop(0) for _ in range(min(count, len(_IDLE)))) if worker.alive]
    return ready + [Worker() for _ in range(count - len(ready))]
