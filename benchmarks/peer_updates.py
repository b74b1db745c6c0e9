"""Environment steps a second of stable-baselines3's SAC, or imitation's SQIL on it, for `inverse_updates.py`.

    PYTHON benchmarks/peer_updates.py [--sqil] [--batch 256] [--steps 300] [--threads 1]

An update a step on HalfCheetah, after a warm-up of 1,000 steps by chance. It needs stable-baselines3 and
gymnasium[mujoco], with `--sqil` imitation 1.0.1 too, and not this package.
"""

import argparse
import json
import time

import gymnasium
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

WARM_UP, FIRST = 1_000, 20  # steps by chance, and steps with an update that are not timed


class Clock(BaseCallback):
    """Notes the time when a number of steps has been made."""

    def __init__(self, start: int):
        super().__init__()
        self.start, self.began = start, 0.0

    def _on_step(self) -> bool:
        if self.num_timesteps == self.start:
            self.began = time.perf_counter()
        return True


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
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sqil", action="store_true")
    parser.add_argument("--batch", type=int, default=256, help="steps an update, half of them demonstrated in SQIL")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    usual: dict[str, object] = {"batch_size": options.batch, "learning_starts": WARM_UP, "device": "cpu", "seed": 0}
    environment = DummyVecEnv([lambda: gymnasium.make("HalfCheetah-v4")])
    model = sqil(environment, usual) if options.sqil else SAC("MlpPolicy", environment, **usual)
    clock = Clock(WARM_UP + FIRST)
    model.learn(WARM_UP + FIRST + options.steps, callback=clock)
    print(json.dumps({"steps_per_second": options.steps / (time.perf_counter() - clock.began)}))


if __name__ == "__main__":
    main()
