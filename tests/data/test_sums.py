"""Short arithmetic: right answers, no problem twice, the same files for the same seed."""

from entropy_rl.cli import main
from entropy_rl.commands.sums import NUM_TEST, NUM_TRAIN
from entropy_rl.data.prompt_files import PromptFile, read_prompts
from entropy_rl.data.schemas import GSM8K
from entropy_rl.data.sums import sums


def test_every_answer_is_right_and_no_problem_comes_twice():
    problems = sums(997, seed=3)
    for problem in problems:
        asked = problem["question"].removeprefix("What is ").removesuffix("?")
        left, operator, right = asked.split()
        value = int(left) + int(right) if operator == "+" else int(left) - int(right)
        assert problem["answer"] == f"#### {value}"
    assert len({problem["question"] for problem in problems}) == 997
    assert sums(997, seed=3) == problems != sums(997, seed=4)


def test_the_command_s_files_are_read_as_gsm8k_is_and_share_no_problem(tmp_path, capsys):
    main(["sums", str(tmp_path / "new")])
    assert f"{tmp_path / 'new' / 'train.jsonl'}: 4,096 problems" in capsys.readouterr().out
    train, test = (
        read_prompts(PromptFile(path=tmp_path / "new" / name, schema=GSM8K())).prompts
        for name in ("train.jsonl", "test.jsonl")
    )
    assert (len(train), len(test)) == (NUM_TRAIN, NUM_TEST)
    assert not {prompt.text for prompt in train} & {prompt.text for prompt in test}
