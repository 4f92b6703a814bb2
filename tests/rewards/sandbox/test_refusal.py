"""Where no sandbox can be made, programs are refused; weaker bounds are taken only when asked for."""

import json
import os
import re
import shutil
import subprocess

import pytest

from entropy_rl.rewards.sandbox.limits import SandboxLimits
from entropy_rl.rewards.sandbox.namespaces import is_in_system_folder
from entropy_rl.rewards.sandbox.system_calls import filter_instructions
from tests.rewards.sandboxes import skip_or_fail

NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"  # which any user can reach
SOURCE = """
import os, resource, socket
try:
    socket.socket()
except PermissionError:
    print("no sockets")
print(dict(os.environ).keys() <= {"LC_CTYPE"}, os.getuid() != 0, sorted(os.listdir(".")))
print(resource.getrlimit(resource.RLIMIT_NPROC)[1], resource.getrlimit(resource.RLIMIT_AS)[1] // 2**20)
if os.fork() == 0:
    os.setsid()
    while True:
        pass
"""


def test_without_namespaces_programs_are_refused_in_words(any_user):
    outcome = any_user.run("print('it ran')", "--without-namespaces")
    assert "stdout" not in outcome
    assert "namespaces: " in outcome["refused"] and "bubblewrap: " in outcome["refused"]
    assert re.search("allow user namespaces .*or install bubblewrap, or accept", outcome["refused"])


def test_weaker_bounds_are_taken_when_asked_for_and_still_bound(any_user):
    limits = {"accept_weaker": True, "num_processes": 1009, "memory_mib": 127}
    outcome = any_user.run(SOURCE, "--without-namespaces", **limits)
    if "interpreter" in outcome.get("refused", "") or "Permission denied" in outcome.get("refused", ""):
        pytest.skip(f"an unprivileged user cannot reach this interpreter: {outcome['refused']}")
    assert outcome["mechanism"] == "limits"
    assert outcome["stdout"] == f"no sockets\nTrue True {['program.py']}\n1009 127\n", outcome
    assert outcome["seconds"] < 5, "what the program left behind was ended"
    flood = any_user.run("while True: print('x' * 997)", "--without-namespaces", **limits)
    assert flood["ended_by"] == "output"


def test_root_without_the_power_to_make_namespaces_becomes_a_user_who_has_it(readable_package):
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can lose its powers, and needs setpriv for it")
    powerless = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    command = [*powerless, SYSTEM_PYTHON, str(readable_package / "run_one.py")]
    request = {
        "source": "import os; print(os.getuid())",
        "stdin": "",
        "limits": {},
        "mechanism": "namespaces",
    }
    environment = {"PYTHONPATH": str(readable_package)}
    printed = subprocess.run(
        command, input=json.dumps(request) + "\n", env=environment, capture_output=True, text=True, timeout=20
    )
    outcome = json.loads(printed.stdout)
    if "refused" in outcome:
        skip_or_fail(outcome["refused"], "namespaces", NOBODY)
    assert outcome["stdout"] == "1000\n", "the only user of its namespace"


@pytest.mark.parametrize("limit", ["cpu_seconds", "wall_seconds", "memory_mib", "num_processes", "disk_mib"])
def test_limits_that_nothing_can_run_under_are_errors(limit):
    with pytest.raises(ValueError, match=f"{limit} must be a.* number of at least .*; got 0"):
        SandboxLimits(**{limit: 0.0 if limit == "wall_seconds" else 0})


def test_the_filter_is_known_for_the_processors_it_names():
    for machine in ("x86_64", "aarch64"):
        instructions = filter_instructions(machine)
        assert len(instructions) % 8 == 0 and len(instructions) // 8 < 256, "a jump reaches 255 at most"
    with pytest.raises(ValueError, match="known for .*got 'riscv64'"):
        filter_instructions("riscv64")


def test_a_folder_is_the_systems_by_its_whole_name():
    inside = ["/usr", "/usr/local", "/lib64/python"]
    assert all(map(is_in_system_folder, inside))
    assert not any(map(is_in_system_folder, ["/usr2", "/usrlocal/python", "/opt/usr", "/library"]))


def test_a_refusal_that_the_machine_does_not_explain_fails_the_tests():
    with pytest.raises(pytest.fail.Exception, match="refused, though 'true' works here: the reason"):
        skip_or_fail("the reason", "one", probes={"one": [["false"], ["true"]], "other": []})
    for probes in ({"one": [["false"], ["no-such-program"]], "other": [["true"]]}, {}):
        with pytest.raises(pytest.skip.Exception, match="the reason"):
            skip_or_fail("the reason", "one", probes=probes)
