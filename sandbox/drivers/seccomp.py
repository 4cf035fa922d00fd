"""The system call filter of the bubblewrap driver, as a classic BPF program (seccomp(2), bpf(4)).

A list of what is denied: what reaches the kernel's attack surface or other processes and no training needs. It follows
the engine's default profile without capabilities. Denied calls fail with EPERM; another architecture's calls kill.
"""

import errno
import platform
import struct

from sandbox.drivers.base import SandboxUnavailable

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENT_0 = 0, 4, 16  # offsets in struct seccomp_data, little-endian low halves

_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW{USER,PID,NET,IPC,UTS,CGROUP,NS,TIME}
_FAMILIES = (1, 2, 10, 16)  # unix, inet, inet6, netlink: the network namespace holds these; vsock escapes it
_CLONE = {"x86_64": 56, "aarch64": 220}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_CLONE3 = 435

_DENIED_BOTH = (
    425, 426, 427,  # io_uring_*: a second system call table that no filter sees
    428, 429, 430, 431, 432, 433, 442,  # open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr
    438,  # pidfd_getfd
    443,  # quotactl_fd
)
_DENIED = {  # name: (x86_64, aarch64)
    "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280), "chroot": (161, 51),
    "clock_adjtime": (305, 266), "clock_settime": (227, 112), "delete_module": (176, 106),
    "fanotify_init": (300, 262), "finit_module": (313, 273), "init_module": (175, 105), "ioperm": (173, None),
    "iopl": (172, None), "kcmp": (312, 272), "kexec_file_load": (320, 294), "kexec_load": (246, 104),
    "keyctl": (250, 219), "lookup_dcookie": (212, 18), "modify_ldt": (154, None), "mount": (165, 40),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "perf_event_open": (298, 241),
    "personality": (135, 92), "pivot_root": (155, 41), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60), "reboot": (169, 142),
    "request_key": (249, 218), "setdomainname": (171, 162), "sethostname": (170, 161), "setns": (308, 268),
    "settimeofday": (164, 170), "swapoff": (168, 225), "swapon": (167, 224), "syslog": (103, 116),
    "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282), "vhangup": (153, 58),
}


def program(machine: str | None = None) -> bytes:
    """The filter for `machine` (this one by default); SandboxUnavailable where its call numbers are not known."""
    machine = machine or platform.machine()
    if machine not in _AUDIT_ARCH:
        raise SandboxUnavailable(f"the bubblewrap driver knows no system calls of {machine}: use Docker")
    column = 0 if machine == "x86_64" else 1
    known = (pair[column] for pair in _DENIED.values())
    denied = sorted({*_DENIED_BOTH, *(number for number in known if number is not None)})
    lines = [_line(_LOAD, _ARCH), _line(_EQUAL, _AUDIT_ARCH[machine], 1, 0), _line(_RETURN, _KILL)]
    lines += [_line(_LOAD, _NUMBER)]
    if machine == "x86_64":  # the x32 calls are the same ones under other numbers
        lines += [_line(_AT_LEAST, 0x40000000, 0, 1), _error(errno.EPERM)]
    for number in denied:
        lines += [_line(_EQUAL, number, 0, 1), _error(errno.EPERM)]
    # clone3 hides its flags behind a pointer: "not there" makes the C library use clone.
    lines += [_line(_EQUAL, _CLONE3, 0, 1), _error(errno.ENOSYS)]
    lines += [_line(_EQUAL, _CLONE[machine], 0, 4), _line(_LOAD, _ARGUMENT_0)]
    lines += [_line(_ANY_BIT, _NEW_NAMESPACES, 0, 1), _error(errno.EPERM), _line(_RETURN, _ALLOW)]
    lines += [_line(_EQUAL, _SOCKET[machine], 0, len(_FAMILIES) + 2), _line(_LOAD, _ARGUMENT_0)]
    lines += [_line(_EQUAL, family, len(_FAMILIES) - at, 0) for at, family in enumerate(_FAMILIES)]
    lines += [_error(errno.EAFNOSUPPORT), _line(_RETURN, _ALLOW)]
    return b"".join(lines)


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _error(number: int) -> bytes:
    return _line(_RETURN, _ERRNO | number)
