"""A suite that the tiny policy can be asked, and the policy as a folder."""

import json
from pathlib import Path

from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.data.schemas import Columns
from entropy_rl.data.tokenizers import countdown_tokenizer
from entropy_rl.evaluation import Benchmark, Suite
from entropy_rl.rewards.rules import CustomReward, RewardRules
from entropy_rl.sampler import GREEDY, Sampling
from entropy_rl.stored_policy import StoredPolicy, save_policy
from tests.policies import tiny_policy

NUM_SAMPLED, NUM_GREEDY, TOO_LONG = 7, 5, "1+" * 20


def make_suite(folder: Path) -> Suite:
    """Three samples of seven problems, one of which is too long, and greedy responses to five; with files."""
    for name, number in (("sampled", NUM_SAMPLED), ("greedy", NUM_GREEDY)):
        rows = [{"prompt": f"{n},{n + 2}=3:", "answer": "3"} for n in range(number)]
        rows[-1]["prompt"] += TOO_LONG if name == "sampled" else ""
        (folder / name).mkdir(parents=True)
        (folder / name / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return suite_in(folder)


def suite_in(folder: Path, seconds_of_judge: float = 0.0) -> Suite:
    """The suite of the files that `make_suite` has made."""

    def benchmark(name: str, **how) -> Benchmark:
        file = PromptFile(path=Path(name) / "test.jsonl", schema=Columns(data_source=name), chat=False)
        return Benchmark(
            name=name, heading=name.title(), prompts=file, max_prompt_tokens=13, max_response_tokens=6, **how
        )

    judge = CustomReward(
        function="tests.evaluation.parity_judge:judge", arguments=(("seconds", seconds_of_judge),)
    )
    return Suite(
        name="tiny",
        benchmarks=(
            benchmark("sampled", num_samples=3, sampling=Sampling(temperature=0.6)),
            benchmark("greedy", num_samples=1, sampling=GREEDY),
        ),
        data_folder=folder,
        rewards=RewardRules(default=judge),
    )


def save_tiny(folder: Path, seed: int = 0) -> Path:
    """The tiny policy as a Hugging Face folder."""
    policy, params = tiny_policy(seed)
    save_policy(StoredPolicy(policy=policy, params=params, tokenizer=countdown_tokenizer()), folder)
    return folder
