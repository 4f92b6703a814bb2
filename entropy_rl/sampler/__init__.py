"""From prompts to rollouts: prefill a prompt once for its group, then decode all samples together."""

from entropy_rl.sampler.draw import GREEDY, Sampling, draw, token_uniforms
from entropy_rl.sampler.generate import Sampler

__all__ = ["GREEDY", "Sampler", "Sampling", "draw", "token_uniforms"]
