"""launch/gsm8k_gpu.sh: three trainings and their comparison, against a stand-in for python and in earnest."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import jax
import pytest

from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.policy import Policy
from entropy_rl.stored_policy import StoredPolicy, save_policy
from tests.byte_tokenizer import byte_tokenizer
from tests.launch.stand_ins import ROOT, StandIns, says

METHODS = ("grpo", "clip_cov", "kl_cov")


@pytest.fixture
def commands(tmp_path):
    return StandIns.make(tmp_path / "bin", "python", "timeout")


def run(commands, *arguments, **kwargs):
    return commands.run("gsm8k_gpu.sh", *arguments, PYTHON=str(commands.folder / "python"), **kwargs)


def test_the_start_is_measured_each_method_trains_for_its_time_and_all_are_compared(commands, tmp_path):
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
    measured, *trainings, comparison = commands.calls
    python, start = str(commands.folder / "python"), str(folder / "start.json")
    assert measured[1:6] == ["-m", "entropy_rl", "evaluate", "--config", "configs/gsm8k_gpu_grpo.py"]
    assert measured[6:] == ["--name-it", "x y", "--output", start]
    for method, call in zip(METHODS, trainings, strict=True):
        assert call == [
            *("timeout", "--foreground", "--preserve-status", "7m", "env", "--ignore-signal=INT"),
            *(python, "-m", "entropy_rl", "train", "--config", f"configs/gsm8k_gpu_{method}.py"),
            *("--runs-folder", str(folder), "--name-it", "x y"),
            *(["--resume"] if method == "clip_cov" else []),  # the only one that has begun
        ]
    runs = [str(folder / f"gsm8k_gpu_{method}") for method in METHODS]
    assert comparison[1:4] == ["-m", "entropy_rl", "plot"] and comparison[4:7] == runs
    assert comparison[-4:] == ["--start", start, "--output", str(folder)]


def test_the_policy_they_start_from_is_measured_once(commands, tmp_path):
    (tmp_path / "start.json").write_text("{}")
    assert run(commands, str(tmp_path)).returncode == 0
    assert not [call for call in commands.calls if "evaluate" in call]


def test_a_training_that_fails_ends_the_script_with_its_code(commands, tmp_path):
    done = run(commands, str(tmp_path), answers={"*clip_cov*": [says("", 2)]})
    assert done.returncode == 2 and len(commands.calls) == 3


TRAINING = """#!{python}
import signal, sys, time
from pathlib import Path

def stop(number, frame):
    print("saved", flush=True)
    sys.exit(75)

if "train" in sys.argv:
    signal.signal(signal.SIGTERM, stop)
    print("training", flush=True)
    time.sleep(60)
"""
"""Saves when it gets SIGTERM, and at Ctrl-C fails, as training does."""


@contextmanager
def in_earnest(folder, minutes) -> Iterator[subprocess.Popen]:
    """The script with the real `timeout` in a group of its own, as a terminal starts it."""
    python = folder / "python"
    python.write_text(TRAINING.format(python=sys.executable))
    python.chmod(0o755)
    script = subprocess.Popen(
        # A shell cannot trap what it was begun to ignore, as SIGINT is where tests run in the background.
        ["env", "--default-signal=INT", ROOT / "launch/gsm8k_gpu.sh", folder / "out"],
        env=os.environ | {"PYTHON": str(python), "MINUTES": minutes},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with script:
        yield script
        with suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)


def test_the_end_of_its_time_lets_each_training_save(tmp_path):
    with in_earnest(tmp_path, minutes="0.03") as script:
        assert script.communicate(timeout=30)[0].split() == ["training", "saved"] * 3
        assert script.returncode == 0


@pytest.mark.parametrize(
    "send, what", [(os.kill, signal.SIGTERM), (os.kill, signal.SIGINT), (os.killpg, signal.SIGINT)]
)
def test_a_signal_to_the_script_or_ctrl_c_to_all_lets_training_save_and_ends_both(tmp_path, send, what):
    with in_earnest(tmp_path, minutes="1") as script:
        assert script.stdout.readline() == "training\n"
        send(script.pid, what)
        assert script.communicate(timeout=30)[0] == "saved\n"
        assert script.returncode == 75


@pytest.mark.slow
def test_three_methods_really_train_resume_and_are_drawn(tmp_path):
    """The one that has begun goes on; what the processes compile alike is compiled once."""
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
        *("--task.heldout.path", tmp_path / "test.jsonl", "--task.max-response-tokens", "3"),
        *("--task.num-judges", "1", "--batch.prompts-per-step", "4", "--batch.prompts-per-update", "2"),
        *("--batch.samples-per-prompt", "2", "--evaluation.num-samples", "2"),
    ]
    out, arguments = str(tmp_path / "out"), list(map(str, arguments))
    here = {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    train = [sys.executable, "-m", "entropy_rl", "train", "--config", "configs/gsm8k_gpu_clip_cov.py"]
    began = [*train, "--runs-folder", out, *arguments, "--num-steps", "1"]
    subprocess.run(began, cwd=ROOT, env=os.environ | here, check=True, timeout=600)
    commands = StandIns.make(tmp_path / "bin")
    arguments += ["--num-steps", "2"]
    done = commands.run("gsm8k_gpu.sh", out, *arguments, timeout_seconds=600, PYTHON=sys.executable, **here)
    assert done.returncode == 0, done.stderr
    numbers = json.loads((tmp_path / "out/comparison.json").read_text())
    assert {label: run["steps"] for label, run in numbers.items()} == {"GRPO": 2, "Clip-Cov": 2, "KL-Cov": 2}
    measured = {"policy/entropy", "heldout/accuracy", "heldout/greedy_accuracy"}
    assert all(measured <= set(run) for run in numbers.values())
    started = json.loads((tmp_path / "out/start.json").read_text())
    assert {run["heldout/accuracy"]["first"] for run in numbers.values()} == {started["accuracy"]}
    assert (tmp_path / "out/curves.png").is_file() and "| KL-Cov | 2 |" in done.stdout
