"""Genomes with tokens of their own: the directory stays where it is, and is the one the experiment began with."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from django.conf import settings

from evolution import corpus, restore
from evolution.errors import BadInput, Infrastructure, ResumeMismatch
from evolution.experiments import create, rejoin
from evolution.models import Experiment, ExperimentStatus
from evolution.options import Options
from sandbox import leaks, texts
from tests import cast
from tests.trainer import pairs
from tests.trainer.conftest import sentences
from trainer.contract import read_genome
from trainer.harness.outside.text import TextError

pytestmark = pytest.mark.django_db


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return pairs.directory(tmp_path / "tokens", sentences(9, 500))


def genome_on(vocabulary: str | Path, directory: Path) -> Path:
    """The tiny genome with another vocabulary."""
    cast.genome(directory)
    manifest = cast.MANIFEST.replace(b'"bytes"', f'"{vocabulary}"'.encode())
    (directory / "genome.toml").write_bytes(manifest)
    return directory


def options(genome: Path, *, data: str | None = None) -> Options:
    return Options(name="tokens", genome=str(genome), data=data, budget_tokens=10_000, sandbox="bubblewrap")


def test_an_experiment_keeps_the_hash_of_its_tokens_and_no_copy(tokens: Path, tmp_path: Path) -> None:
    experiment = create(options(genome_on(tokens, tmp_path / "genome")), actor="test")
    assert experiment.data == str(tokens)
    assert list((experiment.folder / "data").iterdir()) == []
    text = texts.of_experiment(experiment, tmp_path / "genome")
    assert text.sha256 == experiment.data_sha256
    assert text.vocab_size == 316


def test_tokens_that_changed_are_refused(tokens: Path, tmp_path: Path) -> None:
    experiment = create(options(genome_on(tokens, tmp_path / "genome")), actor="test")
    pairs.directory(tokens, sentences(10, 500))
    with pytest.raises(Infrastructure, match="not the one it was created with"):
        texts.of_experiment(experiment, tmp_path / "genome")


def test_tokens_that_are_gone_are_named(tokens: Path, tmp_path: Path) -> None:
    experiment = create(options(genome_on(tokens, tmp_path / "genome")), actor="test")
    (tokens / "train.bin").unlink()
    with pytest.raises(TextError, match=r"has no train\.bin"):
        texts.of_experiment(experiment, tmp_path / "genome")


def test_a_name_is_a_directory_under_data(tmp_path: Path) -> None:
    folder = pairs.directory(Path(settings.DARWIN_VAR) / "data" / "small-bpe", sentences(9, 500))
    genome = genome_on("small-bpe", tmp_path / "genome")
    assert corpus.token_folder(read_genome(genome)) == folder
    assert texts.of_genome(read_genome(genome), "builtin", directory=genome).vocab_size == 316


def test_other_data_beside_tokens_is_refused(tokens: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(cast.TEXT)
    with pytest.raises(BadInput, match=r"brings its own tokens.*leave .*text out"):
        create(options(genome_on(tokens, tmp_path / "genome"), data=str(tmp_path / "text")), actor="test")


def test_naming_the_tokens_themselves_changes_nothing(tokens: Path, tmp_path: Path) -> None:
    same = options(genome_on(tokens, tmp_path / "genome"), data=str(tokens))
    created = create(same, actor="test")
    assert rejoin(same, actor="test") == created
    with pytest.raises(ResumeMismatch):
        rejoin(options(tmp_path / "genome", data=str(tmp_path / "other")), actor="test")


def test_tokens_inside_a_genome_are_refused(tmp_path: Path) -> None:
    inside = pairs.directory(tmp_path / "genome" / "tokens", sentences(9, 500))
    with pytest.raises(BadInput, match="inside the genome, where every variant could read"):
        create(options(genome_on(inside, tmp_path / "genome")), actor="test")


def test_a_directory_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has no meta\.json"):
        create(options(genome_on("nowhere", tmp_path / "genome")), actor="test")


class Nowhere:
    """A driver whose containers see nothing but what is mounted."""

    name = "nowhere"

    def image(self) -> str:
        return "none"

    def visible(self) -> AbstractContextManager[list[Path]]:
        return nullcontext([])


def test_held_out_tokens_in_a_genome_are_found(tokens: Path, tmp_path: Path) -> None:
    genome = genome_on(tokens, tmp_path / "genome")
    text = texts.of_genome(read_genome(genome), "builtin", directory=genome)
    leaks.refuse_known_text(text, Nowhere(), genome)  # type: ignore[arg-type]
    (genome / "table").write_bytes(b"!" + (tokens / "heldout.bin").read_bytes())
    with pytest.raises(leaks.DataRefused):
        leaks.refuse_known_text(text, Nowhere(), genome)  # type: ignore[arg-type]


def restored(experiment: Experiment, directory: Path) -> Experiment:
    """What restore makes of files that lie elsewhere, for the part that is about data."""
    directory.mkdir()
    (experiment.folder / "genomes.git").rename(directory / "genomes.git")
    restore._give_data(directory, experiment)
    return Experiment.objects.get(pk=experiment.pk)


def test_a_restored_experiment_finds_its_tokens(tokens: Path, tmp_path: Path) -> None:
    experiment = create(options(genome_on(tokens, tmp_path / "genome")), actor="test")
    assert restored(experiment, tmp_path / "export").status == ExperimentStatus.RUNNING


def test_a_restored_experiment_says_where_its_tokens_belong(tokens: Path, tmp_path: Path) -> None:
    experiment = create(options(genome_on(tokens, tmp_path / "genome")), actor="test")
    tokens.rename(tmp_path / "elsewhere")
    back = restored(experiment, tmp_path / "export")
    assert back.status == ExperimentStatus.PAUSED
    assert f"put the tokens of sha256 {experiment.data_sha256} at {tokens}, then resume" in back.reason
