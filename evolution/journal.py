"""From the outbox to the disk: one writer appends what happened to the journal and rewrites the documents it touched.

The order makes every crash harmless: documents are staged, the lines that carry their hashes are appended, the
documents take their places, the events are marked, the head follows. `chain.settle` finishes what was cut.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.utils import timezone

from evolution import chain, documents, durable, objects
from evolution.chain import Entry
from evolution.errors import Infrastructure
from evolution.genomes import Store, store_of
from evolution.models import Event, Experiment, Variant

BATCH = 500


@dataclass(frozen=True)
class Document:
    """One file of the memory and what it is to hold."""

    path: str
    content: bytes


def memory_of(experiment: Experiment) -> Path:
    return experiment.folder / "memory"


def drain(experiment: Experiment, *, everything: bool = False) -> int:
    """Write every waiting event into the journal, in order, and return how many there were.

    Only the documents of variants that the events are about are looked at, or all with `everything`. Call it outside
    of a transaction: it waits for the one writer, who may wait for the database. Infrastructure says what is wrong
    with the files.
    """
    waiting = Event.objects.filter(experiment=experiment, journaled=False).order_by("id")
    if not everything and not waiting.exists():
        return 0
    memory = memory_of(experiment)
    try:
        (memory / documents.VARIANTS).mkdir(parents=True, exist_ok=True)
        with durable.locked(memory):
            return _drain(experiment, memory, everything=everything)
    except OSError as error:
        raise Infrastructure(
            f"the memory of “{experiment.slug}” cannot be written ({error.strerror}): see that {memory} has room"
        ) from error


def _drain(experiment: Experiment, memory: Path, *, everything: bool) -> int:
    _recover(experiment, memory)
    count = 0
    while batch := list(
        Event.objects.filter(experiment=experiment, journaled=False).order_by("id").select_related("variant")[:BATCH]
    ):
        touched = {event.variant_id for event in batch if event.variant_id is not None}
        _write(experiment, memory, batch, experiment.variants.filter(pk__in=touched))
        count += len(batch)
    if everything:
        _write(experiment, memory, [], experiment.variants.all())
    return count


def _recover(experiment: Experiment, memory: Path) -> None:
    unfinished = chain.settle(memory)
    if unfinished:
        known = [line.data["event"] for line in unfinished if "event" in line.data]
        Event.objects.filter(experiment=experiment, pk__in=known).update(journaled=True)
        chain.write_head(memory, chain.head_of(unfinished[-1]))


def _write(experiment: Experiment, memory: Path, batch: Sequence[Event], touched: Iterable[Variant]) -> None:
    store = store_of(experiment)
    variants = [one for one in touched if one.commit]
    new = [one for one in variants if not (memory / documents.name_of(one)).exists()]
    changed = [one for one in _documents(experiment, variants, store) if _differs(memory, one)]
    entries = [*map(_entry, batch), *(_commit(one) for one in new), *map(_written, changed)]
    if not entries:
        return
    for one in changed:
        durable.stage(memory / one.path, one.content)
    head = chain.append(memory, entries, after=chain.read_head(memory))
    for one in changed:
        durable.publish(memory / one.path)
    Event.objects.filter(pk__in=[event.pk for event in batch]).update(journaled=True)
    chain.write_head(memory, head)


def _documents(experiment: Experiment, variants: Sequence[Variant], store: Store) -> list[Document]:
    fresh = Experiment.objects.get(pk=experiment.pk)
    return [
        *(Document(documents.name_of(one), documents.encode(documents.document(one, store))) for one in variants),
        Document(documents.EXPERIMENT, documents.encode(documents.experiment_document(fresh))),
    ]


def _differs(memory: Path, document: Document) -> bool:
    path = memory / document.path
    return not path.exists() or path.read_bytes() != document.content


def _entry(event: Event) -> Entry:
    """The line of an event. Its number is what tells, after a crash, that it is written already."""
    data = {**event.data, "event": event.pk}
    if event.variant is not None:
        data.setdefault("variant", event.variant.number)
    return Entry(event.at, event.kind, event.actor, data)


def _commit(variant: Variant) -> Entry:
    repository = variant.experiment.folder / "genomes.git"
    return Entry(timezone.now(), "commit.written", "system", {
        "variant": variant.number, "commit": variant.commit, "files": objects.loose(repository, variant.commit),
    })


def _written(document: Document) -> Entry:
    return Entry(timezone.now(), "document.written", "system", {
        "path": document.path, "sha256": durable.sha256(document.content),
    })
