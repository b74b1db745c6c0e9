"""All the weights of a policy: encoder, body, a last linear layer, and the scaling of its actions."""

from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from demonstrably.nets.encoder import Encoder
from demonstrably.nets.heads import Head, Scaling
from demonstrably.nets.linear import Generators, Linear
from demonstrably.nets.mlp import Layers
from demonstrably.nets.recurrent import Recurrence
from demonstrably.nets.stationary import Periodic
from demonstrably.nets.transformer import Blocks
from demonstrably.spec import Continuous, Spec

Body = Layers | Recurrence | Blocks | Periodic


class Actor(nn.Module):
    """From observations to the loss of the demonstrated action, or to an action of its own."""

    def __init__(
        self, spec: Spec, encoder: Encoder, body: Body, head: Head, draws: Generators, last: Linear | None = None
    ):
        """`last` gives what the head reads, from the body's outputs; None: a linear layer."""
        super().__init__()
        self.spec = spec
        self.encoder, self.body, self.head = encoder, body, head
        self.last = last or Linear(body.outputs, head.outputs(spec.action), draws)
        self.noise = head.noise(spec.action)
        self.scaling = Scaling(spec.action, len(draws)) if isinstance(spec.action, Continuous) else None

    def loss(self, hidden: Float[Tensor, "M *lead width"], actions: Num[Tensor, "M ..."]) -> Float[Tensor, "M *lead"]:
        """Loss of each demonstrated action, in the environment's units, given the body's outputs."""
        return self.head.loss(self.outputs(hidden), self.scaling.inward(actions) if self.scaling else actions)

    def act(self, hidden: Float[Tensor, "M B width"], noise: Float[Tensor, "M B n"]) -> Num[Tensor, "M B *action"]:
        """Actions in the environment's units."""
        actions = self.head.act(self.outputs(hidden), noise)
        return self.scaling.outward(actions) if self.scaling else actions

    def outputs(self, hidden: Float[Tensor, "M *lead width"]) -> Float[Tensor, "M *lead outputs"]:
        """What the head reads; float32 whatever the precision of the layers before."""
        flat = hidden.reshape(hidden.shape[0], -1, hidden.shape[-1])
        return self.last(flat).float().view(*hidden.shape[:-1], -1)


def masked_mean(values: Float[Tensor, "M *lead"], mask: Bool[Tensor, "M *lead"]) -> Float[Tensor, "M"]:
    """Mean over what the mask keeps, a member."""
    kept = mask.flatten(1)
    return (values.flatten(1) * kept).sum(1) / kept.sum(1)
