"""Pairs of prompt and completion: read in order, or refused by file and line."""

import json

import pytest

from entropy_rl.data.text_pairs import read_text_pairs

PAIRS = [("1,2=3:", "1+2"), ("an \u00e9clair\n", ""), ("1,2=3:", "1+2")]


@pytest.fixture
def write(tmp_path):
    def of(*lines: str):
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return path

    return of


def row(prompt, completion, **more) -> str:
    return json.dumps({"prompt": prompt, "completion": completion, **more})


def test_every_pair_is_read_in_order_repetitions_and_empty_completions_too(write):
    path = write(row(*PAIRS[0]), "", row(*PAIRS[1], source="other keys are ignored"), "  ", row(*PAIRS[2]))
    assert read_text_pairs(path) == PAIRS


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"prompt": "1"}', '"completion" must be a text, got None'),
        ('{"completion": "1"}', '"prompt" must be a text, got None'),
        (row("1", 2), '"completion" must be a text, got 2'),
        (row("", "2"), '"prompt" must not be empty'),
    ],
)
def test_the_first_bad_row_is_named_by_file_and_line(write, bad, reason):
    path = write(row("1", "2"), "", bad, "{")
    with pytest.raises(ValueError) as error:
        read_text_pairs(path)
    assert str(error.value).startswith(f"{path}:3: ") and reason in str(error.value)


def test_files_without_rows_and_absent_ones_are_refused(write, tmp_path):
    with pytest.raises(ValueError, match="at least one row"):
        read_text_pairs(write("", "  "))
    with pytest.raises(ValueError, match="must exist"):
        read_text_pairs(tmp_path / "absent.jsonl")
