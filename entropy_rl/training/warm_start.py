"""Supervised warm start: a policy learns the language of answers from demonstrations before RL begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int32

from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.models.policy import Policy
from entropy_rl.parallelism import to_global
from entropy_rl.paths import AnyPath
from entropy_rl.training.optimizer import AdamW, Optimizer
from entropy_rl.training.placement import laid_as_accumulated, laid_as_parameters, laid_state


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """Supervised training on the task's demonstrations, or on a file of them."""

    num_steps: int = 300
    """Optimiser updates."""
    batch_size: int = 128
    """Demonstrations of one update."""
    num_demonstrations: int = 20_000
    """How many the task makes; a file brings its own."""
    optimizer: Optimizer = AdamW(learning_rate=1e-3, warmup_updates=20)
    """Optimiser of the warm start alone."""
    demonstrations_file: AnyPath | None = None
    """JSONL of {"prompt", "completion"}, here or in object storage; None asks the task, which countdown can
    answer."""
    cache_folder: Path = Path("policies")
    """Where results are kept; a second run with equal settings starts from the kept policy."""

    def __post_init__(self):
        if min(self.num_steps, self.batch_size, self.num_demonstrations) < 1:
            raise ValueError(
                "num_steps, batch_size and num_demonstrations must be at least 1, got "
                f"{self.num_steps}, {self.batch_size} and {self.num_demonstrations}"
            )


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """N prompts, padded on the left, with N completions, padded on the right and ended by a stop token."""

    prompt_ids_NS: Int32[np.ndarray, "N S"]
    prompt_mask_NS: Bool[np.ndarray, "N S"]
    completion_ids_NT: Int32[np.ndarray, "N T"]
    completion_mask_NT: Bool[np.ndarray, "N T"]

    @classmethod
    def encode(cls, pairs: Sequence[tuple[str, str]], tokenizer: Tokenizer) -> "Demonstrations":
        """Tokenises pairs of texts; a stop token is added to every completion.

        Raises ValueError when there is no pair or an empty prompt.
        """
        prompts = [tokenizer.encode(prompt) for prompt, _ in pairs]
        completions = [[*tokenizer.encode(text), tokenizer.stop_ids[0]] for _, text in pairs]
        if not pairs or not all(prompts):
            raise ValueError(
                f"demonstrations need non-empty prompts, got {len(pairs)} pairs; check their source"
            )
        num_prompt, num_completion = max(map(len, prompts)), max(map(len, completions))
        prompt_ids_NS = np.full((len(pairs), num_prompt), tokenizer.pad_id, np.int32)
        completion_ids_NT = np.full((len(pairs), num_completion), tokenizer.pad_id, np.int32)
        prompt_mask_NS, completion_mask_NT = (
            np.zeros(x.shape, bool) for x in (prompt_ids_NS, completion_ids_NT)
        )
        for n, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            prompt_ids_NS[n, -len(prompt) :], prompt_mask_NS[n, -len(prompt) :] = prompt, True
            completion_ids_NT[n, : len(completion)], completion_mask_NT[n, : len(completion)] = (
                completion,
                True,
            )
        return cls(
            prompt_ids_NS=prompt_ids_NS,
            prompt_mask_NS=prompt_mask_NS,
            completion_ids_NT=completion_ids_NT,
            completion_mask_NT=completion_mask_NT,
        )

    def rows(self, index_B: np.ndarray) -> tuple[np.ndarray, ...]:
        """The arrays of some demonstrations, in the order of the fields."""
        arrays = (self.prompt_ids_NS, self.prompt_mask_NS, self.completion_ids_NT, self.completion_mask_NT)
        return tuple(x[index_B] for x in arrays)


def supervised_loss(
    policy: Policy,
    params,
    prompt_ids_BS: Int32[Array, "B S"],
    prompt_mask_BS: Bool[Array, "B S"],
    completion_ids_BT: Int32[Array, "B T"],
    completion_mask_BT: Bool[Array, "B T"],
) -> Float[Array, ""]:
    """Mean negative log-likelihood of the completion tokens, nats."""
    hidden_BTD = policy.response_hidden(params, prompt_ids_BS, prompt_mask_BS, completion_ids_BT)
    logp_BT, _ = policy.token_statistics(params, hidden_BTD, completion_ids_BT)
    logp_BT = jnp.where(completion_mask_BT, logp_BT, 0)
    return -jnp.sum(logp_BT) / jnp.sum(completion_mask_BT)


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _init(policy: Policy, optimizer: Optimizer, params):
    return _laid(policy, optimizer, params, optimizer.init(params))


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _update(policy: Policy, optimizer: Optimizer, state, batch):
    params, opt_state = state
    loss, grads = jax.value_and_grad(partial(supervised_loss, policy))(params, *batch)
    grads = laid_as_accumulated(policy, grads)
    updates, opt_state = optimizer.transformation().update(grads, opt_state, params)
    return _laid(policy, optimizer, optax.apply_updates(params, updates), opt_state), loss


def _laid(policy: Policy, optimizer: Optimizer, params, opt_state):
    """(parameters, optimiser state), lying as every update finds and leaves them."""
    return laid_as_parameters(policy, params), laid_state(policy, optimizer, opt_state, params)


def warm_start(
    policy: Policy,
    params,
    demonstrations: Demonstrations,
    settings: WarmStart,
    *,
    seed: int,
    placement: jax.sharding.Sharding | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
):
    """Trains `params` (donated) on demonstrations drawn by `seed`; calls `on_step(step, loss)` as it goes.

    `placement` is the sharding of the rows of a batch (None: one device).

    Returns the new parameters. Raises RuntimeError when the loss stops being finite.
    """
    rng = np.random.default_rng(seed)
    num = len(demonstrations.prompt_ids_NS)
    state = _init(policy, settings.optimizer, params)
    for step in range(1, settings.num_steps + 1):
        batch = demonstrations.rows(rng.integers(num, size=settings.batch_size))
        if placement is not None:
            batch = to_global(batch, placement)
        state, loss = _update(policy, settings.optimizer, state, batch)
        if not np.isfinite(loss := float(loss)):
            raise RuntimeError(
                f"the loss of warm-start step {step} is {loss}; lower warm_start.optimizer.learning_rate"
            )
        on_step(step, loss)
    return state[0]
