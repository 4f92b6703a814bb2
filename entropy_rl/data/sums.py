"""Short arithmetic for a small pretrained policy: "What is 17 + 25?" and its kin, in rows like GSM8K's."""

import numpy as np

MAX_NUMBER = 99


def sums(num: int, seed: int) -> list[dict[str, str]]:
    """Different problems {"question", "answer"} of one + or - over numbers from 0 to `MAX_NUMBER`."""
    count = MAX_NUMBER + 1
    drawn = np.random.default_rng(seed).permutation(2 * count * count)[:num]
    return [_problem("+-"[i % 2], int(i // 2) // count, int(i // 2) % count) for i in drawn]


def _problem(operator: str, a: int, b: int) -> dict[str, str]:
    value = a + b if operator == "+" else a - b
    return {"question": f"What is {a} {operator} {b}?", "answer": f"#### {value}"}
