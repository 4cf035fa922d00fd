"""What comes back from a server: bounded in bytes and in time, streamed or in one piece, and never believed.

Streaming: server-sent events whose data are chunks of the OpenAI interface, the last with the usage, then “[DONE]”.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evolution.agents.base import Unusable
from evolution.quoting import clean

if TYPE_CHECKING:
    import httpx2

MAX_ANSWER = 4 << 20  # bytes of one answer of the server
MAX_NAME = 200
MAX_TOKENS = 2**31 - 1  # what a row can hold

Hear = Callable[[str], None]  # is told each piece of text as it arrives


class TooLate(Exception):
    """There was no whole answer in time."""


class TooLarge(Exception):
    """The body goes on beyond MAX_ANSWER."""


class Failed(Exception):
    """The server says within its stream that it failed; the message is its own."""


@dataclass
class Completion:
    """One answer, as far as it was told: text, refusal, the end it came to, who gave it, and its tokens."""

    text: str = ""
    refusal: str = ""
    called_a_tool: bool = False
    finish: str = ""
    model: str = ""
    usage: tuple[int, int] | None = None  # tokens in, tokens out
    pieces: list[str] = field(default_factory=list)

    def take(self, chunk: Mapping[str, Any], *, part: str) -> str:
        """Add a chunk (`part` "delta") or a whole completion ("message"); the text that is new."""
        self.model = clean(_text(chunk.get("model")))[:MAX_NAME] or self.model
        self.usage = _usage(chunk.get("usage")) or self.usage
        choice = next(iter(_list(chunk.get("choices"))), None)
        if not isinstance(choice, dict):
            return ""
        said = _mapping(choice.get(part))
        self.finish = _text(choice.get("finish_reason")) or self.finish
        self.refusal += _text(said.get("refusal"))
        self.called_a_tool |= bool(said.get("tool_calls") or said.get("function_call"))
        new = _text(said.get("content"))
        self.pieces.append(new)
        return new


def bounded(parts: Iterator[bytes]) -> Iterator[bytes]:
    """`parts` up to MAX_ANSWER bytes, TooLarge beyond: a small body may unpack into a large one."""
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_ANSWER:
            raise TooLarge
        yield part


def read(response: httpx2.Response, parts: Iterator[bytes], *, who: str, hear: Hear | None) -> Completion:
    """The completion in `parts` of the body; Unusable when they are none. `hear` is told a stream's text as it comes.

    A server may answer a request for a stream in one piece: the content type says which it is.
    """
    if "event-stream" in response.headers.get("content-type", ""):
        found = _streamed(parts, who=who, hear=hear)
    else:
        found = Completion()
        found.take(_object(b"".join(parts), who), part="message")
    found.text = "".join(found.pieces)
    return found


def _streamed(parts: Iterator[bytes], *, who: str, hear: Hear | None) -> Completion:
    found, ended = Completion(), False
    for data in _events(parts):
        if data == b"[DONE]":
            ended = True
            break
        new = found.take(_chunk(data, who), part="delta")
        if new and hear is not None:
            hear(new)
    if not ended and not found.finish:
        found.finish = "broken"  # neither an end nor a reason for one: the rest of it is missing
    return found


def _events(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The data of each event. One of several lines is joined by newlines, as the standard has it."""
    rest, data = b"", list[bytes]()
    for part in parts:
        *lines, rest = (rest + part).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []
    if rest.startswith(b"data:"):
        data.append(rest[5:].removeprefix(b" "))
    if data:
        yield b"\n".join(data)


def _chunk(data: bytes, who: str) -> dict[str, Any]:
    chunk = _object(data, who)
    if "error" in chunk and "choices" not in chunk:
        raise Failed(_error(chunk["error"]))
    return chunk


def _error(error: Any) -> str:
    said = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(said).split())[:MAX_NAME]


def _object(content: bytes, who: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unusable(f"the answer of {who} is not what the interface promises")
    return found


def _usage(usage: Any) -> tuple[int, int] | None:
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    if not all(isinstance(count, int) and 0 <= count <= MAX_TOKENS for count in counts):
        return None
    return int(counts[0]), int(counts[1])  # type: ignore[arg-type]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
