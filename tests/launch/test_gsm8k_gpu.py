"""launch/gsm8k_gpu.sh: three trainings and their comparison, against a stand-in for python and in earnest."""

import json
import sys

import jax
import pytest

from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.policy import Policy
from entropy_rl.stored_policy import StoredPolicy, save_policy
from tests.launch.stand_ins import ROOT, StandIns, says
from tests.test_generate import byte_tokenizer

METHODS = ("grpo", "clip_cov", "kl_cov")


@pytest.fixture
def commands(tmp_path):
    return StandIns.make(tmp_path / "bin", "python", "timeout")


def run(commands, *arguments, **kwargs):
    return commands.run("gsm8k_gpu.sh", *arguments, PYTHON=str(commands.folder / "python"), **kwargs)


def test_each_method_trains_for_its_time_and_then_all_are_compared(commands, tmp_path):
    folder = tmp_path / "a b"
    (folder / "gsm8k_gpu_clip_cov").mkdir(parents=True)
    (folder / "gsm8k_gpu_clip_cov/metrics.jsonl").write_text("")
    done = run(
        commands,
        str(folder),
        "--name-it",
        "x y",
        MINUTES="7",
        answers={"*configs/gsm8k_gpu_clip_cov*": [says("", 75)]},
    )
    assert done.returncode == 0, done.stderr
    *trainings, comparison = commands.calls
    python = str(commands.folder / "python")
    for method, call in zip(METHODS, trainings, strict=True):
        assert call == [
            *("timeout", "--preserve-status", "7m", python, "-m", "entropy_rl", "train"),
            *("--config", f"configs/gsm8k_gpu_{method}.py", "--runs-folder", str(folder), "--name-it", "x y"),
            *(["--resume"] if method == "clip_cov" else []),  # the only one that has begun
        ]
    runs = [str(folder / f"gsm8k_gpu_{method}") for method in METHODS]
    assert comparison[1:4] == ["-m", "entropy_rl", "compare"]
    assert comparison[4:8] == ["--runs", *runs] and comparison[-2:] == ["--output", str(folder)]


def test_a_training_that_fails_ends_the_script_with_its_code(commands, tmp_path):
    done = run(commands, str(tmp_path), answers={"*clip_cov*": [says("", 2)]})
    assert done.returncode == 2 and len(commands.calls) == 2


@pytest.mark.slow
def test_three_methods_really_train_resume_and_are_drawn(tmp_path):
    config = Qwen2Config(
        vocab_size=258, num_layers=1, hidden_size=12, intermediate_size=17, num_heads=2, num_kv_heads=1,
        head_dim=6, rope_theta=1e4, tie_embeddings=True,
    )  # fmt: skip
    policy = Policy(config, "float32")
    stored = StoredPolicy(policy=policy, params=policy.init(jax.random.key(0)), tokenizer=byte_tokenizer())
    save_policy(stored, tmp_path / "policy")
    for name, numbers in (("train", range(7)), ("test", range(7, 10))):
        rows = [{"question": f"What is {n} + 1?", "answer": f"It is. #### {n + 1}"} for n in numbers]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = [
        *("--policy.directory", tmp_path / "policy", "--task.train.path", tmp_path / "train.jsonl"),
        *("--task.heldout.path", tmp_path / "test.jsonl", "--task.max-response-tokens", "5"),
        *("--task.num-judges", "1", "--batch.prompts-per-step", "4", "--batch.prompts-per-update", "2"),
        *("--batch.samples-per-prompt", "2", "--evaluation.every-steps", "1", "--num-steps"),
    ]
    commands = StandIns.make(tmp_path / "bin")
    arguments = [str(tmp_path / "out"), *map(str, arguments)]
    here = {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    for num_steps in ("1", "2"):
        done = commands.run("gsm8k_gpu.sh", *arguments, num_steps, timeout_seconds=600, **here)
        assert done.returncode == 0, done.stderr
    numbers = json.loads((tmp_path / "out/comparison.json").read_text())
    assert {label: run["steps"] for label, run in numbers.items()} == {"GRPO": 2, "Clip-Cov": 2, "KL-Cov": 2}
    measured = {"policy/entropy", "heldout/accuracy", "heldout/greedy_accuracy"}
    assert all(measured <= set(run) for run in numbers.values())
    assert (tmp_path / "out/curves.png").is_file() and "| KL-Cov | 2 |" in done.stdout
