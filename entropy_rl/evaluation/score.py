"""Log-probs and entropies of given texts under a policy."""

from collections.abc import Iterable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.models.policy import Policy


@partial(jax.jit, static_argnums=0)
def _statistics(policy: Policy, params, tokens_BT):
    """Log-prob and entropy [B, T - 1] of every token after the first."""
    hidden_BTD = policy.sequence_hidden(params, tokens_BT)[:, :-1]
    return policy.token_statistics(params, hidden_BTD, tokens_BT[:, 1:])


def score_rows(
    policy: Policy, params, tokenizer: Tokenizer, rows: Iterable[tuple[str, str]]
) -> Iterator[dict[str, list[float]]]:
    """For each (prompt, completion): {"logps", "entropies"}, nats, one a completion token, temperature 1.

    Prompt and completion are tokenised each by itself, without chat template or special tokens, and joined as
    ids. Raises ValueError for an empty prompt, which leaves nothing to condition the first token on.
    """
    for number, (prompt, completion) in enumerate(rows, start=1):
        prompt_ids, completion_ids = tokenizer.encode(prompt), tokenizer.encode(completion)
        if not prompt_ids:
            raise ValueError(f"row {number}: the prompt must have at least one token, got {prompt!r}")
        ids = prompt_ids + completion_ids
        # Powers of two: few shapes to compile, and causal attention never looks at the padding.
        tokens_1T = np.full((1, max(16, 1 << (len(ids) - 1).bit_length())), tokenizer.pad_id, np.int32)
        tokens_1T[0, : len(ids)] = ids
        logp, entropy = _statistics(policy, params, jnp.asarray(tokens_1T))
        answer = slice(len(prompt_ids) - 1, len(ids) - 1)
        yield {
            "logps": np.asarray(logp[0, answer]).tolist(),
            "entropies": np.asarray(entropy[0, answer]).tolist(),
        }
