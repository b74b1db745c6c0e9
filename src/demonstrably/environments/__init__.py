"""Environments that the library brings along, registered with Gymnasium on import."""

import gymnasium

gymnasium.register("demonstrably/Overcooked-v0", "demonstrably.environments.overcooked:Overcooked")
