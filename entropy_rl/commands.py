"""What each command of the command line takes and does."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from entropy_rl.config import RunConfig

DEFAULT_CONFIG = Path("configs/tiny_kl_cov.py")

# Only the configuration is imported above: a command imports what it needs when it runs, so --help is quick.


@dataclass(frozen=True, kw_only=True)
class Configured:
    """A command that works on a configuration."""

    config: Path = DEFAULT_CONFIG
    """Python file whose get_config() returns a RunConfig; every field of it can be overridden below."""
    settings: Annotated[RunConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class Train(Configured):
    """Train a policy with GRPO, Clip-Cov or KL-Cov.

    Leaves runs/NAME/ with config.json, metrics.jsonl, entropy_history_NAME.json, checkpoints, plots and
    summary.json. Example: python -m entropy_rl train --config configs/tiny_kl_cov.py --num-steps 20
    --objective.penalty-coef 0.5
    """

    resume: bool = False
    """Go on from the newest checkpoint of the run of this name."""
    overwrite: bool = False
    """Delete an earlier run of this name and begin anew."""

    def run(self) -> None:
        from entropy_rl.train import train

        train(self.settings, resume=self.resume, overwrite=self.overwrite)


@dataclass(frozen=True, kw_only=True)
class Sft(Configured):
    """Train a policy on demonstrations and write it as a Hugging Face folder.

    The demonstrations are those of warm_start.demonstrations_file, or the task makes its own (countdown).
    """

    output: Path = Path("policies/sft")
    """Folder to write; it must not exist yet."""

    def run(self) -> None:
        from entropy_rl.starting_policy import make_warm_start

        if self.output.exists():
            raise ValueError(f"--output must not exist yet, got {self.output}; choose another folder")
        if self.settings.warm_start is None:
            raise ValueError(f"the configuration must have a warm_start, {self.config} has none")
        make_warm_start(self.settings, self.output)
        print(self.output)


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Sample completions of prompts; prints a JSON object a sample.

    Example: python -m entropy_rl generate --policy policies/smollm2-135m --prompt "What is 17 + 25?" --chat
    """

    policy: Path
    """Hugging Face folder, or the folder of a run (its newest checkpoint)."""
    prompt: tuple[str, ...] = ()
    """Texts to continue."""
    input: Path | None = None
    """JSONL file of {"prompt": TEXT}, instead of --prompt."""
    chat: bool = False
    """Put each prompt into the tokenizer's chat template."""
    num_samples: int = 1
    """Completions of each prompt."""
    max_new_tokens: int = 128
    """Longest completion."""
    temperature: float = 1.0
    """Divides the logits."""
    top_k: int | None = None
    """Keep only the k most probable tokens; 1 is greedy."""
    top_p: float = 1.0
    """Keep the most probable tokens of this mass."""
    min_new_tokens: int = 0
    """No stop token before so many tokens."""
    seed: int = 0
    """Same seed, same completions."""

    def run(self) -> None:
        from entropy_rl.generate import generate, read_prompt_texts
        from entropy_rl.sampler import Sampling
        from entropy_rl.stored_policy import read_policy

        texts = self.prompt if self.input is None else (*self.prompt, *read_prompt_texts(self.input))
        sampling = Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_new_tokens=self.min_new_tokens,
        )
        for sample in generate(
            read_policy(self.policy),
            texts,
            sampling,
            chat=self.chat,
            num_samples=self.num_samples,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
        ):
            print(json.dumps(sample))


@dataclass(frozen=True, kw_only=True)
class Score:
    """Print log-probs and entropies of given completions, a JSON object a row.

    Rows of the input are {"prompt", "completion"}, each tokenised by itself, without chat template or special
    tokens. The output has "logps" and "entropies" (nats, temperature 1), one entry a completion token.
    """

    policy: Path
    """Hugging Face folder, or the folder of a run (its newest checkpoint)."""
    input: Path
    """JSONL file of {"prompt", "completion"}."""

    def run(self) -> None:
        from entropy_rl.data.text_pairs import read_text_pairs
        from entropy_rl.evaluation.score import score_rows
        from entropy_rl.stored_policy import read_policy

        rows = read_text_pairs(self.input)
        stored = read_policy(self.policy)
        for row in score_rows(stored.policy, stored.params, stored.tokenizer, rows):
            print(json.dumps(row))


@dataclass(frozen=True, kw_only=True)
class Evaluate(Configured):
    """Measure a policy on the held-out prompts of a configuration's task: accuracy, pass@k, average@k."""

    from_policy: Path | None = None
    """Hugging Face folder or folder of a run; by default what the configuration's run would start from."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""

    def run(self) -> None:
        from entropy_rl.heldout import evaluate_folder

        numbers = evaluate_folder(self.settings, self.from_policy)
        text = json.dumps(numbers, indent=2)
        print(text)
        if self.output is not None:
            self.output.write_text(text + "\n")


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write the policy of a run as a Hugging Face folder, which transformers loads."""

    run_folder: Path
    """Folder of a run, such as runs/tiny_kl_cov."""
    output: Path
    """Folder to write."""
    step: int | None = None
    """Checkpoint to take (None: the newest)."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Dtype of the written weights."""

    def run(self) -> None:
        from entropy_rl.stored_policy import read_policy, save_policy

        stored = read_policy(self.run_folder, step=self.step)
        save_policy(stored.policy, stored.params, stored.tokenizer, self.output, dtype=self.dtype)
        print(self.output)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Time rollout, old log-probs, update and whole step after warm-up; prints a JSON object."""

    what: Annotated[Literal["step"], tyro.conf.Positional]
    """What to time: step."""
    workload: Literal["tiny", "vocab"]
    """tiny: 4 layers of 128, vocabulary 64, 32 x 8 x (16 + 32) tokens. vocab: 2 layers of 256, vocabulary
    151,936, 8 x 4 x (32 + 64) tokens."""
    repeats: int = 7
    """Steps timed, after two that are not."""

    def run(self) -> None:
        from entropy_rl.bench.step import WORKLOADS, bench_step

        print(json.dumps(bench_step(WORKLOADS[self.workload], repeats=self.repeats), indent=2))
