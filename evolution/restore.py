"""From files back to rows: an export, or an experiment's folder that the database does not know."""

import hashlib
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction

from evolution import archive, chain, corpus, documents, durable, rows
from evolution.archive import GENOMES, MEMORY
from evolution.documents import Cast
from evolution.errors import BadInput, DarwinError, NameTaken
from evolution.genomes import Store, genome_of
from evolution.models import Call, Event, Experiment, ExperimentStatus
from trainer.tokens import TokensError, look

OURS = ("commit.written", "document.written")  # lines that no event stands behind


class Damaged(DarwinError):
    """The files are not what was written."""


def restore(directory: Path) -> Experiment:
    """Insert every row of the experiment in `directory`; copy its files into DARWIN_VAR unless they lie there.

    NotAnExport, NameTaken, or Damaged when a byte of it was changed. What was being trained waits to be trained
    again. An export holds no data: the built-in text is written anew, and with any other the experiment is paused.
    """
    archive.require(directory)
    if changed := archive.changes(directory):
        raise Damaged(f"{directory} was changed ({changed[0]}; {len(changed)} in all): take an intact export")
    known = documents.read_experiment(directory / MEMORY)
    if Experiment.objects.filter(slug=known["slug"]).exists():
        raise NameTaken(f"the database has an experiment “{known['slug']}” already: nothing was restored")
    with transaction.atomic():
        experiment = _insert(directory, known)
        _take_files(directory, experiment)
    return experiment


def _insert(directory: Path, known: dict[str, Any]) -> Experiment:
    memory = directory / MEMORY
    cast = Cast(person=_person)
    experiment = documents.insert_experiment(known, cast)
    documents.insert_variants(experiment, known, documents.read_variants(memory), cast)
    for line in chain.lines(memory):
        if line.kind not in OURS:
            _insert_event(experiment, line, cast)
        if line.kind == "call.ended":
            _insert_call(experiment, line, cast)
    return experiment


def _insert_call(experiment: Experiment, line: chain.Line, cast: Cast) -> None:
    """The row of a call of a model. One that was under way is in no line: it is lost with its process."""
    rows.insert(Call(
        experiment=experiment, strategy=experiment.strategies.filter(name=line.data["strategy"]).first(),
        target=cast.variants.get(line.data["target"]),
        **rows.values(Call, line.data),
    ))


def _insert_event(experiment: Experiment, line: chain.Line, cast: Cast) -> None:
    data = {name: value for name, value in line.data.items() if name != "event"}
    rows.insert(Event(
        experiment=experiment, variant=cast.variants.get(data.get("variant", -1)), kind=line.kind, actor=line.actor,
        data=data, at=datetime.fromisoformat(line.time), journaled=True,
    ))


def _person(name: str) -> Any:
    """The account of that name; one that nobody can log in with where there is none."""
    users = get_user_model()._default_manager
    found = users.filter(**{get_user_model().USERNAME_FIELD: name}).first()
    return found or get_user_model().objects.create_user(name, is_active=False)


def _take_files(directory: Path, experiment: Experiment) -> None:
    target = experiment.folder
    if target.resolve() == directory.resolve():
        _finish(target / MEMORY)
        return
    if target.exists():
        raise BadInput(f"{target} is in the way: restore that instead, or move it away")
    building = target.with_name(f".{target.name}.restoring")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True, mode=0o700)
    for name in (MEMORY, GENOMES):
        shutil.copytree(directory / name, building / name)
    _finish(building / MEMORY)
    _give_data(building, experiment)
    building.rename(target)
    durable.sync_folder(target.parent)


def _finish(memory: Path) -> None:
    """Finish what a crash had cut: every line is a row now."""
    with durable.locked(memory):
        if unfinished := chain.settle(memory):
            chain.write_head(memory, chain.head_of(unfinished[-1]))


def _give_data(folder: Path, experiment: Experiment) -> None:
    tokens = _token_folder(folder, experiment)
    text = corpus.text() if experiment.data == "builtin" else b""
    if tokens is not None:
        if not _holds(tokens, experiment.data_sha256):
            _wait_for_data(experiment, f"the tokens of sha256 {experiment.data_sha256}", tokens)
    elif hashlib.sha256(text).hexdigest() == experiment.data_sha256:
        (folder / "data").mkdir()
        durable.write(folder / "data" / "text", text)
        (folder / "data" / "text").chmod(0o600)
    else:
        place = experiment.folder / "data" / "text"
        _wait_for_data(experiment, f"the text of sha256 {experiment.data_sha256}", place)


def _token_folder(folder: Path, experiment: Experiment) -> Path | None:
    """Where the experiment's tokens belong on this machine; None when it has a text."""
    if experiment.baseline is None:
        return None
    return corpus.token_folder(genome_of(Store(folder / GENOMES).files(experiment.baseline.commit)))


def _holds(tokens: Path, sha256: str) -> bool:
    try:
        return look(tokens, cache=corpus.cache_folder()).sha256 == sha256
    except TokensError:
        return False


def _wait_for_data(experiment: Experiment, what: str, place: Path) -> None:
    if experiment.status == ExperimentStatus.RUNNING:
        reason = f"restored without its data: put {what} at {place}, then resume"
        Experiment.objects.filter(pk=experiment.pk).update(status=ExperimentStatus.PAUSED, reason=reason)
        experiment.status, experiment.reason = ExperimentStatus.PAUSED, reason
