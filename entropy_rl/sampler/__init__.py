"""From prompts to rollouts: prefill a prompt once for its group, then decode all samples together."""

from entropy_rl.sampler.draw import GREEDY, Sampling, draw, token_uniforms
from entropy_rl.sampler.generate import Sampler
from entropy_rl.sampler.health import LogitHealth

__all__ = ["GREEDY", "LogitHealth", "Sampler", "Sampling", "draw", "token_uniforms"]
