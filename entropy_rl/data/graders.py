"""Graders: what the responses to prompts are worth."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int32, Shaped

from entropy_rl.data.countdown import CountdownProblem
from entropy_rl.data.prompts import Prompt
from entropy_rl.rewards.countdown import Verdict, normal_form, parse, verify
from entropy_rl.rewards.judging import Answered, Judges
from entropy_rl.rewards.shaping import OverlongPenalty


@dataclass(frozen=True, kw_only=True)
class Response:
    """What the policy answered to a prompt, once."""

    text: str
    """Without its stop token."""
    num_tokens: int
    """With it."""
    truncated: bool = False
    """It ended at the limit of tokens."""


@dataclass(frozen=True, kw_only=True)
class GradeBatch:
    """The grades of G responses to each of P prompts."""

    reward_PG: Float32[np.ndarray, "P G"]
    correct_PG: Bool[np.ndarray, "P G"]
    timed_out_PG: Bool[np.ndarray, "P G"]
    """Whose judging was stopped at its time limit; they score 0."""
    extracted_PG: Shaped[np.ndarray, "P G"]
    """Objects: the answer found in each response, a text, or None where there is none."""
    method_PG: Shaped[np.ndarray, "P G"]
    """Objects: what decided, in the judge's words."""
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

    def grade(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]) -> GradeBatch: ...


class CountdownGrader:
    """Rewards 1 for an expression that reaches the target with exactly the given numbers, else 0."""

    def grade(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]) -> GradeBatch:
        start_seconds = time.perf_counter()
        found = [
            [self._verdict(prompt, response) for response in group]
            for prompt, group in zip(prompts, responses, strict=True)
        ]
        correct_PG = np.array([[verdict.correct for verdict in group] for group in found])
        valid_PG = np.array([[verdict.valid for verdict in group] for group in found])
        # Equal solutions are one, whatever the order and grouping they are written in.
        form_PG = np.full(correct_PG.shape, None, object)
        for p, g in np.argwhere(valid_PG):
            form_PG[p, g] = normal_form(parse(responses[p][g].text))
        right = zip(form_PG, correct_PG, strict=True)
        return GradeBatch(
            reward_PG=correct_PG.astype(np.float32),
            correct_PG=correct_PG,
            timed_out_PG=np.zeros_like(correct_PG),
            extracted_PG=form_PG,
            method_PG=np.array([[verdict.reason or "exact" for verdict in group] for group in found], object),
            seconds=time.perf_counter() - start_seconds,
            mean_P={
                "reward/valid_fraction": valid_PG.mean(axis=1, dtype=np.float32),
                "reward/distinct_right_answers": np.array(
                    [len(set(form_G[correct_G])) for form_G, correct_G in right], np.float32
                ),
            },
        )

    @staticmethod
    def _verdict(prompt: Prompt, response: Response) -> Verdict:
        problem = CountdownProblem.from_answer(prompt.answer)
        return verify(response.text, problem.numbers, problem.target)


class RuleGrader:
    """Rewards by rules, whose judges are processes; hostile responses cost their own score only."""

    def __init__(self, judges: Judges, overlong: OverlongPenalty | None, *, max_tokens: int):
        self._judges = judges
        self._overlong = overlong
        self._max_tokens = max_tokens

    def grade(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]) -> GradeBatch:
        start_seconds = time.perf_counter()
        answered = self._judges.judge(
            [
                Answered(response=response.text, answer=prompt.answer, data_source=prompt.data_source)
                for prompt, group in zip(prompts, responses, strict=True)
                for response in group
            ]
        )
        judged = list(answered)
        seconds = time.perf_counter() - start_seconds

        def by_prompt(values, dtype):
            return np.array(values, dtype).reshape(len(prompts), -1)

        score_PG = by_prompt([one.judgement.score for one in judged], np.float32)
        reward_PG = by_prompt([one.reward for one in judged], np.float32)
        mean_P = {}
        if self._overlong is not None:
            num_tokens_N = np.array([response.num_tokens for group in responses for response in group])
            penalty_PG = self._overlong(num_tokens_N, self._max_tokens).reshape(reward_PG.shape)
            reward_PG = reward_PG + penalty_PG
            mean_P = {"reward/overlong_penalty": penalty_PG.mean(axis=1)}
        errors_PG = by_prompt([one.num_errors for one in judged], np.int32)
        return GradeBatch(
            reward_PG=reward_PG,
            correct_PG=score_PG == 1,
            timed_out_PG=by_prompt([one.timed_out for one in judged], bool),
            extracted_PG=by_prompt([one.judgement.extracted for one in judged], object),
            method_PG=by_prompt([one.judgement.error or one.judgement.method for one in judged], object),
            seconds=seconds,
            mean_P={"reward/score": score_PG.mean(axis=1)} | mean_P,
            count_P={"reward/judge_errors": errors_PG.sum(axis=1, dtype=np.int32)},
        )
