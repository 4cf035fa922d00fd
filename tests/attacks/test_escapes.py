"""Ways out. Each is tried inside; where it costs little the same lines are shown to work outside."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.drivers.base import Driver, Mount
from tests.sandbox.boxes import run

CONNECT = """
    import socket
    for family, kind, address in (
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {port})),
        (socket.AF_INET6, socket.SOCK_STREAM, ("::1", {port})),
    ):
        try:
            with socket.socket(family, kind) as s:
                s.settimeout(2)
                s.connect(address)
                print("reached", address[0])
        except OSError:
            pass
"""

OUTSIDE = """
    import socket
    def tries():
        yield "tcp", lambda: socket.create_connection(("192.0.2.1", 80), timeout=2)
        yield "metadata", lambda: socket.create_connection(("169.254.169.254", 80), timeout=2)
        yield "udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53))
        yield "ipv6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b"x", ("2001:db8::1", 53))
        yield "dns", lambda: socket.getaddrinfo("example.org", 80)
        yield "raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
        yield "packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        yield "abstract", lambda: socket.socket(socket.AF_UNIX).connect("\\0darwin-attack-{token}")
    for name, attempt in tries():
        try:
            attempt()
            print(name)
        except OSError:
            pass
"""

SYSTEM_CALLS = """
    import ctypes, os
    libc = ctypes.CDLL(None, use_errno=True)
    def write(path, data):
        os.write(os.open(path, os.O_WRONLY), data)
    def tries():
        yield "mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)
        yield "remount", lambda: libc.mount(None, b"/", None, 32 | 4096, None)
        yield "unshare", lambda: libc.unshare(0x10000000)
        yield "setns", lambda: libc.setns(os.open("/proc/1/ns/net", os.O_RDONLY), 0)
        yield "bpf", lambda: libc.syscall(321, 5, None, 0)
        yield "keyctl", lambda: libc.syscall(250, 0, -3, 1)
        yield "chroot", lambda: libc.chroot(b"/tmp")
        yield "mknod", lambda: os.mknod("/tmp/disk", 0o60666, os.makedev(8, 0))
        yield "setuid", lambda: os.setuid(0)
        yield "setgroups", lambda: os.setgroups([0])
        yield "chown", lambda: (open("/tmp/x", "w").close(), os.chown("/tmp/x", 0, 0))
        yield "nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5)
        yield "oom", lambda: write("/proc/self/oom_score_adj", b"-900")
        yield "sysctl", lambda: write("/proc/sys/kernel/core_pattern", b"|/tmp/x")
        yield "sysrq", lambda: write("/proc/sysrq-trigger", b"h")
        yield "cgroup", lambda: write("/sys/fs/cgroup/memory/memory.limit_in_bytes", b"-1")
        yield "hostname", lambda: __import__("socket").sethostname("x")
        yield "kmsg", lambda: open("/dev/kmsg").read(1)
        yield "disk", lambda: open("/dev/vda", "rb").read(1)
        yield "kcore", lambda: open("/proc/kcore", "rb").read(1)
    for name, attempt in tries():
        try:
            if attempt() != -1:
                print(name)
        except (OSError, ValueError):
            pass
"""

PTRACE_ATTACH = """
    import ctypes, sys
    print(ctypes.CDLL(None, use_errno=True).ptrace(16, int(sys.argv[1]) if sys.argv[1:] else {pid}, None, None))
"""

READ_THE_HOST = """
    import os
    for number in os.listdir("/proc"):
        if number.isdigit():
            for name in ("environ", "cmdline"):
                try:
                    print(open(f"/proc/{number}/{name}", "rb").read())
                except OSError:
                    pass
    for path in ("/etc/shadow", "/root", "/home", "/work", "/proc/1/root/etc/shadow", "/proc/1/root/root"):
        print(path, os.access(path, os.R_OK) and (os.path.isfile(path) or os.listdir(path)))
"""

SETUID_PROGRAM = """
    import os
    os.environ["PYTHONHOME"] = "/python"
    print(os.spawnv(os.P_WAIT, "/tools/program", ["program", "-c", "import os; raise SystemExit(os.geteuid() == 0)"]))
"""

OVERWRITE = """
    import os, sys
    places = [os.__file__, "/site/torch/__init__.py", "/site/sitecustomize.py",
              os.path.dirname(os.__file__) + "/sitecustomize.py", "/genome/model.py",
              "/etc/ld.so.preload", sys.executable]
    for path in places:
        for attempt in (lambda: open(path, "w"), lambda: os.chmod(path, 0o777), lambda: os.unlink(path),
                        lambda: os.rename(path, path + "x")):
            try:
                attempt()
                print(path)
            except OSError:
                pass
"""


@pytest.fixture
def listener() -> Iterator[int]:
    """A server on the host's loopback, where Redis and the web process would be."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server.getsockname()[1]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="dw-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def on_the_host(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


def test_the_hosts_loopback_is_another_one(driver: Driver, listener: int) -> None:
    attack = CONNECT.format(port=listener)
    assert on_the_host(attack) == "reached 127.0.0.1\n"
    assert run(driver, attack).log == ""


def test_no_packet_and_no_abstract_socket_leads_out(driver: Driver) -> None:
    token = os.urandom(4).hex()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0darwin-attack-{token}")
        server.listen()
        attack = OUTSIDE.replace("{token}", token)
        assert "abstract" in on_the_host(attack.replace('tries():\n        try', 'list(tries())[-1:]:\n        try'))
        assert run(driver, attack).log == ""


def test_what_needs_privileges_is_refused(driver: Driver) -> None:
    assert run(driver, SYSTEM_CALLS).log == ""


def test_a_process_of_the_host_cannot_be_traced(driver: Driver) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as victim:
        try:
            attack = PTRACE_ATTACH.replace("{pid}", str(victim.pid))
            assert run(driver, attack).log == "-1\n"
            if os.getuid() == 0:  # ordinary users may be kept from it by the host
                assert on_the_host(attack) == "0\n"
        finally:
            victim.kill()


def test_the_hosts_processes_and_files_are_out_of_sight(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARWIN_CANARY", "canary-91c5")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "canary-91c5"]) as other:
        try:
            seen = run(driver, READ_THE_HOST).log
            assert "canary-91c5" in on_the_host("print(open('/proc/" + str(other.pid) + "/environ').read())")
        finally:
            other.kill()
    assert "canary-91c5" not in seen
    assert "HOME=/tmp" in seen  # it did look: its own are there
    assert [line.split()[1] for line in seen.splitlines() if line.startswith("/")] == ["False"] * 6


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a program that becomes root")
def test_a_setuid_program_gives_nothing(driver: Driver, folder: Path) -> None:
    program = folder / "program"
    shutil.copy(Path(getattr(sys, "_base_executable", sys.executable)).resolve(), program)
    program.chmod(0o4755)
    assert run(driver, SETUID_PROGRAM, mounts=(Mount(folder, "/tools"),)).log == "0\n"
    assert subprocess.run([program, "-c", "import os; raise SystemExit(os.geteuid() == 0)"],
                          user=10001, check=False, env={"PYTHONHOME": sys.base_prefix}).returncode != 0


def test_what_all_trials_share_cannot_be_changed(driver: Driver, folder: Path) -> None:
    (folder / "model.py").write_text("x = 1\n")
    (folder / "model.py").chmod(0o666)
    folder.chmod(0o777)
    assert run(driver, OVERWRITE, mounts=(Mount(folder, "/genome"),)).log == ""
    assert (folder / "model.py").read_text() == "x = 1\n"


def test_one_attempt_cannot_see_what_another_wrote(driver: Driver) -> None:
    write = "open('/cache/poison.py', 'w').write('x'); open('/tmp/poison', 'w'); open('/dev/shm/poison', 'w')"
    look = "import os; print([os.listdir(place) for place in ('/cache', '/tmp', '/dev/shm', '/out')])"
    assert run(driver, write).exit.code == 0
    assert run(driver, look).log == "[[], [], [], []]\n"


def test_our_own_threads_are_not_reached_through_a_socket_that_is_not_mounted(driver: Driver, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "harness.sock"))
        server.listen()
        server.settimeout(30)
        path = str(folder / "harness.sock")
        attack = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({path!r}); print(1)"
        thread = threading.Thread(target=lambda: server.accept()[0].close())  # noqa: PLW0108 not yet
        thread.start()
        assert on_the_host(attack) == "1\n"
        thread.join()
        assert run(driver, attack).log.endswith("No such file or directory\n")
