"""Crossover in a population: which two survivors, and the merge of what both changed as a draft."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from random import Random

from evolution import collisions, rounds, strategies
from evolution.agents import model_for
from evolution.collisions import Settled, Settlement
from evolution.descent import Family, family_of
from evolution.drafting import draft
from evolution.errors import BadInput, Infrastructure, PatchRefused
from evolution.genetics import crossover, lineage
from evolution.genetics.crossover import Place, Whose
from evolution.models import Kind, Strategy, Variant
from evolution.rounds import Round

SHARE = 0.25  # of the places of a generation, one at least, once there are two survivors
PAIRS = 20  # of survivors whose merge is looked at
DRAWS = 8  # of sides, where the larger effect's alone give nothing new
LISTED = 6  # places of each parent that a rationale names
TOLD = 20  # collisions of which a rationale says how each was settled
OPERATOR = "operator:crossover"
WHY = "Recombining what survived is what sets a genetic algorithm apart (Holland 1975)."


@dataclass(frozen=True)
class Pair:
    """Two survivors of which neither descends from the other, and the merge of their changes since their ancestor."""

    first: Variant  # the one with the lower perplexity
    second: Variant
    ancestor: Variant
    merge: crossover.Merge
    trees: tuple[crossover.Files, ...]  # the ancestor's and both parents'
    closeness: int  # 0: they changed different regions, by different kinds of change; 2: neither

    @property
    def rng(self) -> Random:
        seed = self.first.experiment.seed
        return Random(f"{seed}/{self.first.number}/{self.second.number}")  # noqa: S311 chance, not secrecy


def cross(one: Round) -> bool:
    """A crossover, while the generation has fewer than its share and there is a pair that gives something new.

    Pairs come by the experiment's selection, those that complement each other first, and those that do not collide
    before those that do.
    """
    if not _due(one):
        return False
    pairs = sorted(_pairs(one), key=lambda pair: (bool(pair.merge.conflicts), pair.closeness))
    return any(_united(one, pair) if not pair.merge.conflicts else _settle(one, pair) for pair in pairs)


def _due(one: Round) -> bool:
    if one.experiment.is_plain or len(one.pool) + len(one.archive) < 2:
        return False
    made = one.generation.variants.filter(kind=Kind.CROSSOVER).count()
    lost = rounds.refused(one.generation).filter(data__has_key="other_parent").count()
    return made + lost < max(1, round(SHARE * one.experiment.population))


def _pairs(one: Round) -> Iterator[Pair]:
    family = family_of(one.experiment)
    for both in islice(combinations(list(one.by_selection(one.rng)), 2), PAIRS):
        first, second = sorted(both, key=lambda variant: (variant.perplexity or math.inf, variant.number))
        pair = None if _was_tried(one, first, second) else _pair(one, family, first, second)
        if pair is not None:
            yield pair


def _was_tried(one: Round, first: Variant, second: Variant) -> bool:
    """Whether these two were crossed, or their merge refused, in any generation."""
    made = one.experiment.variants.filter(kind=Kind.CROSSOVER, parent=first, other_parent=second)
    lost = one.experiment.events.filter(
        kind=rounds.REFUSED, data__target=first.number, data__other_parent=second.number
    )
    return made.exists() or lost.exists()


def _pair(one: Round, family: Family, first: Variant, second: Variant) -> Pair | None:
    """None for strangers; and where one descends from the other, as the merge would be the younger one again."""
    number = lineage.nearest_common_ancestor(family.parents, first.number, second.number)
    if number is None or number in (first.number, second.number):
        return None
    ancestor = one.experiment.variants.get(number=number)
    trees = tuple(one.store.files(variant.commit) for variant in (ancestor, first, second))
    merge = crossover.merge(*trees)
    return Pair(first, second, ancestor, merge, trees, _closeness(family, ancestor, first, second, merge))


def _closeness(family: Family, ancestor: Variant, first: Variant, second: Variant, merge: crossover.Merge) -> int:
    """How much two parents did the same since their ancestor: one for a common region, one for a common family."""
    regions, kinds = zip(*(_steps(family, ancestor, parent) for parent in (first, second)), strict=True)
    if not all(regions):  # not known of every step: the files, then
        regions = (
            {place.path for place in merge.places if place.whose != Whose.SECOND},
            {place.path for place in merge.places if place.whose != Whose.FIRST},
        )
    return bool(regions[0] & regions[1]) + bool(kinds[0] & kinds[1])


def _steps(family: Family, ancestor: Variant, parent: Variant) -> tuple[set[str], set[str]]:
    """Regions and families of every change between `ancestor` and `parent`; no regions when one step has none."""
    numbers = lineage.since(family.parents, parent.number, ancestor.number)
    steps = list(parent.experiment.variants.filter(number__in=numbers).values_list("regions", "family"))
    regions = {region for some, _ in steps for region in some} if all(some for some, _ in steps) else set()
    return regions, {kind for _, kind in steps if kind}


def _united(one: Round, pair: Pair) -> bool:
    files = pair.merge.tree()
    return files not in pair.trees and _drafted(one, pair, files, rationale=f"{_places(pair)} {WHY}")


def _settle(one: Round, pair: Pair) -> bool:
    """A merge of parents that collide, settled by a language model where there is one, else by choosing sides."""
    strategy = strategies.mender(one.experiment)
    asked = _asked(one, pair, strategy) if strategy is not None else Settled()
    settled = {**_sides(pair), **asked.places} if asked.places else _without_model(pair)
    files = _tree(pair, settled)
    if files in pair.trees:
        return _lost(one, pair, asked, strategy, "the crossover equals one of its parents: nothing new to try")
    return _drafted(one, pair, files, rationale=_told(pair, settled, asked), asked=asked, strategy=strategy)


def _asked(one: Round, pair: Pair, strategy: Strategy) -> Settled:
    try:
        model = model_for(one.experiment, strategy, target=pair.first)
    except (Infrastructure, BadInput) as error:  # no key, no money, or a strategy that asks no model after all
        return Settled(trouble=str(error))
    return collisions.ask(model, pair.first, pair.second, pair.merge.conflicts)


def _without_model(pair: Pair) -> dict[Place, Settlement]:
    """The first that gives something new: every collision to one side, or one of a few draws by lot."""
    rng = pair.rng
    settled = _sides(pair)
    for _ in range(DRAWS):
        if _tree(pair, settled) not in pair.trees:
            break
        settled = _drawn(pair, rng)
    return settled


def _sides(pair: Pair) -> dict[Place, Settlement]:
    """Every collision to the parent whose changes did more against the ancestor; drawn where that is not known."""
    effects = [_effect(pair.ancestor, parent) for parent in (pair.first, pair.second)]
    if effects[0] is None or effects[1] is None or effects[0] == effects[1]:
        return _drawn(pair, pair.rng)
    wins = pair.first if effects[0] > effects[1] else pair.second
    how = f"the lines of {wins}, whose changes lowered the loss more"
    return {place: Settlement(_side(pair, wins, place), how) for place in pair.merge.conflicts}


def _drawn(pair: Pair, rng: Random) -> dict[Place, Settlement]:
    found = {}
    for place in pair.merge.conflicts:
        wins = rng.choice((pair.first, pair.second))
        found[place] = Settlement(_side(pair, wins, place), f"the lines of {wins}, drawn by lot")
    return found


def _side(pair: Pair, parent: Variant, place: Place) -> bytes | None:
    return place.first if parent == pair.first else place.second


def _effect(ancestor: Variant, parent: Variant) -> float | None:
    """By how many nats the changes since `ancestor` lowered the loss of the screening run; None where not measured."""
    if not (ancestor.perplexity and parent.perplexity):
        return None
    return math.log(ancestor.perplexity / parent.perplexity)


def _tree(pair: Pair, settled: Mapping[Place, Settlement]) -> crossover.Files:
    return pair.merge.tree({place: how.lines for place, how in settled.items()})


def _places(pair: Pair) -> str:
    """Which changes of whom the child holds: all that one parent made alone, and what both made alike."""
    whose = {Whose.FIRST: f"of {pair.first}", Whose.SECOND: f"of {pair.second}", Whose.BOTH: "of both alike"}
    said = [
        f"{len(places)} {name} ({_listed(places)})"
        for kind, name in whose.items()
        if (places := [place for place in pair.merge.places if place.whose == kind])
    ]
    held = f"It holds every place that only one of them changed since {pair.ancestor}: {', '.join(said)}."
    return held if said else f"They changed nothing apart from each other since {pair.ancestor}."


def _listed(places: Sequence[Place]) -> str:
    more = f" and {len(places) - LISTED} more" if len(places) > LISTED else ""
    return ", ".join(f"{place.path}:{place.line}" for place in places[:LISTED]) + more


def _told(pair: Pair, settled: Mapping[Place, Settlement], asked: Settled) -> str:
    """The rationale of a merge with collisions: how each of them was settled, and why not by a model if not."""
    places = pair.merge.conflicts
    lines = [f"- {place.path}:{place.line}: {settled[place].how}" for place in places[:TOLD]]
    if len(places) > TOLD:
        lines.append(f"- and {len(places) - TOLD} more")
    word = "place" if len(places) == 1 else "places"
    asked_in_vain = f"\nThe model did not settle all of it: {asked.trouble}." if asked.trouble else ""
    return f"{_places(pair)} They collide in {len(places)} {word}:\n" + "\n".join(lines) + f"{asked_in_vain}\n{WHY}"


def _drafted(
    one: Round, pair: Pair, files: crossover.Files, *, rationale: str, asked: Settled | None = None,
    strategy: Strategy | None = None,
) -> bool:
    """The merge as a variant; False when the path gate refuses it, and no model was asked."""
    asked = asked or Settled()
    first, second = pair.first, pair.second
    try:
        draft(
            one.experiment, parent=first, other_parent=second, files=files, kind=Kind.CROSSOVER,
            author=asked.author if asked.places else OPERATOR, generation=one.generation,
            title=f"Crossover of {first} and {second}",
            hypothesis=f"What {first} (“{first.title}”) and {second} (“{second.title}”) changed helps together too.",
            rationale=rationale, expected=f"a lower perplexity than that of {first}",
            strategy=strategy if asked.author else None,
            tokens_in=asked.tokens_in, tokens_out=asked.tokens_out, cost_usd=asked.cost_usd,
        )
    except PatchRefused as error:
        return _lost(one, pair, asked, strategy, str(error))
    return True


def _lost(one: Round, pair: Pair, asked: Settled, strategy: Strategy | None, reason: str) -> bool:
    """Nothing came of a pair: the next one is tried, unless a model was asked; then that is a draft, and written down.

    So a pair is never paid for twice.
    """
    if asked.author:
        rounds.refuse(
            one, pair.first, actor=asked.author, reason=reason, strategy=strategy, other_parent=pair.second,
            tokens_in=asked.tokens_in, tokens_out=asked.tokens_out, cost_usd=asked.cost_usd,
        )
    return bool(asked.author)
