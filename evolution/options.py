"""The options of an experiment: what may be asked for, and what is made of it."""

import hashlib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.text import slugify

from evolution import corpus, definitions
from evolution.definitions import Definition
from evolution.errors import BadInput
from evolution.genetics import evidence
from evolution.genomes import genome_of, read_directory, store_of, supported
from evolution.models import Experiment, MemoryMode, Pace, ReviewMode, Selection
from trainer.contract import MANIFEST, Genome, GenomeError
from trainer.tokens import TokenFiles

BUILTIN = "builtin"
DEFAULT_BUDGET_TOKENS = 500_000  # about half a minute of the built-in genome on two cores
MAX_DATA_BYTES = 1 << 30
FEWEST_PAIRS = 4  # with three, even one-sided ones, no e-value reaches the first contest's threshold
MOST_PAIRS = 64
WINDOWS = 32  # of held-out text, at least: a twentieth of the data
SANDBOXES = ("auto", "docker", "bubblewrap")
NO_FIELDS = frozenset({"name", "strategy"})  # of the row: strategies are rows of their own
RESERVED = frozenset({"new"})  # taken by an address

DEFAULTS: dict[str, Any] = {
    "genome": BUILTIN, "data": BUILTIN, "agent": BUILTIN, "review": ReviewMode.HUMAN.value,
    "selection": Selection.TOURNAMENT.value, "sandbox": "auto", "image": "", "population": 10, "survivors": 4,
    "generations": 5, "seed": 0, "confirm_pairs": evidence.MAX_PAIRS,
    "elites": 1, "pace": Pace.GENERATIONS.value, "repair_tries": 1, "memory": MemoryMode.ON.value,
}
# Named sets of options: they take the place of defaults, and what is given explicitly wins.
# darwin-paper is the loop of arXiv 2602.05848: ten individuals of which four are kept by roulette and without a
# guaranteed place for the best, five generations, one try at a repair; nothing is proven on seeds of its own.
PRESETS: dict[str, dict[str, Any]] = {
    "darwin-paper": {
        "population": 10, "survivors": 4, "generations": 5, "selection": Selection.ROULETTE_ALL.value, "elites": 0,
        "pace": Pace.GENERATIONS.value, "repair_tries": 1, "confirm_pairs": 0,
    },
}
RANGES: dict[str, tuple[float, float]] = {
    "population": (1, 1_000), "survivors": (1, 1_000), "generations": (1, 10_000), "seed": (0, 2**63 - 1),
    "budget_tokens": (1_000, 10**13), "budget_seconds": (1, 30 * 86_400), "confirm_pairs": (0, MOST_PAIRS),
    "elites": (0, 1_000), "repair_tries": (0, 20), "budget_usd": (0, 1e9), "budget_usd_day": (0, 1e9),
    "budget_usd_strategy": (0, 1e9),
}
FRACTIONS = frozenset({"budget_seconds", "budget_usd", "budget_usd_day", "budget_usd_strategy"})
CHOICES: dict[str, type[models.TextChoices]] = {
    "review": ReviewMode, "selection": Selection, "pace": Pace, "memory": MemoryMode,
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a person asks for. None means not given: a default for a new experiment, anything for an old one.

    `sandbox` and `image` are pinned: whoever knows the drivers turns "auto" into a name before it calls create.
    """

    name: str
    genome: str | None = None  # "builtin", a directory, an experiment's name, or an imported genome's
    data: str | None = None  # "builtin", or a text file
    agent: str | None = None  # "builtin", "openai", or "replay:FILE"
    preset: str | None = None  # a name of PRESETS
    review: str | None = None
    selection: str | None = None
    sandbox: str | None = None
    image: str | None = None
    population: int | None = None
    survivors: int | None = None
    generations: int | None = None
    budget_tokens: int | None = None
    budget_seconds: float | None = None
    seed: int | None = None
    confirm_pairs: int | None = None  # of a contest at most; 0: no contests
    elites: int | None = None  # the best so many always survive
    pace: str | None = None
    repair_tries: int | None = None  # for one broken idea; 0: none
    memory: str | None = None  # on, frozen or off
    budget_usd: float | None = None  # for calls of models: in all, per day, per strategy
    budget_usd_day: float | None = None
    budget_usd_strategy: float | None = None
    strategy: str | None = None  # a JSON file with a list of strategies; without it those that its agent begins with


@dataclass(frozen=True)
class Plan:
    """Checked options of a new experiment, with all that was read for them."""

    slug: str
    fields: dict[str, Any]  # of the row
    genome: Genome
    files: dict[str, bytes]
    data_sha256: str
    strategies: tuple[Definition, ...]
    text: bytes | None = field(repr=False)  # None: the genome names a directory of tokens, which stays where it is


def plan(options: Options) -> Plan:
    """Check `options` and read what they name, or raise BadInput; nothing is written."""
    slug = slug_of(options.name)
    given = stored_form(options)
    fields = {**DEFAULTS, **PRESETS.get(given.get("preset", ""), {}), **given, "name": options.name.strip()}
    if options.survivors is None:
        fields["survivors"] = min(fields["survivors"], fields["population"])
    if fields["survivors"] > fields["population"]:
        raise BadInput(f"{fields['survivors']} survivors cannot be chosen from a population of {fields['population']}")
    if options.budget_tokens is None and options.budget_seconds is None:
        fields["budget_tokens"] = DEFAULT_BUDGET_TOKENS
    files = _genome_files(fields["genome"])
    try:
        genome = supported(genome_of(files))
    except GenomeError as error:
        raise BadInput(f"{fields['genome']} is not a genome: {error}") from error
    strategies = definitions.read(options.strategy) if options.strategy else definitions.first(
        fields["agent"], preset=fields.get("preset", "")
    )
    tokens = tokens_for(fields["data"], genome, directory=Path(fields["genome"]))
    if tokens is not None:
        return Plan(slug, {**fields, "data": str(tokens.folder)}, genome, files, tokens.sha256, strategies, None)
    text = text_for(fields["data"], genome)
    return Plan(slug, fields, genome, files, hashlib.sha256(text).hexdigest(), strategies, text)


def stored_form(options: Options) -> dict[str, Any]:
    """The options that were given, as the row keeps them; BadInput when one is out of its range."""
    given = {name: value for name, value in vars(options).items() if value is not None and name not in NO_FIELDS}
    for name, (least, most) in RANGES.items():
        if name in given:
            _in_range(name, given[name], least, most)
    if 0 < given.get("confirm_pairs", 0) < FEWEST_PAIRS:
        raise BadInput(f"confirm must be 0 (no contests) or at least {FEWEST_PAIRS}: fewer pairs can prove nothing")
    for name, choices in CHOICES.items():
        if name in given:
            _one_of(name, given[name], _values(choices))
    if "preset" in given:
        _one_of("preset", given["preset"], tuple(PRESETS))
    if "sandbox" in given:
        _one_of("sandbox", given["sandbox"], SANDBOXES)
        if given["sandbox"] == "auto":
            del given["sandbox"]
    if not given.get("image", "image"):
        del given["image"]
    for name, resolve in (("genome", _genome_name), ("data", _file_name), ("agent", _agent_name)):
        if name in given:
            given[name] = resolve(given[name])
    return given


def slug_of(name: str) -> str:
    """The address of an experiment called `name`, or BadInput."""
    slug = slugify(name)
    if not slug or slug in RESERVED or len(slug) > 60 or not re.fullmatch(r"[\w .+-]{1,80}", name.strip()):
        raise BadInput(f"“{name}” cannot be a name: use up to 60 letters, digits, spaces and hyphens")
    return slug


def _values(choices: type[models.TextChoices]) -> tuple[str, ...]:
    return tuple(choice.value for choice in choices)


def _in_range(name: str, value: float, least: float, most: float) -> None:
    whole = name not in FRACTIONS
    if isinstance(value, bool) or (whole and not isinstance(value, int)) or not math.isfinite(value):
        raise BadInput(f"{name} must be a {'whole ' if whole else ''}number")
    if not least <= value <= most:
        raise BadInput(f"{name} must be between {least:,} and {most:,}, not {value:,}")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise BadInput(f"{name} must be one of {', '.join(choices)}, not “{value}”")


def _genome_name(given: str) -> str:
    """A directory as an absolute path, everything else as it is."""
    path = Path(given).expanduser()
    return str(path.resolve()) if given != BUILTIN and path.is_dir() else given


def _file_name(given: str) -> str:
    return given if given == BUILTIN else str(Path(given).expanduser().resolve())


def _agent_name(given: str) -> str:
    if given in (BUILTIN, "openai"):
        return given
    kind, _, file = given.partition(":")
    if kind != "replay" or not file:
        raise BadInput(f"agent must be builtin, openai or replay:FILE, not “{given}”")
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise BadInput(f"{path} does not exist: name a file of recorded replies")
    return f"replay:{path}"


def _genome_files(name: str) -> dict[str, bytes]:
    if name == BUILTIN:
        return read_directory(settings.BASE_DIR / "trainer" / "genome")
    if Path(name).is_absolute() and Path(name).is_dir():
        return read_directory(Path(name))
    other = Experiment.objects.filter(slug=slugify(name)).select_related("champion", "baseline").first()
    best = (other.champion or other.baseline) if other else None
    if other is not None and best is not None:
        return store_of(other).files(best.commit)
    imported = Path(settings.DARWIN_VAR) / "genomes" / name
    if slugify(name) and "/" not in name and imported.is_dir():
        return read_directory(imported)
    raise BadInput(
        f"“{name}” is neither a directory with a {MANIFEST} nor the name of an experiment or an imported genome"
    )


def tokens_for(data: str, genome: Genome, *, directory: Path) -> TokenFiles | None:
    """The directory of tokens that `genome` names, or None when it takes a text; BadInput when it cannot be used.

    `data` is what was asked for beside it, `directory` where the genome was read from.
    """
    folder = corpus.token_folder(genome)
    if folder is not None and data not in (BUILTIN, str(folder)):
        raise BadInput(f"the genome brings its own tokens (its vocabulary is {folder}): leave {data} out")
    return corpus.tokens_of(genome, directory=directory if directory.is_absolute() else None)


def text_for(name: str, genome: Genome) -> bytes:
    """The text called `name`, "builtin" or a file; BadInput when it is missing or too small for `genome`."""
    if name == BUILTIN:
        text, label = corpus.text(), "the built-in data"
    else:
        text, label = _read_data(Path(name)), name
    needed = WINDOWS * 20 * genome.context
    if len(text) < needed:
        raise BadInput(f"{label} has {len(text):,} bytes: at a context of {genome.context} give at least {needed:,}")
    if genome.vocabulary == "chars":
        _check_utf8(text, label)
    return text


def _read_data(path: Path) -> bytes:
    if path.is_dir():
        raise BadInput(f"{path} is a directory: give one text file")
    if not path.is_file():
        raise BadInput(f"{path} does not exist: give a text file")
    if path.stat().st_size > MAX_DATA_BYTES:
        raise BadInput(f"{path} is larger than {MAX_DATA_BYTES >> 30} GB: give a part of it")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): make it readable") from error


def _check_utf8(text: bytes, label: str) -> None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f'{label} is not UTF-8 text: convert it, or use vocabulary = "bytes"') from error
