"""Benchmarks of selection."""
