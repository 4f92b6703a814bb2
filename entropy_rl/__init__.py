"""Reinforcement learning of reasoning models without entropy collapse, native to JAX.

GRPO with Clip-Cov and KL-Cov (arXiv 2505.22617). This package root imports nothing, so that worker
processes, which must stay free of jax, can import `entropy_rl.rewards` cheaply.
"""
