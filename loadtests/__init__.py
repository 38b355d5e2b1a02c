"""Benchmarks and load; docs/benchmarks.md says what they measure and how to run them."""
