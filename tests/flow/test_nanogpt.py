"""A trainer that owns its loop, from a checkout to survivors, as a user does it.

The checkout is a small trainer of ours with nanoGPT's shape and quirks: CI has no nanoGPT.
"""

import json
from pathlib import Path

import pytest

from tests.flow.stage import Stage, edit, last_object, reply

pytestmark = pytest.mark.docker
TINY = Path(__file__).resolve().parents[1] / "trainer" / "adapters" / "tiny_trainer"
IMPORT = "import_genome", str(TINY), "--name", "tiny", "--config", "config/train_tiny_char.py"


@pytest.fixture
def imported(stage: Stage) -> Stage:
    run = stage.manage(*IMPORT, "--set", "padded_vocab=64")
    assert run.returncode == 0, run.stderr
    return stage


def test_a_checkout_passes_its_check(imported: Stage, shakespeare: Path) -> None:
    run = imported.manage("check_genome", str(imported.var / "genomes" / "tiny"), "--data", str(shakespeare))
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    assert [line.split()[1] for line in lines] == [
        "manifest", "files", "functions", "budget", "editable", "imports", "paths", "secrets", "training", "judging",
    ]
    assert all(line.startswith("ok ") for line in lines)


def test_a_check_says_why_it_does_not_train(imported: Stage, shakespeare: Path) -> None:
    genome = imported.var / "genomes" / "tiny"
    program = (genome / "train.py").read_text()
    (genome / "train.py").write_text(program.replace("    optimizer.step()\n", "    raise ValueError('no')\n"))
    run = imported.manage("check_genome", str(genome), "--data", str(shakespeare))
    assert run.returncode == 1, run.stderr
    assert "missing training   crashed: ValueError: no" in run.stdout


def test_a_checkout_evolves_from_the_start_to_survivors(imported: Stage, shakespeare: Path) -> None:
    replies = imported.replies(
        reply("a larger learning rate", edit("learning_rate = 1e-2", "learning_rate = 3e-2", "config/darwin.py")),
        reply("a wider model", edit("n_embd = 16", "n_embd = 24", "train.py")),
    )
    run = imported.manage(
        "evolve", "flow", "--genome", "tiny", "--data", str(shakespeare), "--agent", f"replay:{replies}",
        "--population", "2", "--survivors", "2", "--generations", "1", "--budget-tokens", "25600",
        "--confirm", "0", "--review", "auto", "--sandbox", "docker", "--json",
    )
    assert run.returncode == 0, run.stderr
    told = last_object(run.stdout)
    assert told["status"] == "finished"
    assert told["counts"]["survived"] == 2
    assert told["counts"]["failed"] + told["counts"]["stillborn"] + told["counts"]["rejected"] == 0, json.dumps(told)
    assert told["baseline"]["perplexity"] < 60  # of 64 characters: it learned something
    assert (told["baseline"]["mfu"], told["baseline"]["tokens_per_second"]) == (None, None)  # claimed, not measured
    assert told["baseline"]["flops_per_token"] > 0
