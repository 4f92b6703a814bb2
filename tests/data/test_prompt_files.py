"""Prompt files: every schema on a hand-made sample, every kind of malformed row, and the real files."""

import json
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from entropy_rl.data.instructions import BOXED_INSTRUCTION, ask_for_box
from entropy_rl.data.prompt_files import PromptFile, read_prompts
from entropy_rl.data.rows import RowError
from entropy_rl.data.schemas import GSM8K, Columns, DapoMath, Math
from entropy_rl.data.tokenizers import ChatMessage

DAPO_PROMPT = (
    "Solve the following math problem step by step. The last line of your response should be of the form "
    "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\nWhat is 1+1?\n\n"
    'Remember to put your answer on its own line after "Answer:".'
)
GOOD_LINE = b'{"prompt": "p", "answer": "a"}'


def write_jsonl(path, *lines):
    path.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    )
    return path


def write_parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def dapo_row(prompt=DAPO_PROMPT, truth="2"):
    return {
        "data_source": "math_dapo",
        "prompt": [{"content": prompt, "role": "user"}],
        "ability": "MATH",
        "reward_model": {"ground_truth": truth, "style": "rule-lighteval/MATH_v2"},
        "extra_info": {"index": "9a9b6eb4"},
    }


def read(path, schema, **options):
    return read_prompts(PromptFile(path=path, schema=schema), **options)


def test_gsm8k_rows_ask_for_a_box_and_keep_the_number(tmp_path):
    row = {"question": "Two and two?", "answer": "2+2=<<2+2=4>>4\n#### 1,004"}
    (prompt,) = read(write_jsonl(tmp_path / "x.jsonl", row), GSM8K()).prompts
    assert prompt.content == (ChatMessage("user", f"Two and two?\n\n{BOXED_INSTRUCTION}"),)
    assert (prompt.answer, prompt.data_source) == ("1004", "gsm8k")
    assert prompt.origin == f"{tmp_path / 'x.jsonl'}:1"


def test_math_rows_take_the_last_box_of_the_solution(tmp_path):
    row = {"problem": "Half?", "solution": r"\boxed{1} or rather \boxed{\frac{1}{2}}."}
    (prompt,) = read(write_jsonl(tmp_path / "x.jsonl", row), Math()).prompts
    assert prompt.answer == r"\frac{1}{2}" and prompt.text.endswith(BOXED_INSTRUCTION)


def test_dapo_rows_of_parquet_ask_for_a_box_instead_of_an_answer_line(tmp_path):
    (prompt,) = read(write_parquet(tmp_path / "x.parquet", [dapo_row()]), DapoMath()).prompts
    assert prompt.content == (ChatMessage("user", f"What is 1+1?\n\n{BOXED_INSTRUCTION}"),)
    assert (prompt.answer, prompt.data_source) == ("2", "math_dapo")


@pytest.mark.parametrize(
    "problem, asked_already",
    [
        (r"What is 1+1? Put it in \boxed{}.", True),
        (r"What is 1+1? Answer as \boxed{<answer>}.", True),
        (r"What is 1+1? Use \boxed.", True),
        (
            r"Let $\boxed{N}$ be the number of divisors of $N$. Find \[\boxed{\boxed{11}\times\boxed{20}}\]",
            False,
        ),
        (r"Which word? \boxed{\textbf{T A G}}", False),
    ],
)
def test_a_problem_that_asks_for_a_box_is_not_asked_twice_and_a_box_of_its_own_asks_nothing(
    problem, asked_already
):
    assert ask_for_box(problem) == (problem if asked_already else f"{problem}\n\n{BOXED_INSTRUCTION}")


@pytest.mark.parametrize(
    "text",
    [
        DAPO_PROMPT,
        r"What is 1+1? Let's think step by step and output the final answer within \boxed{}.",
        "What is 1+1?\n让我们一步一步地思考。请以“Answer: \\boxed{<final_answer>}”的格式输出最终答案。"
        "如果是选择题，请按顺序输出正确的选项，不带任何标点或空格。对于其他类型的问题，请只输出最终答案的数值。",
    ],
)
def test_known_instructions_give_way_to_one(text):
    assert ask_for_box(text) == f"What is 1+1?\n\n{BOXED_INSTRUCTION}"


def test_rows_of_named_columns_are_taken_as_they_are(tmp_path):
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    rows = [{"q": "p", "a": "1", "other": None}, {"q": turns, "a": 27.5}, {"q": "r", "a": 3}]
    path = write_jsonl(tmp_path / "x.jsonl", *rows)
    prompts = read(path, Columns(prompt_column="q", answer_column="a")).prompts
    assert [prompt.text for prompt in prompts] == ["p", "u", "r"]
    assert [prompt.answer for prompt in prompts] == ["1", "27.5", "3"]
    assert prompts[1].content == (ChatMessage("system", "s"), ChatMessage("user", "u"))


def test_names_with_dots_reach_into_columns_of_both_formats(tmp_path):
    schema = Columns(answer_column="reward_model.ground_truth", data_source_column="data_source")
    rows = [dapo_row("a", "1"), {**dapo_row("b", "2"), "data_source": "other"}]
    for path in (write_jsonl(tmp_path / "x.jsonl", *rows), write_parquet(tmp_path / "x.parquet", rows)):
        prompts = read(path, schema).prompts
        assert [prompt.answer for prompt in prompts] == ["1", "2"]
        assert [prompt.data_source for prompt in prompts] == ["math_dapo", "other"]


def test_a_column_whose_own_name_has_a_dot_is_found(tmp_path):
    row = {"prompt": "p", "a.b": "right", "a": {"b": "wrong"}}
    for path in (write_jsonl(tmp_path / "x.jsonl", row), write_parquet(tmp_path / "x.parquet", [row])):
        assert read(path, Columns(answer_column="a.b")).prompts[0].answer == "right"


@pytest.mark.parametrize(
    "value, answer",
    [
        (27.0, "27"),
        (-1.0, "-1"),
        (27.5, "27.5"),
        (10**20, "100000000000000000000"),
        ("27.0", "27.0"),
        (["4"], "4"),
        (["\\frac{1}{2}", 0.5], '["\\\\frac{1}{2}", "0.5"]'),
    ],
)
def test_answers_are_texts_numbers_or_several_of_them(value, answer):
    assert Columns().read({"prompt": "p", "answer": value})[1] == answer


@pytest.mark.parametrize(
    "value, reason",
    [
        ([], "at least one answer"),
        ([None], "must be a str; got null"),
        (float("nan"), "must be a finite number"),
        (float("inf"), "must be a finite number"),
        ({"a": 1}, "must be a list or str or int or float; got dict"),
    ],
)
def test_other_answers_are_refused(value, reason):
    with pytest.raises(RowError, match=reason):
        Columns().read({"prompt": "p", "answer": value})


def test_rows_of_named_columns_ask_for_a_box_when_told_to():
    text, _ = Columns(boxed=True).read({"prompt": "1+1?", "answer": 2})
    assert text == (ChatMessage("user", f"1+1?\n\n{BOXED_INSTRUCTION}"),)
    turns = [{"role": "user", "content": "a"}, {"role": "user", "content": r"b in \boxed{}"}]
    (first, last), _ = Columns(boxed=True).read({"prompt": turns, "answer": 2})
    assert (first.content, last.content) == ("a", r"b in \boxed{}")


def test_without_chat_the_content_is_plain_text(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", GOOD_LINE)
    (prompt,) = read_prompts(PromptFile(path=path, schema=Columns(), chat=False)).prompts
    assert prompt.content == "p"


def test_duplicates_are_dropped_and_counted_and_ids_have_no_gaps(tmp_path):
    rows = [dapo_row("a"), dapo_row("b"), dapo_row("a"), dapo_row("a"), dapo_row("c")]
    report = read(write_parquet(tmp_path / "x.parquet", rows), DapoMath(), first_id=7)
    assert report.num_duplicates == 2
    assert [prompt.prompt_id for prompt in report.prompts] == [7, 8, 9]
    assert [prompt.origin.rpartition(":")[2] for prompt in report.prompts] == ["1", "2", "5"]


def test_prompts_that_differ_in_white_space_alone_are_duplicates_and_contradict_by_another_answer(
    tmp_path, caplog
):
    rows = [("two  words", "1"), (" two\nwords ", "1"), ("two words", "2"), ("twowords", "1")]
    path = write_jsonl(tmp_path / "x.jsonl", *[{"prompt": text, "answer": answer} for text, answer in rows])
    report = read(path, Columns(), leave_out=["three\nwords"])
    assert [prompt.text for prompt in report.prompts] == ["two  words", "twowords"]
    assert (report.num_duplicates, report.num_contradictions) == (2, 1)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert f"{path}: 4 rows, 0 malformed, 2 duplicates (1 with another answer); the first" in caplog.text
    assert read(path, Columns(), leave_out=["two words"]).num_duplicates == 3


def test_texts_to_leave_out_count_as_duplicates(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", GOOD_LINE, {"prompt": "q", "answer": "a"})
    report = read(path, Columns(), leave_out=["p"])
    assert [prompt.text for prompt in report.prompts] == ["q"] and report.num_duplicates == 1


@pytest.mark.parametrize(
    "line, reason",
    [
        (b'{"prompt": "p", "answer": ', "must be JSON"),
        (b"[" * 100_000, "must be JSON"),
        (b'{"n": ' + b"9" * 10_000 + b"}", "must be JSON"),
        (b'["prompt", "answer"]', "must be a JSON object; got list"),
        (b'{"prompt": "p\xff", "answer": "a"}', "must be UTF-8; byte 13 is not"),
        (b'{"answer": "a"}', '"prompt" must be there'),
        (b'{"prompt": "p"}', '"answer" must be there'),
        (b'{"prompt": 3, "answer": "a"}', '"prompt" must be a list or str; got int'),
        (b'{"prompt": "p", "answer": null}', '"answer" must be a list or str or int or float; got null'),
        (b'{"prompt": "p", "answer": true}', '"answer" must be a str; got bool'),
        (b'{"prompt": " ", "answer": "a"}', '"prompt" must not be empty'),
        (b'{"prompt": "p", "answer": ""}', '"answer" must not be empty'),
        (b'{"prompt": "p\\u0000", "answer": "a"}', "must not contain NUL; it does at character 1"),
        (b'{"prompt": "\x00p", "answer": "a"}', "must be JSON"),
        (b'{"prompt": "p\\ud800", "answer": "a"}', "half a pair"),
        (b'{"prompt": [], "answer": "a"}', "at least one {role, content}"),
        (b'{"prompt": ["p"], "answer": "a"}', "at least one {role, content}"),
        (b'{"prompt": [{"role": "user"}], "answer": "a"}', '"content" must be there'),
    ],
)
def test_a_malformed_line_is_reported_with_file_and_line(tmp_path, caplog, line, reason):
    path = write_jsonl(tmp_path / "x.jsonl", GOOD_LINE, b"", line, {"prompt": "q", "answer": "a"})
    with caplog.at_level(logging.WARNING):
        report = read(path, Columns())
    assert [prompt.text for prompt in report.prompts] == ["p", "q"]
    assert len(report.malformed) == 1
    assert report.malformed[0].startswith(f"{path}:3: ") and reason in report.malformed[0]
    assert report.malformed[0] in caplog.text and "3 rows, 1 malformed" in caplog.text


@pytest.mark.parametrize(
    "schema, row, reason",
    [
        (GSM8K(), {"question": "q", "answer": "4"}, "must end with #### and a number"),
        (Math(), {"problem": "p", "solution": "4"}, r"must hold a \boxed{} answer"),
        (Math(), {"problem": "p", "solution": r"\boxed{}"}, r"must hold a \boxed{} answer"),
        (
            DapoMath(),
            {"prompt": "p", "reward_model": {"ground_truth": "1"}},
            '"prompt" must be a list; got str',
        ),
        (DapoMath(), {**dapo_row(), "reward_model": "1"}, '"reward_model" must be a dict; got str'),
        (DapoMath(), {**dapo_row(), "reward_model": {}}, '"ground_truth" must be there'),
    ],
)
def test_a_row_that_breaks_its_schema_says_how(tmp_path, schema, row, reason):
    with pytest.raises(ValueError, match="at least one usable row") as refusal:
        read(write_jsonl(tmp_path / "x.jsonl", row), schema)
    assert reason in str(refusal.value) and f"{tmp_path / 'x.jsonl'}:1" in str(refusal.value)


def test_many_malformed_rows_are_all_counted_and_the_first_shown(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", *[b"no"] * 50)
    with pytest.raises(ValueError, match="50 rows, 50 malformed") as refusal:
        read(path, Columns())
    assert "x.jsonl:3:" in str(refusal.value) and "x.jsonl:4:" not in str(refusal.value)


def test_malformed_rows_of_parquet_are_reported_by_row(tmp_path):
    rows = [dapo_row("a"), {**dapo_row("b"), "reward_model": None}, dapo_row("c", truth="\0")]
    report = read(write_parquet(tmp_path / "x.parquet", rows), DapoMath())
    assert len(report.prompts) == 1
    assert [line.partition(": ")[0].rpartition(":")[2] for line in report.malformed] == ["2", "3"]


def test_parquet_text_that_is_not_utf8_is_reported_by_row(tmp_path):
    prompts = pa.array([b"good", b"\xff\xfe", b"fine"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"prompt": prompts, "answer": ["1", "2", "3"]}), tmp_path / "x.parquet")
    report = read(tmp_path / "x.parquet", Columns())
    assert [prompt.text for prompt in report.prompts] == ["good", "fine"]
    assert report.malformed == [f"{tmp_path / 'x.parquet'}:2: text must be UTF-8; byte 0 is not"]


def test_parquet_without_its_columns_names_those_it_has(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", [{"question": "q", "answer": "a"}])
    with pytest.raises(
        ValueError, match=r"must have the columns \['prompt', 'answer'\]; it has \['question'"
    ):
        read(path, Columns())


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing else", b"\0" * 100])
def test_a_file_that_is_not_parquet_is_refused(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(ValueError, match="must be a Parquet file"):
        read(tmp_path / "x.parquet", Columns())


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one usable row.*got 0 rows"):
        read(write_jsonl(tmp_path / "x.jsonl"), Columns())


def test_absent_files_and_foreign_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must exist"):
        read(tmp_path / "absent.jsonl", Columns())
    with pytest.raises(ValueError, match=r"must end in .jsonl or .parquet"):
        read(tmp_path / "x.csv", Columns())


def test_a_byte_order_mark_is_not_part_of_the_first_row(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", b"\xef\xbb\xbf" + GOOD_LINE)
    assert read(path, Columns()).prompts[0].text == "p"


@pytest.mark.parametrize(
    "name, schema, num_prompts, num_duplicates, num_contradictions, num_malformed",
    [
        # DAPO: 17,917 rows; 17,290 differ as they are, 17,188 but for white space.
        pytest.param("dapo/dapo-math-17k.parquet", DapoMath(), 17188, 729, 12, 0, marks=pytest.mark.slow),
        ("gsm8k/test.jsonl", GSM8K(), 1319, 0, 0, 0),
        # MATH: two solutions box nothing; two problems differ in white space alone.
        pytest.param("math/train_7500.jsonl", Math(), 7497, 1, 0, 2, marks=pytest.mark.slow),
        ("math500/test.jsonl", Math(), 500, 0, 0, 0),
    ],
)
def test_real_files_are_read_whole(
    shared_folder, name, schema, num_prompts, num_duplicates, num_contradictions, num_malformed
):
    report = read(shared_folder / "data" / name, schema)
    assert len(report.prompts) == num_prompts
    assert (report.num_duplicates, report.num_contradictions) == (num_duplicates, num_contradictions)
    assert len(report.malformed) == num_malformed
    assert all(prompt.answer and r"\boxed" in prompt.text for prompt in report.prompts)
