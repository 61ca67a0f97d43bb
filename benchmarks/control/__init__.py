"""What an agent's discrete choices cost, and what entropy bonuses do to them."""
