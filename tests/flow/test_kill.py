"""SIGKILL in the middle of a training: one result, no orphan."""

import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.flow.stage import Stage, eventually, last_object

pytestmark = pytest.mark.docker


def processes(stage: Stage, word: str) -> list[int]:
    """Live processes of this stage with `word` in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"DARWIN_VAR={stage.var}".encode() in (entry / "environ").read_bytes()
            zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if ours and not zombie and word.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def rows(stage: Stage, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(f"file:{stage.var / 'db.sqlite3'}?mode=ro", uri=True, timeout=20) as database:
        return database.execute(query).fetchall()


def containers(stage: Stage) -> list[str]:
    """Every container, running or not, that mounts something of this stage."""
    names = subprocess.run(["docker", "ps", "-aq"], capture_output=True, text=True, check=True).stdout.split()
    mounts = [
        subprocess.run(["docker", "inspect", "-f", "{{json .Mounts}}", name], capture_output=True, text=True,
                       check=False).stdout for name in names
    ]
    return [name for name, mount in zip(names, mounts, strict=True) if str(stage.var) in mount]


def training(stage: Stage) -> bool:
    if not (stage.var / "db.sqlite3").exists():
        return False
    query = "SELECT 1 FROM sandbox_attempt a JOIN sandbox_trial t ON t.id = a.trial_id " \
            "WHERE a.state = 'training' AND t.purpose = 'score' AND a.progress > 0.02"
    try:
        return bool(rows(stage, query))
    except sqlite3.OperationalError:
        return False  # not migrated yet


@pytest.mark.timeout(400)
def test_a_killed_worker_and_a_killed_runner_cost_seconds_and_leave_one_result(
    stage: Stage, shakespeare: Path
) -> None:
    campaign = stage.start(
        "evolve", "kill", "--genome", str(stage.genome()), "--data", str(shakespeare), "--population", "1",
        "--agent", f"replay:{stage.replies()}", "--generations", "1", "--budget-tokens", "4000000", "--review", "auto",
        "--sandbox", "docker", "--json",
    )
    eventually(lambda: training(stage), what="a training")
    assert containers(stage)
    for pid in [*processes(stage, "sandbox-"), *processes(stage, "sandbox.runner")]:
        os.kill(pid, signal.SIGKILL)
    output, _ = campaign.communicate(timeout=300)
    assert campaign.returncode == 0, output
    assert last_object(output)["baseline"]["perplexity"] > 1

    # One result; the container that outlived its runner was adopted, not started again.
    assert rows(stage, "SELECT verdict, count(*) FROM sandbox_trial WHERE purpose = 'score' GROUP BY 1") == [
        ("measured", 1)
    ]
    assert rows(stage, "SELECT count(*), max(fence) FROM sandbox_attempt a JOIN sandbox_trial t ON t.id = a.trial_id "
                       "WHERE t.purpose = 'score'") == [(1, 2)]
    assert rows(stage, "SELECT count(*) FROM evolution_transition WHERE new = 'measured'") == [(1,)]
    assert containers(stage) == []
    assert processes(stage, "sandbox.runner") == []


@pytest.mark.timeout(400)
def test_ctrl_c_stops_everything_and_the_next_start_goes_on(stage: Stage, shakespeare: Path) -> None:
    words = (
        "evolve", "stop", "--genome", str(stage.genome()), "--data", str(shakespeare), "--population", "1",
        "--agent", f"replay:{stage.replies()}", "--generations", "1", "--budget-tokens", "2000000", "--review", "auto",
        "--json",
    )
    first = stage.start(*words)
    eventually(lambda: training(stage), what="a training")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=90)
    assert first.returncode == 130
    assert processes(stage, "") == []
    assert containers(stage) == []
    second = stage.manage(*words)
    assert second.returncode == 0, second.stderr
    assert rows(stage, "SELECT a.cause FROM sandbox_attempt a JOIN sandbox_trial t ON t.id = a.trial_id "
                       "WHERE t.purpose = 'score' ORDER BY a.id") == [("interrupted",), ("",)]
