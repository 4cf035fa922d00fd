"""The journal as a file: lines of JSON, each with the hash of the one before, and a head that covers the last.

Nothing here knows a database. docs/memory.md is the format.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from evolution import durable
from evolution.errors import Infrastructure

JOURNAL = "journal.jsonl"
HEAD = "head.json"
GENESIS = "0" * 64
KEYS = ("seq", "time", "kind", "actor", "data", "previous")


class Broken(Infrastructure):
    """The journal is not what was written."""


@dataclass(frozen=True)
class Entry:
    """What is to become a line."""

    time: datetime
    kind: str
    actor: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One line that is there. `sha256` is that of its bytes without the newline, `end` the offset after the newline."""

    seq: int
    time: str
    kind: str
    actor: str
    data: dict[str, Any]
    sha256: str
    end: int


@dataclass(frozen=True)
class Head:
    """How far the journal was when its last writer was done: the last line's number and hash, and the file's size."""

    seq: int = 0
    size: int = 0
    sha256: str = GENESIS


def encode(value: Any) -> bytes:
    """Compact JSON. Half characters, which JSON can say and UTF-8 cannot, stay escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(
        "utf-8", "backslashreplace"
    )


def read_head(memory: Path) -> Head:
    """The head, or that of an empty journal when there is none; Broken when it is not one."""
    path = memory / HEAD
    if not path.exists():
        return Head()
    content = path.read_bytes()
    try:
        table = json.loads(content)
        head = Head(seq=table["seq"], size=table["size"], sha256=table["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Broken(f"{path} cannot be read: restore the experiment from an export") from error
    if content != _head_bytes(head):
        raise Broken(f"{path} was changed: restore the experiment from an export")
    return head


def write_head(memory: Path, head: Head) -> None:
    durable.write(memory / HEAD, _head_bytes(head))


def _head_bytes(head: Head) -> bytes:
    return encode(asdict(head)) + b"\n"


def lines(memory: Path, *, after: Head | None = None) -> Iterator[Line]:
    """Every whole line behind `after`; Broken at the first that does not continue the chain.

    What follows the last newline is no line: a crash cut it, and the next writer takes it away.
    """
    seq, end, previous = (after.seq, after.size, after.sha256) if after else (0, 0, GENESIS)
    path = memory / JOURNAL
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(end)
        for raw in file:
            if not raw.endswith(b"\n"):
                return
            seq, end = seq + 1, end + len(raw)
            line = _parse(raw[:-1], seq=seq, end=end, previous=previous, path=path)
            previous = line.sha256
            yield line


def _parse(raw: bytes, *, seq: int, end: int, previous: str, path: Path) -> Line:
    try:
        table = json.loads(raw)
        exact = tuple(table) == KEYS and encode(table) == raw and isinstance(table["data"], dict)
    except (ValueError, TypeError, RecursionError) as error:
        raise Broken(f"{path} line {seq} is not JSON any more: restore the experiment from an export") from error
    if not exact or table["seq"] != seq or table["previous"] != previous:
        raise Broken(f"{path} line {seq} does not continue the chain: it, or the line before, was changed")
    return Line(
        seq=seq, time=table["time"], kind=table["kind"], actor=table["actor"], data=table["data"],
        sha256=durable.sha256(raw), end=end,
    )


def append(memory: Path, entries: Sequence[Entry], *, after: Head) -> Head:
    """Write `entries` behind `after` and return the new head; on the disk, but not yet in the head's file."""
    seq, size, previous = after.seq, after.size, after.sha256
    content = bytearray()
    for entry in entries:
        seq += 1
        raw = encode(dict(zip(KEYS, (
            seq, entry.time.isoformat(), entry.kind, entry.actor, entry.data, previous,
        ), strict=True)))
        previous = durable.sha256(raw)
        content += raw + b"\n"
    with (memory / JOURNAL).open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Head(seq=seq, size=size + len(content), sha256=previous)


def settle(memory: Path) -> list[Line]:
    """Finish what a crash cut short; returns the lines which the last writer wrote and did not finish with.

    A half line goes. A staged document whose line is there takes its place, any other goes. The head is not moved:
    the caller does that when it has dealt with the lines.
    """
    head = read_head(memory)
    path = memory / JOURNAL
    if (path.stat().st_size if path.exists() else 0) < head.size:
        raise Broken(f"{path} is shorter than it was: restore the experiment from an export")
    unfinished = list(lines(memory, after=head))
    end = unfinished[-1].end if unfinished else head.size
    if path.exists() and path.stat().st_size > end:
        with path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
    _settle_documents(memory, newest(unfinished))
    return unfinished


def _settle_documents(memory: Path, written: dict[str, str]) -> None:
    for waiting in [*memory.glob(f"*{durable.STAGED}"), *memory.glob(f"variants/*{durable.STAGED}")]:
        path = waiting.with_name(waiting.name.removesuffix(durable.STAGED))
        if written.get(path.relative_to(memory).as_posix()) == durable.sha256_of(waiting):
            durable.publish(path)
        else:
            waiting.unlink()


def newest(found: Iterable[Line]) -> dict[str, str]:
    """The sha256 of every document by its path, as the newest line about it has it."""
    return {line.data["path"]: line.data["sha256"] for line in found if line.kind == "document.written"}


def head_of(line: Line) -> Head:
    return Head(seq=line.seq, size=line.end, sha256=line.sha256)
