"""What a genome is, and how the two sides of the harness speak. Standard library only.

The harness outside (text server, scorer) and the thin client inside a container share this file and nothing else.
"""

import json
import re
import socket
import struct
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

# Where things are inside every container.
GENOME_DIR = "/genome"  # read-only, the working directory and sys.path[0]
HARNESS_DIR = "/harness"  # read-only, holds `trainer/contract.py` and `trainer/harness/inside/`
OUT_DIR = "/out"  # the only place a variant may write that is kept: a tmpfs with a size
WEIGHTS_DIR = "/weights"  # read-only, judge containers only: the frozen checkpoint
SOCKET_PATH = "/run/darwin/harness.sock"  # the text server, or the scorer

MANIFEST = "genome.toml"
DEFAULT_ADAPTER = "nanogpt"  # of a trainer that owns its loop, when its manifest names none
MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
FIRST = "first"  # the folder of the weights that a check began with

SAVE_SECONDS = 30.0  # what is left for saving once the budget is used up
MAX_HEADER_BYTES = 1 << 20
MAX_PAYLOAD_BYTES = 256 << 20  # one chunk of logits, at most


class GenomeError(ValueError):
    """This directory is not a usable genome; the message says what to change."""


class Cause(StrEnum):
    """Why a trial ended without a number. The first group is the variant's own fault, the last is ours."""

    CRASHED = "crashed"  # it raised, or exited with a code other than 0
    NO_CHECKPOINT = "no checkpoint"  # it ended without a complete run.save
    BAD_CHECKPOINT = "bad checkpoint"  # what it saved is too large or cannot be read
    LOAD_FAILED = "load failed"  # `load` raised, hung, or gave no model
    BAD_LOGITS = "bad logits"  # wrong shape or type, NaN or infinite
    OUT_OF_MEMORY = "out of memory"
    TOO_MUCH_OUTPUT = "too much output"
    OUT_OF_TIME = "out of time"
    DEVICE_TIME = "device time"  # more than 1.25 times the baseline's
    NO_PROGRESS = "no progress"  # alive, but asked for no text in a long time
    DIVERGED = "diverged"  # its loss is not a number, or, in a check, rises or is far above that of guessing
    NO_CHANGE = "no change"  # a check: it trains, and its weights stay as they were
    WRONG_CHECKPOINT = "wrong checkpoint"  # a check: what it saved has learned nothing of what it claims

    PEEKED = "peeked"  # the judge: it did better on windows than on their prefixes
    UNSTABLE = "unstable"  # the judge: the same question, another answer
    TOO_FAST = "too fast"  # the judge: trained faster than its own forward pass
    TOO_LARGE = "too large"  # the judge: saved or carries far more bytes than the baseline
    TOO_SLOW = "too slow to judge"  # the judge: answers took far longer per token than the baseline's
    IMPOSSIBLE_FLOPS = "impossible FLOPs"  # the judge: counted more than the device can do in that time
    HELD_OUT_TEXT = "held-out text"  # the judge: its files hold strings of the held-out text

    CANCELLED = "cancelled"  # a person called it off
    INTERRUPTED = "interrupted"  # we were stopped; tried again, not counted
    INFRASTRUCTURE = "infrastructure"  # the engine, the node or the disk; tried again, at most three times


REJECTIONS = frozenset({
    Cause.PEEKED, Cause.UNSTABLE, Cause.TOO_FAST, Cause.TOO_LARGE, Cause.TOO_SLOW, Cause.IMPOSSIBLE_FLOPS,
    Cause.HELD_OUT_TEXT,
})
OURS = frozenset({Cause.INTERRUPTED, Cause.INFRASTRUCTURE})


@dataclass(frozen=True)
class Genome:
    """A parsed `genome.toml`. `entry` xor `command` is set, `adapter` only with a command; `context` is in tokens."""

    name: str
    entry: str | None
    command: tuple[str, ...] | None
    adapter: str | None
    processes: int
    load: str
    context: int
    editable: tuple[str, ...]
    vocabulary: str

    def may_edit(self, path: str) -> bool:
        """Whether an agent may change or add `path` (POSIX, relative). `*` does not cross `/`, `**` does."""
        if path == MANIFEST or path.startswith("/") or ".." in path.split("/"):
            return False
        return any(re.fullmatch(_glob_to_regex(glob), path) for glob in self.editable)


def _glob_to_regex(glob: str) -> str:
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    return "".join(pieces.get(part, re.escape(part)) for part in parts)


def read_genome(directory: Path) -> Genome:
    """The manifest of the genome in `directory`, or GenomeError."""
    path = directory / MANIFEST
    if not path.is_file():
        raise GenomeError(f"{directory} has no {MANIFEST}: add one, docs/genomes.md shows how")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise GenomeError(f"{path} is not UTF-8 text: save it as UTF-8") from error
    return parse_genome(text)


def parse_genome(text: str) -> Genome:
    """Parse and check the text of a `genome.toml`; GenomeError names the first key that is wrong."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise GenomeError(f"{MANIFEST} is not valid TOML ({error}): correct that line") from error
    train, judge = _table(table, "train"), _table(table, "judge")
    entry, command = train.get("entry"), train.get("command")
    if (entry is None) == (command is None):
        raise GenomeError(f"{MANIFEST}: [train] needs either entry = \"module:function\" or command = [...], not both")
    if entry is not None:
        _module_function(entry, "[train] entry")
    if command is not None and not (isinstance(command, list) and command and all(isinstance(a, str) for a in command)):
        raise GenomeError(f"{MANIFEST}: [train] command must be a list of words, such as [\"python\", \"train.py\"]")
    return Genome(
        name=_text(table, "name", "name"),
        entry=entry,
        command=tuple(command) if command is not None else None,
        adapter=_text({"adapter": DEFAULT_ADAPTER, **train}, "adapter", "[train] adapter") if command else None,
        processes=_count(train.get("processes", 1), "[train] processes"),
        load=_module_function(judge.get("load"), "[judge] load"),
        context=_count(judge.get("context"), "[judge] context"),
        editable=_globs(table),
        vocabulary=_text(table.get("tokens", {"vocabulary": "bytes"}), "vocabulary", "[tokens] vocabulary"),
    )


def _table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = table.get(name)
    if not isinstance(value, dict):
        raise GenomeError(f"{MANIFEST} has no [{name}] section: add one, docs/genomes.md shows how")
    return value


def _text(table: Any, key: str, label: str) -> str:
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise GenomeError(f"{MANIFEST}: {label} must be a text, such as {key} = \"gpt\"")
    return value


def _module_function(value: Any, label: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
        raise GenomeError(f"{MANIFEST}: {label} must be \"module:function\"")
    return value


def _count(value: Any, label: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise GenomeError(f"{MANIFEST}: {label} must be a whole number of at least 1")
    return value


def _globs(table: Mapping[str, Any]) -> tuple[str, ...]:
    value = _table(table, "evolve").get("editable")
    if not isinstance(value, list) or not value or not all(isinstance(glob, str) and glob for glob in value):
        raise GenomeError(f"{MANIFEST}: [evolve] editable must be a list of globs, such as [\"*.py\"]")
    return tuple(value)


# One message on the socket: two lengths, a JSON object, raw bytes.
_LENGTHS = struct.Struct("!IQ")


class Closed(ConnectionError):
    """The other side closed the socket between two messages, or in the middle of one."""


class Malformed(ConnectionError):
    """The other side sent something that is not a message."""


def send(connection: socket.socket, header: Mapping[str, Any], payload: bytes | memoryview = b"") -> None:
    """Send one message: a JSON `header` and raw `payload` bytes."""
    head = json.dumps(header, allow_nan=False).encode()
    connection.sendall(_LENGTHS.pack(len(head), len(payload)) + head)
    if len(payload):
        connection.sendall(payload)


def receive(connection: socket.socket, *, limit: int = MAX_PAYLOAD_BYTES) -> tuple[dict[str, Any], bytearray]:
    """Receive one message; Closed at the end of the stream, Malformed when it is not one or longer than `limit`."""
    head_size, payload_size = _LENGTHS.unpack(_exactly(connection, _LENGTHS.size))
    if head_size > MAX_HEADER_BYTES or payload_size > limit:
        raise Malformed(f"a message of {head_size} + {payload_size} bytes is larger than allowed")
    try:
        header = json.loads(bytes(_exactly(connection, head_size)))
    except (ValueError, RecursionError) as error:
        raise Malformed("a message header is not JSON") from error
    if not isinstance(header, dict):
        raise Malformed("a message header is not an object")
    return header, _exactly(connection, payload_size)


def _exactly(connection: socket.socket, size: int) -> bytearray:
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    while filled < size:
        count = connection.recv_into(view[filled:])
        if count == 0:
            raise Closed("the other side closed the socket")
        filled += count
    return buffer
