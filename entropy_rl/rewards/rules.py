"""How responses are rewarded: which judge has which data source, and what is added to its score.

A rule is data. The processes that judge by it are in entropy_rl.rewards.judging.
"""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase

from entropy_rl.rewards.code import CODE_JUDGE
from entropy_rl.rewards.pool import MATH_JUDGE, JudgeLimits
from entropy_rl.rewards.sandbox.limits import SandboxLimits
from entropy_rl.rewards.scores import check_name
from entropy_rl.rewards.shaping import OverlongPenalty


@dataclass(frozen=True, kw_only=True)
class Reward(ABC):
    """A judge of responses with its settings."""

    limits: JudgeLimits = JudgeLimits()
    """What judging one response may cost."""

    @property
    @abstractmethod
    def judge(self) -> str:
        """Name of the function that judges (entropy_rl.rewards.scores)."""

    @property
    def settings(self) -> dict[str, object]:
        """Its further arguments, as JSON has them."""
        return {}


@dataclass(frozen=True, kw_only=True)
class MathReward(Reward):
    r"""1 when the last \boxed{} of a response equals the known answer, else 0."""

    @property
    def judge(self) -> str:
        return MATH_JUDGE


@dataclass(frozen=True, kw_only=True)
class GSM8KReward(Reward):
    r"""1 when the number in the last \boxed{}, or without a box behind the last ####, is the known one."""

    @property
    def judge(self) -> str:
        return "entropy_rl.rewards.mathematics.judges:judge_gsm8k"


@dataclass(frozen=True, kw_only=True)
class MultipleChoiceReward(Reward):
    """1 when the letter that a response chooses is the known one, else 0."""

    @property
    def judge(self) -> str:
        return "entropy_rl.rewards.mathematics.judges:judge_choice"


@dataclass(frozen=True, kw_only=True)
class CodeReward(Reward):
    """1 when the last Python block of a response passes every test of the answer, in a sandbox; else 0.

    The forms of tests are told in entropy_rl.rewards.code.unit_tests.
    """

    limits: JudgeLimits = JudgeLimits(time_limit_seconds=40.0)
    sandbox: SandboxLimits = SandboxLimits()
    """What each run of the program may use."""
    time_limit_seconds: float = 30.0
    """For all tests of a response together; the limits of judging are a last resort and must be wider."""
    share: bool = False
    """Score the share of tests that are passed; right is still who passes all."""
    num_tests: int | None = None
    """Run only the first so many tests of each problem (None: all). verl's prime_code runs 10."""
    float_tolerance: float = 1e-6
    """By how much real numbers may differ, absolute or relative."""

    def __post_init__(self):
        if not 0 < self.time_limit_seconds < self.limits.time_limit_seconds:
            raise ValueError(
                "time_limit_seconds must be above 0 and below limits.time_limit_seconds, where the judge is "
                f"killed, got {self.time_limit_seconds} and {self.limits.time_limit_seconds}; raise it"
            )
        if self.num_tests is not None and self.num_tests < 1:
            raise ValueError(f"num_tests must be at least 1, got {self.num_tests}; None runs all tests")

    @property
    def judge(self) -> str:
        return CODE_JUDGE

    @property
    def settings(self) -> dict[str, object]:
        return {
            "share": self.share,
            "num_tests": self.num_tests,
            "float_tolerance": self.float_tolerance,
            "time_limit_seconds": self.time_limit_seconds,
            "sandbox": asdict(self.sandbox),
        }


@dataclass(frozen=True, kw_only=True)
class FormatReward(Reward):
    """1 when a response has a form, else 0."""

    pattern: str = r"\\boxed\{"
    r"""Regular expression to be found anywhere in the response; "." matches line ends too."""

    def __post_init__(self):
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(
                f"pattern must be a regular expression, got {self.pattern!r}: {error}; correct it"
            ) from error

    @property
    def judge(self) -> str:
        return "entropy_rl.rewards.shaping:judge_format"

    @property
    def settings(self) -> dict[str, object]:
        return {"pattern": self.pattern}


@dataclass(frozen=True, kw_only=True)
class CustomReward(Reward):
    """What a function of your own says."""

    function: str
    """"module:function" of (response, answer, **settings), which returns a number, or a
    entropy_rl.rewards.scores.Score; 1 counts as right. The module may lie in the folder of the run."""
    arguments: tuple[tuple[str, str | float | int | bool], ...] = ()
    """Further arguments by name."""

    def __post_init__(self):
        check_name(self.function)

    @property
    def judge(self) -> str:
        return self.function

    @property
    def settings(self) -> dict[str, object]:
        return dict(self.arguments)


@dataclass(frozen=True, kw_only=True)
class Route:
    """Which data source has which reward."""

    data_source: str
    """Name of the source, capitals or not; * and ? stand for any characters, as in aime*."""
    reward: Reward


def _routes(reward: Reward, *data_sources: str) -> tuple[Route, ...]:
    return tuple(Route(data_source=name, reward=reward) for name in data_sources)


STANDARD_ROUTES = (
    *_routes(GSM8KReward(), "gsm8k*", "*/gsm8k*"),
    *_routes(MultipleChoiceReward(), "bbq*", "*/bbq*", "mmlu*", "*/mmlu*", "gpqa*", "*/gpqa*"),
    *_routes(CodeReward(), "code*", "*/code*", "apps", "*/apps", "taco", "*/taco", "*mbpp*", "*humaneval*"),
)
"""What is not mathematics, among data sets by the names they go by. Their judges start when first needed."""


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """A reward that is added to that of every response."""

    reward: Reward
    weight: float
    """What a score of 1 adds."""


@dataclass(frozen=True, kw_only=True)
class RewardRules:
    """The reward of a response: weight * score + what is added + the penalty of its length.

    Whether it counts as right is decided by the score of its route alone.
    """

    routes: tuple[Route, ...] = STANDARD_ROUTES
    """By data source; the first that fits is taken. Your own go before: (Route(...), *STANDARD_ROUTES)."""
    default: Reward = field(default_factory=MathReward)
    """For sources without a route."""
    weight: float = 1.0
    """Of the score."""
    added: tuple[Weighted, ...] = ()
    """Further rewards, such as Weighted(reward=FormatReward(), weight=0.1)."""
    overlong: OverlongPenalty | None = None
    """Penalty of responses that come near the limit of tokens."""

    def __post_init__(self):
        weights = (self.weight, *(one.weight for one in self.added))
        if not all(map(math.isfinite, weights)):
            raise ValueError(f"weights of rewards must be finite numbers, got {weights}")

    def of(self, data_source: str) -> Reward:
        """The reward of a data source."""
        for route in self.routes:
            if fnmatchcase(data_source.lower(), route.data_source.lower()):
                return route.reward
        return self.default

    @property
    def certain(self) -> tuple[Reward, ...]:
        """The rewards that these rules name, each once; those of standard routes may never be needed."""
        own = [route.reward for route in self.routes if route not in STANDARD_ROUTES]
        return tuple(dict.fromkeys([*own, self.default, *(one.reward for one in self.added)]))
