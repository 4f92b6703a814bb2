"""What a look at a policy itself tells of a run, beyond what its metrics say: numbers only.

Measuring them needs the policy's weights, and so jax; this module does not.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Figures of the policies of a run, over the run's own prompts; None where it was not measured.

    "Base" is what the run's configuration starts from, before any warm start; "start" what the first step
    trained, and equal to base where there is no warm start; "policy" the one that is looked at.
    """

    base_entropy_nats: float | None = None
    """Token mean of the entropy of its responses, at the sampling temperature; so everywhere below."""
    base_max_probability: float | None = None
    """Mean probability of the likeliest token."""
    base_gap: float | None = None
    """Mean gap of the two largest logits, over the sampling temperature, nats."""
    start_entropy_nats: float | None = None
    start_max_probability: float | None = None
    start_gap: float | None = None
    policy_entropy_nats: float | None = None
    policy_max_probability: float | None = None
    policy_gap: float | None = None
    repetition_penalty: float | None = None
    """The penalty whose effect was measured; 1 is none."""
    entropy_without_penalty_nats: float | None = None
    entropy_with_penalty_nats: float | None = None
    entropy_bonus_change_nats: float | None = None
    """Entropy after minus before an update of nothing but the entropy bonus; a right sign raises entropy."""
    temperature: float | None = None
    """The configured one."""
    temperature_effect: float | None = None
    """Mean probability of the likeliest token at temperature 1 minus that at the temperature that responses
    are really drawn at: positive where that is above 1, negative below."""
    demonstration_overlap_fraction: float | None = None
    """Training prompts that the warm start has seen too."""
    demonstration_length_quantiles_tokens: tuple[float, float, float] | None = None
    """Minimum, median and mean of what the warm start imitated, stop token counted."""
    demonstration_loss_nats: float | None = None
    """Mean -logp of a token of the demonstrations under the start policy, at temperature 1."""
