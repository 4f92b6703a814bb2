"""Tasks: a frozen dataclass names everything that decides what is asked and how answers are rewarded."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from entropy_rl.data.countdown import CountdownSpace, Split
from entropy_rl.data.graders import CountdownGrader, Grader, RuleGrader
from entropy_rl.data.prompt_files import PromptSource, ReadReport, read_prompts
from entropy_rl.data.prompts import Prompt, within_length
from entropy_rl.data.tokenizers import Tokenizer, countdown_tokenizer, load_tokenizer
from entropy_rl.rewards.judging import Judges
from entropy_rl.rewards.rules import RewardRules


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
    def train_prompts(self, tokenizer: Tokenizer) -> ReadReport:
        """Prompts to train on, and what was left out where they were read."""

    @property
    def train_weights(self) -> tuple[float, ...]:
        """Weights of the parts that training prompts belong to."""
        return (1.0,)

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
    part: int = 0
    """Which part of the seed's problems is taken: parts of equal sizes share none, to tune on one and to
    measure on another."""
    right_demonstration_fraction: float = 0.15
    """Share of demonstrations that reach the target; the others are only valid."""

    def __post_init__(self):
        if self.part < 0:
            raise ValueError(f"part must be 0 or more; got {self.part}; 0 takes the seed's first problems")
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

    def train_prompts(self, tokenizer: Tokenizer) -> ReadReport:
        return ReadReport(prompts=self._prompts("train", self.num_train_prompts, first_id=0))

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
        until = (self.part + 1) * num
        problems = self.space.distinct_problems(until, self.seed, split)[until - num :]
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


@dataclass(frozen=True, kw_only=True)
class PromptFileTask(Task):
    r"""Problems of files, whose answers are judged by rules: in \boxed{}, unless they say otherwise.

    A held-out prompt never trains: training prompts of the same text are left out.
    """

    train: PromptSource
    """What is trained on: a file, a data set of the Hugging Face hub, or a mixture."""
    heldout: PromptSource
    """What is evaluated on."""
    max_prompt_tokens: int = 512
    """S; longer prompts are left out."""
    max_response_tokens: int = 1024
    """T; longer responses are cut, and so are mostly without an answer."""
    rewards: RewardRules = RewardRules()
    """How responses are judged, by the data source of their prompt."""
    num_judges: int = 2
    """Processes of each judge."""

    def __post_init__(self):
        if self.rewards.overlong is not None:
            self.rewards.overlong.check(self.max_response_tokens)

    def load_tokenizer(self, policy_directory: Path | None) -> Tokenizer:
        if policy_directory is None:
            raise ValueError(
                "a task of prompt files needs the tokenizer of a policy; no policy directory was given; "
                "name a Hugging Face folder"
            )
        return load_tokenizer(policy_directory)

    def train_prompts(self, tokenizer: Tokenizer) -> ReadReport:
        heldout = read_prompts(self.heldout).prompts
        texts = {prompt.text for prompt in heldout}
        return read_prompts(self.train, first_id=len(heldout), leave_out=texts)

    @property
    def train_weights(self) -> tuple[float, ...]:
        return tuple(part.weight for part in self.train.as_parts())

    def heldout_prompts(self, tokenizer: Tokenizer) -> list[Prompt]:
        return within_length(read_prompts(self.heldout).prompts, tokenizer, self.max_prompt_tokens)

    @contextmanager
    def open_grader(self) -> Iterator[Grader]:
        with Judges(self.rewards, num_workers=self.num_judges) as judges:
            yield RuleGrader(judges, self.rewards.overlong, max_tokens=self.max_response_tokens)
