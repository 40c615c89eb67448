"""Benchmarks: how fast a training step is beside what its matrix products alone take, and what a stage costs around it."""
