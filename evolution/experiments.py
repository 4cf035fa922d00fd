"""Experiments: how one is created, resumed, paused, stopped and finished."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from evolution import contests, definitions, live, spending, strategies
from evolution.drafting import draft
from evolution.errors import BadInput, Infrastructure, NameTaken, Refused, ResumeMismatch, StaleTransition
from evolution.genomes import Store
from evolution.lifecycle import ENDED, advance
from evolution.memory import remember
from evolution.models import Experiment, ExperimentStatus, Generation, Kind, Status, Variant
from evolution.options import Options, Plan, plan, slug_of, stored_form

E = ExperimentStatus


def create(options: Options, *, actor: str, owner: AbstractBaseUser | None = None) -> Experiment:
    """Everything of a new experiment or nothing of it: rows, repository, data, and the baseline in DRAFTED.

    BadInput says what is wrong with the options, NameTaken that the name is in use.
    """
    planned = plan(options)
    if Experiment.objects.filter(slug=planned.slug).exists():
        raise _taken(planned.slug)
    folder: Path | None = None
    try:
        with transaction.atomic():
            experiment = _insert(planned, owner)
            folder = _free_folder(experiment)
            _write_folder(folder, planned)
            _open(experiment, planned, actor)
    except BaseException:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    live.wake(live.EVOLUTION)
    return experiment


def rejoin(options: Options, *, actor: str) -> Experiment:
    """The experiment of that name, running again if it was paused; ResumeMismatch when an option given differs.

    `generations` is the total: it may be raised, which also goes on with a finished experiment. Budgets of money may be
    changed.
    """
    slug = slug_of(options.name)
    try:
        experiment = Experiment.objects.get(slug=slug)
    except Experiment.DoesNotExist:
        raise BadInput(f"there is no experiment “{slug}”: create it first") from None
    given = stored_form(options)
    generations = given.pop("generations", experiment.generations)
    budgets = {name: given.pop(name) for name in spending.BUDGETS if name in given}
    for field, value in given.items():
        stored = getattr(experiment, field)
        if stored != value:
            raise ResumeMismatch(
                f"“{slug}” was created with {field} = {stored}, not {value}: leave that out, or choose another name"
            )
    had = {definitions.defined(one) for one in strategies.of(experiment)}
    if options.strategy and set(definitions.read(options.strategy)) != had:
        raise ResumeMismatch(f"“{slug}” has other strategies than {options.strategy}: change them on its page")
    if generations < experiment.generations:
        raise ResumeMismatch(f"“{slug}” has {experiment.generations} generations: the total can only be raised")
    _go_on(experiment, generations, actor)
    spending.set_budgets(experiment, budgets, actor=actor)
    return experiment


def pause(experiment: Experiment, *, actor: str, reason: str = "") -> None:
    """Start nothing more; what is training goes on to its end."""
    _change(experiment, {E.RUNNING}, E.PAUSED, actor=actor, reason=reason)


def resume(experiment: Experiment, *, actor: str, reason: str = "") -> None:
    _change(experiment, {E.PAUSED}, E.RUNNING, actor=actor, reason=reason)


def stop(experiment: Experiment, *, actor: str, reason: str = "") -> None:
    """End it: what is not training yet is called off here, what is training by the sandbox's station."""
    _change(experiment, {E.RUNNING, E.PAUSED}, E.STOPPED, actor=actor, reason=reason)
    cancel_waiting(experiment, actor=actor, reason=reason or "the experiment was stopped")


def finish(experiment: Experiment, *, reason: str = "") -> None:
    _change(experiment, {E.RUNNING}, E.FINISHED, actor="system", reason=reason)


def fail(experiment: Experiment, *, reason: str) -> None:
    """The experiment cannot go on: its baseline gives no number to compare with."""
    _change(experiment, {E.RUNNING}, E.FAILED, actor="system", reason=reason)
    cancel_waiting(experiment, actor="system", reason=reason)


def cancel_waiting(experiment: Experiment, *, actor: str, reason: str) -> None:
    """Call off every variant that is neither training nor ended."""
    for variant in experiment.variants.exclude(status__in=[*ENDED, Status.TRAINING]):
        try:
            advance(variant, Status.CANCELLED, actor=actor, reason=reason)
        except StaleTransition:
            continue  # somebody moved it in this moment; its next station sees that the experiment is over


def note(experiment: Experiment, reason: str) -> bool:
    """Say on the experiment's page why it does not get on; an empty reason takes the note back. Whether it is new."""
    if not Experiment.objects.filter(pk=experiment.pk, status=E.RUNNING).exclude(reason=reason).update(reason=reason):
        return False
    experiment.reason = reason
    live.publish(experiment.pk, kind="experiment.changed", event=None, variant=None)
    return True


@transaction.atomic
def _change(
    experiment: Experiment, old: set[ExperimentStatus], new: ExperimentStatus, *, actor: str, reason: str
) -> None:
    ended = None if new in (E.RUNNING, E.PAUSED) else timezone.now()
    # As in lifecycle.advance, the WHERE clause is the lock.
    moved = Experiment.objects.filter(pk=experiment.pk, status__in=old).update(
        status=new, reason=reason, ended_at=ended
    )
    if not moved:
        now = Experiment.objects.get(pk=experiment.pk).get_status_display()
        raise Refused(f"“{experiment.slug}” is {now}: it cannot become {new.label}")
    experiment.status, experiment.reason, experiment.ended_at = new, reason, ended
    remember(experiment, "experiment.changed", actor=actor, data={"status": new.value, "reason": reason})
    if new in (E.STOPPED, E.FAILED):
        contests.void(experiment, actor=actor, reason=reason or f"the experiment was {new.label}")
    for station in (live.EVOLUTION, live.REVIEW, live.SANDBOX):
        live.wake(station)


@transaction.atomic
def _go_on(experiment: Experiment, generations: int, actor: str) -> None:
    raised = generations > experiment.generations
    if raised:
        Experiment.objects.filter(pk=experiment.pk).update(generations=generations)
        experiment.generations = generations
    if experiment.status == E.PAUSED or (raised and experiment.status == E.FINISHED):
        reason = f"goes on to generation {generations}" if raised else ""
        _change(experiment, {E.PAUSED, E.FINISHED}, E.RUNNING, actor=actor, reason=reason)


def _insert(planned: Plan, owner: AbstractBaseUser | None) -> Experiment:
    try:
        with transaction.atomic():
            return Experiment.objects.create(
                slug=planned.slug, owner_id=owner.pk if owner else None,
                genome_sha256=digest(planned.files), data_sha256=planned.data_sha256,
                **planned.fields,
            )
    except IntegrityError:
        raise _taken(planned.slug) from None


def _taken(slug: str) -> NameTaken:
    return NameTaken(f"there is an experiment “{slug}” already: choose another name")


def _free_folder(experiment: Experiment) -> Path:
    """The new experiment's folder. The row is inserted and ours, so nobody else writes there."""
    folder = experiment.folder
    if (folder / "memory" / "journal.jsonl").exists():
        raise NameTaken(f"{folder} holds an experiment that the database does not know: restore it, or move it away")
    return folder


def _write_folder(folder: Path, planned: Plan) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)  # a creation that was killed half way: it has no journal
        (folder / "data").mkdir(parents=True)
        folder.chmod(0o700)
        if planned.text is not None:
            _write_private(folder / "data" / "text", planned.text)
        Store.create(folder / "genomes.git")
    except OSError as error:
        raise Infrastructure(f"{folder} cannot be written ({error.strerror}): free some space on the disk") from error


def _write_private(path: Path, content: bytes) -> None:
    """A copy of its own: the experiment must not change when the user's file does."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _open(experiment: Experiment, planned: Plan, actor: str) -> Variant:
    start = Generation.objects.create(experiment=experiment, number=0)
    remember(experiment, "experiment.created", actor=actor, data=described(experiment))
    for one in planned.strategies:
        strategies.add(experiment, one, actor=actor)
    remember(experiment, "generation.started", actor="system", data={"generation": 0})
    baseline = draft(
        experiment, parent=None, files=planned.files, kind=Kind.BASELINE, author="system", generation=start,
        title=f"{planned.genome.name}, as it came", hypothesis="The genome that every change is compared with.",
    )
    experiment.baseline = baseline
    experiment.save(update_fields=["baseline"])
    return baseline


def described(experiment: Experiment) -> dict[str, Any]:
    """An experiment's options as the journal keeps them."""
    names = (
        "slug", "name", "genome", "genome_sha256", "data", "data_sha256", "agent", "review", "selection", "sandbox",
        "image", "population", "survivors", "generations", "budget_tokens", "budget_seconds", "seed",
        "confirm_pairs", "preset", "elites", "pace", "repair_tries", "memory", "budget_usd", "budget_usd_day",
        "budget_usd_strategy",
    )
    return {name: getattr(experiment, name) for name in names}


def digest(files: Mapping[str, bytes]) -> str:
    """sha256 over every path and its content, in the order of the paths."""
    whole = hashlib.sha256()
    for path, content in sorted(files.items()):
        whole.update(f"{path}\0{len(content)}\0".encode())
        whole.update(content)
    return whole.hexdigest()
