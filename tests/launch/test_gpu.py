"""launch/gpu.sh against stand-ins for ssh, srun and python: who is started how, and when again."""

import shlex
import shutil
from pathlib import Path

import pytest

from pallas_kernels.chips import GPU_CHIPS
from tests.launch.stand_ins import ROOT, StandIns, says

TRAINING = ["--config", "configs/tiny_kl_cov.py", "--name", "it's a test"]
JOB = {"SLURM_JOB_ID": "17", "SLURM_SUBMIT_DIR": ""}


@pytest.fixture
def commands(tmp_path):
    """Stand-ins, and a checkout whose .venv is there and is one of them."""
    stand_ins = StandIns.make(tmp_path / "bin", "ssh", "srun", "scontrol", "python")
    checkout = tmp_path / "check out"
    shutil.copytree(ROOT / "launch", checkout / "launch")
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").symlink_to(stand_ins.folder / "python")
    for folder in (checkout, checkout / ".venv"):
        (folder / "requirements.txt").write_text("")
    return stand_ins


def run(commands, *arguments, **kwargs):
    checkout = commands.folder.parent / "check out"
    if "SLURM_SUBMIT_DIR" in kwargs:
        kwargs["SLURM_SUBMIT_DIR"] = str(checkout)
    return commands.run(str(checkout / "launch/gpu.sh"), *arguments, **kwargs)


MEMORY = ["env", "XLA_PYTHON_CLIENT_MEM_FRACTION=0.9"]


def training_calls(commands):
    return [call for call in commands.calls if "entropy_rl" in " ".join(call)]


def test_one_machine_trains_here_and_again_after_75(commands):
    answers = {"*entropy_rl train*": [says("", 75), says("")]}
    done = run(commands, *TRAINING, answers=answers)
    assert done.returncode == 0, done.stderr
    first, second = training_calls(commands)
    assert first == ["python", "-m", "entropy_rl", "train", *TRAINING]
    assert second == [*first, "--resume"]


def test_what_was_to_be_overwritten_is_not_overwritten_again(commands):
    answers = {"*entropy_rl train*": [says("", 75), says("")]}
    assert run(commands, "--overwrite", *TRAINING, answers=answers).returncode == 0
    assert [call[4:] for call in training_calls(commands)] == [
        ["--overwrite", *TRAINING],
        [*TRAINING, "--resume"],
    ]


def test_after_143_it_starts_as_it_was_but_not_for_ever(commands):
    """SIGTERM came before the run had a folder; srun sends it too, where one process refuses arguments."""
    answers = {"*entropy_rl train*": [says("", 143), says("")]}
    assert run(commands, *TRAINING, answers=answers).returncode == 0
    assert [call[4:] for call in training_calls(commands)] == [TRAINING] * 2
    assert run(commands, *TRAINING, answers={"srun*": [says("", 143)]}, **JOB).returncode == 143
    assert len(training_calls(commands)) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hosts"],
        ["--hosts", "--dry-run"],
        ["--port"],
        ["--folder"],
        [*TRAINING, "--port", "9000"],
        [*TRAINING, "--dry-run"],
        [*TRAINING, "--hosts=a,b"],
    ],
)
def test_options_without_values_or_among_those_of_training_are_refused(commands, arguments):
    done = run(commands, *arguments)
    assert done.returncode == 2 and done.stderr.startswith("gpu.sh: --") and commands.calls == []


def test_training_has_the_share_of_memory_that_the_plan_counts_or_the_user_s_own(commands):
    counted = {chip.memory_fraction for chip in GPU_CHIPS.values()}
    assert MEMORY == ["env", *(f"XLA_PYTHON_CLIENT_MEM_FRACTION={share}" for share in counted)]
    printed = run(commands, "--dry-run", *TRAINING, XLA_PYTHON_CLIENT_MEM_FRACTION="0.8")
    assert printed.stdout.startswith("env XLA_PYTHON_CLIENT_MEM_FRACTION=0.8 ")


def test_other_exit_codes_end_it(commands):
    assert run(commands, *TRAINING, answers={"*entropy_rl train*": [says("", 2)]}).returncode == 2
    assert len(training_calls(commands)) == 1


def test_each_host_gets_its_number_and_the_first_one_s_address(commands):
    done = run(commands, "--hosts", "a,b,c", "--port", "9000", "--folder", "/my code", *TRAINING)
    assert done.returncode == 0, done.stderr
    calls = sorted(training_calls(commands), key=lambda call: call[-2])
    assert [call[-2] for call in calls] == ["a", "b", "c"]
    for number, call in enumerate(calls):
        assert shlex.split(call[-1]) == [
            *("cd", "/my code", "&&"),
            *(*MEMORY, ".venv/bin/python", "-m", "entropy_rl", "train", *TRAINING),
            *("--coordinator", "a:9000", "--num-processes", "3", "--process-id", str(number)),
        ]


def test_hosts_are_resumed_when_those_that_ended_badly_were_pre_empted(commands):
    answers = {"ssh *yes b cd*": [says("", 75), says("")]}
    assert run(commands, "--hosts", "a,b", *TRAINING, answers=answers).returncode == 0
    resumed = ["--resume" in call[-1] for call in training_calls(commands)]
    assert sorted(resumed) == [False, False, True, True]


def test_an_error_on_one_host_outweighs_the_end_of_the_others(commands):
    answers = {"ssh *yes a cd*": [says("", 75)], "ssh *yes b cd*": [says("", 2)]}
    assert run(commands, "--hosts", "a,b", *TRAINING, answers=answers).returncode == 2
    assert len(training_calls(commands)) == 2


def test_a_slurm_job_starts_a_process_on_each_node(commands):
    done = run(commands, *TRAINING, **JOB)
    assert done.returncode == 0, done.stderr
    (call,) = training_calls(commands)
    assert call == [
        *("srun", "--ntasks-per-node=1", "--kill-on-bad-exit=1"),
        *(*MEMORY, ".venv/bin/python", "-m", "entropy_rl", "train", *TRAINING),
    ]


def test_sbatch_s_copy_and_the_script_under_salloc_from_elsewhere_both_run_in_the_checkout(
    commands, tmp_path
):
    script = tmp_path / "check out/launch/gpu.sh"
    copied = Path(shutil.copy(script, tmp_path / "slurm_script"))
    for started, submitted_in in ((copied, script.parents[1]), (script, tmp_path)):
        environment = JOB | {"SLURM_SUBMIT_DIR": str(submitted_in)}
        done = commands.run(str(started), *TRAINING, **environment)
        assert done.returncode == 0, done.stderr
        assert len(training_calls(commands)) == 1


def test_a_pre_empted_slurm_job_goes_back_into_the_queue_and_resumes_from_there(commands):
    assert run(commands, *TRAINING, answers={"srun*": [says("", 75)]}, **JOB).returncode == 75
    assert commands.calls[-1] == ["scontrol", "requeue", "17"]
    run(commands, *TRAINING, SLURM_RESTART_COUNT="1", **JOB)
    assert training_calls(commands)[0][-1] == "--resume"


def test_a_slurm_job_that_cannot_be_requeued_resumes_where_it_is(commands):
    answers = {"srun*": [says("", 75), says("")], "scontrol*": [says("", 1)]}
    assert run(commands, *TRAINING, answers=answers, **JOB).returncode == 0
    assert [call[-1] for call in training_calls(commands)] == ["it's a test", "--resume"]


@pytest.mark.parametrize("options, environment", [([], {}), (["--hosts", "a,b"], {}), ([], JOB)])
def test_a_dry_run_prints_the_commands_that_are_issued(commands, options, environment):
    printed = run(commands, "--dry-run", *options, *TRAINING, **environment)
    assert printed.returncode == 0 and commands.calls == []
    lines = [
        shlex.split(line.replace(".venv/bin/python", "python", 1)) for line in printed.stdout.splitlines()
    ]
    run(commands, *options, *TRAINING, **environment)
    issued = [
        [word.replace(".venv/bin/python", "python", 1) for word in call] for call in training_calls(commands)
    ]
    if issued[0][0] == "python":  # env has become it
        issued = [[*MEMORY, *call] for call in issued]
    assert lines and sorted(lines) == sorted(issued)
