"""The paper's seven evaluation sets: hand-made rows of each layout, and the real files."""

import json
from dataclasses import replace
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from entropy_rl.data.benchmarks import (
    AIME24,
    AIME25,
    AMC23,
    MATH500,
    MINERVA,
    OLYMPIAD_BENCH,
    OMNI_MATH,
)
from entropy_rl.data.instructions import BOXED_INSTRUCTION
from entropy_rl.data.prompt_files import read_prompts
from entropy_rl.data.rows import read_rows
from entropy_rl.data.schemas import Math

OMNI_INSTRUCTION = (
    "Please reason step by step and then provide the final answer. The reasoning process must be enclosed "
    r"within <think> </think> tags. The final answer MUST be put in \boxed{}." + "\n"
    "At any point during your reasoning, if you become highly unsure, or find the problem unsolvable or "
    "beyond your capability, stop attempting a solution.\nIn this case, instead of generating a possibly "
    r"incorrect solution or guessing an answer, just honestly output \boxed{Cannot Solve} with some brief "
    "explanation."
)
FILES = (AIME24, AIME25, AMC23, MATH500, OMNI_MATH, OLYMPIAD_BENCH, MINERVA)
NUM_PROBLEMS = {
    "aime24": 30,
    "aime25": 30,
    "amc23": 40,
    "math500": 500,
    "omni_math": 2814,  # of 2,819 rows: five problems stand there twice
    "olympiadbench": 675,
    "minerva_math": 272,
}


def only_prompt(file, folder, row):
    path = folder / file.path
    path.parent.mkdir()
    if path.suffix == ".jsonl":
        path.write_text(json.dumps(row))
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    (prompt,) = read_prompts(replace(file, path=path)).prompts
    assert prompt.data_source == file.schema.data_source
    return prompt


def test_aime_answers_stand_under_another_name_in_2025(tmp_path):
    prompt = only_prompt(AIME25, tmp_path, {"id": "aime25-0", "problem": "1+1?", "expected_answer": "2"})
    assert (prompt.text, prompt.answer) == (f"1+1?\n\n{BOXED_INSTRUCTION}", "2")


def test_amc_answers_are_whole_numbers_although_stored_as_floats(tmp_path):
    assert only_prompt(AMC23, tmp_path, {"problem": "Miles?", "answer": 27.0}).answer == "27"


def test_omni_math_asks_for_a_box_without_leave_to_give_up(tmp_path):
    turn = {"content": f"Largest $g$?\n\n{OMNI_INSTRUCTION}", "role": "user"}
    row = {"prompt": [turn], "reward_model": {"ground_truth": "7", "style": "rule"}, "data_source": "omni"}
    assert only_prompt(OMNI_MATH, tmp_path, row).text == f"Largest $g$?\n\n{BOXED_INSTRUCTION}"


@pytest.mark.parametrize(
    "truth, answer",
    [
        (r"\frac{11}{2^{20}", r"\frac{11}{2^{20}}"),
        (r"\frac{1}{2}", r"\frac{1}{2}"),
        (r"\left\{1, 2\right.", r"\left\{1, 2\right."),
    ],
)
def test_omni_math_answers_have_their_braces_closed(tmp_path, truth, answer):
    row = {"prompt": [{"content": "p", "role": "user"}], "reward_model": {"ground_truth": truth}}
    assert only_prompt(OMNI_MATH, tmp_path, row).answer == answer


def test_minerva_answers_are_boxed_in_the_solution(tmp_path):
    row = {"problem": "How far?", "solution": r"\[ s=\boxed{x_{0} t+$ $\dot{x}_{0}} \mathrm{cm} \]"}
    assert only_prompt(MINERVA, tmp_path, row).answer == r"x_{0} t+ \dot{x}_{0}"


@pytest.mark.parametrize(
    "final_answer, is_multiple, answer",
    [
        (["$\\frac{1}{2}$"], False, "\\frac{1}{2}"),
        (["$(2,4)$"], False, "(2,4)"),
        (["$69$,$84$"], True, "69, 84"),
        (["2500,7500"], True, "2500, 7500"),
        (["$1$", "$2$"], False, '["1", "2"]'),
    ],
)
def test_olympiad_answers_lose_their_dollars(tmp_path, final_answer, is_multiple, answer):
    row = {"question": "Which?", "final_answer": final_answer, "is_multiple_answer": is_multiple}
    assert only_prompt(OLYMPIAD_BENCH, tmp_path, row).answer == answer


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.schema.data_source)
def test_real_files_are_read_whole_and_ask_alike(shared_folder, file):
    report = read_prompts(replace(file, path=shared_folder / "data" / file.path))
    assert len(report.prompts) == NUM_PROBLEMS[file.schema.data_source]
    assert not report.malformed
    for prompt in report.prompts:
        assert prompt.text.endswith(f"\n\n{BOXED_INSTRUCTION}") and prompt.text.count(r"\boxed{}") == 1
        assert "Cannot Solve" not in prompt.text and prompt.answer
    if file is AMC23:
        assert all(prompt.answer.lstrip("-").isdigit() for prompt in report.prompts)


def test_the_training_problems_of_math_ask_as_math_500_does(shared_folder):
    rows = read_rows(shared_folder / "data" / "math" / "train_7500.jsonl", Math().columns)
    for _, row in islice(rows, 500):
        ((turn,), _) = Math().read(row)
        assert turn.content.endswith(f"\n\n{BOXED_INSTRUCTION}") and turn.content.count(r"\boxed{}") == 1
