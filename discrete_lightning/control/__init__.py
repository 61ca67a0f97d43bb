"""Control: an agent's discrete action, trained by score functions or along the path through a differentiable environment."""
