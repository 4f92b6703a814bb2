"""Benchmarks: figures with their conditions, never tests."""
