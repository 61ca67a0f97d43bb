"""What is found, and what is found by mistake, when features are selected."""
