"""Environments in torch: batched, differentiable in the action, with the dynamics of their gymnasium namesakes."""
