"""The memory's documents: one JSON file per variant and one for the experiment, enough to rebuild every row.

Other apps add what they know of a variant: `SECTIONS["decisions"] = Section(write, read)` when they start.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evolution import contests, rows
from evolution.genomes import Store
from evolution.memory import effect
from evolution.models import (
    Assessment,
    Check,
    Contest,
    ContestOutcome,
    Correction,
    Experiment,
    Generation,
    Replicate,
    Strategy,
    Transition,
    Variant,
)

EXPERIMENT = "experiment.json"
VARIANTS = "variants"
MEASURED = (
    "val_loss", "val_loss_error", "perplexity", "bits_per_byte", "mfu", "tokens_per_second", "flops_per_token",
    "parameters", "train_seconds", "device_seconds", "weights_sha256",
)


@dataclass
class Cast:
    """Who and what the rows of a restored experiment refer to."""

    person: Callable[[str], Any]  # the account of a user name
    variants: dict[int, Variant] = field(default_factory=dict)  # by number


@dataclass(frozen=True)
class Section:
    """One key of a variant's document. `read` inserts the rows that `write` described; every variant is there then."""

    write: Callable[[Variant], Any]
    read: Callable[[Variant, Any, Cast], None]


def document(variant: Variant, store: Store) -> dict[str, Any]:
    """Everything that is known about `variant`, as §“Documents” of docs/memory.md lists it."""
    known = rows.record(variant)
    measured = {name: known.pop(name) for name in MEASURED}
    return {
        "id": known.pop("number"),
        "experiment": variant.experiment.slug,
        "generation": variant.generation.number,
        "parents": [one.number for one in (variant.parent, variant.other_parent) if one is not None],
        "proposer": variant.proposer.number if variant.proposer else None,
        "strategy": variant.strategy.name if variant.strategy else None,
        "nearest": variant.nearest.number if variant.nearest else None,
        **known,
        "measured": measured,
        "assessment": effect(variant) or None,
        **{name: section.write(variant) for name, section in SECTIONS.items()},
        "diff": store.diff(variant.parent.commit, variant.commit) if variant.parent else "",
    }


def experiment_document(experiment: Experiment) -> dict[str, Any]:
    """The experiment's own row, its generations, its contests and its members."""
    return {
        **rows.record(experiment),
        "owner": experiment.owner.get_username() if experiment.owner else None,
        "baseline": experiment.baseline.number if experiment.baseline else None,
        "champion": experiment.champion.number if experiment.champion else None,
        "strategies": [rows.record(one) for one in experiment.strategies.all()],
        "generation_rows": [rows.record(one) for one in experiment.generation_rows.all()],
        "contests": [
            {**rows.record(one), "champion": one.champion.number, "challenger": one.challenger.number}
            for one in experiment.contests.select_related("champion", "challenger")
        ],
        "members": [
            {"user": one.user.get_username(), "role": one.role}
            for one in experiment.members.select_related("user").order_by("user__username")
        ],
    }


def encode(value: Mapping[str, Any]) -> bytes:
    """JSON for people: indented, every letter as it is. Half characters stay escaped."""
    return (json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode("utf-8", "backslashreplace")


def name_of(variant: Variant) -> str:
    """Where the document of `variant` lies inside the memory folder."""
    return f"{VARIANTS}/{variant.number}.json"


def read_variants(memory: Path) -> list[dict[str, Any]]:
    """The documents of every variant, in the order of their numbers."""
    files = sorted((memory / VARIANTS).glob("*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_bytes()) for path in files]


def read_experiment(memory: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((memory / EXPERIMENT).read_bytes())
    return document


def insert_experiment(known: Mapping[str, Any], cast: Cast) -> Experiment:
    """The rows of an experiment without variants. Baseline and champion come with `insert_variants`."""
    owner = cast.person(known["owner"]) if known["owner"] else None
    experiment = rows.insert(Experiment(owner=owner, **rows.values(Experiment, known)))
    for one in known["generation_rows"]:
        rows.insert(Generation(experiment=experiment, **rows.values(Generation, one)))
    for one in known.get("strategies", ()):
        rows.insert(Strategy(experiment=experiment, **rows.values(Strategy, one)))
    for one in known["members"]:
        experiment.members.create(user=cast.person(one["user"]), role=one["role"])
    return experiment


def insert_variants(
    experiment: Experiment, known: Mapping[str, Any], documents: list[dict[str, Any]], cast: Cast
) -> None:
    """The rows of every variant with all that belongs to them, parents before children."""
    generations = {one.number: one for one in experiment.generation_rows.all()}
    for one in documents:
        cast.variants[one["id"]] = _insert_variant(experiment, generations[one["generation"]], one, cast)
    for one in documents:
        for name, section in SECTIONS.items():
            section.read(cast.variants[one["id"]], one.get(name), cast)
    _insert_contests(experiment, known.get("contests", ()), cast)
    experiment.baseline = cast.variants.get(known["baseline"])
    experiment.champion = cast.variants.get(known["champion"])
    experiment.save(update_fields=["baseline", "champion"])


def _insert_variant(experiment: Experiment, generation: Generation, one: dict[str, Any], cast: Cast) -> Variant:
    parent, other_parent = [*(cast.variants[number] for number in one["parents"]), None, None][:2]
    fields = rows.values(Variant, {**one, **one["measured"], "number": one["id"]})
    del fields["id"]
    return rows.insert(Variant(
        experiment=experiment, generation=generation, parent=parent, other_parent=other_parent,
        proposer=cast.variants.get(one["proposer"]) if one["proposer"] is not None else None,
        strategy=experiment.strategies.filter(name=one.get("strategy") or "").first(),
        nearest=cast.variants.get(one.get("nearest", -1)), **fields,
    ))


def _insert_contests(experiment: Experiment, recorded: Iterable[Mapping[str, Any]], cast: Cast) -> None:
    """Whoever closed a contest withdrew what was left of it: a document may be older than that."""
    found = [
        rows.insert(Contest(
            experiment=experiment, champion=cast.variants[one["champion"]], challenger=cast.variants[one["challenger"]],
            **rows.values(Contest, one),
        ))
        for one in recorded
    ]
    for contest in found:
        if contest.outcome != ContestOutcome.OPEN:
            contests.withdraw(contest)
    for contest in found:
        if contest.outcome == ContestOutcome.OPEN:
            contests.want(contest)


def _transitions(variant: Variant) -> list[dict[str, Any]]:
    return [rows.record(one) for one in variant.transitions.all()]


def _read_transitions(variant: Variant, recorded: list[dict[str, Any]], _: Cast) -> None:
    for one in recorded:
        rows.insert(Transition(variant=variant, **rows.values(Transition, one)))


def _checks(variant: Variant) -> list[dict[str, Any]]:
    return [rows.record(one) for one in variant.checks.all()]


def _read_checks(variant: Variant, recorded: list[dict[str, Any]], _: Cast) -> None:
    for one in recorded:
        rows.insert(Check(variant=variant, **rows.values(Check, one)))


def _replicates(variant: Variant) -> list[dict[str, Any]]:
    return [rows.record(one) for one in variant.replicates.all()]


def _read_replicates(variant: Variant, recorded: list[dict[str, Any]] | None, _: Cast) -> None:
    for one in recorded or ():
        rows.insert(Replicate(variant=variant, **rows.values(Replicate, one)))


def _assessments(variant: Variant) -> list[dict[str, Any]]:
    return [
        {**rows.record(one), "peer": one.peer.number if one.peer else None}
        for one in variant.assessments.select_related("peer")
    ]


def _read_assessments(variant: Variant, recorded: list[dict[str, Any]] | None, cast: Cast) -> None:
    for one in recorded or ():
        rows.insert(Assessment(
            variant=variant, peer=cast.variants.get(one["peer"]), **rows.values(Assessment, one),
        ))


def _corrections(variant: Variant) -> list[dict[str, Any]]:
    return [rows.record(one) for one in variant.corrections.all()]


def _read_corrections(variant: Variant, recorded: list[dict[str, Any]] | None, _: Cast) -> None:
    for one in recorded or ():
        rows.insert(Correction(variant=variant, **rows.values(Correction, one)))


SECTIONS: dict[str, Section] = {
    "checks": Section(_checks, _read_checks),
    "transitions": Section(_transitions, _read_transitions),
    "assessments": Section(_assessments, _read_assessments),
    "replicates": Section(_replicates, _read_replicates),
    "corrections": Section(_corrections, _read_corrections),
}
