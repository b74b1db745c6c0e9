"""Behavioral cloning: maximize the likelihood of the demonstrated action given the observation alone.

Pomerleau 1989, "ALVINN"; as studied in Mandlekar et al. 2021 (robomimic), arXiv 2108.03298, section 4 and appendix D.

Uses: Eq. 1, the negative log-likelihood.
**Departures** from robomimic: observations are normalized by the data's exact statistics (its presets do not), an
average of the weights acts, the padding at the ends of episodes enters no loss, and steps are drawn with replacement.
`--preset robomimic` gives the study's hyperparameters, observations as recorded and the weights as they are.
"""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from demonstrably.data.batches import StepBatch, Steps
from demonstrably.learners.adam import Adam, PerMember
from demonstrably.learners.contract import Learner, Metrics, State, autocast
from demonstrably.learners.policies import ActorPolicy, actor_of
from demonstrably.nets.actor import Actor
from demonstrably.nets.average import check_decay, follow
from demonstrably.nets.encoder import Encoder
from demonstrably.nets.heads import Head, head_for
from demonstrably.nets.linear import generators
from demonstrably.nets.mlp import MLP
from demonstrably.nets.vision import ResNet18, SmallCNN
from demonstrably.spec import Spec

# --- losses ---


def likelihood_loss(
    actor: Actor, batch: StepBatch, keys: Int64[Tensor, "M"] | None, counter: Tensor
) -> Float[Tensor, "M"]:
    """Eq. 1: - E log pi(a | o), over single steps."""
    hidden = actor.body(actor.encoder(batch.observations, keys, counter))
    return actor.loss(hidden, batch.actions).mean(1)


# --- learner ---


@dataclass(frozen=True)
class BC(Learner):
    """Behavioral cloning from single steps. A field typed `PerMember` takes one value, or one a member."""

    learning_rate: PerMember = 1e-4
    batch_size: int = 100
    weight_decay: PerMember = 0.0
    gradient_clip: float | None = None
    average: float = 0.999  # decay of the average of weights that acts; 0 acts by the weights themselves
    normalize: bool = True
    body: MLP = MLP((1024, 1024))
    head: Head | None = None  # None: a mixture of five Gaussians, or categorical where actions are discrete
    vision: ResNet18 | SmallCNN = ResNet18()
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        check_decay(self.average)

    def reads(self) -> Steps:
        """Single steps."""
        return Steps(self.batch_size)

    def init(self, spec: Spec, *, members: int, seed: int, device: str | torch.device) -> State:
        """An actor and its optimizer."""
        draws = generators(members, seed)
        encoder = Encoder(spec.observations, self.vision, normalize=self.normalize, draws=draws)
        body = self.body.build(encoder.outputs, draws)
        actor = Actor(spec, encoder, body, head_for(self.head, spec.action), draws).to(device)
        adam = Adam(
            actor,
            self.learning_rate,
            members=members,
            weight_decay=self.weight_decay,
            gradient_clip=self.gradient_clip,
        )
        networks: dict[str, nn.Module] = {"actor": actor}
        if self.average:
            networks["average"] = copy.deepcopy(actor)
        return State.of(networks, {"actor": adam}, members=members, seed=seed, device=device)

    def step(self, state: State, batch: StepBatch) -> Metrics:
        """One update of the actor."""
        with autocast(state, self.precision):
            loss = likelihood_loss(actor_of(state), batch, state.noise, state.step)
        state.optimizers["actor"].step(loss)
        if self.average:
            follow(state.networks["average"], state.networks["actor"], 1 - self.average, state.step)
        state.step += 1
        return {"loss": loss.detach()}

    def loss(self, state: State, batch: StepBatch) -> Float[Tensor, "M"]:
        """Eq. 1 of the weights that act, on images cropped at their center."""
        return likelihood_loss(self._acting(state), batch, None, state.step)

    def policy(self, state: State) -> ActorPolicy:
        """The actor, or the average of its weights."""
        return ActorPolicy(self._acting(state).spec, self._acting(state))

    def _acting(self, state: State) -> Actor:
        return actor_of(state, "average" if self.average else "actor")


PRESETS = {
    # Mandlekar et al. 2021, tables of hyperparameters; low-dimensional observations, and images (84 x 84).
    "robomimic": BC(normalize=False, average=0.0),
    "robomimic-image": BC(normalize=False, average=0.0, batch_size=16),
}
