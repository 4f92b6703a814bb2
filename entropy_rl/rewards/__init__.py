"""Verifiers and judges of answers. Nothing here imports jax, so that worker processes start quickly."""
