"""Programs that try to take more than they are given. Each stops by itself should nothing else stop it."""

from uuid import uuid4

from tests.rewards.sandboxes import all_gone

MIB = 2**20


def test_forking_without_end_stops_at_the_limit_and_leaves_nobody(sandbox_user):
    name = uuid4().hex[:13]
    source = f"""
import os, time
open("/proc/self/comm", "w").write("{name}")
children = 0
try:
    while children < 100:
        if os.fork() == 0:
            try:
                os.fork()
            except OSError:
                pass
            time.sleep(10)
            os._exit(0)
        children += 1
    print("nothing stopped it")
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
while not sizes or sizes[-1] and len(sizes) < 11:
    sizes.append(fill(f"/tmp/{len(sizes)}"))
print(max(sizes), sum(sizes))
"""
    outcome = sandbox_user.run(source, disk_mib=7, file_mib=3)
    assert outcome["stdout"].split() == [str(3 * MIB), str(7 * MIB)], outcome


def test_files_without_contents_are_bounded_too(sandbox_user):
    source = """
import os
try:
    for number in range(5000):
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
    while len(blocks) < 1009:
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
    source = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
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
