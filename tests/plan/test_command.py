"""python -m entropy_rl plan, as it is typed, by formula."""

import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from entropy_rl.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = """
from dataclasses import replace
from entropy_rl.parallelism import MeshConfig
from tests.plan.jobs import CONFIG

TOPOLOGIES = ("v5e:2x2", "v5e:2x4")

def get_config(topology=TOPOLOGIES[0]):
    mesh = MeshConfig(fsdp=2, tensor=2) if topology == "v5e:2x2" else MeshConfig(fsdp=4, tensor=2)
    return replace(CONFIG, mesh=mesh)
"""


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "recipe.py"
    path.write_text(RECIPE)
    return path


def run(*args) -> tuple[str, str, int]:
    """(standard output, standard error, exit code)."""
    code = 0
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            main(["plan", *(str(arg) for arg in args)])
        except SystemExit as stop:
            code = stop.code
    return out.getvalue(), err.getvalue(), code


def test_a_plan_is_printed_and_written(recipe, tmp_path):
    output = tmp_path / "plan.json"
    text, _, code = run(
        "--config", recipe, "--estimate", "--output", output, "--price-per-chip-hour", 2, "--num-steps", 7
    )
    assert code == 0 and "small on v5e:2x2: 4 chips" in text and "fits: peak" in text
    assert "estimated by formula" in text
    plan = json.loads(output.read_text())
    assert [phase["name"] for phase in plan["phases"]] == [
        "reshard",
        "prefill",
        "decode",
        "old_logp",
        "update",
    ]
    assert plan["steps"] == 7 and plan["fits"] and not plan["by_compiler"]
    assert plan["price"] == pytest.approx(2 * plan["chip_hours"])
    for phase in plan["phases"]:
        assert phase["total_bytes"] == pytest.approx(sum(phase["bytes"].values()))


def test_the_topology_decides_the_settings_of_a_recipe(recipe, tmp_path):
    _, _, code = run("--config", recipe, "--topology", "v5e:2x4", "--estimate", "--output", tmp_path / "a")
    assert code == 0 and json.loads((tmp_path / "a").read_text())["mesh"]["fsdp"] == 4


def test_a_topology_that_the_recipe_does_not_name_gets_more_shards(recipe, tmp_path):
    _, told, code = run("--config", recipe, "--topology", "v5e:4x4", "--estimate", "--output", tmp_path / "a")
    assert code == 0 and "--mesh.fsdp 8 instead of 2" in told
    assert json.loads((tmp_path / "a").read_text())["mesh"] == {"data": 1, "fsdp": 8, "tensor": 2}


def test_what_does_not_fit_ends_with_exit_code_one_and_a_suggestion(recipe, tmp_path):
    large = ("--policy.architecture.num-layers", 2000, "--policy.rematerialize", "none")
    large += ("--batch.layout.tokens-per-device", 4096)
    text, _, code = run("--config", recipe, "--estimate", "--output", tmp_path / "a", *large)
    assert code == 1 and "DOES NOT FIT" in text
    suggestion = json.loads((tmp_path / "a").read_text())["suggestion"]
    assert suggestion in text and "by formula, not compiled" in text
    again, _, code = run("--config", recipe, "--estimate", *large, *suggestion.split())
    assert code == 0 and "fits: peak" in again


def test_a_suggestion_names_its_wave_and_takes_the_time_it_says(tmp_path):
    # On the mesh as given, waves of 8 prompts are the largest; on the one that is suggested, of 32.
    small = REPOSITORY / "configs" / "qwen2_5_0_5b_gsm8k_kl_cov.py"
    deep = ("--config", small, "--topology", "v5e:2x4", "--policy.architecture.num-layers", 300)
    text, _, code = run(*deep, "--estimate", "--output", tmp_path / "a")
    suggestion = json.loads((tmp_path / "a").read_text())["suggestion"]
    assert code == 1 and "--batch.prompts-per-wave" in suggestion
    assert "waves as planned need" not in text  # those are of the plan that does not fit
    again, _, code = run(*deep, *suggestion.split(), "--estimate")
    assert code == 0 and "of the host's memory for each chip" in again
    promised, taken = re.search(r"([\d,]+) s a step; by", text)[1], re.search(r"step ([\d,]+) s at", again)[1]
    assert promised == taken


def test_a_recipe_that_names_no_topology_is_refused(tmp_path):
    (tmp_path / "nowhere.py").write_text(
        RECIPE.replace("TOPOLOGIES = ", "SLICES = ").replace("=TOPOLOGIES[0]", '="v5e:2x2"')
    )
    _, told, code = run("--recipes", tmp_path / "nowhere.py", "--estimate")
    assert code == 2 and "nowhere.py names none" in told


def test_recipes_are_planned_on_all_their_topologies(recipe, tmp_path):
    text, _, code = run("--estimate", "--recipes", recipe, "--output", tmp_path / "plans")
    rows = [line for line in text.splitlines() if line.startswith("| small ")]
    assert code == 0 and ["v5e:2x2" in rows[0], "v5e:2x4" in rows[1]] == [True, True] and len(rows) == 2
    kept = {path.name: path.read_text() for path in (tmp_path / "plans").iterdir()}
    assert sorted(kept) == [f"small.v5e-2x{n}.{suffix}" for n in (2, 4) for suffix in ("json", "txt")]
    assert "v5e:2x4: 8 chips" in kept["small.v5e-2x4.txt"]
    assert json.loads(kept["small.v5e-2x4.json"])["topology"] == "v5e:2x4"


def test_the_table_of_recipes_tells_prices(recipe):
    text, _, _ = run("--estimate", "--recipes", recipe, "--price-per-chip-hour", 1e9)
    head, rule, *rows = text.splitlines()
    assert head.endswith("| of the run | price at 1e+09 |") and len(rows) == 2
    assert {line.count("|") for line in (head, rule, *rows)} == {16}
    plans, _, _ = run("--config", recipe, "--estimate", "--price-per-chip-hour", 1e9)
    price = rows[0].split("|")[-2].strip()
    assert f"for 5 steps, without evaluations: {price} at 1e+09 a chip-hour" in plans


@pytest.mark.parametrize(
    "args",
    [
        ("--recipes", "{recipe}", "--config", "{recipe}"),
        ("--recipes", "{recipe}", "--num-steps", 7),
        ("--weak-scaling", "--recipes", "{recipe}"),
        ("--config", "{recipe}", "--weak-scaling", "--estimate"),
        ("--config", "{recipe}", "--weak-scaling", "--output", "plan.json"),
        ("--config", "{recipe}", "--weak-scaling", "--price-per-chip-hour", 2),
    ],
)
def test_what_would_be_ignored_is_refused(recipe, args):
    _, told, code = run(*(str(arg).format(recipe=recipe) for arg in args))
    assert code == 2 and "must be left out" in told


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_planned(recipe, tmp_path):
    for output in (tmp_path / "absent" / "plan.json", tmp_path):
        text, told, code = run("--config", recipe, "--estimate", "--output", output)
        assert code == 2 and "a file in a folder that exists" in told and text == ""
    text, told, code = run("--recipes", recipe, "--estimate", "--output", recipe)
    assert code == 2 and "must be a folder with --recipes" in told and text == ""


def test_lines_are_not_cut_and_one_wave_is_no_waves(recipe):
    text, _, _ = run("--config", recipe, "--estimate")
    assert text.splitlines()[0].endswith("; rollouts in 1 wave of 16 prompts")
    long = ("--batch.prompts-per-wave", 8, "--name", "n" * 100)
    text, _, _ = run("--config", recipe, "--estimate", *long)
    assert text.splitlines()[0].endswith("; rollouts in 2 waves of 8 prompts")


def test_gpus_are_planned_by_the_same_formulas(recipe):
    text, _, code = run("--config", recipe, "--topology", "h100:2x2", "--estimate")
    assert code == 0 and "67.06 GiB usable" in text


@pytest.mark.parametrize(
    ("args", "reason"),
    [(("--topology", "v9:2x2"), "got 'v9:2x2'"), (("--topology", "v5e:1x1"), "must divide the 1 chips")],
)
def test_a_wrong_topology_is_an_error_of_the_user(recipe, args, reason):
    _, told, code = run("--config", recipe, "--estimate", *args)
    assert code == 2 and reason in told
