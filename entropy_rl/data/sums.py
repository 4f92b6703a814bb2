"""Short arithmetic for a small pretrained policy: "What is 17 + 25?" and its kin, in files like GSM8K's.

python -m entropy_rl.data.sums FOLDER    # writes FOLDER/train.jsonl and FOLDER/test.jsonl
"""

import json
import sys
from pathlib import Path

import numpy as np

MAX_NUMBER = 99
NUM_TRAIN, NUM_TEST = 4096, 256


def sums(num: int, seed: int) -> list[dict[str, str]]:
    """Different problems {"question", "answer"} of one + or - over numbers from 0 to `MAX_NUMBER`."""
    count = MAX_NUMBER + 1
    drawn = np.random.default_rng(seed).permutation(2 * count * count)[:num]
    return [_problem("+-"[i % 2], int(i // 2) // count, int(i // 2) % count) for i in drawn]


def _problem(operator: str, a: int, b: int) -> dict[str, str]:
    value = a + b if operator == "+" else a - b
    return {"question": f"What is {a} {operator} {b}?", "answer": f"#### {value}"}


def write_sums(folder: Path, seed: int = 0) -> None:
    """Writes the two files, which share no problem."""
    problems = sums(NUM_TRAIN + NUM_TEST, seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("test", problems[:NUM_TEST]), ("train", problems[NUM_TEST:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    write_sums(Path(sys.argv[1]))
