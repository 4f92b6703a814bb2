"""Sampling completions of texts and conversations: in batches, or of one that is shown as it grows."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp

from entropy_rl.data.pipeline import collate
from entropy_rl.data.prompts import Prompt
from entropy_rl.data.rows import RowError, read_rows, require, require_text
from entropy_rl.data.tokenizers import ChatMessage, Tokenizer
from entropy_rl.evaluation.grades import response_texts
from entropy_rl.kernel_choice import Kernels
from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.policy import Policy
from entropy_rl.sampler import Sampler, Sampling
from entropy_rl.stored_policy import read_policy

ROW = '{"prompt": TEXT} or {"messages": [{"role": TEXT, "content": TEXT}, ...]}'
"""What is asked for a completion; other columns are kept beside it."""


def read_questions(path: Path) -> list[dict]:
    """The rows of a JSONL file of `ROW`. Raises ValueError with file and line at the first bad one."""
    rows = []
    for line, row in read_rows(path, ()):
        try:
            if isinstance(row, RowError):
                raise row
            _turns(row)
        except RowError as error:
            raise ValueError(f"{path}:{line}: a row must be {ROW}: {error}") from error
        rows.append(row)
    return rows


def _turns(row: dict) -> tuple[ChatMessage, ...]:
    if "messages" not in row:
        return (ChatMessage("user", require_text(row, "prompt")),)
    turns = require(row, "messages", list)
    if not turns or not all(isinstance(turn, dict) for turn in turns):
        raise RowError('"messages" must be a list of at least one {role, content}; it is not')
    return tuple(ChatMessage(require_text(turn, "role"), require_text(turn, "content")) for turn in turns)


def prompts_of(rows: Sequence[dict], *, chat: bool, system: str | None = None) -> list[Prompt]:
    """Rows of `ROW` as prompts: conversations that begin with `system`, or without `chat` their plain text.

    Raises ValueError when there is none, and for a system turn that has no place.
    """
    if not rows:
        raise ValueError("generate needs a prompt; give --prompt TEXT or --input FILE.jsonl")
    if system is not None and not chat:
        raise ValueError("a system turn is written by the chat template; leave out --system or --no-chat")
    head = () if system is None else (ChatMessage("system", system),)
    prompts = []
    for number, row in enumerate(rows):
        turns = _turns(row)
        prompts.append(
            Prompt(
                prompt_id=number,
                content=head + turns if chat else "\n".join(turn.content for turn in turns),
                answer="",
                data_source="command line",
                origin=f"prompt {number + 1}",
            )
        )
    return prompts


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """How a response came."""

    num_tokens: int
    """The stop token included."""
    first_seconds: float
    """Until the first token, compiling included."""
    tokens_per_second: float | None
    """Of the others, at the median pace of calls, which leaves out those that compile; None without any."""

    def __str__(self) -> str:
        pace = self.tokens_per_second
        others = "" if pace is None else f", the others at {pace:.1f} a second"
        return f"{self.num_tokens} tokens, the first after {self.first_seconds:.2f} s{others}"


@dataclass(frozen=True, kw_only=True)
class Generator:
    """A policy on the first device that answers prompts. The same seed gives the same completions, however
    prompts are divided into batches."""

    sampler: Sampler
    params: dict
    """As the sampler reads them."""
    tokenizer: Tokenizer
    seed: int

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        dtype: str,
        sampling: Sampling,
        num_samples: int,
        max_new_tokens: int,
        seed: int,
    ) -> "Generator":
        """The policy of a Hugging Face folder or of a run, with parameters and activations in `dtype`."""
        stored = read_policy(directory, param_dtype=dtype, shardings=_on_first_device)
        kernels = Kernels.of_one_device(stored.policy.config, stored.policy.compute_dtype)
        sampler = Sampler(
            policy=kernels.equip(stored.policy),
            sampling=sampling,
            stop_ids=stored.tokenizer.stop_ids,
            pad_id=stored.tokenizer.pad_id,
            num_samples=num_samples,
            max_new_tokens=max_new_tokens,
        )
        params = sampler.working_params(stored.params)
        return cls(sampler=sampler, params=params, tokenizer=stored.tokenizer, seed=seed)

    def batches(self, prompts: Sequence[Prompt], prompts_per_batch: int) -> Iterator[list[list[dict]]]:
        """For each batch its prompts' samples {"completion", "num_tokens", "logp"}, the last summed
        over the tokens."""
        longest = max(len(prompt.encode(self.tokenizer)) for prompt in prompts)
        size = min(prompts_per_batch, len(prompts))
        for start in range(0, len(prompts), size):
            chunk = list(prompts[start : start + size])
            filled = chunk + [prompts[0]] * (size - len(chunk))  # one shape, one compilation
            rollout = self._sample(self.sampler, filled, longest)
            yield self._samples(rollout)[: len(chunk)]

    def stream(self, prompt: Prompt, write: Callable[[str], None], tokens_per_call: int = 1) -> Streamed:
        """Writes the one completion of a prompt piece by piece, `tokens_per_call` tokens at a time."""
        sampler = replace(self.sampler, num_samples=1, tokens_per_call=tokens_per_call)
        text, start_seconds, seen = GrowingText(self.tokenizer, write), time.perf_counter(), []

        def look(responses):
            ids_T = jax.device_get(responses.ids_BT)[0, : int(responses.mask_BT[0].sum())].tolist()
            text.grow(ids_T)
            if not seen or len(ids_T) > seen[-1][0]:  # a call draws none where the first token stops
                seen.append((len(ids_T), time.perf_counter()))

        self._sample(sampler, [prompt], len(prompt.encode(self.tokenizer)), on_tokens=look)
        text.end()
        paces = [(now - then) / (after - before) for (before, then), (after, now) in pairwise(seen)]
        return Streamed(
            num_tokens=seen[-1][0],
            first_seconds=seen[0][1] - start_seconds,
            tokens_per_second=1 / statistics.median(paces) if paces else None,
        )

    def _sample(self, sampler: Sampler, prompts: Sequence[Prompt], longest: int, **hooks):
        batch = collate(prompts, self.tokenizer, longest)
        arrays = jax.device_put((batch.prompt_ids_PS, batch.prompt_mask_PS, batch.prompt_id_P))
        return sampler(self.params, *arrays, jax.random.key(self.seed), **hooks)

    def _samples(self, rollout) -> list[list[dict]]:
        texts = response_texts(rollout, self.tokenizer)
        num_tokens_PG = rollout.response_mask_PGT.sum(axis=-1).tolist()
        logp_PG = jnp.sum(rollout.logp_PGT, axis=-1).tolist()
        return [
            [
                {"completion": text, "num_tokens": num_tokens, "logp": logp}
                for text, num_tokens, logp in zip(*group, strict=True)
            ]
            for group in zip(texts, num_tokens_PG, logp_PG, strict=True)
        ]


def _on_first_device(architecture: Qwen2Config) -> dict:
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda _: here, Policy(architecture).abstract_params())


class GrowingText:
    """Writes the text of a response as its tokens come, and together exactly what they decode to.

    What the next token may change is held back: the last bytes may be half a character. Only the last tokens
    are decoded again, behind the whole characters before them: what a decoder does to the beginning of a text
    (some strip a space) then falls on text that is written already. That is exact where a decoder, as those
    of byte-level tokenizers, never takes back a whole character for the sake of later tokens.
    """

    def __init__(self, tokenizer: Tokenizer, write: Callable[[str], None]):
        self._tokenizer, self._write = tokenizer, write
        self._start, self._middle = 0, 0  # ids at which a character begins; between them there is text
        self._text, self._num_written = "", 0  # of the ids from _start on; how much of it is written

    def grow(self, ids: Sequence[int]) -> None:
        """Takes all ids so far; a stop token at their end has no text."""
        end = len(ids) - bool(ids and ids[-1] in self._tokenizer.stop_ids)
        self._text = self._tokenizer.decode(ids[self._start : end])
        self._write_until(len(self._text.rstrip("\N{REPLACEMENT CHARACTER}")))
        if self._num_written == len(self._text) and (
            later := self._tokenizer.decode(ids[self._middle : end])
        ):
            self._start, self._middle = self._middle, end
            self._text, self._num_written = later, len(later)

    def end(self) -> None:
        """Writes what was held back."""
        self._write_until(len(self._text))

    def _write_until(self, end: int) -> None:
        if end > self._num_written:
            self._write(self._text[self._num_written : end])
            self._num_written = end
