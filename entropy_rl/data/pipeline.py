"""The stream of training prompts: shuffled by seed, mixed by weight, in batches, resumed where it stopped.

No batch ever holds a prompt twice, which matters because the random keys of a response follow from the
identity of its prompt (entropy_rl.data.order).

With several processes each reads the whole prompt file, since the order is one of all prompts and every
process must draw the same batches; it is small beside one rollout (DAPO-Math: 17 thousand rows). What is
divided is the work on prompts: each process counts the tokens of its share, encodes the rows of a batch that
its devices hold, and grades the responses that it owns.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int32

from entropy_rl.data.order import MixedOrder
from entropy_rl.data.prompts import Prompt, within_length
from entropy_rl.data.tokenizers import Tokenizer


@dataclass(frozen=True, kw_only=True)
class PromptBatch:
    """P prompts as token ids, padded on the left to S positions; rows that were left out are padding."""

    prompt_ids_PS: Int32[np.ndarray, "P S"]
    prompt_mask_PS: Bool[np.ndarray, "P S"]
    prompt_id_P: Int32[np.ndarray, " P"]
    prompts: tuple[Prompt, ...]


def collate(
    prompts: Sequence[Prompt],
    tokenizer: Tokenizer,
    max_prompt_tokens: int,
    rows: Int[np.ndarray, " rows"] | None = None,
) -> PromptBatch:
    """Encodes prompts (`rows`: only these of them) and pads them on the left.

    Raises ValueError when one is too long: none is cut.
    """
    prompt_ids_PS = np.full((len(prompts), max_prompt_tokens), tokenizer.pad_id, np.int32)
    prompt_mask_PS = np.zeros(prompt_ids_PS.shape, bool)
    for row in range(len(prompts)) if rows is None else rows:
        prompt = prompts[row]
        ids = prompt.encode(tokenizer)
        if not 0 < len(ids) <= max_prompt_tokens:
            raise ValueError(
                f"a prompt must have 1 to max_prompt_tokens={max_prompt_tokens} tokens; {prompt.origin} has "
                f"{len(ids)}; raise max_prompt_tokens or leave the prompt out with within_length"
            )
        prompt_ids_PS[row, -len(ids) :] = ids
        prompt_mask_PS[row, -len(ids) :] = True
    return PromptBatch(
        prompt_ids_PS=prompt_ids_PS,
        prompt_mask_PS=prompt_mask_PS,
        prompt_id_P=np.array([prompt.prompt_id for prompt in prompts], np.int32),
        prompts=tuple(prompts),
    )


class PromptPipeline:
    """Endless iterator over batches of training prompts, whose position is part of a checkpoint.

    Prompts over `max_prompt_tokens` are left out and counted in `num_too_long`. `rows` are those of a batch
    that are encoded (None: all), `weights` those of the parts of a mixture. Raises ValueError when fewer
    prompts than one batch remain, or fewer of a part than its share; the error calls the size of a batch
    `size_setting`.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        tokenizer: Tokenizer,
        *,
        prompts_per_batch: int,
        max_prompt_tokens: int,
        seed: int,
        rows: Int[np.ndarray, " rows"] | None = None,
        weights: Sequence[float] = (1.0,),
        size_setting: str = "prompts_per_batch",
    ):
        self.prompts = within_length(prompts, tokenizer, max_prompt_tokens)
        self.num_too_long = len(prompts) - len(self.prompts)
        self.check_batch(prompts_per_batch, size_setting)
        self._tokenizer = tokenizer
        self._max_prompt_tokens = max_prompt_tokens
        self._rows = rows
        self._fingerprint = self._digest(prompts_per_batch, seed, weights)
        part_of = [prompt.part for prompt in self.prompts]
        self._order = MixedOrder(
            part_of, weights, per_batch=prompts_per_batch, seed=seed, size_setting=size_setting
        )

    def __iter__(self) -> Iterator[PromptBatch]:
        return self

    def __next__(self) -> PromptBatch:
        prompts = [self.prompts[index] for index in next(self._order)]
        return collate(prompts, self._tokenizer, self._max_prompt_tokens, self._rows)

    def check_batch(self, num_prompts: int, setting: str) -> None:
        """Raises ValueError, which names the setting, when there are not so many different prompts."""
        if not 1 <= num_prompts <= len(self.prompts):
            raise ValueError(
                f"{setting} must be 1 to the number of usable prompts, {len(self.prompts)} "
                f"({self.num_too_long} too long), since none is twice in a batch; got {num_prompts}; "
                "lower it or bring more prompts"
            )

    def get_state(self) -> dict:
        """The position, as an object that JSON can hold."""
        return {"position": self._order.get_state(), "fingerprint": self._fingerprint}

    def set_state(self, state: dict) -> None:
        """Continues where `get_state` was taken. Raises ValueError when the prompts are not the same."""
        if state["fingerprint"] != self._fingerprint:
            raise ValueError(
                "a data position can be restored only over the same prompts, weights, size of batches and "
                f"seed; got fingerprint {self._fingerprint}, the position has {state['fingerprint']}; bring "
                "back the data and these settings, or start a new run"
            )
        self._order.set_state(state["position"])

    def _digest(self, prompts_per_batch: int, seed: int, weights: Sequence[float]) -> str:
        digest = hashlib.sha256(f"{prompts_per_batch} {seed} {list(weights)}".encode())
        for prompt in self.prompts:
            decides = (prompt.prompt_id, prompt.part, prompt.content, prompt.answer, prompt.data_source)
            digest.update("".join(f"\0{value}" for value in decides).encode())
        return digest.hexdigest()[:16]
