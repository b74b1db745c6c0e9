"""Find what a person weighs against what by asking for decisions on chosen cases."""

from collections.abc import Callable
from pathlib import Path

from numpy.typing import ArrayLike

from demonstrably.decisions.elicit_session import ElicitSession
from demonstrably.decisions.elicitation import Elicitation, Question, Settings
from demonstrably.decisions.posterior import Posterior

Ask = Callable[[Question], bool | None]


def elicit(
    ask: Ask,
    posterior: ArrayLike | Posterior | None,
    *,
    precision: float,
    confidence: float = 0.95,
    wrong: float = 0.0,
    indifference: float = 0.0,
    journal: str | Path | None = None,
    limit: int | None = None,
) -> Elicitation:
    """Asks for decisions on chosen cases until the relative cost c is known to +-`precision`.

    The person decides 1 for a case of probability q where q >= c. With wrong = 0 questions halve the interval, and
    ceil(log2(1 / (2 precision))) of them suffice where cases lie everywhere. With `wrong` > 0 they halve the weight
    that `questions` gives to every c, and the interval holds c with the chance `confidence`.

    Args:
        ask: decides the case of a `Question`: True for 1, False for 0, None to stop and keep what there is.
        posterior: (n,) probabilities of the cases that can be asked about, in [0, 1]; a `Posterior`, whose largest
            error widens the statement; or None, for questions about any probability.
        precision: half-width of the interval to reach, in (0, 0.5).
        wrong: bound on the chance of a wrong answer, in [0, 0.5), whatever was asked and answered before.
        indifference: within this of c answers may be anything; it widens the statement, too.
        journal: a file that keeps every answer before the next question. The same call with the same file goes on from
            there; precision and limit may be others.
        limit: questions at most.

    Raises ValueError for settings outside their ranges, for a posterior whose error is as large as the precision, and
    for a journal of another elicitation, or a broken one.
    """
    settings = Settings(precision, confidence, wrong, indifference, limit)
    session = ElicitSession(posterior, settings, journal=journal)
    while (question := session.question()) is not None:
        decision = ask(question)
        if decision is None:
            break
        if decision not in (True, False):  # 0, 1 and numpy's are equal to these
            raise ValueError(f"ask answered {decision!r}: return True for 1, False for 0, or None to stop")
        session.answer(bool(decision))
    return session.result()
