"""Rewards given by a network of features. Importing this loads torch."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from demonstrably.tabular.span import Rewards


def network_rewards(network: torch.nn.Module, features: NDArray[np.float64]) -> Rewards:
    """The rewards that a copy of the network gives, in double precision and evaluation mode.

    `features` are (S * A, d). Raises ValueError where the network's output is not one number a row.
    """
    work = copy.deepcopy(network).double().eval()
    parameters = [parameter for parameter in work.parameters() if parameter.requires_grad]
    inputs = torch.as_tensor(features, dtype=torch.float64)
    with torch.no_grad():
        shape = tuple(work(inputs).shape)
    if shape not in ((len(features),), (len(features), 1)) or not parameters:
        raise ValueError(
            f"the network gives an output of shape {shape}: it must be trainable and give ({len(features)},)"
        )

    def evaluate(weights: NDArray[np.float64]):
        vector_to_parameters(torch.as_tensor(weights), parameters)
        rewards = work(inputs).reshape(-1)

        def pull(slope: NDArray[np.float64]) -> NDArray[np.float64]:
            slopes = torch.autograd.grad(rewards, parameters, torch.as_tensor(slope), materialize_grads=True)
            return parameters_to_vector(slopes).numpy()

        return rewards.detach().numpy(), pull

    return Rewards(parameters_to_vector(parameters).detach().numpy().copy(), evaluate)


def keep(network: torch.nn.Module, weights: NDArray[np.float64]) -> None:
    """Put weights into the network that was given, at its own precision."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    vector_to_parameters(torch.as_tensor(weights, dtype=parameters[0].dtype), parameters)
