"""From prompts to a `Rollout`: wave after wave, each prefilled once and decoded in calls that soon end."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jaxtyping import Array, Bool, Int32

from entropy_rl.models.policy import Params
from entropy_rl.sampler import wave as programs
from entropy_rl.sampler.health import LogitHealth
from entropy_rl.sampler.settings import SamplerSettings
from entropy_rl.sampler.working import differs, working_params
from entropy_rl.types import Rollout

Look = Callable[[programs.Responses], None]
"""Sees the responses of a wave as far as they have come; their arrays are gone when the next call begins."""


def _look_away(responses: programs.Responses) -> None:
    """Without anybody who looks, nothing is waited for."""


@dataclass(frozen=True, kw_only=True)
class Sampler(SamplerSettings):
    """Samples `num_samples` responses of at most `max_new_tokens` to each prompt."""

    def needs_working_params(self, params: Params) -> bool:
        """Whether decoding reads other arrays than these: in another dtype, or otherwise laid out."""
        return differs(self.policy, params)

    def working_params(self, params: Params) -> Params:
        """What decoding reads, made by one jitted function from training's parameters: copies in the compute
        dtype, whole over fsdp; the parameters themselves where nothing would change."""
        return working_params(self.policy, params) if self.needs_working_params(params) else params

    def __call__(
        self,
        working: Params,
        prompt_ids_PS: Int32[Array, "P S"],
        prompt_mask_PS: Bool[Array, "P S"],
        prompt_id_P: Int32[Array, " P"],
        key: jax.Array,
        *,
        on_pause: Callable[[], None] = lambda: None,
        on_tokens: Look = _look_away,
        on_health: Callable[[LogitHealth], None] = lambda health: None,
    ) -> Rollout:
        """Rollout of P prompts (left padded) under `working_params`; `key` holds the run's seed and the step.

        `on_pause` is called whenever the devices have ended a call; what it raises ends the rollout.
        `on_tokens` sees what each call has drawn, and before the first one the tokens of the prefill.
        `on_health` is told at the end what the logits looked like, where the sampler watches them.
        """
        prompts = (prompt_ids_PS, prompt_mask_PS, prompt_id_P)
        num_prompts = len(prompt_id_P)
        size = min(self.prompts_per_wave or num_prompts, num_prompts)
        waves = []
        for start in range(0, num_prompts, size):
            mine = prompts if size == num_prompts else programs.take_wave(self, prompts, start, size)
            waves.append(self._sample(working, mine, key, on_pause, on_tokens))
        if self.watches_logits:
            sums = jax.device_get(programs.join_health(self, waves, num_prompts))
            on_health(LogitHealth.of(*sums, self.sampling, self.stop_ids))
        ids_PGT, mask_PGT, behavior_logp_PGT, logp_PGT = programs.join_waves(self, waves, num_prompts)
        return Rollout(
            prompt_ids_PS=prompt_ids_PS,
            prompt_mask_PS=prompt_mask_PS,
            prompt_id_P=prompt_id_P,
            response_ids_PGT=ids_PGT,
            response_mask_PGT=mask_PGT,
            behavior_logp_PGT=behavior_logp_PGT,
            logp_PGT=logp_PGT,
        )

    def _sample(
        self, working: Params, prompts: programs.Prompts, key, on_pause, on_tokens: Look
    ) -> programs.Responses:
        """One wave."""
        wave, responses = programs.prefill_wave(self, working, *prompts, key)
        on_tokens(responses)
        num_drawn, num_slots, past = 1, 0, ()
        for size in programs.segment_sizes(self.max_new_tokens):
            cache = programs.empty_segment(self, len(prompts[2]), size)
            num_slots += size
            while num_drawn < (full := min(num_slots + 1, self.max_new_tokens)):
                num_drawn = min(num_drawn + self.tokens_per_call, full)
                cache, responses, all_done = programs.decode_call(
                    self, working, wave, past, cache, responses, num_drawn
                )
                done = bool(all_done)  # waits for the devices
                on_tokens(responses)
                on_pause()
                if done:
                    return responses
            past = (*past, cache)
        return responses
