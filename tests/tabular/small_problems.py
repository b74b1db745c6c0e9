"""Small problems with known answers, random ones of every kind, and an oracle that shares nothing with the library.

The oracle is dense and slow: null spaces of the whole system over rewards and potentials, and enumerated trajectories.
"""

from collections.abc import Iterator

import numpy as np

from demonstrably.tabular.mdp import MDP

TOLERANCE = 1e-9


def moves(next_states) -> np.ndarray:
    """(S, A, S) of deterministic transitions from a table (S, A) of next states."""
    table = np.asarray(next_states)
    return np.eye(len(table))[table]


STAY_OR_MOVE = moves([[0, 1], [1, 0]])
ABSORBING = moves([[0, 1], [1, 1]])


def cycle_of_classes(sizes: list[int]) -> np.ndarray:
    """(S, A, S): every state of a class leads to every state of the next class, and so on around."""
    ends = np.cumsum([0, *sizes])
    table = np.zeros((ends[-1], max(sizes)), int)
    for index, size in enumerate(sizes):
        after = (index + 1) % len(sizes)
        table[ends[index] : ends[index] + size] = ends[after] + np.arange(max(sizes)) % sizes[after]
    return moves(table)


def grid(size: int = 5, slip: float = 0.1, *, waits: bool = True) -> np.ndarray:
    """(S, 4, S): moves up, down, left, right, that slip to one of the four sides or, if `waits`, to staying.

    Against a wall the agent stays. Without `waits` there are no walls among its sides, and a blocked move takes one of
    the open ones.
    """
    probabilities = np.zeros((size * size, 4, size * size))
    for state in range(size * size):
        row, column = divmod(state, size)
        places = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        ahead = [r * size + c if 0 <= r < size and 0 <= c < size else None for r, c in places]
        neighbors = [place for place in ahead if place is not None]
        outcomes = [state, *(state if place is None else place for place in ahead)] if waits else neighbors
        for action in range(4):
            blocked = state if waits else neighbors[action % len(neighbors)]
            meant = ahead[action] if ahead[action] is not None else blocked
            probabilities[state, action, meant] += 1 - slip
            for outcome in outcomes:
                probabilities[state, action, outcome] += slip / len(outcomes)
    return probabilities


def exogenous(factor: int, rest: int, actions: int, generator: np.random.Generator) -> np.ndarray:
    """(S, A, S) with state x * rest + y, where x moves by chance alone and y by the action."""
    chain = generator.dirichlet(np.ones(factor), factor)
    inner = generator.dirichlet(np.ones(rest), (factor, rest, actions))
    return np.einsum("xz,xyaw->xyazw", chain, inner).reshape(factor * rest, actions, factor * rest)


def random_transitions(kind: str, generator: np.random.Generator) -> np.ndarray:
    """(S, A, S) of a kind."""
    states, actions = int(generator.integers(1, 6)), int(generator.integers(1, 4))
    if kind == "deterministic":
        return moves(generator.integers(states, size=(states, actions)))
    if kind == "stochastic":
        return generator.dirichlet(np.ones(states), (states, actions))
    if kind == "sparse":
        weights = generator.random((states, actions, states)) * (generator.random((states, actions, states)) < 0.4)
        weights += moves(generator.integers(states, size=(states, actions)))
        return weights / weights.sum(2, keepdims=True)
    if kind == "periodic":
        return cycle_of_classes(generator.integers(1, 4, size=int(generator.integers(1, 4))).tolist())
    if kind == "absorbing":
        table = generator.integers(states, size=(states, actions))
        table[generator.integers(states)] = generator.integers(states)
        end = int(generator.integers(states))
        table[end] = end
        return moves(table)
    if kind == "exogenous":
        return exogenous(2, int(generator.integers(1, 4)), actions, generator)
    return np.full((states, actions, states), 1 / states)


KINDS = ("deterministic", "stochastic", "sparse", "periodic", "absorbing", "exogenous", "uniform")


def random_starts(states: int, generator: np.random.Generator) -> np.ndarray:
    """Probabilities (S,) with a random support, full in a third of the cases."""
    support = generator.random(states) < generator.choice([0.3, 0.6, 1.0])
    support[generator.integers(states)] = True
    return support / support.sum()


def random_problems(count: int, seed: int) -> Iterator[tuple[list[MDP], object, np.ndarray]]:
    """Experts, a form of reward, and its matrix (S * A, D): with and without end, one to three experts."""
    for index in range(count):
        generator = np.random.default_rng([seed, index])
        first = random_transitions(KINDS[index % len(KINDS)], generator)
        experts = [_random_expert(first, generator) for _ in range(int(generator.choice([1, 1, 2, 2, 3])))]
        states, actions = first.shape[:2]
        form = ["state_action", "state_action", "state", "features"][int(generator.integers(4))]
        matrix = np.eye(states * actions)
        if form == "state":
            matrix = np.repeat(np.eye(states), actions, axis=0)
        elif form == "features":
            matrix = generator.standard_normal((states * actions, int(generator.integers(1, states * actions + 1))))
            matrix[:, 0] = generator.choice([1, matrix[0, 0]], size=states * actions)
            form = matrix
            if np.linalg.matrix_rank(matrix) < matrix.shape[1]:
                form, matrix = "state_action", np.eye(states * actions)
        yield experts, form, matrix


def _random_expert(transitions: np.ndarray, generator: np.random.Generator) -> MDP:
    states, actions = transitions.shape[:2]
    if generator.random() < 0.3:  # another environment: some rows changed
        transitions = transitions.copy()
        for _ in range(int(generator.integers(1, states * actions + 1))):
            row = generator.integers(states), generator.integers(actions)
            transitions[row] = generator.dirichlet(np.ones(states))
    starts = random_starts(states, generator)
    if generator.random() < 0.5:
        return MDP(transitions, discount=float(generator.choice([0.0, 0.3, 0.5, 0.9])), initial=starts)
    discount = float(generator.choice([0.5, 0.9, 1.0]))
    return MDP(transitions, discount=discount, horizon=int(generator.integers(1, 7)), initial=starts)


def null_space(matrix: np.ndarray) -> np.ndarray:
    """Orthonormal columns, by the plainest of singular value decompositions."""
    if not len(matrix):
        return np.eye(matrix.shape[1])
    _, values, right = np.linalg.svd(matrix)
    return right[int((values > TOLERANCE * max(1, values.max(initial=0))).sum()) :].T


def oracle(experts: list[MDP], matrix: np.ndarray, *, pathwise: bool = False) -> np.ndarray:
    """Orthonormal open rewards (S * A, m): null space over weights and potentials of all experts, whole.

    With `pathwise` each outcome of a pair has an equation of its own, which is trajectory equivalence.
    """
    systems = [_equations(mdp, pathwise) for mdp in experts]
    sizes = [potentials.shape[1] for _, potentials in systems]
    rows = []
    for index, (rewards, potentials) in enumerate(systems):
        parts = [np.zeros((len(rewards), size)) for size in sizes]
        parts[index] = potentials
        rows.append(np.hstack([rewards @ matrix, *parts]))
    weights = null_space(np.vstack(rows))[: matrix.shape[1]]
    left, values, _ = np.linalg.svd(matrix @ weights, full_matrices=False)
    return left[:, values > TOLERANCE]


def _equations(mdp: MDP, pathwise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of d(s, a) and of the potentials, for d + discount * (next potential) - potential = 0."""
    dense = mdp.transitions.toarray()
    times = range(mdp.horizon) if mdp.horizon is not None else range(1)
    states = mdp.states
    possible = mdp.starts > 0
    if mdp.horizon is None:
        for _ in range(states):
            possible = possible | (dense.reshape(states, mdp.actions, states)[possible] > 0).any((0, 1))
    rewards, potentials = [], []
    for time in times:
        for pair in np.flatnonzero(np.repeat(possible, mdp.actions)):
            outcomes = [np.eye(states)[s] for s in np.flatnonzero(dense[pair])] if pathwise else [dense[pair]]
            for outcome in outcomes:
                line = np.zeros((len(times) + 1, states))
                line[time, pair // mdp.actions] -= 1
                line[time + 1 if mdp.horizon is not None else 0] += mdp.discount * outcome
                rewards.append(np.eye(mdp.pairs)[pair])
                potentials.append(line[: len(times)].ravel())  # the potential at the end is 0
        possible = (dense.reshape(states, mdp.actions, states)[possible] > 0).any((0, 1))
    return np.array(rewards).reshape(-1, mdp.pairs), np.array(potentials).reshape(-1, len(times) * states)


def path_matrix(mdp: MDP, start: int) -> np.ndarray:
    """(trajectories, S * A): discounted visits along every possible trajectory from a start, enumerated."""
    dense = mdp.transitions.toarray()
    paths: list[tuple[int, np.ndarray]] = [(start, np.zeros(mdp.pairs))]
    for time in range(mdp.horizon or 0):
        longer = {}
        for state, visits in paths:
            for pair in range(state * mdp.actions, (state + 1) * mdp.actions):
                more = visits + mdp.discount**time * np.eye(mdp.pairs)[pair]
                for after in np.flatnonzero(dense[pair]):
                    longer[int(after), more.round(9).tobytes()] = (int(after), more)
        paths = list(longer.values())
    return np.unique(np.array([visits for _, visits in paths]).round(9), axis=0)


def trajectory_equivalence(mdp: MDP) -> int:
    """Dimension of the rewards that are a constant of the start along all trajectories, by enumeration."""
    matrices = [path_matrix(mdp, int(start)) for start in np.flatnonzero(mdp.starts)]
    return mdp.pairs - np.linalg.matrix_rank(np.vstack([m - m[:1] for m in matrices]), tol=1e-7)
