"""Tabular problems from files and from Gymnasium.

A file is an `.npz` archive of plain arrays; pickled ones are refused. Its arrays:

| name | shape | |
|---|---|---|
| transitions | (S, A, S) | probabilities of the next state; or, in place of it, the four below |
| rows, columns, probabilities | (n,) | entries of a sparse matrix; row s * A + a is state s, action a |
| shape | (2,) | of that matrix, (S * A, S) |
| discount, horizon | () | as in `MDP` |
| initial | (S,) or () | probabilities of the first state, or a state |
| state_names, action_names | (S,), (A,) | text |
| reward | (S, A), (S,) or (S, A, S) | |
| features | (S * A, d), (S, A, d) or (S, d) | |
| policy | (S, A), or (T, S, A) with a horizon | probabilities |
"""

import difflib
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from demonstrably.tabular.distance import expected_reward
from demonstrably.tabular.mdp import MDP, Transitions
from demonstrably.tabular.soft import policy_of
from demonstrably.tabular.span import span_of
from demonstrably.tabular.toy_text import from_gymnasium

SPARSE = ("rows", "columns", "probabilities", "shape")
NAMES = (
    "transitions", *SPARSE, "discount", "horizon", "initial",
    "state_names", "action_names", "reward", "features", "policy",
)  # fmt: skip
COPIES = 2  # of a dense array of transitions that are in memory at once


@dataclass(frozen=True, eq=False)
class Problem:
    """A problem and what came with it.

    `reward` is (S, A), `features` (S * A, d), `policy` as in `soft.policy_of`; each None where there was none.
    """

    name: str
    mdp: MDP
    reward: NDArray[np.float64] | None = None
    features: NDArray[np.float64] | None = None
    policy: NDArray[np.float64] | None = None


def read(
    source: str | Path,
    *,
    discount: float | None = None,
    horizon: int | None = None,
    initial: ArrayLike | int | None = None,
) -> Problem:
    """A problem from an `.npz` file, or from the id of a Gymnasium environment that has a table of transitions.

    A discount or a horizon that is given takes the place of both in the file. An environment has its time limit as
    horizon where neither is given. `initial` takes the place of the starts.

    Raises:
        FileNotFoundError: there is no such file; the nearest name is told.
        ValueError: a file that is no such archive, is damaged or pickled, or holds no problem; an unknown environment,
            or one without a table.
    """
    path = Path(source)
    if path.suffix == ".npz" or path.is_file() or path.is_dir():
        return load(path, discount=discount, horizon=horizon, initial=initial)
    mdp, reward = from_gymnasium(str(source), discount=discount, horizon=horizon, initial=initial)
    return Problem(str(source), mdp, reward)


def load(
    path: str | Path,
    *,
    discount: float | None = None,
    horizon: int | None = None,
    initial: ArrayLike | int | None = None,
) -> Problem:
    """A problem from an `.npz` file; as `read`."""
    path = Path(path)
    arrays = _arrays(path)
    timed = discount is not None or horizon is not None
    try:
        transitions, actions = _transitions(arrays)
        mdp = MDP(
            transitions,
            discount=discount if timed else _number(arrays, "discount"),
            horizon=horizon if timed else _horizon(arrays),
            initial=arrays.get("initial") if initial is None else initial,
            actions=actions,
            state_names=_texts(arrays, "state_names"),
            action_names=_texts(arrays, "action_names"),
        )
        found = {name: arrays.get(name) for name in ("reward", "features", "policy")}
        return Problem(
            path.name,
            mdp,
            None if found["reward"] is None else expected_reward(mdp, found["reward"]),
            None if found["features"] is None else span_of(mdp, found["features"]).toarray(),
            None if found["policy"] is None else policy_of(mdp, found["policy"]),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save(
    path: str | Path,
    mdp: MDP,
    *,
    reward: ArrayLike | None = None,
    features: ArrayLike | None = None,
    policy: ArrayLike | None = None,
) -> Path:
    """Write a problem to an `.npz` file, whole or not at all, with what belongs to it. Raises ValueError for shapes."""
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path}: give a name that ends in .npz")
    entries = mdp.transitions.tocoo()
    arrays: dict[str, Any] = {
        "rows": entries.coords[0],
        "columns": entries.coords[1],
        "probabilities": entries.data,
        "shape": np.array(entries.shape),
        "discount": mdp.discount,
        "initial": mdp.starts,
        "state_names": np.array(mdp.state_names),
        "action_names": np.array(mdp.action_names),
    }
    arrays |= {} if mdp.horizon is None else {"horizon": mdp.horizon}
    arrays |= {} if reward is None else {"reward": expected_reward(mdp, reward)}
    arrays |= {} if features is None else {"features": span_of(mdp, features).toarray()}
    arrays |= {} if policy is None else {"policy": policy_of(mdp, policy)}
    partial = path.with_name(f".partial-{path.name}")
    try:
        with open(partial, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an archive, by name. ValueError says what is wrong with the file."""
    _require_archive(path)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            _require_names(path, archive.files)
            _require_memory(path, archive)
            return {name: _array(path, archive, name) for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}): was it cut short? Write or copy it again") from error


def _require_archive(path: Path) -> None:
    if path.is_dir():
        inside = [one.name for one in sorted(path.iterdir()) if one.suffix == ".npz"]
        raise IsADirectoryError(f"{path} is a folder; give a file (in it: {', '.join(inside[:5]) or 'no .npz'})")
    if not path.is_file():
        beside = {one.stem: one for one in path.parent.glob(f"*{path.suffix}")}  # the ending is no likeness
        close = difflib.get_close_matches(path.stem, beside, n=1)
        hint = f"did you mean {str(beside[close[0]])!r}?" if close else "check the path"
        raise FileNotFoundError(f"{path}: no such file; {hint}")
    with open(path, "rb") as file:
        head = file.read(2)
    if head != b"PK":
        what = "empty" if not head else "a pickle, which is never read" if head[:1] == b"\x80" else "no .npz archive"
        raise ValueError(f"{path} is {what}: write one with numpy.savez, or with problems.save")


def _require_names(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if name not in NAMES:
            close = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"there may be: {', '.join(NAMES)}"
            raise ValueError(f"{path}: unknown array {name!r}; {hint}")
    if "transitions" not in names and not set(SPARSE) <= set(names):
        raise ValueError(
            f"{path} holds no problem (in it: {', '.join(names) or 'nothing'}): give transitions (S, A, S), or "
            f"{', '.join(SPARSE)} of a sparse matrix (S * A, S)"
        )


def _require_memory(path: Path, archive: Any) -> None:
    """ValueError where the dense array of transitions would not fit, before it is read."""
    if "transitions" not in archive.files:
        return
    from demonstrably.data.formats.storage import available_memory  # brings h5py, which most problems do not need

    with archive.zip.open("transitions.npy") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape = header(file)[0]
    needed, free = COPIES * 8 * float(np.prod(shape, dtype=float)), available_memory()
    if free is not None and needed > free:
        raise ValueError(
            f"{path}: transitions {shape} would take {needed / 1e9:.3g} GB of memory and {free / 1e9:.3g} GB are free; "
            f"give {', '.join(SPARSE)} of a sparse matrix in place of it"
        )


def _array(path: Path, archive: Any, name: str) -> NDArray[Any]:
    try:
        array = archive[name]
    except ValueError as error:
        raise ValueError(
            f"{path}: {name} cannot be read ({error}); pickled objects never are: save numbers, and names as text"
        ) from error
    textual = name.endswith("_names")
    if array.dtype.kind not in ("US" if textual else "biuf"):
        raise ValueError(f"{path}: {name} holds {array.dtype}; give {'text' if textual else 'numbers'}")
    return array


def _transitions(arrays: Mapping[str, NDArray[Any]]) -> tuple[Transitions, int | None]:
    """The transitions, with the number of actions where they are sparse."""
    if "transitions" in arrays:
        return arrays["transitions"], None
    rows, columns, probabilities, shape = (arrays[name] for name in SPARSE)
    if shape.shape != (2,) or min(shape) < 1 or shape[0] % shape[1]:
        raise ValueError(f"shape {shape.tolist()}: give (S * A, S) of the sparse matrix")
    if not rows.ndim == 1 or not rows.shape == columns.shape == probabilities.shape:
        raise ValueError(
            f"rows {rows.shape}, columns {columns.shape}, probabilities {probabilities.shape}: give as many of each"
        )
    pairs, states = map(int, shape)
    for name, numbers, count in (("rows", rows, pairs), ("columns", columns, states)):
        if numbers.dtype.kind not in "iu" or (len(numbers) and not 0 <= numbers.min() <= numbers.max() < count):
            raise ValueError(f"{name}: give whole numbers from 0 to {count - 1}")
    return sparse.csr_array((probabilities, (rows, columns)), shape=(pairs, states)), pairs // states


def _number(arrays: Mapping[str, NDArray[Any]], name: str) -> float | None:
    if name not in arrays:
        return None
    if arrays[name].size != 1:
        raise ValueError(f"{name} of shape {arrays[name].shape}: give one number")
    return float(arrays[name].reshape(()))


def _horizon(arrays: Mapping[str, NDArray[Any]]) -> int | None:
    horizon = _number(arrays, "horizon")
    if horizon is not None and not horizon.is_integer():
        raise ValueError(f"horizon {horizon}: give a whole number")
    return None if horizon is None else int(horizon)


def _texts(arrays: Mapping[str, NDArray[Any]], name: str) -> list[str] | None:
    if name not in arrays:
        return None
    kind = arrays[name].dtype.kind
    return [one.decode() if kind == "S" else str(one) for one in arrays[name].ravel().tolist()]
