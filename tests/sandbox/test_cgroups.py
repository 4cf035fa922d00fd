"""Counters are read from the files of both versions of control groups."""

from pathlib import Path

import pytest

from sandbox.drivers import cgroups
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


def test_old_groups_without_processes_are_cleaned_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "ours"
    for name in ("darwin-x-old", "darwin-x-alive", "darwin-y-old", "ours/darwin-x-below"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "darwin-x-alive" / "process").touch()  # as rmdir sees it
    monkeypatch.setattr(cgroups, "roots", lambda: {"memory": tmp_path})
    monkeypatch.setattr(cgroups, "of_process", lambda pid: Group({"memory": own}))
    cgroups.clean("darwin-x-")
    assert (tmp_path / "darwin-x-old").exists()  # a minute has not passed
    monkeypatch.setattr(cgroups, "STALE_SECONDS", -1.0)
    cgroups.clean("darwin-x-")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["darwin-x-alive", "darwin-y-old", "ours"]
    assert not list(own.iterdir())
