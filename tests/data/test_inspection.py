"""Inspecting files of prompts: the schema that is found, the numbers, and what the command prints."""

import json

import pytest

from entropy_rl.cli import main
from entropy_rl.data.inspection import answer_kind, find_schema, inspect_table
from entropy_rl.data.instructions import BOXED_INSTRUCTION
from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.data.schemas import GSM8K, Columns, DapoMath, Math, OlympiadBench
from entropy_rl.data.tokenizers import countdown_tokenizer

TURN = [{"role": "user", "content": "1+1?"}]


def write(folder, *rows):
    path = folder / "x.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def said(capsys, *args):
    main(["data", "inspect", *map(str, args)])
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "row, schema",
    [
        ({"question": "q", "answer": "so #### 4"}, GSM8K()),
        ({"question": "q", "answer": "4"}, Columns(prompt_column="question")),
        ({"problem": "p", "solution": r"\boxed{4}", "level": "Level 5", "answer": "4"}, Math()),
        ({"problem": "p", "solution": r"\boxed{4}", "idx": 0}, Math()),
        (
            {"problem": "p", "solution": r"\boxed{3} \boxed{4}", "answer": 4.0},
            Columns(prompt_column="problem"),
        ),
        (
            {"problem": "p", "expected_answer": "4"},
            Columns(prompt_column="problem", answer_column="expected_answer"),
        ),
        ({"question": "q", "final_answer": ["4"], "is_multiple_answer": False}, OlympiadBench()),
        ({"prompt": TURN, "reward_model": {"ground_truth": "4"}, "data_source": "d"}, DapoMath()),
        ({"prompt": TURN, "answer": "4", "data_source": "d"}, Columns(data_source_column="data_source")),
    ],
)
def test_the_schema_is_found_by_columns_and_content(tmp_path, row, schema):
    assert find_schema(write(tmp_path, "no JSON", row)) == schema


def test_columns_that_fit_no_schema_are_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"it has \['context', 'label'\]; name the columns of prompt and answer"
    ):
        find_schema(write(tmp_path, {"context": "c", "label": 1}))


@pytest.mark.parametrize(
    "answer, kind",
    [
        ("-7", "integer"),
        ("025", "integer"),
        ("2.5", "number"),
        ("4.5e33", "number"),
        ("1,000", "number"),
        ("B", "letter"),
        ("(c)", "letter"),
        (r"\frac{1}{2}", "LaTeX"),
        ("1, 2", "list, tuple or interval"),
        ('["1", "2"]', "several ground truths"),
        ('["broken', "text"),
        ("yes, indeed", "list, tuple or interval"),
        ("Evelyn", "text"),
    ],
)
def test_answers_are_told_apart_by_form(answer, kind):
    assert answer_kind(answer) == kind


def test_rows_are_counted_and_measured(tmp_path):
    rows = [
        {"prompt": "1" * length, "answer": answer}
        for length, answer in ((2, "1"), (3, "2"), (3, "2"), (3, "5"), (9, "x"))
    ]
    table = PromptFile(path=write(tmp_path, *rows, "no JSON"), schema=Columns())
    inspection = inspect_table(table)
    assert (inspection.num_rows, len(inspection.report.prompts), len(inspection.report.malformed)) == (
        6,
        3,
        1,
    )
    assert (inspection.report.num_duplicates, inspection.report.num_contradictions) == (2, 1)
    assert inspection.lengths_N.tolist() == [2, 3, 9] and inspection.unit == "characters"
    assert inspection.answer_kinds == {"integer": (2, "1"), "letter": (1, "x")}
    # 2 to 9 in three bins are three values each.
    assert inspection.histogram(3) == [(2, 4, 2), (5, 7, 0), (8, 9, 1)]


def test_lengths_are_in_tokens_of_the_chat_with_a_tokenizer(tmp_path):
    table = PromptFile(path=write(tmp_path, {"prompt": "12+3", "answer": "15"}), schema=Columns())
    inspection = inspect_table(table, countdown_tokenizer())
    assert inspection.lengths_N.tolist() == [4] and inspection.unit == "tokens"


def test_the_command_shows_counts_reasons_and_three_prompts_as_they_are(tmp_path, capsys):
    rows = [{"question": f"What is [i]{i}[/i]+{i}?", "answer": f"#### {2 * i}"} for i in range(7)]
    text = said(capsys, write(tmp_path, *rows, rows[0], {"question": "q", "answer": "none"}))
    assert "read as GSM8K(data_source='gsm8k')" in text and "length in characters" in text
    counts = dict(line.rsplit(maxsplit=1) for line in text.splitlines() if len(line.split()) > 1)
    assert counts["rows"] == "9" and counts["usable prompts"] == "7"
    assert counts["malformed, left out"] == counts["duplicates of a prompt, left out"] == "1"
    assert 'x.jsonl:9: "answer" must end with ####' in text
    assert [f"What is [i]{i}[/i]+{i}?" in text for i in range(7)] == [i in (0, 3, 6) for i in range(7)]
    assert text.count(BOXED_INSTRUCTION) == 3 and "answer: 12" in text


def test_the_command_counts_what_a_limit_leaves_out(tmp_path, capsys):
    countdown_tokenizer().save(tmp_path)
    path = write(tmp_path, *[{"prompt": "1" * length, "answer": "1"} for length in (2, 5, 11)])
    text = said(capsys, path, "--tokenizer", tmp_path, "--max-prompt-tokens", 5)
    counts = dict(line.rsplit(maxsplit=1) for line in text.splitlines() if len(line.split()) > 1)
    assert counts["longer than 5 tokens, left out"] == "1" and counts["prompts that train"] == "2"


def test_the_command_reads_columns_that_are_named(tmp_path, capsys):
    path = write(tmp_path, {"task": {"text": "1+1?"}, "checks": {"expected": [2, "two"]}})
    args = ("--prompt-column", "task.text", "--answer-column", "checks.expected", "--boxed")
    text = said(capsys, path, *args)
    assert BOXED_INSTRUCTION in text and 'answer: ["2", "two"]' in text and "several ground truths" in text


def test_the_command_shows_a_file_without_a_usable_row(tmp_path, capsys):
    text = said(capsys, write(tmp_path, "no", "no"), "--schema", "dapo")
    assert "malformed, left out" in text and "x.jsonl:2: the line must be JSON" in text


@pytest.mark.parametrize(
    "args, reason",
    [
        (["--max-prompt-tokens", "5"], "--tokenizer must be given"),
        (["--schema", "gsm8k", "--boxed"], "--boxed must go with the schema columns"),
        (["--schema", "math", "--answer-column", "a"], "--answer-column must go with"),
    ],
)
def test_the_command_refuses_what_it_would_ignore(tmp_path, capsys, args, reason):
    path = write(tmp_path, {"prompt": "p", "answer": "a"})
    with pytest.raises(SystemExit) as ended:
        main(["data", "inspect", str(path), *args])
    assert ended.value.code == 2 and reason in capsys.readouterr().err


def test_the_help_of_the_command_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["data", "--help"])
    text = capsys.readouterr().out
    assert "data inspect train.jsonl" in text and "{inspect} PATH" in text and "--prompt-column" in text
