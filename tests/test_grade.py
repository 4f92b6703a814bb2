"""The command that judges a file without a policy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from entropy_rl.grade import grade_rows
from entropy_rl.rewards.judging import Judges
from entropy_rl.rewards.rules import RewardRules

ROOT = Path(__file__).resolve().parents[1]
ROWS = [
    ({"response": r"so \boxed{\frac{1}{2}}", "answer": "0.5", "data_source": "math"}, 1.0),
    ({"response": "7 + 5 = 12\n#### 12", "answer": "12", "data_source": "gsm8k"}, 1.0),
    ({"response": "12", "answer": 12, "data_source": "math"}, 0.0),
    ({"response": r"\boxed{3}", "answer": ["2", 3.0], "data_source": "math"}, 1.0),
    ({"response": "The answer is (B).", "answer": "B", "data_source": "bbq_age"}, 1.0),
    ({"response": 5, "answer": "5", "data_source": "math"}, 0.0),
    ({"answer": "5", "data_source": "math"}, 0.0),
    ({"response": r"\boxed{1}", "answer": True, "data_source": "math"}, 0.0),
]


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(json.dumps(row) for row, _ in ROWS) + "\nno json\n")
    return path


def grade(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "entropy_rl", "grade", "--workers", "2", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_every_row_has_its_line_in_order_and_rows_that_cannot_be_read_say_why(answers):
    ended = grade("--input", answers)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["score"] for line in lines] == [score for _, score in ROWS] + [0.0]
    assert all(set(line) == {"score", "method", "extracted", "seconds"} for line in lines)
    assert [line["extracted"] for line in lines[:4]] == [r"\frac{1}{2}", "12", None, "3"]
    assert '"response" must be a str; got int' in lines[5]["method"]
    assert '"response" must be there' in lines[6]["method"] and '"answer" must be' in lines[7]["method"]
    assert "must be JSON" in lines[8]["method"]
    assert ended.returncode == 1 and "4 of 9 rows could not be read and score 0" in ended.stderr


def test_the_rewards_of_a_configuration_judge_instead(answers, tmp_path):
    (tmp_path / "half.py").write_text(
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from entropy_rl.config_file import load_config\n"
        "from entropy_rl.rewards.rules import RewardRules\n"
        "def get_config():\n"
        f"    config = load_config(Path({str(ROOT / 'configs' / 'gsm8k_kl_cov.py')!r}))\n"
        "    return replace(config, task=replace(config.task, rewards=RewardRules(weight=0.5)))\n"
    )
    answers.write_text(answers.read_text().splitlines()[0])
    ended = grade("--input", answers, "--config", tmp_path / "half.py")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["score"] == 0.5


def test_a_configuration_without_rewards_is_refused(answers):
    ended = grade("--input", answers, "--config", "configs/tiny_kl_cov.py")
    assert ended.returncode == 2 and "must be of a task with rewards" in ended.stderr


def test_rows_are_judged_in_chunks_and_stay_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("entropy_rl.grade.CHUNK_ROWS", 3)
    path = tmp_path / "answers.jsonl"
    row = {"answer": "1", "data_source": "math"}
    path.write_text("\n".join(json.dumps(row | {"response": rf"\boxed{{{i % 2}}}"}) for i in range(8)))
    with Judges(RewardRules(), num_workers=2) as judges:
        assert [line["score"] for line in grade_rows(path, judges)] == [0, 1] * 4
