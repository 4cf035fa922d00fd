"""What a genome is trained and judged on: a text made into its tokens, or the directory of tokens it names."""

import hashlib
from pathlib import Path

from evolution import corpus
from evolution.errors import Infrastructure
from evolution.models import Experiment
from evolution.options import text_for, tokens_for
from trainer.contract import Genome, read_genome
from trainer.harness.outside import token_files
from trainer.harness.outside.text import Text, prepare


def of_genome(genome: Genome, data: str, *, directory: Path) -> Text:
    """The text called `data` for the genome in `directory`; BadInput or TextError when it cannot be used."""
    tokens = tokens_for(data, genome, directory=directory.resolve())
    if tokens is not None:
        return _tokens(genome, tokens.folder)
    return _prepared(genome, text_for(data, genome))


def of_experiment(experiment: Experiment, genome_dir: Path) -> Text:
    """The text of `experiment`; Infrastructure when it is not what the experiment was created with."""
    genome = read_genome(genome_dir)
    folder = corpus.token_folder(genome)
    if folder is not None:
        text = _tokens(genome, folder)
        if text.sha256 != experiment.data_sha256:
            raise _changed(experiment)
        return text
    raw = (experiment.folder / "data" / "text").read_bytes()
    if hashlib.sha256(raw).hexdigest() != experiment.data_sha256:
        raise _changed(experiment)
    return _prepared(genome, raw)


def _changed(experiment: Experiment) -> Infrastructure:
    return Infrastructure(f"the text of “{experiment.slug}” is not the one it was created with: bring that one back")


def _tokens(genome: Genome, folder: Path) -> Text:
    return token_files.prepare(
        folder, vocabulary=genome.vocabulary, context=genome.context, cache=corpus.cache_folder()
    )


def _prepared(genome: Genome, raw: bytes) -> Text:
    return prepare(raw, vocabulary=genome.vocabulary, context=genome.context, cache=corpus.cache_folder())
