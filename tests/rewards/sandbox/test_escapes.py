"""Programs that try to get out of the sandbox, or to take more than they are given."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MIB = 2**20
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
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    return getattr(libc, name)(*arguments) == 0
"""


def named_processes(name: str) -> list[int]:
    """Processes of this machine whose command name is `name`."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == name:
                found.append(int(comm.parent.name))
        except OSError:
            pass  # it ended meanwhile
    return found


def all_gone(name: str, limit_seconds: float) -> bool:
    deadline = time.monotonic() + limit_seconds
    while named_processes(name):
        if time.monotonic() > deadline:
            for pid in named_processes(name):
                os.kill(pid, signal.SIGKILL)
            return False
        time.sleep(0.02)
    return True


def new_name() -> str:
    return uuid.uuid4().hex[:13]


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


def test_forking_without_end_stops_at_the_limit_and_leaves_nobody(sandbox_user):
    name = new_name()
    source = f"""
import os, time
open("/proc/self/comm", "w").write("{name}")
children = 0
try:
    while True:
        if os.fork() == 0:
            while True:
                try:
                    os.fork()
                except OSError:
                    time.sleep(0.01)
        children += 1
except OSError:
    print("stopped", children < 11, sum(entry.isdigit() for entry in os.listdir("/proc")) <= 11 + 1)
"""
    outcome = sandbox_user.run(source, num_processes=11, wall_seconds=5.0)
    assert outcome["stdout"] == "stopped True True\n", outcome
    assert all_gone(name, limit_seconds=2)


def test_the_disk_is_bounded_over_all_files_and_in_each(sandbox_user):
    source = """
import os
def fill(path):
    size = 0
    try:
        with open(path, "wb", buffering=0) as file:
            while True:
                size += file.write(bytes(2**16))
    except OSError:
        return size
sizes = []
while not sizes or sizes[-1]:
    sizes.append(fill(f"/tmp/{len(sizes)}"))
print(max(sizes), sum(sizes))
"""
    outcome = sandbox_user.run(source, disk_mib=7, file_mib=3)
    assert outcome["stdout"].split() == [str(3 * MIB), str(7 * MIB)], outcome


def test_files_without_contents_are_bounded_too(sandbox_user):
    source = """
import os
try:
    for number in range(10**6):
        os.mkdir(f"/tmp/{number}")
except OSError:
    print("stopped")
"""
    if sandbox_user.mechanism == "bubblewrap":
        limit = {"memory_mib": 64, "cpu_seconds": 2}  # it sets no limit on their number: time bounds it
        assert sandbox_user.run(source, **limit)["ended_by"] in ("itself", "time")
    else:
        assert sandbox_user.run(source)["stdout"] == "stopped\n"


def test_one_process_cannot_take_more_memory_than_the_limit(sandbox_user):
    source = """
blocks = []
try:
    while True:
        blocks.append(bytearray(2**20))
except MemoryError:
    held, blocks = len(blocks), None
print(held)
"""
    outcome = sandbox_user.run(source, memory_mib=127)
    assert outcome["ended_by"] == "memory" or 64 < int(outcome["stdout"]) < 127, outcome


def test_several_processes_cannot_take_more_memory_than_the_limit(sandbox_user):
    source = """
import os, time
for _ in range(7):
    if os.fork() == 0:
        break
block = bytearray(b"x") * (50 * 2**20)
time.sleep(10)
"""
    outcome = sandbox_user.run(source, memory_mib=127)
    assert outcome["ended_by"] == "memory" and outcome["seconds"] < 5, outcome


def test_memory_that_no_process_is_charged_for_cannot_be_had(sandbox_user):
    source = f"""{CALL}
try:
    os.memfd_create("x")
    print("memory file")
except PermissionError:
    pass
if libc.shmget(0, 2**20, 0o1600) >= 0:
    print("shared segment")
READ_WRITE, SHARED, PRIVATE, ANONYMOUS, HUGE = 3, 1, 2, 0x20, 0x40000
libc.mmap.restype = ctypes.c_ssize_t
zero = os.open("/dev/zero", os.O_RDWR)
for flags, file in [(SHARED | ANONYMOUS, -1), (SHARED, zero), (PRIVATE | ANONYMOUS | HUGE, -1)]:
    if libc.mmap(None, ctypes.c_size_t(2**21), READ_WRITE, flags, file, ctypes.c_long(0)) != -1:
        print("mapping", flags)
    elif ctypes.get_errno() != errno.EPERM:
        print("mapping", flags, "was not denied")
page, (reader, writer) = ctypes.create_string_buffer(4096), os.pipe()
if libc.vmsplice(writer, (ctypes.c_size_t * 2)(ctypes.addressof(page), 4096), ctypes.c_size_t(1), 0) > 0:
    print("pages in a pipe")
print("done")
"""
    assert sandbox_user.run(source)["stdout"] == "done\n"


def test_pages_that_are_shared_and_given_back_cannot_pile_up(sandbox_user):
    source = """
import mmap, os, time
held = []
for _ in range(3):  # each child holds 50 MiB at most: little, should they be had
    if os.fork() == 0:
        try:
            shared = mmap.mmap(-1, 50 * 2**20)
        except PermissionError:
            os._exit(0)
        shared.write(b"x" * len(shared))
        shared.madvise(mmap.MADV_DONTNEED)
        os._exit(1)
print([os.wait()[1] for _ in range(3)])
"""
    assert sandbox_user.run(source, memory_mib=127)["stdout"] == "[0, 0, 0]\n"


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
    name = new_name()
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


def test_time_is_bounded_asleep_and_at_work_whatever_signals_are_ignored(sandbox_user):
    asleep = sandbox_user.run("import time; time.sleep(60)", wall_seconds=0.5)
    assert asleep["ended_by"] == "time" and asleep["seconds"] < 2
    stubborn = "import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    at_work = sandbox_user.run(stubborn, cpu_seconds=1)
    assert at_work["ended_by"] == "time" and at_work["cpu_seconds"] < 3, at_work


def test_a_flood_of_output_ends_the_program(sandbox_user):
    for stream in ("stdout", "stderr"):
        outcome = sandbox_user.run(f"import sys\nwhile True: sys.{stream}.write('x' * 997)", output_kib=101)
        assert outcome["ended_by"] == "output"
        assert 101 * 1024 < len(outcome["stdout"] + outcome["stderr"]) < 101 * 1024 + 2**17


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


def test_limits_cannot_be_raised(sandbox_user):
    source = """
import resource
for name in ("AS", "NPROC", "NOFILE", "FSIZE", "CPU", "CORE"):
    kind = getattr(resource, f"RLIMIT_{name}")
    hard = resource.getrlimit(kind)[1]
    try:
        resource.setrlimit(kind, (hard + 1, hard + 1))
        print(name, "was raised")
    except ValueError:
        pass
files = []
try:
    while True:
        files.append(open("/dev/null"))
except OSError:
    print(len(files) + 3)
"""
    assert sandbox_user.run(source, num_open_files=17)["stdout"] == "17\n"


def test_all_of_it_dies_with_the_process_that_started_it(sandbox_user):
    name = new_name()
    source = f"""
import os, time
open("/proc/self/comm", "w").write("{name}")
if os.fork() == 0:
    os.setsid()
time.sleep(60)
"""
    process = sandbox_user.start(source, wall_seconds=60.0)
    deadline = time.monotonic() + 10
    while len(named_processes(name)) < 2:
        assert time.monotonic() < deadline, "the program did not start"
        time.sleep(0.02)
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
