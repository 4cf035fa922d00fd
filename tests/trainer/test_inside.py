"""The whole road in real processes: the built-in genome trains through the thin client, and is judged."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.conftest import CONTEXT, GENOME, ROOT
from trainer.contract import CONFIG_FILE, MODEL_FILE, Cause
from trainer.harness.outside.judge import AskerFailed, JudgeServer
from trainer.harness.outside.scorer import Judgement, judge
from trainer.harness.outside.server import Budget, Progress, Report, TextServer
from trainer.harness.outside.stream import Stream
from trainer.harness.outside.text import Text

STEPS = 80
MANIFEST = (GENOME / "genome.toml").read_text()


@dataclass
class Trained:
    folder: Path
    progress: Progress
    reports: list[Report]
    code: int
    stderr: str


@pytest.fixture(scope="module")
def folders() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="darwin-") as name:
        yield Path(name)


def client(module: str, folder: Path, genome: Path = GENOME) -> subprocess.Popen[str]:
    """What a container would run, without the container: the genomes here are our own."""
    (folder / "out").mkdir(exist_ok=True)
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "DARWIN_GENOME": str(genome),
        "DARWIN_SOCKET": str(folder / "harness.sock"), "DARWIN_OUT": str(folder / "out"),
        "DARWIN_WEIGHTS": str(folder), "DARWIN_THREADS": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive",
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", f"trainer.harness.inside.{module}"],
        cwd=genome, env=environment, stderr=subprocess.PIPE, text=True,
    )


def train(text: Text, *folders: Path, genome: Path = GENOME, steps: int = STEPS, seed: int = 7) -> list[Trained]:
    """One training in each of `folders`, side by side."""
    runs = []
    for folder in folders:
        folder.mkdir()
        reports: list[Report] = []
        server = TextServer(
            socket=folder / "harness.sock", folder=folder, stream=Stream(text.train, seed=seed, segment=CONTEXT),
            validation=text.validation, vocab_size=text.vocab_size, budget=Budget(tokens=steps * 12 * CONTEXT),
            seed=seed, device="cpu", max_checkpoint_bytes=1 << 24, on_report=reports.append,
        )
        server.start()
        server.acknowledge()
        runs.append((folder, server, reports, client("train", folder, genome)))
    found = []
    for folder, server, reports, process in runs:
        _, stderr = process.communicate(timeout=120)
        server.stop()
        found.append(Trained(folder, server.progress(), reports, process.returncode, stderr))
    return found


@pytest.fixture(scope="module")
def pair(text: Text, folders: Path) -> list[Trained]:
    """The built-in genome, trained twice with one seed."""
    return train(text, folders / "one", folders / "two")


def test_the_built_in_genome_trains(pair: list[Trained]) -> None:
    trained = pair[0]
    assert trained.code == 0, trained.stderr
    assert (trained.progress.phase, trained.progress.batches, trained.progress.saved) == ("done", STEPS, True)
    losses = [report.loss for report in trained.reports if report.loss is not None]
    assert losses[0] == pytest.approx(np.log(256), abs=0.5)
    assert losses[-1] < 3.4
    assert [report.step for report in trained.reports] == sorted(report.step for report in trained.reports)


def test_nothing_is_printed_by_a_training_that_works(pair: list[Trained]) -> None:
    assert pair[0].stderr == ""


def test_the_same_seed_gives_the_same_weights(pair: list[Trained]) -> None:
    one, two = ((trained.folder / MODEL_FILE).read_bytes() for trained in pair)
    assert one == two


def examine(text: Text, folder: Path, genome: Path = GENOME) -> Judgement:
    servers, processes = [], []
    for name in ("window", "prefix"):
        place = folder / name
        place.mkdir()
        servers.append(JudgeServer(place / "harness.sock"))
        for file in (MODEL_FILE, CONFIG_FILE):
            (place / file).write_bytes((folder / file).read_bytes())
        processes.append(client("judge", place, genome))
    try:
        askers = [server.wait_connected(60) for server in servers]
        return judge(
            askers[0], askers[1], windows=text.windows("public", scored_tokens=60 * CONTEXT),
            token_bytes=text.token_bytes, rng=np.random.default_rng(),
        )
    finally:
        for server, process in zip(servers, processes, strict=True):
            server.close()
            process.communicate(timeout=30)


def test_the_trained_model_is_judged(pair: list[Trained], text: Text) -> None:
    found = examine(text, pair[0].folder)
    assert found.cause is None, found.detail
    assert found.val_loss is not None
    claimed = [report.loss for report in pair[0].reports if report.loss is not None]
    assert found.val_loss == pytest.approx(claimed[-1], abs=0.3)
    assert found.correction == 0.0
    parameters = 4 * 12 * 128**2 + 9 * 128 + 64 * 128 + 256 * 128
    assert found.parameters == parameters
    # nanoGPT's formula: 6 N + 12 L C T, N without positions (and norms, which are not products).
    assert found.flops_per_token == 6 * (4 * 12 * 128**2 + 256 * 128) + 12 * 4 * 128 * CONTEXT


def write(folder: Path, name: str, **files: str) -> Path:
    genome = folder / name
    genome.mkdir()
    (genome / "genome.toml").write_text(MANIFEST)
    for path in GENOME.glob("*.py"):
        (genome / path.name).write_text(path.read_text())
    for stem, content in files.items():
        (genome / f"{stem}.py").write_text(content)
    return genome


def test_a_trained_model_that_peeks_is_caught(pair: list[Trained], text: Text, folders: Path) -> None:
    code = (GENOME / "model.py").read_text()
    peeking = code.replace(
        "return self.head(self.norm(x))  # (B, T, V)",
        "logits = self.head(self.norm(x)).clone()\n"
        "        if T > 1:\n"
        "            logits[:, :-1].scatter_add_(2, tokens[:, 1:, None], torch.ones(B, T - 1, 1))\n"
        "        return logits",
    ).replace("T = tokens.shape[1]", "B, T = tokens.shape")
    assert peeking != code
    genome = write(folders, "peeking", model=peeking)
    (folders / "peeked").mkdir()
    for file in (MODEL_FILE, CONFIG_FILE):
        (folders / "peeked" / file).write_bytes((pair[0].folder / file).read_bytes())
    assert examine(text, folders / "peeked", genome).cause == Cause.PEEKED


def test_a_genome_that_raises_has_failed(text: Text, folders: Path) -> None:
    genome = write(folders, "raising", train="def main(run):\n    raise ValueError('no such thing')\n")
    (trained,) = train(text, folders / "raised", genome=genome)
    assert trained.code == 1
    assert (trained.progress.phase, trained.progress.error) == ("failed", "ValueError: no such thing")
    assert "line 2, in main" in trained.progress.traceback
    assert "ValueError: no such thing" in trained.stderr
    assert not trained.progress.saved


def test_nothing_of_a_genome_runs_after_its_training(text: Text, folders: Path) -> None:
    code = (
        "import atexit\nfrom torch import nn\n\n\ndef main(run):\n"
        "    next(run.batches(1, 8))\n    run.save(nn.Linear(1, 1), {})\n"
        "    atexit.register(lambda: (run.out / 'late').touch())\n"
    )
    (trained,) = train(text, folders / "late", genome=write(folders, "lingering", train=code))
    assert (trained.code, trained.progress.phase) == (0, "done"), trained.stderr
    assert not (trained.folder / "out" / "late").exists()


def test_a_genome_that_exits_with_an_error_has_failed(text: Text, folders: Path) -> None:
    genome = write(folders, "exiting", train="import sys\n\n\ndef main(run):\n    sys.exit(3)\n")
    (trained,) = train(text, folders / "exited", genome=genome)
    assert (trained.code, trained.progress.phase, trained.progress.error) == (1, "failed", "SystemExit: 3")


def test_a_model_that_cannot_be_loaded_says_why(pair: list[Trained], folders: Path) -> None:
    genome = write(folders, "unloadable", model="def load(directory, device):\n    raise KeyError('width')\n")
    server = JudgeServer(folders / "harness.sock")
    process = client("judge", folders, genome)
    with pytest.raises(AskerFailed, match="KeyError: 'width'") as failure:
        server.wait_connected(60)
    server.close()
    process.communicate(timeout=30)
    assert failure.value.cause == Cause.LOAD_FAILED
    assert process.returncode == 1


def test_a_command_is_not_supported_yet(text: Text, folders: Path) -> None:
    genome = write(folders, "commanding")
    manifest = MANIFEST.replace('entry = "train:main"', 'command = ["python", "train.py"]')
    (genome / "genome.toml").write_text(manifest)
    (trained,) = train(text, folders / "commanded", genome=genome)
    assert "command is not supported yet" in trained.progress.error


def test_the_peak_is_one_line_of_json() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "trainer.harness.inside.peak"], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True, timeout=120,
    )
    assert done.stdout.startswith('{"flops_per_second": ')
    assert float(done.stdout.split(": ")[1].rstrip("}\n")) > 1e8
