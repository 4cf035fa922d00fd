"""What a language model replied, made into a proposal, or Unusable with one sentence that says why not."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from evolution import patches
from evolution.agents.base import Brief, Proposal, Unusable
from evolution.errors import PatchRefused

MAX_TEXT = 4_000  # characters of a hypothesis, a rationale or an expectation
MAX_TITLE = 120
MAX_REPLY = 1 << 20
MAX_TRIES = 20  # places where an object may begin
KINDS = ({"path", "search", "replace"}, {"path", "content"})


@dataclass(frozen=True)
class Reply:
    """A language model's reply: what it believes, and the edits it wants."""

    hypothesis: str
    rationale: str
    expected: str
    edits: tuple[Mapping[str, str], ...]


def proposal(text: str, brief: Brief, *, author: str, tokens_in: int = 0, tokens_out: int = 0,
             cost_usd: float = 0.0) -> Proposal:
    """The proposal that the raw `text` of a reply makes of the brief's target; Unusable when it makes none."""
    reply = parse(text)
    try:
        files = patches.apply_edits(brief.files, reply.edits)
    except PatchRefused as refused:
        raise Unusable(f"the reply's edits do not apply: {refused}") from refused
    if files == dict(brief.files):
        raise Unusable("the reply's edits change nothing")
    return Proposal(
        files=files, title=title(reply.hypothesis), hypothesis=reply.hypothesis, rationale=reply.rationale,
        expected=reply.expected, author=author, tokens_in=tokens_in, tokens_out=tokens_out, cost_usd=cost_usd,
    )


def title(hypothesis: str) -> str:
    """The first sentence of the hypothesis, cut at a word when it is long."""
    first = re.split(r"(?<=[.!?])\s", hypothesis.strip(), maxsplit=1)[0].rstrip(".")
    return first if len(first) <= MAX_TITLE else first[:MAX_TITLE].rsplit(" ", 1)[0] + " …"


def parse(text: str) -> Reply:
    """The reply as JSON: strictly if it is nothing else, else the first object in a fence or within talk."""
    if len(text) > MAX_REPLY:
        raise Unusable(f"the reply is longer than {MAX_REPLY} characters")
    for candidate in _candidates(text):
        found = _object(candidate)
        if found is not None and "edits" in found:
            return _checked(found)
    raise Unusable("the reply holds no JSON object with “edits”")


def _candidates(text: str) -> list[str]:
    fenced: list[str] = re.findall(r"^```(?:json)?[ \t]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    within = islice(re.finditer(r'\{\s*"', text), MAX_TRIES)
    return [text, *fenced[:MAX_TRIES], *(text[at.start():] for at in within)]


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object which `text` begins with; raw newlines within strings are let pass."""
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _checked(found: Mapping[str, Any]) -> Reply:
    edits = found["edits"]
    if not isinstance(edits, list) or not edits:
        raise Unusable("the reply's “edits” is not a list with at least one edit")
    return Reply(
        hypothesis=_text(found, "hypothesis", needed=True),
        rationale=_text(found, "rationale"),
        expected=_text(found, "expected"),
        edits=tuple(_edit(edit, position) for position, edit in enumerate(edits, 1)),
    )


def _text(found: Mapping[str, Any], key: str, *, needed: bool = False) -> str:
    value = found.get(key, "")
    if not isinstance(value, str) or (needed and not value.strip()):
        raise Unusable(f"the reply's “{key}” is not a text")
    return value.strip()[:MAX_TEXT]


def _edit(edit: Any, position: int) -> Mapping[str, str]:
    """One edit with exactly the keys of one kind; keys that are null do not count, structured output sends them."""
    given = {key: value for key, value in edit.items() if value is not None} if isinstance(edit, dict) else {}
    if set(given) not in KINDS or not all(isinstance(value, str) for value in given.values()):
        raise Unusable(f"edit {position} of the reply is neither path, search, replace nor path, content")
    return given
