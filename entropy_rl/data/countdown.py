"""Countdown problems without any download: combine the given numbers with + - * to reach the target.

A problem is written "3,5,7=22:" and answered by an expression such as "3*5+7". Problems are drawn from
(seed, index) alone. Whether a problem is held out depends only on its own text, so that no seed can bring
a held-out problem into training.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from entropy_rl.rewards.countdown import Node, evaluate, render

Split = Literal["train", "heldout"]

_MAX_DRAWS = 100_000
"""Draws after which a search gives up: problems that fit are then too rare to train on."""


@dataclass(frozen=True, kw_only=True, order=True)
class CountdownProblem:
    """The numbers, in ascending order, and the value an expression over all of them must have."""

    numbers: tuple[int, ...]
    target: int

    @property
    def answer(self) -> str:
        """The problem in one line of text, as it is kept beside a prompt for the grader."""
        return f"{','.join(map(str, self.numbers))}={self.target}"

    @property
    def prompt(self) -> str:
        return self.answer + ":"

    @staticmethod
    def from_answer(answer: str) -> "CountdownProblem":
        numbers, target = answer.split("=")
        return CountdownProblem(numbers=tuple(map(int, numbers.split(","))), target=int(target))


@dataclass(frozen=True, kw_only=True)
class CountdownSpace:
    """The problems that can be drawn."""

    num_numbers: int = 3
    """How many numbers each problem gives."""
    max_number: int = 9
    """Numbers are drawn from 1 to this."""
    max_target: int = 99
    """Targets lie between 0 and this, both included."""
    heldout_fraction: float = 0.1
    """Share of all problems that training never sees."""

    def __post_init__(self):
        if self.num_numbers < 2 or self.max_number < 1 or self.max_target < 0:
            raise ValueError(
                "countdown needs num_numbers >= 2, max_number >= 1 and max_target >= 0; got "
                f"{self.num_numbers}, {self.max_number}, {self.max_target}; raise the one that is too small"
            )
        if not 0 < self.heldout_fraction < 1:
            raise ValueError(
                f"heldout_fraction must lie strictly between 0 and 1; got {self.heldout_fraction}; "
                "0.1 keeps one problem in ten for evaluation"
            )

    @property
    def max_prompt_characters(self) -> int:
        digits = self.num_numbers * len(str(self.max_number)) + len(str(self.max_target))
        return digits + (self.num_numbers - 1) + len("=:")

    @property
    def max_answer_characters(self) -> int:
        """Room for every literal and operator, and a pair of parentheses for each operator."""
        return self.num_numbers * len(str(self.max_number)) + (self.num_numbers - 1) * len("+()")

    def split_of(self, problem: CountdownProblem) -> Split:
        """The split of a problem: a function of its text, stable over runs, machines and versions."""
        digest = hashlib.sha256(problem.answer.encode()).digest()
        return "heldout" if int.from_bytes(digest[:8], "big") < self.heldout_fraction * 2**64 else "train"

    def problem(self, seed: int, index: int, split: Split) -> CountdownProblem:
        """Draws problem number `index` of a seed. Its target is reachable, as the value of an expression."""
        rng = np.random.default_rng([seed, index])
        for _ in range(_MAX_DRAWS):
            numbers = tuple(sorted(rng.integers(1, self.max_number + 1, self.num_numbers).tolist()))
            target = evaluate(random_expression(numbers, rng))
            problem = CountdownProblem(numbers=numbers, target=target)
            if 0 <= target <= self.max_target and self.split_of(problem) == split:
                return problem
        raise ValueError(
            f"{self} must hold problems of the split {split!r}; none was found in {_MAX_DRAWS} draws; "
            "raise max_target or max_number, or give both splits a larger share"
        )

    def distinct_problems(self, num: int, seed: int, split: Split) -> list[CountdownProblem]:
        """The first `num` different problems of a seed. Raises ValueError when the space has fewer."""
        return list(_distinct_problems(self, num, seed, split))

    def demonstrations(
        self, num: int, seed: int, right_fraction: float
    ) -> list[tuple[CountdownProblem, str]]:
        """Training problems with valid expressions over exactly their numbers, for supervised warm start.

        A share `right_fraction` of them reaches the target. The others are random: they teach the language
        of answers and leave it to reinforcement learning to find those that are right.
        """
        pairs = []
        for index in range(num):
            problem = self.problem(seed, index, "train")
            rng = np.random.default_rng([seed, index, 1])
            wants_right = rng.random() < right_fraction
            pairs.append((problem, render(_expression_for(problem, rng, reaches_target=wants_right))))
        return pairs


@cache  # a study asks for the same ones run after run
def _distinct_problems(
    space: CountdownSpace, num: int, seed: int, split: Split
) -> tuple[CountdownProblem, ...]:
    found: dict[CountdownProblem, None] = {}
    for index in range(1000 + 50 * num):
        found.setdefault(space.problem(seed, index, split))
        if len(found) == num:
            return tuple(found)
    raise ValueError(
        f"{num} different {split} problems were asked for; {space} gave only {len(found)}; "
        "ask for fewer, or raise num_numbers, max_number or max_target"
    )


def random_expression(numbers: tuple[int, ...], rng: np.random.Generator) -> Node:
    """An expression that uses every number once: random order, grouping and operators."""
    return _random_tree([numbers[i] for i in rng.permutation(len(numbers))], rng)


def _random_tree(numbers: list[int], rng: np.random.Generator) -> Node:
    if len(numbers) == 1:
        return numbers[0]
    cut = int(rng.integers(1, len(numbers)))
    operator = "+-*"[rng.integers(3)]
    return (operator, _random_tree(numbers[:cut], rng), _random_tree(numbers[cut:], rng))


def _expression_for(problem: CountdownProblem, rng: np.random.Generator, *, reaches_target: bool) -> Node:
    """Draws until the value is (or is not) the target; both happen, since a+b and a-b always differ."""
    for _ in range(_MAX_DRAWS):
        node = random_expression(problem.numbers, rng)
        if (evaluate(node) == problem.target) == reaches_target:
            return node
    raise ValueError(
        f"a demonstration for {problem.prompt!r} must be found within {_MAX_DRAWS} draws; "
        "its right answers are too rare: lower num_numbers"
    )
