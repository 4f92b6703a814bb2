"""Rewards for programs: unit tests, run in sandboxes."""

CODE_JUDGE = "entropy_rl.rewards.code.judge:judge"
"""Name of the judge; its settings are the keyword arguments of that function."""
