"""The commands as they are typed, in one life of a policy: sft, evaluate, train, export, score, generate."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.cli import COMMANDS, main
from entropy_rl.models.hf import load_pretrained
from entropy_rl.observability.run_record import read_rows
from entropy_rl.stored_policy import read_policy

CONFIG = """
from dataclasses import replace
from pathlib import Path
from entropy_rl.config import PolicyConfig
from tests.runs import make_config

FOLDER = Path({folder!r})

def get_config():
    config = make_config(FOLDER, name="cli", num_steps=2)
    if {from_start}:
        start = PolicyConfig(directory=FOLDER / "start", compute_dtype="float32")
        config = replace(config, policy=start, warm_start=None)
    return config
"""
ROWS = [("3,5,7=22:", "3*5+7"), ("1,2=3:", "1+2"), ("4,4=8:", "")]


def run(*args) -> str:
    """What a command prints on standard output; what it says on standard error is dropped."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()):
        main([str(arg) for arg in args])
    return out.getvalue()


def run_json_lines(*args) -> list[dict]:
    return [json.loads(line) for line in run(*args).splitlines()]


def without_frames(text: str) -> str:
    """Words of a help or an error on one line, without the boxes they are drawn in."""
    return " ".join(text.replace("\u2502", " ").split())


def refused(*args) -> str:
    """What a command that must fail says on standard error; it prints nothing else."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        with pytest.raises(SystemExit) as stop:
            main([str(arg) for arg in args])
    assert stop.value.code == 2 and out.getvalue() == "" and "Traceback" not in err.getvalue()
    return without_frames(err.getvalue())


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """Everything the commands made, one after the other: where it lies, and what they printed."""
    folder = tmp_path_factory.mktemp("cli")
    made = SimpleNamespace(
        folder=folder,
        scratch=folder / "scratch.py",
        config=folder / "from_start.py",
        start=folder / "start",
        run=folder / "runs" / "cli",
        export=folder / "export",
        rows=folder / "rows.jsonl",
    )
    made.scratch.write_text(CONFIG.format(folder=str(folder), from_start=False))
    made.config.write_text(CONFIG.format(folder=str(folder), from_start=True))
    made.rows.write_text("".join(json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in ROWS))
    made.sft_output = run("sft", "--config", made.scratch, "--output", made.start)
    made.evaluate_output = run(
        "evaluate", "--config", made.config, "--from-policy", made.start, "--output", folder / "heldout.json"
    )
    run("train", "--config", made.config, "--objective.penalty-coef", "0.25", "--seed=3")
    made.export_output = run("export", "--policy", made.run, "--output", made.export, "--dtype", "float32")
    return made


def test_without_a_command_the_overview_names_them_all():
    started = subprocess.run([sys.executable, "-m", "entropy_rl"], capture_output=True, text=True, check=True)
    for overview in (started.stdout, run(), run("--help"), run("-h")):
        assert all(name in overview and meaning in overview for name, meaning in COMMANDS.items())


def test_an_unknown_command_is_answered_by_the_overview():
    message = refused("trian")
    assert "no command 'trian'" in message and all(name in message for name in COMMANDS)


def test_help_explains_fields_and_tells_the_defaults_of_the_configuration(life):
    with redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as stop:
        main(["train", "--config", str(life.scratch), "--help"])
    assert stop.value.code == 0
    text = without_frames(out.getvalue())
    assert "--num-steps INT" in text and "one rollout and all of its updates each. (default: 2)" in text
    assert "--objective.penalty-coef FLOAT" in text and "--batch.prompts-per-update INT" in text
    assert "Leaves runs/NAME/" in text


@pytest.mark.parametrize(
    ("wrong", "neighbour"),
    [("--num-step", "--num-steps"), ("--objective.penalty-koef", "--objective.penalty-coef")],
)
def test_an_unknown_option_is_answered_by_its_neighbours(life, wrong, neighbour):
    message = refused("train", "--config", life.scratch, wrong, "3")
    assert wrong in message and neighbour in message.partition("Perhaps you meant")[2]
    assert not (life.folder / "runs" / "short").exists()


def test_a_missing_configuration_is_answered_by_the_files_beside_it(life):
    for option in (("--config", life.folder / "tiny.py"), (f"--config={life.folder / 'tiny.py'}",)):
        message = refused("train", *option)
        assert "tiny.py does not exist" in message
        assert str(life.scratch) in message and str(life.config) in message


def test_sft_writes_a_policy_and_keeps_off_a_folder_that_exists(life):
    assert life.sft_output.split() == [str(life.start)]
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {p.name for p in life.start.iterdir()}
    assert str(life.start) in refused("sft", "--config", life.scratch, "--output", life.start)


def test_evaluate_prints_accuracy_and_pass_at_k_and_writes_the_same_to_a_file(life):
    numbers = json.loads(life.evaluate_output)
    assert numbers == json.loads((life.folder / "heldout.json").read_text())
    assert numbers["num_prompts"] == 5 and numbers["accuracy"] == numbers["average@2"] == numbers["pass@1"]
    assert 0 <= numbers["pass@1"] <= numbers["pass@2"] <= 1


def test_dotted_overrides_reach_the_configuration_that_a_run_records(life):
    recorded = json.loads((life.run / "config.json").read_text())
    assert recorded["objective"]["penalty_coef"] == 0.25 and recorded["seed"] == 3
    assert recorded["objective"]["fraction"] == 0.05  # as the file says
    assert [row["step"] for row in read_rows(life.run / "metrics.jsonl")] == [1, 2]


def test_resuming_a_finished_run_changes_no_number(life):
    files = [life.run / name for name in ("metrics.jsonl", "entropy_history_cli.json", "config.json")]
    before = [file.read_bytes() for file in files]
    run("train", "--config", life.config, "--objective.penalty-coef", "0.25", "--seed=3", "--resume")
    assert [file.read_bytes() for file in files] == before


def test_a_run_is_not_touched_without_being_told_how(life):
    before = (life.run / "metrics.jsonl").read_bytes()
    message = refused("train", "--config", life.config)
    assert "--resume" in message and "--overwrite" in message
    assert "seed" in refused("train", "--config", life.config, "--resume", "--seed", "4")
    assert (life.run / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/b", ".hidden", "", "two words", "a\nb"])
def test_names_that_are_no_plain_folder_names_are_refused(life, name):
    before = sorted(life.folder.rglob("*"))
    assert "name" in refused("train", "--config", life.config, f"--name={name}")
    assert sorted(life.folder.rglob("*")) == before


def test_impossible_settings_are_refused_by_what_must_hold(life):
    message = refused("train", "--config", life.config, "--batch.prompts-per-update", "3")
    assert "divisor of batch.prompts_per_step, got 3 and 4" in message


def test_an_export_is_the_policy_of_the_newest_checkpoint(life):
    assert life.export_output.split() == [str(life.export)]
    _, exported = load_pretrained(life.export)
    jax.tree.map(np.testing.assert_array_equal, exported, read_policy(life.run, step=2).params)
    started = read_policy(life.start).params
    assert (exported["embedding"] != started["embedding"]).any()  # training moved it
    assert "steps" in refused("export", "--policy", life.run, "--step", "1", "--output", life.folder / "no")


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is absent")
def test_transformers_loads_an_export_and_gives_its_logits(life):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(life.export, dtype=torch.float32)
    ids = AutoTokenizer.from_pretrained(life.export)("3,5,7=22:").input_ids
    stored = read_policy(life.export)
    assert ids == stored.tokenizer.encode("3,5,7=22:")
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits.numpy()
    params = jax.device_put(stored.params)
    hidden = stored.policy.sequence_hidden(params, jnp.array([ids]))
    np.testing.assert_allclose(stored.policy.logits(params, hidden), expected, rtol=0, atol=1e-4)


def test_score_gives_a_log_prob_and_an_entropy_for_every_completion_token(life):
    scores = run_json_lines("score", "--policy", life.export, "--input", life.rows)
    assert [(len(s["logps"]), len(s["entropies"])) for s in scores] == [(len(c), len(c)) for _, c in ROWS]
    values = np.array([s["logps"] + s["entropies"] for s in scores[:1]])
    assert all(set(s) >= {"logps", "entropies"} for s in scores)
    assert np.isfinite(values).all() and max(scores[0]["logps"]) < 0
    assert 0 < min(scores[0]["entropies"]) <= max(scores[0]["entropies"]) < np.log(23) + 1e-6
    assert scores == run_json_lines("score", "--policy", life.run, "--input", life.rows)


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[1]",
        '{"prompt": "1"}',
        '{"prompt": 1, "completion": "2"}',
        '{"prompt": "", "completion": "2"}',
    ],
)
def test_a_row_that_cannot_be_scored_is_named_by_file_and_line(life, tmp_path, bad):
    rows = tmp_path / "bad.jsonl"
    rows.write_text('{"prompt": "1", "completion": "2"}\n\n' + bad + "\n")
    assert f"{rows}:3" in refused("score", "--policy", life.export, "--input", rows)


def test_generate_gives_the_same_samples_for_the_same_seed(life):
    asked = ("generate", "--policy", life.export, "--prompt", "1,2=3:", "3,5,7=22:", "--num-samples", "3")
    samples = run_json_lines(*asked, "--max-new-tokens", "5")
    assert [s["prompt"] for s in samples] == ["1,2=3:"] * 3 + ["3,5,7=22:"] * 3
    assert all(1 <= s["num_tokens"] <= 5 and s["logp"] < 0 for s in samples)
    assert samples == run_json_lines(*asked, "--max-new-tokens", "5")
    other = run_json_lines(*asked, "--max-new-tokens", "5", "--seed", "1")
    assert [s["completion"] for s in other] != [s["completion"] for s in samples]


def test_the_log_prob_of_a_sample_is_the_one_score_gives_to_its_text(life, tmp_path):
    # Without the stop token, which has no text, the sums agree; so only samples cut at the limit are asked.
    samples = run_json_lines(
        "generate", "--policy", life.export, "--prompt", "3,5,7=22:", "--num-samples", "3",
        "--max-new-tokens", "5", "--min-new-tokens", "5",
    )  # fmt: skip
    rows = tmp_path / "samples.jsonl"
    rows.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    scores = run_json_lines("score", "--policy", life.export, "--input", rows)
    cut = [i for i, s in enumerate(samples) if len(s["completion"]) == s["num_tokens"] == 5]
    assert cut
    for i in cut:
        np.testing.assert_allclose(sum(scores[i]["logps"]), samples[i]["logp"], atol=1e-4)


@pytest.mark.parametrize("command", ["export", "score", "generate"])
def test_a_folder_without_a_policy_is_refused(command, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "1", "completion": "2"}\n')
    rest = {
        "export": ("--output", tmp_path / "out"),
        "score": ("--input", rows),
        "generate": ("--prompt", "1"),
    }
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "absent"):
        assert str(folder) in refused(command, "--policy", folder, *rest[command])


def test_generate_without_a_prompt_is_refused(life):
    assert "--prompt" in refused("generate", "--policy", life.export)
