"""Counters are read from the files of both versions of control groups."""

from pathlib import Path

from sandbox.drivers.cgroups import Group


def group(folder: Path, **files: str) -> Group:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return Group(dict.fromkeys(("cpu", "memory", "pids"), folder))


def test_version_two_counts_in_microseconds(tmp_path: Path) -> None:
    one = group(
        tmp_path, cpu__stat="usage_usec 2500000\nuser_usec 1\n", memory__peak="4096\n",
        memory__events="low 0\noom 2\noom_kill 1\n",
    )
    assert (one.cpu_seconds(), one.peak_memory(), one.oom_kills()) == (2.5, 4096, 1)


def test_version_one_counts_in_nanoseconds(tmp_path: Path) -> None:
    one = group(
        tmp_path, cpuacct__usage="1500000000\n", memory__max_usage_in_bytes="8192\n",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    )
    one = Group({**one.folders, "cpuacct": tmp_path})
    assert (one.cpu_seconds(), one.peak_memory(), one.oom_kills()) == (1.5, 8192, 3)


def test_a_group_that_is_gone_has_no_numbers(tmp_path: Path) -> None:
    one = Group({"memory": tmp_path / "gone", "cpu": tmp_path / "gone"})
    assert (one.cpu_seconds(), one.peak_memory(), one.oom_kills()) == (None, None, 0)
    one.remove()
