"""The filter, run in a small interpreter of classic BPF: what each call is answered with."""

import errno
import struct

import pytest

from sandbox.drivers.base import SandboxUnavailable
from sandbox.drivers.seccomp import program

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL = 0x7FFF0000, 0x80000000


def verdict(machine: str, number: int, argument: int = 0, arch: int | None = None) -> int:
    data = struct.pack("<IIQ6Q", number, arch or ARCH[machine], 0, argument, 0, 0, 0, 0, 0)
    lines = list(struct.iter_unpack("<HBBI", program(machine)))
    at, register = 0, 0
    while True:
        code, if_true, if_false, value = lines[at]
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            register = struct.unpack_from("<I", data, value)[0]
            continue
        holds = {0x15: register == value, 0x35: register >= value, 0x45: bool(register & value)}[code]
        at += if_true if holds else if_false


def refused(code: int) -> int:
    return 0x00050000 | code


@pytest.mark.parametrize(
    ("machine", "calls"),
    [
        ("x86_64", {"mount": 165, "ptrace": 101, "bpf": 321, "keyctl": 250, "unshare": 272, "io_uring_setup": 425}),
        ("aarch64", {"mount": 40, "ptrace": 117, "bpf": 280, "keyctl": 219, "unshare": 97, "io_uring_setup": 425}),
    ],
)
def test_what_no_training_needs_is_refused(machine: str, calls: dict[str, int]) -> None:
    assert {verdict(machine, number) for number in calls.values()} == {refused(errno.EPERM)}


@pytest.mark.parametrize(("machine", "read", "clone", "sock"), [("x86_64", 0, 56, 41), ("aarch64", 63, 220, 198)])
def test_threads_and_sockets_work_but_namespaces_and_vsock_do_not(
    machine: str, read: int, clone: int, sock: int
) -> None:
    assert verdict(machine, read) == ALLOW
    assert verdict(machine, clone, 0x003D0F00) == ALLOW  # pthread_create
    assert verdict(machine, clone, 0x10000000 | 17) == refused(errno.EPERM)
    assert verdict(machine, 435) == refused(errno.ENOSYS)
    assert [verdict(machine, sock, family) for family in (1, 2, 10, 16)] == [ALLOW] * 4
    assert verdict(machine, sock, 40) == refused(errno.EAFNOSUPPORT)


def test_other_tables_of_calls_are_closed() -> None:
    assert verdict("x86_64", 0, arch=0x40000003) == KILL
    assert verdict("x86_64", 0x40000000 | 101) == refused(errno.EPERM)


def test_an_unknown_machine_is_told_to_use_docker() -> None:
    with pytest.raises(SandboxUnavailable, match="use Docker"):
        program("riscv64")
