"""Definitions of strategies: how one is read and checked, and the set that an experiment begins with."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from evolution.agents import BUILTIN, OPENAI, REPLAY, providers
from evolution.confined import confined
from evolution.errors import BadInput
from evolution.models import Mode, Strategy
from evolution.storable import storable

MOST = 40  # strategies of one experiment
MAX_SHARE = 1_000.0
MAX_INSTRUCTIONS = 4_000  # characters
MAX_FILE = 1 << 20
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A strategy as it is asked for: the fields of its row, checked by `checked`."""

    name: str
    provider: str
    mode: str
    model: str = ""
    temperature: float | None = None
    instructions: str = ""
    operators: tuple[str, ...] = ()
    chunk_probability: float = 0.4
    share: float = 1.0

    def as_data(self) -> dict[str, Any]:
        """As the row and the journal keep it."""
        return {**asdict(self), "operators": list(self.operators)}


def defined(strategy: Strategy) -> Definition:
    """The definition that a row stands for."""
    found = {one.name: getattr(strategy, one.name) for one in fields(Definition)}
    return Definition(**{**found, "operators": tuple(strategy.operators)})


def read(path: str) -> tuple[Definition, ...]:
    """The definitions in a JSON file: a list of objects with the keys of Definition. BadInput says what is wrong."""
    file = Path(path).expanduser()
    try:
        if file.stat().st_size > MAX_FILE:
            raise BadInput(f"{path} is larger than {MAX_FILE >> 20} MB: give a list of strategies")
        given = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): name a list of strategies as JSON") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no JSON ({error}): give a list of strategies") from error
    if not isinstance(given, list) or not 1 <= len(given) <= MOST:
        raise BadInput(f"{path} must hold a list of 1 to {MOST} strategies")
    return together([_object(one, position) for position, one in enumerate(given, 1)])


def together(found: Sequence[Definition]) -> tuple[Definition, ...]:
    """A set that an experiment may have: no name twice, and at least one of them switched on; BadInput says if not."""
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadInput(f"two strategies are called “{twice}”: give each a name of its own")
    if not any(one.share for one in found):
        raise BadInput("every strategy has the share 0: give at least one of them more")
    return tuple(found)


def _object(given: Any, position: int) -> Definition:
    known = [one.name for one in fields(Definition)]
    if not isinstance(given, dict) or not {"name", "provider"} <= set(given) or not set(given) <= set(known):
        raise BadInput(f"strategy {position} must be an object with name, provider and any of {', '.join(known[2:])}")
    return checked(given)


def checked(given: Mapping[str, Any]) -> Definition:
    """`given` as a definition; BadInput says which of its values cannot be."""
    provider = _provider(given["provider"])
    mode = given.get("mode") or (Mode.OPERATORS if provider == BUILTIN else Mode.EDITS)
    if mode not in Mode.values or (mode == Mode.OPERATORS) != (provider == BUILTIN):
        raise BadInput(f"the provider {provider} cannot be asked in the mode “{mode}”: choose {_modes(provider)}")
    return Definition(
        name=_name(given["name"]), provider=provider, mode=str(mode), model=_text(given, "model", most=200),
        temperature=_optional(given, "temperature", least=0, most=2),
        instructions=_text(given, "instructions", most=MAX_INSTRUCTIONS),
        operators=_operators(given.get("operators", ()), provider),
        chunk_probability=_number(given.get("chunk_probability", 0.4), "chunk_probability", least=0, most=1),
        share=share(given.get("share", 1.0)),
    )


def share(given: Any) -> float:
    """A share of the calls: 0 is switched off."""
    return _number(given, "share", least=0, most=MAX_SHARE)


def _name(given: Any) -> str:
    if not isinstance(given, str) or not NAME.fullmatch(given):
        raise BadInput(f"“{given}” cannot be a strategy's name: use up to 60 small letters, digits, - and _")
    return given


def _provider(given: Any) -> str:
    if given in (BUILTIN, OPENAI):
        return str(given)
    if isinstance(given, str) and given.startswith(REPLAY):
        path = Path(given.removeprefix(REPLAY)).expanduser().resolve()
        if not path.is_file():
            raise BadInput(f"{path} does not exist: name a file of recorded replies")
        return REPLAY + str(path)
    known = providers.listed()
    if given in known:
        return str(given)
    named = ", ".join([BUILTIN, OPENAI, *(name for name in known if name != OPENAI), f"{REPLAY}FILE"])
    raise BadInput(f"a strategy's provider is one of {named}, not “{given}”")


def _modes(provider: str) -> str:
    return Mode.OPERATORS if provider == BUILTIN else ", ".join(sorted(set(Mode.values) - {Mode.OPERATORS}))


def _text(given: Mapping[str, Any], key: str, *, most: int) -> str:
    value = given.get(key) or ""
    if not isinstance(value, str) or len(value) > most:
        raise BadInput(f"a strategy's {key} is a text of at most {most:,} characters")
    return storable(value).strip()


def _optional(given: Mapping[str, Any], key: str, *, least: float, most: float) -> float | None:
    return None if given.get(key) is None else _number(given[key], key, least=least, most=most)


def _number(value: Any, key: str, *, least: float, most: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not least <= value <= most:
        raise BadInput(f"a strategy's {key} is a number from {least:g} to {most:g}, not “{value}”")
    return float(value)


def _operators(given: Any, provider: str) -> tuple[str, ...]:
    """Families and names of built-in operators, all of which exist. Only a child with limits knows the catalogue."""
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise BadInput("a strategy's operators are a list of families and names")
    if given and provider != BUILTIN:
        raise BadInput(f"only a strategy of the provider {BUILTIN} has operators")
    if given and (unknown := confined("unknown", {"operators": list(given)})["unknown"]):
        raise BadInput(f"there is no family and no operator called “{unknown[0]}”")
    return tuple(given)


def _builtin(name: str, *operators: str) -> Definition:
    return Definition(name=name, provider=BUILTIN, mode=Mode.OPERATORS.value, operators=operators)


def _openai(name: str, mode: Mode, **fields: Any) -> Definition:
    return Definition(name=name, provider=OPENAI, mode=mode.value, **fields)


def first(agent: str, *, preset: str = "") -> tuple[Definition, ...]:
    """What a new experiment with `agent` begins with: several ways of one provider, so that there is what to learn.

    An experiment that asked for a language model gets no operators beside it: who wants both says so. The paper's loop
    has one way: all operators, or chunks.
    """
    if preset == PAPER and agent in ALONE:
        return (ALONE[agent],)
    if agent == BUILTIN:
        return OPERATORS
    if agent == OPENAI:
        return MODELS
    return (Definition(name=DEFAULT, provider=agent, mode=Mode.EDITS.value),)


DEFAULT = "default"
OPERATORS = (
    _builtin("everything"),
    _builtin(
        "architecture", "normalisation", "activation", "positions", "embeddings", "head", "initialisation", "residual",
    ),
    _builtin("optimisation", "optimiser", "kernels", "loop"),
    _builtin("schedule", "schedule", "batches"),
    _builtin("constants", "settings", "numbers"),
)
MODELS = (
    _openai("edits", Mode.EDITS, temperature=0.2),
    _openai(
        "bold", Mode.EDITS, temperature=0.9,
        instructions="Look for a mechanism that this code does not have yet, rather than for a better number.",
    ),
    _openai(
        "careful", Mode.EDITS, temperature=0.2,
        instructions="Propose the smallest change that may help: a number, a schedule, an initialisation.",
    ),
    _openai("files", Mode.FILE, temperature=0.2, share=0.5),
    _openai("chunks", Mode.CHUNKS, temperature=0.7, share=0.5),
)
PAPER = "darwin-paper"
ALONE = {BUILTIN: OPERATORS[0], OPENAI: _openai("chunks", Mode.CHUNKS, temperature=0.2)}
