"""The chosen responses of a step as they are recorded: token by token, with text, reward and advantage."""

from collections.abc import Sequence

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.observability.rollout_records import RolloutRecord
from entropy_rl.parallelism import is_main
from entropy_rl.step_batch import StepBatch
from entropy_rl.training.chosen_rollouts import SeenResponse, chosen_responses
from entropy_rl.training.step import SeenTokens


def rollout_records(
    seen: Sequence[SeenTokens],
    batch: StepBatch,
    adv_PG: Float[np.ndarray, "P G"],
    tokenizer: Tokenizer,
    mesh: Mesh,
    *,
    step: int,
    number: int,
) -> list[RolloutRecord]:
    """So many responses of the step; only the main process is given them, but all must call it."""
    responses = chosen_responses(seen, batch.correct_PG, batch.filled_P, number, mesh)
    if not is_main():
        return []
    return [_record(response, batch, adv_PG, tokenizer, step) for response in responses]


def _record(
    response: SeenResponse, batch: StepBatch, adv_PG: np.ndarray, tokenizer: Tokenizer, step: int
) -> RolloutRecord:
    ids, at = response.ids_T.tolist(), (response.row, response.sample)
    stopped = bool(ids) and ids[-1] in tokenizer.stop_ids
    texts = {token_id: tokenizer.decode([token_id]) for token_id in set(ids)}
    return RolloutRecord(
        step=step,
        prompt_id=response.prompt_id,
        sample=response.sample,
        prompt=tokenizer.decode(response.prompt_ids_S.tolist()),
        response=tokenizer.decode(ids[: len(ids) - stopped]),
        reward=float(batch.reward_PG[at]),
        correct=bool(batch.correct_PG[at]),
        advantage=float(adv_PG[at]),
        truncated=not stopped,
        stale=batch.stale_P is not None and bool(batch.stale_P[response.row]),
        update=response.update,
        tokens=[texts[token_id] for token_id in ids],
        token_ids=ids,
        entropy=response.entropy_T.tolist(),
        logp=response.logp_T.tolist(),
        covariance=[value if np.isfinite(value) else None for value in response.covariance_T.tolist()],
        selected=response.selected_T.tolist(),
    )
