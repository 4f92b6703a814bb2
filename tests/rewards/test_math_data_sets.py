"""The public data sets: each gold solution is right against its own answer, and wrong against another's."""

import json
import random
import time

import pytest
from pyarrow.parquet import read_table

from entropy_rl.rewards.mathematics.extraction import known_answers, last_boxed
from entropy_rl.rewards.mathematics.spelling import key, tidy
from entropy_rl.rewards.pool import JudgeItem, JudgeLimits, JudgePool

GSM8K_JUDGE = "entropy_rl.rewards.mathematics.judges:judge_gsm8k"
MATH_JUDGE = "entropy_rl.rewards.mathematics.judges:judge"
GOLD = {"math500": "math500/test.jsonl", "math": "math/train_7500.jsonl", "gsm8k": "gsm8k/test.jsonl"}
SEEDS = (0, 1, 2)


def read_rows(folder, path: str) -> list[dict]:
    with (folder / "data" / path).open() as lines:
        return [json.loads(line) for line in lines]


def judge_all(name: str, items: list[JudgeItem]):
    judge = GSM8K_JUDGE if name == "gsm8k" else MATH_JUDGE
    with JudgePool(num_workers=2, limits=JudgeLimits(), judge=judge) as pool:
        start_seconds = time.perf_counter()
        judgements = pool.judge_all(items)
        print(
            f"{name}: {len(items)} items, {len(items) / (time.perf_counter() - start_seconds):.0f} a second"
        )
    return judgements


def read_answers(folder, name: str) -> list[str]:
    if name == "gsm8k":
        return [row["answer"].rpartition("####")[2].strip() for row in read_rows(folder, GOLD[name])]
    if name == "olympiadbench":
        return [", ".join(row["final_answer"]) for row in read_rows(folder, "olympiadbench/test.jsonl")]
    if name == "minerva":
        return [last_boxed(row["solution"]) for row in read_rows(folder, "minerva_math/test.jsonl")]
    if name == "omni":
        rewards = read_table(folder / "data/omni_math/test.parquet").column("reward_model").to_pylist()
        return [known_answers(reward["ground_truth"])[0] for reward in rewards]
    return [row["answer"] for row in read_rows(folder, GOLD[name]) if row["answer"]]


def each_with_another(answers: list[str], seed: int) -> list[tuple[str, str]]:
    """Every answer with that of another problem."""
    order = random.Random(seed).sample(range(len(answers)), len(answers))
    return [(answers[i], answers[j]) for i, j in zip(order, order[1:] + order[:1], strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLD)
def test_gold_solutions_are_judged_right(shared_folder, name):
    rows = read_rows(shared_folder, GOLD[name])
    solution = "answer" if name == "gsm8k" else "solution"
    judgements = judge_all(name, [JudgeItem(response=row[solution], answer=row["answer"]) for row in rows])
    wrong = [
        (row["answer"][-40:], judgement.extracted)
        for row, judgement in zip(rows, judgements, strict=True)
        if judgement.score != 1
    ]
    print(*wrong, sep="\n")
    assert len(wrong) <= 0.005 * len(rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["math500", "gsm8k", "math", "olympiadbench", "minerva", "omni"])
def test_exchanged_answers_are_judged_wrong(shared_folder, name):
    answers = read_answers(shared_folder, name)
    pairs = [pair for seed in SEEDS for pair in each_with_another(answers, seed)]
    differing = [(answer, given) for answer, given in pairs if key(tidy(answer)) != key(tidy(given))]
    judgements = judge_all(
        name, [JudgeItem(response=rf"\boxed{{{given}}}", answer=answer) for answer, given in differing]
    )
    called_equal = [
        (*pair, judgement.method)
        for pair, judgement in zip(differing, judgements, strict=True)
        if judgement.score
    ]
    num_killed = sum(judgement.timed_out for judgement in judgements)
    print(f"{len(pairs) - len(differing)} pairs of the same answer left out, {num_killed} killed")
    print(*called_equal, sep="\n")
    assert len(called_equal) <= 0.003 * len(differing)
