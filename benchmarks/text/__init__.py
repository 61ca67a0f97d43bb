"""What text generation costs, and what it is worth."""
