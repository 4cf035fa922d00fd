"""The health of an experiment's search in words: is the population diverse, does it stagnate, and what is done."""

from typing import Any

from evolution import health
from evolution.genetics import alarms
from evolution.health import Health
from evolution.models import Experiment


def health_of(experiment: Experiment) -> list[dict[str, Any]]:
    """One object for each thing that is watched: name, word, whether its alarm rings, what stands behind it."""
    found = health.of(experiment)
    return [
        _item(experiment, health.COLLAPSE, well="diversity ok" if found.survivors > 1 else "", ill="diversity low",
              numbers=_diversity(found)),
        _item(experiment, health.STAGNATION, well="" if found.stagnation.gain is None else "stagnation no",
              ill="stagnation yes", numbers=_stagnation(found)),
    ]


def _item(experiment: Experiment, alarm: str, *, well: str, ill: str, numbers: str) -> dict[str, Any]:
    """`well` and `ill` are name and word; an empty `well` says that nothing is known yet."""
    rings = health.is_on(experiment, alarm)
    name, _, word = (ill if rings else well or f"{ill.split(maxsplit=1)[0]} too early to tell").partition(" ")
    return {
        "name": name, "word": word, "alarm": rings, "numbers": numbers, "does": health.DOES[alarm] if rings else "",
    }


def _diversity(found: Health) -> str:
    if found.distance is None:
        return "Diversity is that of the survivors, and there are fewer than two."
    said = [
        f"The changes of {found.survivors} survivors differ by {found.distance:.2f} on average (0: the same code, "
        f"1: nothing in common)",
        f"they are worth {found.lineages:.1f} lineages and {found.families:.1f} kinds of change",
    ]
    able = found.collapse.distance
    if able is not None and able != found.distance:
        said.append(f"without those kept for diversity alone the difference is {able:.2f}")
    if found.spread is not None:
        said.append(f"their losses spread by {found.spread:.3g} nats")
    limits = f"{alarms.ALIKE}, or {alarms.TAKEN_ALIKE} when all come from one of the last {alarms.TAKEOVER} generations"
    return f"{'; '.join(said)}. Low is below {limits}."


def _stagnation(found: Health) -> str:
    noise = f"the noise of {found.stagnation.noise:.3g} nats"
    if found.stagnation.gain is None:
        return f"A search stagnates when its best loss gains less than {noise} in {alarms.PATIENCE} generations."
    gain = f"{found.stagnation.gain:.3g} nats"
    return f"The best loss gained {gain} in the last {alarms.PATIENCE} generations, against {noise}."
