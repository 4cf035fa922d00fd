"""`manage.py calibrate` in real sandboxes, as a user runs it."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.flow.stage import Stage, eventually, last_object

pytestmark = pytest.mark.timeout(900)  # four trainings, on a machine that may be busy with others


def words(stage: Stage, shakespeare: Path, *, tokens: int) -> list[str]:
    genome, data = stage.genome(), stage.var / "given" / "text"
    data.write_bytes(shakespeare.read_bytes()[:150_000])  # little to judge on: four trainings are judged
    return [
        "calibrate", "noisy", "--genome", str(genome), "--data", str(data), "--budget-tokens", str(tokens),
        "--seeds", "2", "--json",
    ]


@pytest.mark.bubblewrap
def test_the_same_baseline_differs_by_its_seeds_alone(stage: Stage, shakespeare: Path) -> None:
    run = stage.manage(*words(stage, shakespeare, tokens=7_936), "--sandbox", "bubblewrap", timeout=800)
    assert run.returncode == 0, run.stderr
    told = last_object(run.stdout)
    losses = [loss for both in told["losses"] for loss in both]
    assert len(set(losses)) == 4
    assert all(1.0 < loss < 8.0 for loss in losses)
    assert told["pair_sd"]["value"] > 0
    assert (told["status"], told["sandbox"], told["tokens"]) == ("paused", "bubblewrap", 7_936)


@pytest.mark.docker
def test_ctrl_c_ends_it_with_130_and_leaves_no_container(stage: Stage, shakespeare: Path) -> None:
    child = stage.start(*words(stage, shakespeare, tokens=50_000_000), "--sandbox", "docker")
    try:
        eventually(lambda: containers(child.pid), seconds=400, what="a training")
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=120)
    finally:
        child.kill()
    assert child.returncode == 130, output
    assert "Traceback" not in output
    assert containers(child.pid) == []


def containers(pid: int) -> list[str]:
    """The containers, running or not, of the calibration with this process id."""
    names = subprocess.run(["docker", "ps", "-a", "--format", "{{.Names}}"], capture_output=True, text=True, check=True)
    return [name for name in names.stdout.split() if f"darwin-calibrate-{pid}-" in name]
