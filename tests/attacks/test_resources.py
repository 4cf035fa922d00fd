"""Bombs. Each ends or is killed, takes no more than its limits, and leaves nothing; with more room it goes further."""

import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

from sandbox.drivers.base import Driver
from tests.sandbox.boxes import MB, SMALL, job, residue, run, wait_for

FORK_BOMB = """
    import os, time
    made = 0
    for _ in range(500):
        try:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            made += 1
        except OSError:
            break
    print(made, flush=True)
    os._exit(0)
"""

MEMORY_BOMB = """
    blocks = []
    for _ in range(20):
        blocks.append(bytearray(b"x") * (16 << 20))
    print("took", len(blocks) * 16)
"""

DISK_BOMB = """
    import errno
    written, numbers = 0, set()
    for name in ("/out/a", "/out/b", "/out/c"):
        try:
            with open(name, "wb", buffering=0) as file:
                for _ in range(6):
                    written += file.write(b"x" * (1 << 20))
        except OSError as error:
            numbers.add(errno.errorcode[error.errno])
    print(written >> 20, sorted(numbers))
"""

DESCRIPTOR_BOMB = """
    import os
    held = []
    try:
        for _ in range(20_000):
            held.append(os.dup(1))
    except OSError as error:
        print(len(held), error.strerror)
"""

ENDLESS_OUTPUT = """
    import os
    line = b"x" * 65536
    while True:
        os.write(1, line)
"""

DEAF = """
    import signal, time
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print("deaf", flush=True)
    time.sleep(600)
"""

DAEMON = """
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            print("daemon", flush=True)
            for descriptor in range(3):
                os.close(descriptor)
            time.sleep(3)
        os._exit(0)
    time.sleep(0.2)
"""


def test_a_fork_bomb_stops_at_the_limit(driver: Driver) -> None:
    few = int(run(driver, FORK_BOMB, limits=replace(SMALL, pids=32)).log)
    more = int(run(driver, FORK_BOMB, limits=replace(SMALL, pids=96)).log)
    assert few <= 32 < more <= 96


def test_a_memory_bomb_is_killed_and_with_more_room_it_is_not(driver: Driver) -> None:
    assert run(driver, MEMORY_BOMB, limits=replace(SMALL, memory_bytes=128 * MB)).exit.out_of_memory
    assert run(driver, MEMORY_BOMB, limits=replace(SMALL, memory_bytes=768 * MB)).log == "took 320\n"


def test_a_disk_bomb_fills_its_own_area_only(driver: Driver) -> None:
    assert run(driver, DISK_BOMB, limits=replace(SMALL, out_bytes=8 * MB)).log == "8 ['ENOSPC']\n"
    assert run(driver, DISK_BOMB, limits=replace(SMALL, out_bytes=32 * MB)).log == "18 []\n"


def test_a_descriptor_bomb_stops_at_the_limit(driver: Driver) -> None:
    count, _, reason = run(driver, DESCRIPTOR_BOMB).log.strip().partition(" ")
    assert int(count) < 4096
    assert reason == "Too many open files"


def test_endless_output_keeps_its_end_and_dies_when_told(driver: Driver) -> None:
    box = driver.start(job(ENDLESS_OUTPUT))
    try:
        wait_for(box, "x" * 1000)
        time.sleep(1)
        assert len(box.log(1 << 30)) <= 8 * MB
        box.kill()
        assert box.poll() is not None
    finally:
        box.remove()
    assert residue(driver, box.name) == []


def test_who_ignores_signals_is_killed_all_the_same(driver: Driver) -> None:
    box = driver.start(job(DEAF))
    try:
        wait_for(box, "deaf")
        box.kill()
        ended = box.poll()
        assert ended is not None
        assert ended.code == 137
    finally:
        box.remove()
    assert residue(driver, box.name) == []


def test_on_the_host_the_deaf_program_outlives_sigterm() -> None:
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(DEAF)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert child.poll() is None
        child.kill()


def test_a_daemon_dies_with_its_box(driver: Driver) -> None:
    ran = run(driver, DAEMON)  # run() looks for processes that are left
    assert ran.exit.code == 0
    assert ran.log == "daemon\n"
