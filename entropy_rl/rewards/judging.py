"""Judging by rules: each reward has a pool of processes of its own, started when it is first needed."""

from collections.abc import Iterator, Sequence
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
    """The processes of some rules; a context manager whose `judge` is for one thread at a time.

    Processes start on entering, those of standard routes with the first response that needs them; either
    raises ValueError when a judge cannot work on this machine.
    """

    def __init__(self, rules: RewardRules, *, num_workers: int):
        self._rules = rules
        self._num_workers = num_workers
        self._pools: dict[Reward, JudgePool] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Judges":
        with ExitStack() as stack:  # ends what was started when a later one refuses
            stack.enter_context(self._stack)
            for reward in self._rules.certain:
                self._pool(reward)
            stack.pop_all()
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()

    def judge(self, items: Sequence[Answered]) -> Iterator[Judged]:
        """One judgement for each item, in order, as they come; nothing that a response does raises.

        All judges work at the same time.
        """
        rules = self._rules
        rewards = [rules.of(item.data_source) for item in items]
        routed = {
            reward: self._begin(
                reward, [item for item, its in zip(items, rewards, strict=True) if its == reward]
            )
            for reward in dict.fromkeys(rewards)
        }
        added = [self._begin(one.reward, items) for one in rules.added]
        weights = [rules.weight, *(one.weight for one in rules.added)]
        for reward in rewards:
            judgements = [next(routed[reward]), *map(next, added)]
            yield Judged(
                judgement=judgements[0],
                reward=sum(weight * one.score for weight, one in zip(weights, judgements, strict=True)),
                timed_out=any(one.timed_out for one in judgements),
                num_errors=sum(bool(one.error) and not one.timed_out for one in judgements),
            )

    def _begin(self, reward: Reward, items: Sequence[Answered]) -> Iterator[Judgement]:
        asked = [JudgeItem(response=item.response, answer=item.answer) for item in items]
        return self._pool(reward).begin(asked)

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
