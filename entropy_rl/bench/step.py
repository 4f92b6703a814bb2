"""How long the parts of one training step take after warm-up, on the present device."""

import statistics
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from entropy_rl.host_memory import peak_memory_bytes
from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.policy import Policy
from entropy_rl.objectives import GroupAdvantage, KLCov
from entropy_rl.observability.clock import Clock
from entropy_rl.sampler import Sampler, Sampling
from entropy_rl.training.layout import Padded
from entropy_rl.training.learner import Learner
from entropy_rl.training.optimizer import AdamW
from entropy_rl.training.step import learn

NUM_WARMUP_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One step: sizes of the policy and of its batch; one optimiser update, no stop token."""

    architecture: Qwen2Config
    num_prompts: int
    num_samples: int
    num_prompt_tokens: int
    num_new_tokens: int

    @property
    def num_response_tokens(self) -> int:
        """Response tokens of a step."""
        return self.num_prompts * self.num_samples * self.num_new_tokens


def _architecture(num_layers: int, hidden_size: int, vocab_size: int) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=vocab_size,
        num_layers=num_layers,
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_heads=4,
        num_kv_heads=2,
        head_dim=hidden_size // 4,
        rope_theta=1e4,
        tie_embeddings=True,
    )


WORKLOADS = {
    "tiny": Workload(
        architecture=_architecture(4, 128, 64),
        num_prompts=32,
        num_samples=8,
        num_prompt_tokens=16,
        num_new_tokens=32,
    ),
    "vocab": Workload(
        architecture=_architecture(2, 256, 151_936),
        num_prompts=8,
        num_samples=4,
        num_prompt_tokens=32,
        num_new_tokens=64,
    ),
}


def bench_step(workload: Workload, *, repeats: int) -> dict:
    """Medians and ranges (seconds) over `repeats` steps of KL-Cov, f32, after two steps that are not timed.

    `old_logp_s` is what the step really spends on old log-probs: with one update a rollout they are the
    current ones, and it is 0. The reward is the share of tokens in the lower half of the vocabulary.
    """
    policy = Policy(workload.architecture, "float32")
    sampler = Sampler(
        policy=policy,
        sampling=Sampling(),
        stop_ids=(),
        pad_id=0,
        num_samples=workload.num_samples,
        max_new_tokens=workload.num_new_tokens,
    )
    learner = Learner(policy=policy, objective=KLCov(), optimizer=AdamW(learning_rate=1e-4), layout=Padded())
    state = learner.init(jax.jit(policy.init)(jax.random.key(0)))
    shape = (workload.num_prompts, workload.num_prompt_tokens)
    prompt_id_P, mask_PS = jnp.arange(workload.num_prompts, dtype=jnp.int32), jnp.ones(shape, bool)
    steps = []
    for step in range(NUM_WARMUP_STEPS + repeats):
        step_key = jax.random.fold_in(jax.random.key(1), step)
        ids_PS = jax.random.randint(step_key, shape, 0, workload.architecture.vocab_size, jnp.int32)
        clock = Clock()
        with clock("rollout"):
            rollout = jax.block_until_ready(sampler(state.params, ids_PS, mask_PS, prompt_id_P, step_key))
        low_PGT = rollout.response_ids_PGT < workload.architecture.vocab_size // 2
        adv_PG = GroupAdvantage()(low_PGT.mean(axis=-1))
        state, *_ = learn(
            learner, state, rollout, adv_PG, step_key, prompts_per_update=workload.num_prompts, clock=clock
        )
        steps.append(clock.seconds | {"step": clock.total_seconds})
    return _report(workload, steps)


def _report(workload: Workload, steps: list[dict[str, float]]) -> dict:
    timed, num_tokens = steps[NUM_WARMUP_STEPS:], workload.num_response_tokens
    report: dict = {"backend": jax.default_backend(), "jax": jax.__version__, "steps": len(timed)}
    report["first_step_s"] = round(steps[0]["step"], 3)
    for phase in ("rollout", "old_logp", "update", "step"):
        seconds = [step[phase] for step in timed]
        report[f"{phase}_s"] = round(statistics.median(seconds), 4)
        report[f"{phase}_range_s"] = [round(min(seconds), 4), round(max(seconds), 4)]
    for phase in ("rollout", "update", "step"):
        report[f"{phase}_tokens_per_second"] = round(num_tokens / report[f"{phase}_s"])
    report["peak_memory_mib"] = peak_memory_bytes() >> 20
    return report
