"""Programs that try to get out of the sandbox."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

from tests.rewards.sandboxes import all_gone, comes_true, named_processes

ROOT = Path(__file__).resolve().parents[3]
READ_FILES = """
import json
found = []
for path in json.loads(input()):
    try:
        found.append(open(path, "rb").read(1) and path)
    except OSError:
        pass
print(json.dumps(found))
"""
CALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    return getattr(libc, name)(*arguments) == 0
"""


def test_files_of_home_project_and_system_cannot_be_read(sandbox_user):
    with tempfile.NamedTemporaryFile(dir=Path.home()) as mine, tempfile.NamedTemporaryFile() as temporary:
        for file in (mine, temporary):
            file.write(b"secret")
            file.flush()
            os.chmod(file.name, 0o644)
        paths = json.dumps([mine.name, temporary.name, str(ROOT / "pyproject.toml"), "/etc/passwd"])
        outside = subprocess.check_output([sys.executable, "-c", READ_FILES], input=paths.encode())
        inside = sandbox_user.run(READ_FILES, stdin=paths)
    assert json.loads(outside) == json.loads(paths), "outside of a sandbox all of them can be read"
    assert json.loads(inside["stdout"]) == []


def test_nothing_but_the_temporary_directory_can_be_written_to(sandbox_user):
    source = """
import os, sys
written = []
folders = ["/", "/usr", "/usr/local/lib", "/dev", "/proc", "/var/tmp", "/dev/shm", sys.base_prefix, "/tmp"]
for folder in folders:
    try:
        open(os.path.join(folder, "file"), "w").write("x")
        written.append(folder)
    except OSError:
        pass
for file in ["/program.py", sys.executable, os.__file__]:
    for change in (lambda file: open(file, "a"), lambda file: os.chmod(file, 0o777), os.remove):
        try:
            change(file)
            written.append(file)
        except OSError:
            pass
print(written, os.getcwd(), os.listdir("."))
"""
    assert sandbox_user.run(source)["stdout"] == "['/tmp'] /tmp ['file']\n"


def test_a_listener_on_this_machine_cannot_be_reached(sandbox_user):
    connect = """
import socket
address, reached = input(), []
for family, target in [(socket.AF_INET, ("127.0.0.1", int(address))), (socket.AF_UNIX, chr(0) + address)]:
    try:
        with socket.socket(family) as client:
            client.settimeout(2)
            client.connect(target)
            reached.append(family.name)
    except OSError:
        pass
print(reached)
print([line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line])
"""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as local:
        port = str(listener.getsockname()[1])
        local.bind("\0" + port)
        local.listen()
        outside = subprocess.check_output([sys.executable, "-c", connect], input=port, text=True)
        inside = sandbox_user.run(connect, stdin=port)["stdout"]
    assert outside.splitlines()[0] == "['AF_INET', 'AF_UNIX']"
    assert inside == "[]\n['lo']\n", "no connection, and no interface but its own loopback"


def test_sockets_that_network_namespaces_do_not_contain_cannot_be_opened(sandbox_user):
    source = """
import socket
for family in (socket.AF_VSOCK, socket.AF_ALG, socket.AF_NETLINK, socket.AF_PACKET):
    try:
        socket.socket(family, socket.SOCK_STREAM)
        print("opened", family)
    except PermissionError:
        pass
"""
    outcome = sandbox_user.run(source)
    assert outcome["stdout"] == "" and outcome["exit_code"] == 0, outcome["stderr"]


def test_no_process_outside_can_be_seen_or_signalled(sandbox_user):
    as_user = {} if sandbox_user.uid is None else {"user": sandbox_user.uid}
    with subprocess.Popen(["/bin/sleep", "60"], start_new_session=True, **as_user) as victim:
        source = f"""
import os, signal
print([entry for entry in os.listdir("/proc") if entry.isdigit()] == ["1", str(os.getpid())])
for pid in ({victim.pid}, os.getppid(), 1, -1):
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        try:
            os.kill(pid, number)
        except OSError:
            pass
print("alive")
"""
        outcome = sandbox_user.run(source)
        alive = victim.poll() is None
        victim.kill()
    assert alive
    assert outcome["stdout"] == "True\nalive\n" and outcome["ended_by"] == "itself", outcome


def test_a_daemon_ends_with_its_program(sandbox_user):
    name = uuid4().hex[:13]
    source = f"""
import os, signal, time
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        open("/proc/self/comm", "w").write("{name}")
        os.write(writer, b"x")
        time.sleep(60)
    os._exit(0)
os.read(reader, 1)
print("the daemon runs")
"""
    outcome = sandbox_user.run(source)
    assert outcome["stdout"] == "the daemon runs\n" and outcome["seconds"] < 5
    assert all_gone(name, limit_seconds=2)


def test_the_environment_is_empty_and_that_of_others_is_hidden(sandbox_user):
    source = """
import os
print(open("/proc/self/environ").read() == "", set(os.environ) - {"LC_CTYPE"})  # which Python sets itself
for file in ("environ", "mem", "maps", "fd", "root", "cwd"):
    try:
        os.listdir(f"/proc/1/{file}") if file in ("fd", "root", "cwd") else open(f"/proc/1/{file}").read(1)
        print("read", file)
    except OSError:
        pass
"""
    assert sandbox_user.run(source)["stdout"] == "True set()\n"


def test_a_program_has_no_open_files_but_the_standard_ones(sandbox_user):
    source = """
import os
for descriptor in range(3, 64):
    try:
        os.fstat(descriptor)
        print("open", descriptor)
    except OSError:
        pass
try:
    os.write(0, b"x")
    print("wrote to its input")
except OSError:
    pass
"""
    assert sandbox_user.run(source)["stdout"] == ""


def test_privileges_cannot_be_gained(sandbox_user):
    source = f"""{CALL}
NEW_USER, NEW_MOUNT, ATTACH = 0x10000000, 0x20000, 16
print(os.getuid() != 0, os.getgroups() in ([], [os.getgid()], [65534]))
for name, arguments in [
    ("setuid", [0]), ("setgid", [0]), ("setresuid", [0, 0, 0]), ("unshare", [NEW_USER]),
    ("unshare", [NEW_MOUNT]), ("mount", [b"none", b"/tmp", b"tmpfs", 0, 0]), ("umount", [b"/tmp"]),
    ("umount", [b"/usr"]), ("chroot", [b"/tmp"]), ("ptrace", [ATTACH, 1, 0, 0]), ("sethostname", [b"x", 1]),
]:
    if call(name, *arguments):
        print(name, "was allowed")
fields = dict(line.split(":") for line in open("/proc/self/status"))
print([fields[name].strip() for name in ("CapEff", "CapPrm", "NoNewPrivs")])
"""
    expected = f"True True\n{['0' * 16, '0' * 16, '1']}\n"
    assert sandbox_user.run(source)["stdout"] == expected


def test_all_of_it_dies_with_the_process_that_started_it(sandbox_user):
    name = uuid4().hex[:13]
    source = f"""
import os, time
open("/proc/self/comm", "w").write("{name}")
if os.fork() == 0:
    os.setsid()
time.sleep(60)
"""
    process = sandbox_user.start(source, wall_seconds=60.0)
    assert comes_true(lambda: len(named_processes(name)) == 2, limit_seconds=10), "the program did not start"
    process.kill()
    process.communicate()
    assert all_gone(name, limit_seconds=3)


def test_a_program_finds_no_name_that_it_did_not_define(sandbox_user):
    source = """
names = set(globals())
import __main__
print(sorted(names - set(dir(type(__main__)("empty")))), __main__.__dict__ is globals(), __name__)
"""
    assert sandbox_user.run(source)["stdout"] == "['__builtins__', '__file__'] True __main__\n"
