"""Benchmarks: the pace of training steps beside their matrix products alone, and what a stage costs around them."""
