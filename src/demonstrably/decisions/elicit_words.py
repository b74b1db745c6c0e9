"""What an elicitation supposes, what looks wrong with its answers, and why answers cannot all be right, in words."""

from collections.abc import Sequence

from scipy.special import bdtrc

from demonstrably.decisions.elicitation import Answer, Settings
from demonstrably.decisions.estimate import Confidence
from demonstrably.decisions.questions import Belief

SUSPECT = 6  # equal answers in a row at the end, which chance alone gives 3 times in 100
TOO_MANY = 0.01  # chance of as many wrong answers, below which `wrong` looks too low


def confidence_of(interval: tuple[float, float], settings: Settings) -> Confidence:
    """By what argument the interval holds c, and with what chance."""
    low, high = interval
    if settings.wrong == 0.0:
        return Confidence(1.0, low, high, "bisection: certain, if no answer is wrong")
    method = "confidence sequence by Ville's inequality, valid whenever one stops"
    return Confidence(settings.confidence, low, high, method)


def assumptions(settings: Settings, error: float) -> tuple[str, ...]:
    """What must be true for the statement to hold."""
    told = "no answer is wrong" if settings.wrong == 0.0 else (
        f"an answer is wrong with a chance of at most {settings.wrong:g}, whatever was asked and answered before"
    )
    if settings.indifference > 0.0:
        told += f"; within ±{settings.indifference:g} of c answers may be anything"
    known = "the person decides by the probability of the case alone"
    if error > 0.0:
        known += f", and it is known to ±{error:.3g}"
    return told, known


def notes(answers: Sequence[Answer], belief: Belief, wrong: float) -> list[str]:
    """What looks wrong with the answers."""
    found = []
    run = run_of_equals(answers)
    if wrong == 0.0 and run >= SUSPECT:
        last = answers[-1 - run].question
        found.append(
            f"the last {run} answers were all {int(answers[-1].decision)}: c lies close to {last.probability:.4g}, or "
            f"the answer to question {last.number} was wrong; with wrong=0.1 a wrong answer does no harm"
        )
    repeated = sum(one.question.repeated for one in answers)
    if repeated:
        found.append(
            f"{repeated} of {len(answers)} questions had been asked before, for want of others: the statement supposes "
            "that they were decided afresh and not from memory"
        )
    missed = int(belief.missed.min())
    if wrong > 0.0 and missed and bdtrc(missed - 1, len(answers), wrong) < TOO_MANY:
        found.append(
            f"the best threshold calls {missed} of {len(answers)} answers wrong, more than a chance of {wrong:g} makes "
            "likely: ask again with a larger wrong, or with an indifference"
        )
    return found


def run_of_equals(answers: Sequence[Answer]) -> int:
    """How many of the last answers were the same, where an earlier one differed; else 0."""
    decisions = [one.decision for one in answers]
    last = next((at for at in reversed(range(len(decisions))) if decisions[at] != decisions[-1]), None)
    return 0 if last is None else len(decisions) - 1 - last



def contradiction(answers: Sequence[Answer]) -> str:
    """Two answers that no threshold explains both."""
    yes = min((one.question for one in answers if one.decision), key=lambda question: question.probability)
    no = max((one.question for one in answers if not one.decision), key=lambda question: question.probability)
    return (
        f"answers contradict each other: 1 at {yes.probability:.4g} (question {yes.number}) but 0 at "
        f"{no.probability:.4g} (question {no.number}), which no threshold explains. People err: begin anew with a "
        "bound on the chance of a wrong answer, such as wrong=0.1"
    )
