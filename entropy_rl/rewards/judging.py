"""Judging by rules: each reward has a pool of processes of its own, started when it is first needed."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from entropy_rl.rewards.pool import JudgeItem, Judgement, JudgePool
from entropy_rl.rewards.rules import Reward, RewardRules


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A response, the answer it is judged by, and whose problem it was."""

    response: str
    answer: str
    data_source: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What rules say of one response, its length left out."""

    judgement: Judgement
    """Of the reward of its data source."""
    reward: float
    """The weighted score and what is added to it."""
    timed_out: bool
    """A judge was killed at its time limit."""
    num_errors: int
    """Judges that failed at it otherwise. Whatever failed gave 0."""


class Judges:
    """The processes of some rules; a context manager whose `judge` may be called from any thread but one at
    a time.

    Processes start on entering where `start_all`, otherwise with the first response of their reward; either
    raises ValueError when a judge cannot work on this machine.
    """

    def __init__(self, rules: RewardRules, *, num_workers: int, start_all: bool = True):
        self._rules = rules
        self._num_workers = num_workers
        self._start_all = start_all
        self._pools: dict[Reward, JudgePool] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Judges":
        with ExitStack() as stack:  # ends what was started when a later one refuses
            stack.enter_context(self._stack)
            for reward in self._rules.rewards if self._start_all else ():
                self._pool(reward)
            stack.pop_all()
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()

    def judge(self, items: Sequence[Answered]) -> list[Judged]:
        """One judgement for each item, in order; nothing that a response does raises."""
        added = self._rules.added
        judged = [self._judge_routed(items), *(self._judge_by(one.reward, items) for one in added)]
        weights = [self._rules.weight, *(one.weight for one in added)]
        return [
            Judged(
                judgement=of_item[0],
                reward=sum(weight * one.score for weight, one in zip(weights, of_item, strict=True)),
                timed_out=any(one.timed_out for one in of_item),
                num_errors=sum(bool(one.error) and not one.timed_out for one in of_item),
            )
            for of_item in zip(*judged, strict=True)
        ]

    def _judge_routed(self, items: Sequence[Answered]) -> list[Judgement]:
        numbers_of: dict[Reward, list[int]] = {}
        for number, item in enumerate(items):
            numbers_of.setdefault(self._rules.of(item.data_source), []).append(number)
        found: dict[int, Judgement] = {}
        for reward, numbers in numbers_of.items():
            judgements = self._judge_by(reward, (items[number] for number in numbers))
            found.update(zip(numbers, judgements, strict=True))
        return [found[number] for number in range(len(items))]

    def _judge_by(self, reward: Reward, items: Iterable[Answered]) -> list[Judgement]:
        asked = [JudgeItem(response=item.response, answer=item.answer) for item in items]
        return self._pool(reward).judge_all(asked)

    def _pool(self, reward: Reward) -> JudgePool:
        if reward not in self._pools:
            pool = JudgePool(
                num_workers=self._num_workers,
                limits=reward.limits,
                judge=reward.judge,
                settings=reward.settings,
            )
            self._pools[reward] = self._stack.enter_context(pool)
        return self._pools[reward]
