"""What every sandbox driver must do, tried from inside and looked at from outside."""

import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.drivers.base import Driver, Mount, SandboxError
from sandbox.drivers.bubblewrap import Bubblewrap
from sandbox.drivers.docker import Docker
from sandbox.limits import UID, installation, sweep
from tests.sandbox.boxes import MB, SMALL, job, residue, run, wait, wait_for

SLEEP = "print('awake', flush=True); import time; time.sleep(600)"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that anybody may read, with a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="dw-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("code", [0, 3])
def test_the_code_of_the_command_is_the_code_of_the_box(driver: Driver, code: int) -> None:
    assert run(driver, f"raise SystemExit({code})").exit.code == code


def test_a_command_that_kills_itself_ends_with_128_and_the_signal(driver: Driver) -> None:
    ended = run(driver, "import os; os.kill(os.getpid(), 9)").exit
    assert (ended.code, ended.out_of_memory) == (137, False)


def test_a_program_that_is_not_there_ends_with_127(driver: Driver) -> None:
    box = driver.start(replace(job(""), command=("no-such-program",)))
    try:
        assert wait(box).code == 127
    finally:
        box.remove()


def test_the_log_is_the_end_of_what_it_printed_on_both_streams(driver: Driver) -> None:
    code = "import sys, time; sys.stderr.write('err\\n'); time.sleep(0.2); print('x' * 20_000); print('out')"
    box = driver.start(job(code))
    try:
        wait(box)
        assert box.log(100) == "x" * 95 + "\nout\n"
        assert sorted(box.log(30_000).replace("x", "").split()) == ["err", "out"]
    finally:
        box.remove()


def test_whoever_sweeps_kills_what_is_past_its_deadline_and_nothing_else(driver: Driver) -> None:
    late = driver.start(job(SLEEP, limits=replace(SMALL, wall_seconds=30)))
    fine = driver.start(job(SLEEP, limits=replace(SMALL, wall_seconds=3000)))
    try:
        assert sweep(driver, now=time.time() + 100) == [late.name]
        assert wait(late).code == 137
        assert fine.poll() is None
    finally:
        late.remove()
        fine.remove()


def test_a_killed_box_is_over_when_kill_returns_and_can_be_killed_again(driver: Driver) -> None:
    box = driver.start(job(SLEEP))
    try:
        wait_for(box, "awake")
        box.kill()
        ended = box.poll()
        assert ended is not None
        assert (ended.code, ended.out_of_memory) == (137, False)
        box.kill()
    finally:
        box.remove()
    box.remove()


def test_too_much_memory_is_told_apart_from_other_ends(driver: Driver) -> None:
    limits = replace(SMALL, memory_bytes=128 * MB)
    ended = run(driver, "block = b'x' * (400 << 20); import time; time.sleep(5)", limits=limits).exit
    assert ended.code != 0
    assert ended.out_of_memory


def test_the_processes_are_counted(driver: Driver) -> None:
    code = """
        import os, time
        made = 0
        try:
            for _ in range(200):
                if os.fork() == 0:
                    time.sleep(60)
                made += 1
        except OSError:
            pass
        print(made)
        os._exit(0)
    """
    assert 5 <= int(run(driver, code).log) <= SMALL.pids


def test_there_is_no_network_but_its_own_loopback(driver: Driver) -> None:
    code = """
        import socket
        print([name for _, name in socket.if_nameindex() if name not in ("lo", "tunl0", "sit0", "ip6tnl0")])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                s.connect(("192.0.2.1", 53))
            except OSError as error:
                print(type(error).__name__)
    """
    assert run(driver, code).log.split() == ["[]", "OSError"]


def test_nothing_can_be_written_but_its_own_areas(driver: Driver, folder: Path) -> None:
    (folder / "model.py").write_text("x = 1\n")
    (folder / "model.py").chmod(0o666)
    folder.chmod(0o777)
    code = """
        import os, sys
        places = ["/", "/genome", "/site", "/python", "/python/lib", "/etc", "/lib", "/usr", "/dev", "/proc", "/var"]
        for place in places:
            for path, flags in ((f"{place}/new", os.O_CREAT), ("/genome/model.py", 0), (sys.executable, 0)):
                try:
                    os.open(path, os.O_WRONLY | flags)
                    print("WRITTEN", path)
                except OSError:
                    pass
        for place in ("/tmp", "/out", "/cache", "/dev/shm"):
            open(f"{place}/new", "w").close()
        print(os.getcwd(), open("model.py").read().strip())
    """
    assert run(driver, code, mounts=(Mount(folder, "/genome"),)).log == "/genome x = 1\n"


def test_it_is_nobody_and_may_do_nothing(driver: Driver) -> None:
    code = """
        import json, os
        lines = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
        print(json.dumps({name: lines[name].split() for name in lines}))
    """
    status = json.loads(run(driver, code).log)
    assert status["Uid"] == status["Gid"] == [str(UID)] * 4
    assert {int(status[name][0], 16) for name in ("CapPrm", "CapEff", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]


def test_each_area_has_a_size(driver: Driver) -> None:
    code = """
        import os
        for place in ("/tmp", "/out", "/cache"):
            written = 0
            try:
                for number in range(40):
                    with open(f"{place}/{number}", "wb", buffering=0) as file:
                        written += file.write(b"x" * (1 << 20))
            except OSError:
                pass
            print(written >> 20)
    """
    assert run(driver, code).log.split() == ["4", "8", "8"]


def test_tmp_is_noexec_or_the_driver_says_that_it_is_not(driver: Driver) -> None:
    code = """
        import os, shutil, sys
        os.environ["PYTHONHOME"] = sys.prefix
        for place in ("/tmp", "/cache"):
            shutil.copy(sys.executable, f"{place}/program")
            try:
                os.spawnv(os.P_WAIT, f"{place}/program", ["program", "-c", ""]) == 0 and print(place)
            except OSError:
                pass
    """
    limits = replace(SMALL, tmp_bytes=64 * MB, cache_bytes=64 * MB)
    ran = run(driver, code, limits=limits).log.split()
    assert ran == ["/cache"] or (ran == ["/tmp", "/cache"] and "noexec" in driver.warning)


def test_nothing_of_the_hosts_environment_is_inside(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-7f3a")
    monkeypatch.setenv("HTTP_PROXY", "http://user:canary-7f3a@192.0.2.1")
    ran = run(driver, "import os; print(dict(os.environ), open('/proc/1/cmdline').read())")
    assert "canary-7f3a" not in ran.log
    assert "API_KEY" not in ran.log
    assert "proxy" not in ran.log.lower()


def test_the_engines_socket_is_not_there(driver: Driver) -> None:
    code = "import os; print([p for p in ('/var/run/docker.sock', '/run/docker.sock', '/run') if os.path.exists(p)])"
    assert run(driver, code).log == "[]\n"


def test_what_the_requirements_name_can_be_imported_and_nothing_else(driver: Driver) -> None:
    code = """
        import importlib.util
        import numpy, safetensors.torch, torch
        print((torch.ones(2, 3) @ torch.ones(3, 2)).sum().item())
        print([name for name in ("django", "docker", "openai", "redis", "pip") if importlib.util.find_spec(name)])
    """
    ran = run(driver, code, limits=replace(SMALL, memory_bytes=2 << 30))
    assert ran.log == "12.0\n[]\n"


def test_a_socket_in_a_mounted_directory_can_be_spoken_to(driver: Driver, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "harness.sock"))
        (folder / "harness.sock").chmod(0o666)
        server.listen()
        server.settimeout(30)

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.sendall(connection.recv(100).upper())

        thread = threading.Thread(target=answer)
        thread.start()
        code = """
            import socket
            with socket.socket(socket.AF_UNIX) as s:
                s.connect("/run/darwin/harness.sock")
                s.sendall(b"batch")
                print(s.recv(100).decode())
        """
        ran = run(driver, code, mounts=(Mount(folder, "/run/darwin"),))
        thread.join()
    assert ran.log == "BATCH\n"


def test_the_time_of_all_its_processes_is_counted_and_kept_after_the_end(driver: Driver) -> None:
    code = """
        import os, time
        child = os.fork()
        end = time.process_time() + 0.6
        while time.process_time() < end:
            pass
        if child:
            os.waitpid(child, 0)
    """
    usage = run(driver, code).usage
    assert 0.75 < usage.cpu_seconds < 3
    assert usage.peak_memory_bytes is not None
    assert MB < usage.peak_memory_bytes < 512 * MB


def test_removing_a_running_box_leaves_nothing(driver: Driver) -> None:
    box = driver.start(job("import os, time; os.fork(); os.fork(); print('awake', flush=True); time.sleep(600)"))
    wait_for(box, "awake")
    box.remove()
    assert residue(driver, box.name) == []


def test_the_labels_come_back_with_the_installation_and_the_deadline(driver: Driver) -> None:
    box = driver.start(job("", labels={"experiment": "7", "attempt": "12", "fence": "3"}))
    try:
        found = next(one for one in driver.boxes() if one.name == box.name)
        assert found.labels == box.labels
        assert {key: box.labels[key] for key in ("experiment", "attempt", "fence")} == {
            "experiment": "7", "attempt": "12", "fence": "3",
        }
        assert box.labels["installation"] == installation()
        assert abs(float(box.labels["deadline"]) - time.time() - SMALL.wall_seconds) < 30
    finally:
        box.remove()


def test_a_mount_that_is_not_there_is_the_sandboxs_fault(driver: Driver, folder: Path) -> None:
    wanted = job("", mounts=(Mount(folder / "none", "/genome"),))
    with pytest.raises(SandboxError):
        driver.start(wanted)
    assert residue(driver, wanted.name) == []


def test_a_name_is_used_once(driver: Driver) -> None:
    box = driver.start(wanted := job(SLEEP))
    try:
        with pytest.raises(SandboxError):
            driver.start(wanted)
        assert box.poll() is None
    finally:
        box.remove()


def test_what_can_be_read_besides_the_mounts_holds_nothing_of_the_web_side(driver: Driver) -> None:
    with driver.visible() as visible:
        assert all(path.exists() for path in visible)
        for path in visible:
            assert not (path / "django").exists()
            assert path.name not in ("site-packages", "django", "darwin_web")


def test_the_image_has_an_identity_that_stays(driver: Driver) -> None:
    assert driver.image() == driver.image()
    assert driver.image().startswith(("docker-image:sha256:", "host-interpreter:"))


@pytest.mark.docker
def test_a_container_is_adopted_by_somebody_who_did_not_start_it() -> None:
    started = Docker().start(job(SLEEP, labels={"fence": "4"}))
    adopted = Docker().adopt(started.name)
    try:
        assert adopted is not None
        assert adopted.labels == started.labels
        wait_for(adopted, "awake")
        assert adopted.usage().cpu_seconds > 0
        adopted.kill()
        assert started.poll() == adopted.poll()
    finally:
        started.remove()
    assert Docker().adopt(started.name) is None


@pytest.mark.bubblewrap
def test_bubblewrap_has_nothing_to_adopt_from_another_process() -> None:
    driver = Bubblewrap()
    box = driver.start(job(SLEEP))
    try:
        assert Bubblewrap().adopt(box.name) is None
    finally:
        box.remove()
