"""Environment steps a second of stable-baselines3's SAC, for `benchmarks/inverse_updates.py --peer`.

    PYTHON benchmarks/peer_sac.py [--batch 256] [--steps 300] [--threads 1]

An update a step, after a warm-up of 1,000 steps by chance. It needs stable-baselines3 and gymnasium[mujoco], not this
package.
"""

import argparse
import json
import time

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback


class Clock(BaseCallback):
    """Notes the time when a number of steps has been made."""

    def __init__(self, start: int):
        super().__init__()
        self.start, self.began = start, 0.0

    def _on_step(self) -> bool:
        if self.num_timesteps == self.start:
            self.began = time.perf_counter()
        return True


def main() -> None:
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = SAC("MlpPolicy", "HalfCheetah-v5", batch_size=options.batch, learning_starts=1000, device="cpu", seed=0)
    clock = Clock(1020)
    model.learn(1020 + options.steps, callback=clock)
    print(json.dumps({"steps_per_second": options.steps / (time.perf_counter() - clock.began)}))


if __name__ == "__main__":
    main()
