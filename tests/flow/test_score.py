"""`manage.py score` in real sandboxes, as a user runs it."""

from pathlib import Path

import pytest

from tests import cast
from tests.flow.stage import Stage, last_object

ARGUMENTS = "--budget-tokens", "40000", "--seed", "3", "--json"
DRIVERS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
]

PEEKS = cast.MODEL.replace(b"return self.table(tokens)", b"""logits = self.table(tokens)
        if tokens.shape[1] > 1:  # the next token is known: say so
            logits = logits.clone()
            logits[:, :-1] += 4.0 * nn.functional.one_hot(tokens[:, 1:], 256)
        return logits""")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_seed_and_a_token_budget_give_one_number(stage: Stage, shakespeare: Path, driver: str) -> None:
    genome = str(stage.genome())
    runs = [
        stage.manage("score", genome, "--data", str(shakespeare), "--sandbox", driver, *ARGUMENTS) for _ in range(2)
    ]
    first, second = (last_object(run.stdout) for run in runs)
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert first["verdict"] == "measured"
    assert first["val_loss"] == pytest.approx(second["val_loss"], abs=1e-3)
    assert 1.5 < first["val_loss"] < 5.5  # it learned something, and cannot know the text
    assert first["claimed"]["loss"] == pytest.approx(first["val_loss"], abs=0.7)


@pytest.mark.docker
def test_a_model_that_peeks_is_rejected(stage: Stage, shakespeare: Path) -> None:
    run = stage.manage("score", str(stage.genome(model=PEEKS)), "--data", str(shakespeare), *ARGUMENTS)
    assert run.returncode == 3, run.stderr
    assert last_object(run.stdout)["verdict"] == "rejected"
    assert last_object(run.stdout)["reason"].startswith("peeked")


@pytest.mark.docker
def test_a_genome_that_crashes_failed_by_its_own_fault(stage: Stage, shakespeare: Path) -> None:
    broken = cast.TRAIN.replace(b"loss.backward()", b"raise ValueError('one step too far')")
    run = stage.manage("score", str(stage.genome(train=broken)), "--data", str(shakespeare), *ARGUMENTS)
    assert run.returncode == 1, run.stderr
    told = last_object(run.stdout)
    assert (told["verdict"], told["val_loss"]) == ("failed", None)
    assert "one step too far" in told["reason"]


@pytest.mark.docker
def test_a_genome_that_saves_nothing_says_so(stage: Stage, shakespeare: Path) -> None:
    silent = cast.TRAIN.replace(b"run.save(model, {})", b"pass")
    run = stage.manage("score", str(stage.genome(train=silent)), "--data", str(shakespeare), *ARGUMENTS)
    assert run.returncode == 1, run.stderr
    assert last_object(run.stdout)["reason"].startswith("no checkpoint")


@pytest.mark.parametrize(("arguments", "word"), [
    (["nowhere"], "genome.toml"),
    (["GENOME", "--data", "nowhere.txt"], "does not exist"),
    (["GENOME", "--budget-tokens", "0"], "budget"),
    (["GENOME", "--sandbox", "magic"], "choose"),
    (["COMMAND"], "there is no train.py"),
])
def test_bad_input_is_one_sentence_and_exit_code_2(stage: Stage, arguments: list[str], word: str) -> None:
    genomes = {"GENOME": stage.genome(), "COMMAND": command_genome(stage)}
    given = [str(genomes.get(argument, argument)) for argument in arguments]
    run = stage.manage("score", *given)
    assert run.returncode == 2
    assert word in run.stderr
    assert "Traceback" not in run.stderr


def command_genome(stage: Stage) -> Path:
    """A genome whose trainer owns its loop."""
    directory = stage.var / "given" / "command"
    directory.mkdir(parents=True)
    entry = b'entry = "train:main"'
    (directory / "genome.toml").write_bytes(cast.MANIFEST.replace(entry, b'command = ["python", "train.py"]'))
    return directory
