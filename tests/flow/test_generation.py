"""One generation from the command to its survivors, in real containers."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.flow.stage import Stage, edit, last_object, reply

pytestmark = pytest.mark.docker


@pytest.fixture
def campaign(stage: Stage, shakespeare: Path) -> Stage:
    """Generation 1 of three proposals: one helps, one crashes after the checks, one does not parse; then talk."""
    late_crash = "if step > 60: raise RuntimeError('too late')\n        loss.backward()"
    replies = stage.replies(
        reply("a larger learning rate", edit("learning_rate = 1.0", "learning_rate = 30.0")),
        reply("crash late", edit("loss.backward()", late_crash)),
        reply("not Python", edit("loss.backward()", "loss.backward((")),
        json.dumps({"response": "I would rather talk about something else."}),
        reply("another batch size", edit("batch_size = 8", "batch_size = 16")),
    )
    run = stage.manage(
        "evolve", "flow", "--genome", str(stage.genome()), "--data", str(shakespeare), "--agent", f"replay:{replies}",
        "--population", "3", "--survivors", "2", "--generations", "1", "--budget-tokens", "40000",
        "--confirm", "0", "--review", "auto", "--sandbox", "docker", "--json",
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    assert "WARNING" not in run.stderr
    told = last_object(run.stdout)
    (stage.var / "told.json").write_text(json.dumps(told))
    return stage


def test_a_generation_ends_with_survivors_a_champion_and_a_record_that_verifies(campaign: Stage) -> None:
    told = json.loads((campaign.var / "told.json").read_text())
    assert told["status"] == "finished"
    assert told["champion"]["perplexity"] < told["baseline"]["perplexity"]
    assert told["counts"]["survived"] == 2
    assert told["counts"]["failed"] == 1
    assert told["counts"]["stillborn"] == 1

    patch = campaign.manage("champion", "flow")
    assert patch.returncode == 0, patch.stderr
    assert "+learning_rate = 30.0" in patch.stdout or "+batch_size = 16" in patch.stdout

    folder = campaign.var / "exported"
    assert campaign.manage("export", "flow", str(folder)).returncode == 0
    assert campaign.manage("verify", str(folder)).returncode == 0
    journal = folder / "memory" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"too late", b"too soon", 1))
    changed = campaign.manage("verify", str(folder))
    assert changed.returncode == 1
    assert "journal" in changed.stdout + changed.stderr

    # Weights stay for baseline, champion and survivors only, and nothing of the attempts is left.
    with sqlite3.connect(campaign.var / "db.sqlite3") as database:
        kept = {str(row[0]) for row in database.execute("SELECT number FROM evolution_variant WHERE status='survived'")}
        states = {row[0] for row in database.execute("SELECT state FROM sandbox_attempt")}
    assert {path.name for path in (campaign.var / "experiments/flow/weights").iterdir()} <= kept | {"0"}
    assert states == {"ended"}

    again = campaign.manage("evolve", "flow", "--population", "7")
    assert again.returncode == 2
    assert "population" in again.stderr
