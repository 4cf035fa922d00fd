"""The one verb that makes a variant."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Max

from evolution import live, patches
from evolution.errors import BadInput, PatchRefused
from evolution.genomes import Store, genome_of, store_of
from evolution.memory import remember
from evolution.models import Experiment, Generation, Kind, Strategy, Variant
from evolution.storable import storable
from trainer.contract import GenomeError

TITLE = AUTHOR = 200


@dataclass(frozen=True)
class _Code:
    """What is to be committed: the gate has let it pass."""

    files: Mapping[str, bytes]
    parents: tuple[str, ...]
    lines: int


def draft(
    experiment: Experiment,
    *,
    parent: Variant | None,
    files: Mapping[str, bytes],
    kind: Kind,
    author: str,
    title: str,
    hypothesis: str = "",
    rationale: str = "",
    expected: str = "",
    generation: Generation | None = None,
    other_parent: Variant | None = None,
    proposer: Variant | None = None,
    strategy: Strategy | None = None,
    tokens_in: int = 0,
    tokens_out: int = 0,
    cost_usd: float = 0.0,
) -> Variant:
    """Commit `files` and put them into the population, DRAFTED.

    A reviewer's edit joins its parent's generation, everything else the one under way, unless `generation` says
    otherwise. Raises PatchRefused when nothing changed or a path may not be touched; without a parent (the baseline)
    there is no patch to refuse.
    """
    store, author = store_of(experiment), storable(author)[:AUTHOR]
    code = _gated(store, files, parent, other_parent)
    with transaction.atomic():
        number = _next_number(experiment)
        variant = Variant.objects.create(
            experiment=experiment, number=number, generation=generation or _generation(experiment, parent, kind),
            kind=kind, parent=parent, other_parent=other_parent, proposer=proposer, strategy=strategy,
            lines_changed=code.lines,
            commit=_commit(store, code, number=number, title=title, author=author), author=author,
            title=_one_line(title), hypothesis=storable(hypothesis), rationale=storable(rationale),
            expected=storable(expected),
            tokens_in=tokens_in, tokens_out=tokens_out, cost_usd=cost_usd,
        )
        remember(experiment, "variant.drafted", actor=author, variant=variant, data=described(variant))
    live.wake(live.EVOLUTION)
    return variant


def described(variant: Variant) -> dict[str, object]:
    """A proposal as the journal keeps it."""
    relatives = {"parent": variant.parent, "other_parent": variant.other_parent, "proposer": variant.proposer}
    return {
        "variant": variant.number, "generation": variant.generation.number, "kind": str(variant.kind),
        **{name: one.number if one else None for name, one in relatives.items()},
        "commit": variant.commit, "author": variant.author, "title": variant.title, "hypothesis": variant.hypothesis,
        "rationale": variant.rationale, "expected": variant.expected, "lines_changed": variant.lines_changed,
        "strategy": variant.strategy.name if variant.strategy else "",
        "tokens_in": variant.tokens_in, "tokens_out": variant.tokens_out, "cost_usd": variant.cost_usd,
    }


def _gated(store: Store, files: Mapping[str, bytes], parent: Variant | None, other_parent: Variant | None) -> _Code:
    if parent is None:
        return _Code(files, (), 0)
    before = store.files(parent.commit)
    # The parent's manifest decides: a patch may not give itself more rights.
    try:
        genome = genome_of(before)
    except GenomeError as error:
        raise BadInput(str(error)) from error
    if other_parent is None:
        patches.gate(genome, before, files)
        return _Code(files, (parent.commit,), patches.lines_changed(before, files))
    if not patches.changed_paths(store.files(other_parent.commit), files):
        raise PatchRefused("the crossover equals one of its parents: nothing new to try")
    patches.gate(genome, before, files)
    return _Code(files, (parent.commit, other_parent.commit), patches.lines_changed(before, files))


def _next_number(experiment: Experiment) -> int:
    """The next free number, ours until the transaction ends.

    SQLite's IMMEDIATE transactions let one writer in at a time; elsewhere the experiment's row is the lock.
    """
    Experiment.objects.select_for_update().get(pk=experiment.pk)
    last = experiment.variants.aggregate(last=Max("number"))["last"]
    return 0 if last is None else int(last) + 1


def _generation(experiment: Experiment, parent: Variant | None, kind: Kind) -> Generation:
    if kind == Kind.EDIT and parent is not None:
        return parent.generation
    number = Experiment.objects.values_list("generation", flat=True).get(pk=experiment.pk)
    return experiment.generation_rows.get(number=number)


def _commit(store: Store, code: _Code, *, number: int, title: str, author: str) -> str:
    """The commit and its ref come before the row: a kill in between leaves a ref that the next draft replaces."""
    message = f"v{number}: {_one_line(title)}\n"
    return store.commit(code.files, parents=code.parents, message=message, author=author, number=number)


def _one_line(text: str) -> str:
    return " ".join(storable(text).split())[:TITLE]
