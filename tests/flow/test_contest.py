"""Leaders breed, the champion is proven: real contests on confirmation seeds, in real containers."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.flow.stage import Stage, edit, last_object, reply

pytestmark = [pytest.mark.bubblewrap, pytest.mark.timeout(900)]


@pytest.fixture
def campaign(stage: Stage, shakespeare: Path) -> Stage:
    """Two proposals: one learns thirty times as fast, one only names a variable and measures as lucky or unlucky."""
    replies = stage.replies(
        reply("a larger learning rate", edit("learning_rate = 1.0", "learning_rate = 30.0")),
        reply("nothing in particular", edit("learning_rate = 1.0", "learning_rate = 1.0000001")),
    )
    run = stage.manage(
        "evolve", "proof", "--genome", str(stage.genome()), "--data", str(shakespeare), "--agent", f"replay:{replies}",
        "--population", "2", "--survivors", "1", "--generations", "1", "--budget-tokens", "8000", "--confirm", "4",
        "--review", "auto", "--sandbox", "bubblewrap", "--json", timeout=800,
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    (stage.var / "told.json").write_text(json.dumps(last_object(run.stdout)))
    return stage


def test_a_real_effect_is_promoted_and_nothing_is_not(campaign: Stage) -> None:
    told = json.loads((campaign.var / "told.json").read_text())
    champion = told["champion"]
    assert champion["title"] == "a larger learning rate"
    assert champion["replicated"] is True
    assert champion["seeds"] == champion_pairs(told) >= 4
    assert champion["perplexity_interval"][0] < champion["perplexity"] < champion["perplexity_interval"][1]
    assert champion["perplexity_interval"][1] < told["baseline"]["perplexity_interval"][0]
    assert champion["gain"] > 0
    assert champion["e_value"] >= 200
    assert told["leader"]["replicated"] is False
    # Whoever only got lucky on the screening seed may have been challenger too: never champion.
    assert [one["challenger"] for one in told["contests"] if one["outcome"] == "promoted"] == [champion["variant"]]

    patch = campaign.manage("champion", "proof")
    assert "+learning_rate = 30.0" in patch.stdout

    with sqlite3.connect(campaign.var / "db.sqlite3") as database:
        trials = database.execute("SELECT seed, budget_tokens, verdict FROM sandbox_trial WHERE purpose='confirm'")
        seeds = {seed for seed, budget, verdict in trials if (budget, verdict) == (8000, "measured")}
    assert set(told["contests"][0]["seeds"]) <= seeds

    # The record is enough to have all of it again, elsewhere.
    folder = campaign.var / "exported"
    assert campaign.manage("export", "proof", str(folder)).returncode == 0
    other = Stage(campaign.var / "elsewhere")
    other.var.mkdir()
    assert other.manage("restore", str(folder)).returncode == 0
    with sqlite3.connect(other.var / "db.sqlite3") as database:
        contests = database.execute("SELECT outcome, pairs FROM evolution_contest ORDER BY number").fetchall()
        runs = database.execute("SELECT count(*) FROM evolution_replicate WHERE verdict='measured'").fetchone()[0]
    assert contests == [(one["outcome"], one["pairs"]) for one in told["contests"]]
    assert runs == len(seeds) * 2


def champion_pairs(told: dict[str, list[dict[str, int]]]) -> int:
    return told["contests"][0]["pairs"]
