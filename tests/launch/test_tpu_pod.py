"""launch/tpu_pod.sh against a stand-in for gcloud: what it calls, and when it starts again."""

import shlex
import subprocess

import pytest

from tests.launch.stand_ins import StandIns, says

DESCRIBE, EXIT_CODE = "*queued-resources describe*", "*--worker=0*exit_code*"
ABSENT = says("ERROR: NOT_FOUND: Resource 'kl' was not found", 1)
ACTIVE, DONE, PREEMPTED = says("ACTIVE"), says("0"), says("75")
PLACE = ["--name", "kl", "--zone", "us-east5-a"]
SLICE = [*PLACE, "--type", "v5p-32", "--spot"]
TRAINING = ["--", "--config", "configs/tiny_kl_cov.py", "--name", "it's a test; rm $HOME"]


@pytest.fixture
def gcloud(tmp_path):
    return StandIns.make(tmp_path / "bin", "gcloud")


def verbs(calls):
    """The calls, each by what it does."""
    names = {"queued-resources create": "create", "queued-resources delete": "delete", " scp ": "copy"}
    names |= {"uv venv": "install", "entropy_rl train": "start"}
    texts = [" ".join(call) for call in calls]
    found = [next((verb for part, verb in names.items() if part in text), None) for text in texts]
    return [verb for verb in found if verb]


def start_of(calls):
    return [call[-1] for call in calls if "entropy_rl train" in call[-1]]


def test_create_asks_for_a_queued_resource_of_the_type_with_its_image(gcloud):
    assert gcloud.run("tpu_pod.sh", "create", *SLICE, "--project", "mine").returncode == 0
    (call,) = gcloud.calls
    assert call == [
        *("gcloud", "compute", "tpus", "queued-resources", "create", "kl", "--node-id=kl"),
        *("--zone=us-east5-a", "--project=mine", "--accelerator-type=v5p-32"),
        *("--runtime-version=v2-alpha-tpuv5", "--spot"),
    ]


@pytest.mark.parametrize(
    "options, image, tier",
    [
        (["--type", "v6e-16", "--reserved"], "v2-alpha-tpuv6e", ["--reserved"]),
        (["--type", "v5litepod-8"], "v2-alpha-tpuv5-lite", []),
        (["--type", "v4-8", "--runtime", "tpu-ubuntu2204-base"], "tpu-ubuntu2204-base", []),
    ],
)
def test_create_knows_images_and_tiers(gcloud, options, image, tier):
    assert gcloud.run("tpu_pod.sh", "create", *PLACE, *options).returncode == 0
    assert gcloud.calls[0][9:] == [f"--runtime-version={image}", *tier]


def test_run_waits_installs_starts_and_ends(gcloud):
    waiting = [ABSENT, says("WAITING_FOR_RESOURCES"), says("PROVISIONING"), ACTIVE]
    done = gcloud.run(
        "tpu_pod.sh",
        "run",
        *SLICE,
        *TRAINING,
        answers={DESCRIBE: waiting, EXIT_CODE: [says("RUNNING"), DONE]},
    )
    assert done.returncode == 0, done.stderr
    assert verbs(gcloud.calls) == ["create", "copy", "install", "start"]
    assert "--resume" not in start_of(gcloud.calls)[0]
    assert all("--worker=all" in call for call in gcloud.calls if verbs([call])[:1] in (["start"], ["copy"]))


def test_a_slice_that_was_taken_away_is_made_anew_and_training_resumed(gcloud):
    states = [ABSENT, ACTIVE, ACTIVE, says("SUSPENDING"), says("SUSPENDED"), ACTIVE]
    done = gcloud.run(
        "tpu_pod.sh", "run", *SLICE, *TRAINING, answers={DESCRIBE: states, EXIT_CODE: [says("RUNNING"), DONE]}
    )
    assert done.returncode == 0, done.stderr
    made = ["create", "copy", "install", "start"]
    assert verbs(gcloud.calls) == [*made, "delete", *made]
    assert ["--resume" in start for start in start_of(gcloud.calls)] == [False, False]
    kept = [*TRAINING, "--checkpoint-folder", "gs://b/runs"]
    answers = {DESCRIBE: states, EXIT_CODE: [says("RUNNING"), DONE]}
    assert gcloud.run("tpu_pod.sh", "run", *SLICE, *kept, answers=answers).returncode == 0
    assert [" --resume >>" in start for start in start_of(gcloud.calls)] == [True, True]


@pytest.mark.parametrize("folder", [["--checkpoint-folder", "gs://b"], ["--checkpoint-folder=gs://b"]])
def test_run_issued_again_goes_on_where_checkpoints_are_kept(gcloud, folder):
    """Whether an earlier call began the run is not known here; --resume begins where none has."""
    answers = {DESCRIBE: [ACTIVE], EXIT_CODE: [DONE]}
    gcloud.run("tpu_pod.sh", "run", *SLICE, *TRAINING, *folder, answers=answers)
    assert start_of(gcloud.calls)[0].count(" --resume") == 1
    gcloud.run("tpu_pod.sh", "run", *SLICE, *TRAINING, *folder, "--resume", answers=answers)
    assert start_of(gcloud.calls)[0].count(" --resume") == 1


def test_what_was_to_be_overwritten_is_not_overwritten_again(gcloud):
    training = [*TRAINING, "--overwrite", "--checkpoint-folder", "gs://b"]
    answers = {DESCRIBE: [ACTIVE], EXIT_CODE: [PREEMPTED, DONE]}
    gcloud.run("tpu_pod.sh", "run", *SLICE, *training, answers=answers)
    starts = start_of(gcloud.calls)
    assert [("--overwrite" in start, "--resume" in start) for start in starts] == [
        (True, False),
        (False, True),
    ]


def test_a_machine_that_was_asked_to_stop_before_training_began_starts_as_it_was(gcloud):
    answers = {DESCRIBE: [ACTIVE], EXIT_CODE: [says("143"), DONE]}
    assert gcloud.run("tpu_pod.sh", "run", *SLICE, *TRAINING, answers=answers).returncode == 0
    assert ["--resume" in start for start in start_of(gcloud.calls)] == [False, False]


def test_a_slice_whose_machines_go_one_after_another_is_made_anew(gcloud):
    """Training fails on the others first; the queue says so a while later."""
    states = [ACTIVE] * 4 + [says("SUSPENDING"), says("SUSPENDED"), ACTIVE]
    answers = {DESCRIBE: states, EXIT_CODE: [says("1"), DONE]}
    done = gcloud.run("tpu_pod.sh", "run", *SLICE, *TRAINING, answers=answers)
    assert done.returncode == 0, done.stderr
    assert verbs(gcloud.calls) == ["copy", "install", "start", "delete", "create", "copy", "install", "start"]


def test_an_error_that_is_not_the_slice_s_is_reported_after_a_while(gcloud):
    answers = {DESCRIBE: [ACTIVE], EXIT_CODE: [says("1")]}
    done = gcloud.run("tpu_pod.sh", "run", *SLICE, *TRAINING, answers=answers)
    assert done.returncode == 1 and verbs(gcloud.calls) == ["copy", "install", "start"]


@pytest.mark.parametrize("command", ["run", "wait"])
def test_gcloud_that_cannot_be_asked_is_not_asked_for_ever(gcloud, command):
    answers = {DESCRIBE: [says("ERROR: You do not currently have an active account selected.", 1)]}
    done = gcloud.run("tpu_pod.sh", command, *SLICE, *TRAINING, answers=answers)
    assert done.returncode == 2 and len(gcloud.calls) == 5 and "active account" in done.stderr


def test_exit_code_75_is_resumed_on_the_slice_when_that_is_still_there(gcloud):
    done = gcloud.run(
        "tpu_pod.sh", "run", *SLICE, *TRAINING, answers={DESCRIBE: [ACTIVE], EXIT_CODE: [PREEMPTED, DONE]}
    )
    assert done.returncode == 0, done.stderr
    assert verbs(gcloud.calls) == ["copy", "install", "start"] * 2
    assert "Pre-empted (75)" in done.stderr


def test_any_other_exit_code_ends_the_run_with_it(gcloud):
    done = gcloud.run(
        "tpu_pod.sh", "run", *SLICE, *TRAINING, answers={DESCRIBE: [ACTIVE], EXIT_CODE: [says("2")]}
    )
    assert done.returncode == 2 and verbs(gcloud.calls) == ["copy", "install", "start"]
    assert "exit code 2" in done.stderr


def test_a_network_that_fails_for_a_moment_makes_no_second_slice(gcloud):
    states = [ACTIVE, ACTIVE, says("ERROR: unreachable", 1), ACTIVE]
    answers = {DESCRIBE: states, EXIT_CODE: [says("ssh failed", 255), DONE]}
    assert gcloud.run("tpu_pod.sh", "run", *SLICE, *TRAINING, answers=answers).returncode == 0
    assert verbs(gcloud.calls) == ["copy", "install", "start"]


def test_a_request_that_failed_is_not_repeated(gcloud):
    done = gcloud.run("tpu_pod.sh", "run", *SLICE, *TRAINING, answers={DESCRIBE: [says("FAILED")]})
    assert done.returncode == 2 and verbs(gcloud.calls) == []


def test_an_installation_that_keeps_failing_is_given_up(gcloud):
    answers = {DESCRIBE: [ACTIVE], "*uv venv*": [says("no", 1)]}
    done = gcloud.run("tpu_pod.sh", "run", *SLICE, *TRAINING, answers=answers)
    assert done.returncode == 2 and verbs(gcloud.calls) == ["copy", "install"] * 5


@pytest.mark.parametrize(
    "command", ["create", "wait", "install", "start", "resume", "follow", "status", "delete", "run"]
)
def test_a_dry_run_prints_the_commands_that_are_issued(gcloud, command):
    states = [ABSENT, ACTIVE] if command == "run" else [ACTIVE]
    answers = {DESCRIBE: states, EXIT_CODE: [DONE]}
    printed = gcloud.run("tpu_pod.sh", command, *SLICE, "--dry-run", *TRAINING, answers=answers)
    assert printed.returncode == 0 and gcloud.calls == []
    lines = [shlex.split(line) for line in printed.stdout.splitlines() if line.startswith("gcloud")]
    assert gcloud.run("tpu_pod.sh", command, *SLICE, *TRAINING, answers=answers).returncode == 0
    assert lines == gcloud.calls and lines


def test_a_worker_runs_training_with_the_very_arguments_and_keeps_log_and_exit_code(gcloud, tmp_path):
    gcloud.run("tpu_pod.sh", "resume", *PLACE, *TRAINING)
    (command,) = start_of(gcloud.calls)
    worker = tmp_path / "home" / "entropy_rl"
    python = worker / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\nexit 75\n')
    python.chmod(0o755)
    script = command.removeprefix("--command=") + "; wait"
    subprocess.run(["bash", "-c", script], cwd=tmp_path / "home", check=True, timeout=30)
    assert (worker / "exit_code").read_text() == "75\n"
    assert (worker / "train.log").read_text().splitlines() == [
        *("-m", "entropy_rl", "train", *TRAINING[1:], "--resume")
    ]


def test_a_checkout_that_cannot_be_packed_is_not_copied(gcloud):
    git = gcloud.folder / "git"
    git.write_text("#!/bin/sh\nexit 128\n")
    git.chmod(0o755)
    assert gcloud.run("tpu_pod.sh", "install", *PLACE).returncode == 128 and gcloud.calls == []


def test_a_revision_is_cloned_instead_and_the_setup_follows(gcloud):
    options = [
        "--revision",
        "v1",
        "--repository",
        "https://x/y.git",
        "--setup",
        "gcloud storage cp -r gs://b/p .",
    ]
    assert gcloud.run("tpu_pod.sh", "install", *PLACE, *options).returncode == 0
    (call,) = gcloud.calls
    assert "git clone -q https://x/y.git" in call[-1] and "checkout -q v1" in call[-1]
    assert call[-1].endswith("&& gcloud storage cp -r gs://b/p .")


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "--name", "a"],
        ["create", *PLACE],
        ["fly", *PLACE],
        ["create", "--nome", "a"],
        ["create", "--name"],
        ["create", "--name", "--zone", "us-east5-a"],
        ["install", *PLACE, "--setup"],
    ],
)
def test_what_cannot_work_is_refused_before_gcloud_is_called(gcloud, arguments):
    done = gcloud.run("tpu_pod.sh", *arguments)
    assert done.returncode == 2 and done.stderr.startswith("tpu_pod.sh: ") and gcloud.calls == []
