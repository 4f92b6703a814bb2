"""The 1,319 test problems of GSM8K, one greedy answer each of at most 512 tokens, asked for in \boxed{}.

    python -m entropy_rl evaluate --policy policies/qwen2.5-coder-1.5b --suite configs/suites/gsm8k.py

It reads data/gsm8k/test.jsonl (--data-folder: another folder than data/); --max-problems 32 is a first look.
"""

from pathlib import Path

from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.data.schemas import GSM8K
from entropy_rl.evaluation.suite import Benchmark, Suite
from entropy_rl.sampler import GREEDY


def get_suite() -> Suite:
    benchmark = Benchmark(
        name="gsm8k",
        heading="GSM8K",
        prompts=PromptFile(path=Path("gsm8k/test.jsonl"), schema=GSM8K()),
        num_samples=1,
        sampling=GREEDY,
        max_prompt_tokens=256,
        max_response_tokens=512,
    )
    return Suite(name="gsm8k", benchmarks=(benchmark,))
