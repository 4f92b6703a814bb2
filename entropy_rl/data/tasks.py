"""Tasks: a frozen dataclass names everything that decides what is asked and how answers are rewarded."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int32

from entropy_rl.data.countdown import CountdownProblem, CountdownSpace, Split
from entropy_rl.data.prompt_files import PromptFile, read_prompts
from entropy_rl.data.prompts import Prompt, within_length
from entropy_rl.data.tokenizers import Tokenizer, countdown_tokenizer, load_tokenizer
from entropy_rl.rewards.countdown import normal_form, parse, verify
from entropy_rl.rewards.pool import JudgeItem, JudgeLimits, JudgePool


@dataclass(frozen=True, kw_only=True)
class GradeBatch:
    """The grades of G responses to each of P prompts."""

    reward_PG: Float32[np.ndarray, "P G"]
    correct_PG: Bool[np.ndarray, "P G"]
    timed_out_PG: Bool[np.ndarray, "P G"]
    """Whose judging was stopped at its time limit; they score 0."""
    seconds: float
    mean_P: dict[str, Float32[np.ndarray, " P"]] = field(default_factory=dict)
    """Further measures of each prompt by metric name; the metric is their mean."""
    count_P: dict[str, Int32[np.ndarray, " P"]] = field(default_factory=dict)
    """The same; the metric is their sum."""

    @property
    def num_timeouts(self) -> int:
        return int(self.timed_out_PG.sum())

    @property
    def details(self) -> dict[str, float]:
        """The task's own metrics by name."""
        means = {name: float(x_P.mean(dtype=np.float64)) for name, x_P in self.mean_P.items()}
        return means | {name: float(x_P.sum()) for name, x_P in self.count_P.items()}

    @property
    def responses_per_second(self) -> float:
        return self.reward_PG.size / max(self.seconds, 1e-9)


@runtime_checkable
class Grader(Protocol):
    """Judges responses; every prompt has the same number of them."""

    def grade(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> GradeBatch: ...


class Task(ABC):
    """What a run trains on. Subclasses are frozen dataclasses."""

    @property
    @abstractmethod
    def max_prompt_tokens(self) -> int:
        """S, the static length to which prompts are padded; longer ones are left out."""

    @property
    @abstractmethod
    def max_response_tokens(self) -> int:
        """T, the longest response that is sampled, stop token included."""

    @abstractmethod
    def load_tokenizer(self, policy_directory: Path | None) -> Tokenizer:
        """The tokenizer of a policy; without one the task's own, where it has one."""

    @abstractmethod
    def train_prompts(self, tokenizer: Tokenizer) -> list[Prompt]: ...

    @abstractmethod
    def heldout_prompts(self, tokenizer: Tokenizer) -> list[Prompt]:
        """Prompts that training never sees, none too long."""

    def demonstrations(self, num: int, seed: int) -> list[tuple[str, str]]:
        """Pairs (prompt, completion) for a warm start. Raises ValueError when the task makes none."""
        raise ValueError(
            f"{type(self).__name__} makes no demonstrations; give warm_start.demonstrations_file, "
            'a JSONL file of {"prompt", "completion"}'
        )

    @abstractmethod
    def open_grader(self) -> AbstractContextManager[Grader]:
        """A grader, whose processes (if any) end with the context."""


@dataclass(frozen=True, kw_only=True)
class CountdownTask(Task):
    """Combine the given numbers with + - * to reach the target: "3,5,7=22:" is answered by "3*5+7".

    Its bounds on tokens hold for every tokenizer that spends at most one token on a character.
    """

    space: CountdownSpace = CountdownSpace()
    """The problems that can be drawn."""
    num_train_prompts: int = 1024
    """Different problems to train on."""
    num_heldout_prompts: int = 128
    """Different problems to evaluate on."""
    seed: int = 0
    """Decides which problems are drawn."""
    right_demonstration_fraction: float = 0.15
    """Share of demonstrations that reach the target; the others are only valid."""

    def __post_init__(self):
        if not 0 <= self.right_demonstration_fraction <= 1:
            raise ValueError(
                f"right_demonstration_fraction must lie in [0, 1]; got {self.right_demonstration_fraction}; "
                "0.15 leaves reinforcement learning something to find"
            )

    @property
    def max_prompt_tokens(self) -> int:
        return self.space.max_prompt_characters

    @property
    def max_response_tokens(self) -> int:
        return self.space.max_answer_characters + 1  # the stop token

    def load_tokenizer(self, policy_directory: Path | None) -> Tokenizer:
        return countdown_tokenizer() if policy_directory is None else load_tokenizer(policy_directory)

    def train_prompts(self, tokenizer: Tokenizer) -> list[Prompt]:
        return self._prompts("train", self.num_train_prompts, first_id=0)

    def heldout_prompts(self, tokenizer: Tokenizer) -> list[Prompt]:
        return self._prompts("heldout", self.num_heldout_prompts, first_id=self.num_train_prompts)

    def demonstrations(self, num: int, seed: int) -> list[tuple[str, str]]:
        """Pairs (prompt text, completion text) over training problems; the stop token is not written."""
        pairs = self.space.demonstrations(num, seed, self.right_demonstration_fraction)
        return [(problem.prompt, completion) for problem, completion in pairs]

    @contextmanager
    def open_grader(self) -> Iterator[Grader]:
        yield CountdownGrader()

    def _prompts(self, split: Split, num: int, first_id: int) -> list[Prompt]:
        problems = self.space.distinct_problems(num, self.seed, split)
        return [
            Prompt(
                prompt_id=prompt_id,
                content=problem.prompt,
                answer=problem.answer,
                data_source="countdown",
                origin=f"countdown {split} seed {self.seed}",
            )
            for prompt_id, problem in enumerate(problems, start=first_id)
        ]


class CountdownGrader:
    """Rewards 1 for an expression that reaches the target with exactly the given numbers, else 0."""

    def grade(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> GradeBatch:
        start_seconds = time.perf_counter()
        correct, valid, num_distinct = [], [], []
        for prompt, group in zip(prompts, responses, strict=True):
            problem = CountdownProblem.from_answer(prompt.answer)
            verdicts = [verify(response, problem.numbers, problem.target) for response in group]
            correct.append([verdict.correct for verdict in verdicts])
            valid.append([verdict.valid for verdict in verdicts])
            right = [response for response, verdict in zip(group, verdicts, strict=True) if verdict.correct]
            num_distinct.append(len({normal_form(parse(response)) for response in right}))
        correct_PG = np.array(correct, bool)
        return GradeBatch(
            reward_PG=correct_PG.astype(np.float32),
            correct_PG=correct_PG,
            timed_out_PG=np.zeros_like(correct_PG),
            seconds=time.perf_counter() - start_seconds,
            mean_P={
                "reward/valid_fraction": np.mean(valid, axis=1, dtype=np.float32),
                "reward/distinct_right_answers": np.array(num_distinct, np.float32),
            },
        )


@dataclass(frozen=True, kw_only=True)
class PromptFileTask(Task):
    r"""Problems of files, whose answers are judged in \boxed{} by math-verify.

    A held-out prompt never trains: training prompts of the same text are left out.
    """

    train: PromptFile
    """What is trained on."""
    heldout: PromptFile
    """What is evaluated on."""
    max_prompt_tokens: int = 512
    """S; longer prompts are left out."""
    max_response_tokens: int = 1024
    """T; longer responses are cut, and so are mostly without an answer."""
    num_judges: int = 2
    """Processes that judge."""
    judge_limits: JudgeLimits = JudgeLimits()
    """What judging one response may cost."""

    def load_tokenizer(self, policy_directory: Path | None) -> Tokenizer:
        if policy_directory is None:
            raise ValueError(
                "a task of prompt files needs the tokenizer of a policy; no policy directory was given; "
                "name a Hugging Face folder"
            )
        return load_tokenizer(policy_directory)

    def train_prompts(self, tokenizer: Tokenizer) -> list[Prompt]:
        heldout = read_prompts(self.heldout).prompts
        texts = {prompt.text for prompt in heldout}
        return read_prompts(self.train, first_id=len(heldout), leave_out=texts).prompts

    def heldout_prompts(self, tokenizer: Tokenizer) -> list[Prompt]:
        return within_length(read_prompts(self.heldout).prompts, tokenizer, self.max_prompt_tokens)

    @contextmanager
    def open_grader(self) -> Iterator[Grader]:
        with JudgePool(num_workers=self.num_judges, limits=self.judge_limits) as pool:
            yield MathGrader(pool)


class MathGrader:
    """Rewards 1 for a right boxed answer, else 0; hostile responses cost their own score only."""

    def __init__(self, pool: JudgePool):
        self._pool = pool

    def grade(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> GradeBatch:
        start_seconds = time.perf_counter()
        pairs = [(prompt, text) for prompt, group in zip(prompts, responses, strict=True) for text in group]
        items = [JudgeItem(response=text, answer=prompt.answer) for prompt, text in pairs]
        judgements = self._pool.judge_all(items)

        def by_prompt(values, dtype):
            return np.array(values, dtype).reshape(len(prompts), -1)

        reward_PG = by_prompt([judgement.score for judgement in judgements], np.float32)
        timed_out_PG = by_prompt([judgement.timed_out for judgement in judgements], bool)
        failed_PG = by_prompt([bool(judgement.error) for judgement in judgements], bool) & ~timed_out_PG
        return GradeBatch(
            reward_PG=reward_PG,
            correct_PG=reward_PG == 1,
            timed_out_PG=timed_out_PG,
            seconds=time.perf_counter() - start_seconds,
            count_P={"reward/judge_errors": failed_PG.sum(axis=1, dtype=np.int32)},
        )
