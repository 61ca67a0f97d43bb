<<<<<<< HEAD
"""Benchmarks of selection."""
=======
"""What is found, and what is found by mistake, when features are selected."""
>>>>>>> wt-knockoffs
