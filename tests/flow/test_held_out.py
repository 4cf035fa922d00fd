"""No held-out text is anywhere a training can read: a genome looks into every file of its container."""

from pathlib import Path

import pytest

from tests import cast
from tests.flow.stage import Stage, last_object

CANARY = "quetzalcoatl-canary-31415926"

# Looks for a word in two halves, so that its own source is no hit.
LOOKS = cast.TRAIN.replace(b"def main(run):", b'''def looks():
    import os
    word = ("quetzalcoatl-" + "canary-").encode()
    hits, files = 0, 0
    for top, _, names in os.walk("/"):
        if top.startswith(("/proc", "/sys")):
            continue
        for name in names:
            path = os.path.join(top, name)
            if not os.path.isfile(path):  # /dev/zero has no end
                continue
            try:
                with open(path, "rb") as file:
                    files += 1
                    hits += any(word in part for part in iter(lambda: file.read(1 << 22), b""))
            except OSError:
                pass
    return hits, files


def main(run):
    hits, files = looks()
    run.report(step=0, loss=1.0, hits=hits, files=files)''')
LOOKS = LOOKS.replace(
    b"run.report(step=step, loss=loss)", b"run.report(step=step, loss=loss, hits=hits, files=files)"
)


@pytest.mark.parametrize("driver", [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
])
def test_no_file_of_the_container_holds_held_out_text(stage: Stage, shakespeare: Path, driver: str) -> None:
    text = shakespeare.read_text()
    data = stage.var / "given.txt"
    start = int(len(text) * 0.9) + 2000
    data.write_text(text[:start] + "\n".join([CANARY] * 200) + text[start:])
    score = ("--data", str(data), "--budget-tokens", "20000", "--sandbox", driver, "--json")
    told = last_object(stage.manage("score", str(stage.genome(train=LOOKS)), *score).stdout)
    assert told["verdict"] == "measured", told
    assert told["claimed"]["files"] > 500  # it did look
    assert told["claimed"]["hits"] == 0


@pytest.mark.docker
def test_the_search_finds_what_lies_open(stage: Stage, shakespeare: Path) -> None:
    """The positive control: the same genome finds the word when it is in a file it can read."""
    genome = stage.genome(train=LOOKS, canary=f"WORD = '{CANARY}'\n".encode())
    score = ("--data", str(shakespeare), "--budget-tokens", "20000", "--json")
    assert last_object(stage.manage("score", str(genome), *score).stdout)["claimed"]["hits"] == 1


def test_a_genome_that_holds_the_text_refuses_the_data(stage: Stage, shakespeare: Path) -> None:
    genome = stage.genome(stolen=b"TEXT = '''" + shakespeare.read_bytes().replace(b"'''", b"") + b"'''\n")
    run = stage.manage("score", str(genome), "--data", str(shakespeare), "--budget-tokens", "20000")
    assert run.returncode == 2
    assert "other data" in run.stderr
