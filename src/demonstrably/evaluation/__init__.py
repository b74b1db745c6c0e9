"""How good a policy is: rollouts, intervals, selection and comparison."""
