"""Checkpoints: a folder of safetensors and JSON, written to a temporary name and renamed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from demonstrably.learners import LEARNERS
from demonstrably.learners.contract import Learner, Policy, State
from demonstrably.spec import Spec
from demonstrably.training.fields import from_fields, to_fields
from demonstrably.training.files import read_json, replacing, write_json

MODEL, TRAINING, CONFIG = "model.safetensors", "training.safetensors", "config.json"
EXPERIENCE = "experience.safetensors"  # what a learner lived through, where it gathers experience of its own


def name_of(learner: Learner) -> str:
    """The learner's name on the command line."""
    return next(name for name, (kind, _) in LEARNERS.items() if type(learner) is kind)


def describe(learner: Learner, spec: Spec, members: int, seed: int) -> dict[str, Any]:
    """What is needed to build the learner's networks again."""
    fields = to_fields(learner)
    return {"learner": name_of(learner), "fields": fields, "members": members, "seed": seed, "spec": spec.to_dict()}


def rebuild(config: Mapping[str, Any], device: str | torch.device) -> tuple[Learner, State]:
    """The learner that `describe` described and its state before the first step."""
    if config["learner"] not in LEARNERS:
        raise ValueError(f"learner {config['learner']!r} is not one of {', '.join(LEARNERS)}: a newer version's run?")
    learner = from_fields(LEARNERS[config["learner"]][0], config["fields"])
    spec = Spec.from_dict(config["spec"])
    return learner, learner.init(spec, members=config["members"], seed=config["seed"], device=device)


def save(
    folder: Path, state: State, config: Mapping[str, Any], experience: Mapping[str, Tensor] | None = None
) -> None:
    """Writes a checkpoint; the folder appears whole or not at all, and one of that name stays until then."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing(folder) as temporary:
        temporary.mkdir()
        _write(temporary / MODEL, state.weights())
        _write(temporary / TRAINING, state.progress())
        if experience:
            _write(temporary / EXPERIENCE, experience)
        write_json(temporary / CONFIG, dict(config))


def restore(folder: Path, state: State) -> None:
    """Puts a checkpoint into the state, to go on training. ValueError names a file that is broken or missing."""
    state.restore(_read(folder / MODEL) | _read(folder / TRAINING))


def experience(folder: Path) -> dict[str, Tensor]:
    """What an online feed kept in a checkpoint. ValueError names a file that is broken or missing."""
    return _read(folder / EXPERIENCE)


def load(folder: str | Path, device: str | torch.device = "cpu") -> tuple[Learner, State]:
    """The learner of a checkpoint folder and its weights; the rest of the state is as before the first step.

    ValueError names what is broken or missing.
    """
    folder = Path(folder)
    learner, state = rebuild(read_json(folder / CONFIG), device)
    state.restore(_read(folder / MODEL) | state.progress())
    return learner, state


def load_policy(folder: str | Path, device: str | torch.device = "cpu") -> Policy:
    """The policy of a checkpoint folder, all members. ValueError names what is broken or missing."""
    learner, state = load(folder, device)
    return learner.policy(state)


def drop_training(folder: Path) -> None:
    """Leaves only what acting needs; only the newest checkpoint is ever gone on from."""
    for name in (TRAINING, EXPERIENCE):
        (folder / name).unlink(missing_ok=True)


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # safetensors refuses tensors that share memory, which slices of one buffer do
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: take another checkpoint") from None
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): take another checkpoint") from error
