"""Where text comes from: the built-in data, and directories of tokens.

The built-in data is real source text that is the same on every machine and that no sandbox holds: the Python source of
pinned packages of the web side. The standard library and what torch needs would not do: every sandbox can read them.
"""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from django.conf import settings

from evolution.errors import BadInput, Infrastructure
from trainer import tokens
from trainer.contract import Genome
from trainer.tokens import TokenFiles, TokensError

PACKAGES = ("django", "celery", "channels", "channels_redis", "whitenoise", "uvicorn", "docker", "csp")
SKIPPED = frozenset({"locale", "tests", "__pycache__"})
BYTES = 1_100_000
WORDS = frozenset({"bytes", "chars"})  # vocabularies that are made from a text


@cache
def text() -> bytes:
    """The first BYTES bytes of the files, in an order that mixes the packages.

    The order is that of the hash of each path, so that the held-out end of the text comes from the same mixture.
    """
    pieces: list[bytes] = []
    size = 0
    for _, file in sorted((_key(name), file) for name, file in _files().items()):
        piece = file.read_bytes()
        pieces.append(piece)
        size += len(piece)
        if size >= BYTES:
            break
    return b"".join(pieces)[:BYTES]


def token_folder(genome: Genome) -> Path | None:
    """Where the tokens lie that `genome` is trained on, when its vocabulary is a directory of them.

    A name without a leading slash is a directory in DARWIN_VAR/data: a genome says the same on every machine. It is
    never inside the genome, which every container sees, and heldout.bin is for nobody to see.
    """
    if genome.vocabulary in WORDS:
        return None
    return (Path(settings.DARWIN_VAR) / "data" / Path(genome.vocabulary).expanduser()).resolve()


def tokens_of(genome: Genome, *, directory: Path | None = None) -> TokenFiles | None:
    """The directory of tokens that `genome` names, read and hashed; None when it is trained on a text.

    `directory` is where the genome was read from. BadInput when the tokens cannot be used.
    """
    folder = token_folder(genome)
    if folder is None:
        return None
    if directory is not None and folder.is_relative_to(directory.resolve()):
        raise BadInput(f"{folder} is inside the genome, where every variant could read the held-out text: move it away")
    try:
        return tokens.look(folder, cache=cache_folder())
    except TokensError as error:
        raise BadInput(str(error)) from error


def cache_folder() -> Path:
    """What is costly to find in a text again; seen by no container, and may be deleted at any time."""
    return Path(settings.DARWIN_VAR) / "cache"


def _files() -> dict[str, Path]:
    files: dict[str, Path] = {}
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise Infrastructure(f"the package {package} is not installed: run make setup")
        root = Path(spec.submodule_search_locations[0])
        for file in root.rglob("*.py"):
            relative = file.relative_to(root.parent)
            if not SKIPPED.intersection(relative.parts) and file.stat().st_size:
                files[relative.as_posix()] = file
    return files


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
