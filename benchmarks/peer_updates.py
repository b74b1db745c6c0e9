"""Times of environment steps of stable-baselines3's SAC, or imitation's SQIL on it, for `inverse_updates.py`.

    PYTHON benchmarks/peer_updates.py [--sqil] [--batch 256] [--steps 10] [--threads 1]

An update a step on HalfCheetah, after a warm-up of 1,000 steps by chance. For each line that it reads it makes so many
steps, and prints the seconds that they took; so that it can take turns with others. It needs stable-baselines3 and
gymnasium[mujoco], with `--sqil` imitation 1.0.1 too, and not this package.
"""

import argparse
import sys
import time

import gymnasium
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

WARM_UP, FIRST = 1_000, 20  # steps by chance, and steps with an update that are not timed


class Blocks(BaseCallback):
    """After the warm-up, makes a block of steps for each line that is read, and says how long it took."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps, self.began = steps, 0.0

    def _on_step(self) -> bool:
        made = self.num_timesteps - WARM_UP - FIRST
        if made < 0 or made % self.steps:
            return True
        print(time.perf_counter() - self.began if made else "ready", flush=True)
        wanted = bool(sys.stdin.readline())
        self.began = time.perf_counter()
        return wanted


def sqil(environment: DummyVecEnv, options: dict[str, object]) -> OffPolicyAlgorithm:
    """imitation's SQIL with SAC inside, on as many random demonstrated steps as ten episodes have."""
    from imitation.algorithms.sqil import SQIL
    from imitation.data.types import Transitions

    rng, count = np.random.default_rng(0), 10_000
    shown = Transitions(
        obs=rng.standard_normal((count, 17)),
        acts=np.tanh(rng.standard_normal((count, 6))).astype(np.float32),
        infos=np.array([{}] * count),
        next_obs=rng.standard_normal((count, 17)),
        dones=np.zeros(count, bool),
    )
    return SQIL(
        venv=environment, demonstrations=shown, policy="MlpPolicy", rl_algo_class=SAC, rl_kwargs=options
    ).rl_algo


def main() -> None:
    """Goes on until its input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sqil", action="store_true")
    parser.add_argument("--batch", type=int, default=256, help="steps an update, half of them demonstrated in SQIL")
    parser.add_argument("--steps", type=int, default=10, help="of a block")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    usual: dict[str, object] = {"batch_size": options.batch, "learning_starts": WARM_UP, "device": "cpu", "seed": 0}
    environment = DummyVecEnv([lambda: gymnasium.make("HalfCheetah-v4")])
    model = sqil(environment, usual) if options.sqil else SAC("MlpPolicy", environment, **usual)
    model.learn(sys.maxsize, callback=Blocks(options.steps))


if __name__ == "__main__":
    main()
