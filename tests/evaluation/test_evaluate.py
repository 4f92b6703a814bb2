"""Held-out prompts go through the sampler in batches that are no larger than they need to be."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import pytest

from entropy_rl.data.prompts import Prompt
from entropy_rl.data.tokenizers import countdown_tokenizer
from entropy_rl.evaluation import evaluate
from entropy_rl.parallelism import MeshConfig, batch_sharding
from entropy_rl.sampler import Sampler, Sampling
from entropy_rl.types import Rollout
from tests.policies import tiny_policy
from tests.processes.job import EvenLength

SAMPLES, TOKENS = 3, 2


@dataclass(frozen=True, kw_only=True)
class EmptyResponses(Sampler):
    """Stops at once, and remembers how many prompts it was given."""

    sizes: list[int] = field(default_factory=list, hash=False)

    def __call__(self, working, prompt_ids_PS, prompt_mask_PS, prompt_id_P, key, *, on_pause=None) -> Rollout:
        self.sizes.append(len(prompt_id_P))
        shape = (len(prompt_id_P), SAMPLES, TOKENS)
        return Rollout(
            prompt_ids_PS=prompt_ids_PS,
            prompt_mask_PS=prompt_mask_PS,
            prompt_id_P=prompt_id_P,
            response_ids_PGT=jnp.full(shape, self.stop_ids[0], jnp.int32),
            response_mask_PGT=jnp.broadcast_to(jnp.arange(TOKENS) == 0, shape),
            behavior_logp_PGT=jnp.zeros(shape),
            logp_PGT=jnp.zeros(shape),
        )


@pytest.mark.parametrize(
    ("num_prompts", "most", "sizes"),
    [(30, 256, [32]), (29, 32, [32]), (29, 12, [12, 12, 12]), (3, 12, [4]), (24, 12, [12, 12])],
)
def test_a_batch_is_filled_up_to_equal_shards_and_no_further(num_prompts, most, sizes):
    tokenizer, (policy, params) = countdown_tokenizer(), tiny_policy()
    sampler = EmptyResponses(
        policy=policy,
        sampling=Sampling(),
        stop_ids=tokenizer.stop_ids,
        pad_id=tokenizer.pad_id,
        num_samples=SAMPLES,
        max_new_tokens=TOKENS,
    )
    prompts = [
        Prompt(prompt_id=i, content="1,2=3:", answer="", data_source="test", origin="here")
        for i in range(num_prompts)
    ]
    report = evaluate(
        sampler,
        params,
        prompts,
        tokenizer,
        EvenLength(),
        jax.random.key(0),
        max_prompt_tokens=7,
        prompts_per_batch=most,
        placement=batch_sharding(MeshConfig(data=2, fsdp=2, tensor=2).build()),
    )
    assert sampler.sizes == sizes
    assert report.correct_PG.shape == (num_prompts, SAMPLES) and report.correct_PG.all()
