"""What a language model replied, made into a proposal, or Unusable with one sentence that says why not.

Strict JSON is asked for. Read as well: JSON in a fence or within talk, JSON whose last brackets are missing, a unified
diff or search/replace blocks with the reasons as plain text around them. Only white space is ever guessed.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from evolution import patches
from evolution.agents import blocks, drift
from evolution.agents.base import Brief, Proposal, Unusable
from evolution.errors import PatchRefused

MAX_TEXT = 4_000  # characters of a hypothesis, a rationale or an expectation
MAX_TITLE = 120
MAX_REPLY = 1 << 20
MAX_TRIES = 20  # places where an object may begin
ENDINGS = ("", "}", "]}", "}]}")  # an edit that is complete may lack the brackets after it, never a part of itself
COMMA = re.compile(r'("(?:\\.|[^"\\])*+")|,(\s*[}\]])', re.DOTALL)  # a string, which stays, or a comma too many
KINDS = ({"path", "search", "replace"}, {"path", "content"})


@dataclass(frozen=True)
class Reply:
    """A language model's reply: what it believes, and the edits it wants, or a unified diff in their place."""

    hypothesis: str
    rationale: str
    expected: str
    edits: tuple[Mapping[str, str], ...] = ()
    diff: str = ""


@dataclass(frozen=True)
class Part:
    """A reply about one chunk of a program: its new text, None to leave it, and the reasons."""

    hypothesis: str
    rationale: str
    expected: str
    content: str | None


def proposal(text: str, brief: Brief, *, author: str, tokens_in: int = 0, tokens_out: int = 0,
             cost_usd: float = 0.0, whole_files: bool = False) -> Proposal:
    """The proposal that the raw `text` of a reply makes of the brief's target; Unusable when it makes none.

    With `whole_files` a file in a fence below its name is read too: it was asked for whole.
    """
    reply = parse(text, whole_files=whole_files)
    try:
        files = _applied(brief, reply)
    except PatchRefused as refused:
        raise Unusable(f"the reply's edits do not apply: {refused}") from refused
    if files == dict(brief.files):
        raise Unusable("the reply's edits change nothing")
    return Proposal(
        files=files, title=title(reply.hypothesis), hypothesis=reply.hypothesis, rationale=reply.rationale,
        expected=reply.expected, author=author, tokens_in=tokens_in, tokens_out=tokens_out, cost_usd=cost_usd,
    )


def of_parts(
    brief: Brief, texts: Mapping[str, str], parts: Sequence[Part], *, author: str, tokens_in: int, tokens_out: int,
    cost_usd: float,
) -> Proposal:
    """One proposal of several changed chunks; `texts` are the files after all of them. Unusable when none differs."""
    files = {**brief.files, **{path: text.encode(errors="replace") for path, text in texts.items()}}
    if files == dict(brief.files):
        error = Unusable("the changed parts are what they were")
        error.tokens_in, error.tokens_out, error.cost_usd = tokens_in, tokens_out, cost_usd
        raise error
    return Proposal(
        files=files, title=title(parts[0].hypothesis), hypothesis=_joined(part.hypothesis for part in parts),
        rationale=_joined(part.rationale for part in parts), expected=_joined(part.expected for part in parts),
        author=author, tokens_in=tokens_in, tokens_out=tokens_out, cost_usd=cost_usd,
    )


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join(dict.fromkeys(text for text in texts if text))[:MAX_TEXT]


def part(text: str) -> Part:
    """What a reply says of one chunk: the JSON that was asked for, or one fence of code with the reasons before it."""
    if len(text) > MAX_REPLY:
        raise Unusable(f"the reply is longer than {MAX_REPLY} characters")
    for candidate in _candidates(text):
        found = _object(candidate)
        if found is not None and "content" in found:
            return _checked_part(found)
    fences = blocks.fenced(text.splitlines())
    if len(fences) != 1:
        raise Unusable("the reply holds no JSON object with “content”, and not one fence of code either")
    reasons = [one.strip() for one in "\n".join(text.splitlines()[: fences[0].start]).split("\n\n") if one.strip()]
    if not reasons:
        raise Unusable("the reply's “hypothesis” is missing: it has code and no word about why")
    return Part(_labelled(reasons[0]), "\n\n".join(reasons[1:])[:MAX_TEXT], "", fences[0].text)


def _checked_part(found: Mapping[str, Any]) -> Part:
    content = found["content"]
    if content is not None and (not isinstance(content, str) or not content.strip()):
        raise Unusable("the reply's “content” is neither code nor null")
    return Part(
        _text(found, "hypothesis", needed=content is not None), _text(found, "rationale"), _text(found, "expected"),
        content,
    )


def _applied(brief: Brief, reply: Reply) -> patches.Files:
    if reply.diff:
        return patches.apply_unified(brief.files, drift.renumbered(reply.diff))
    files: patches.Files = dict(brief.files)
    for edit in reply.edits:
        files = patches.apply_edits(files, [_settled(files, edit)])
    return files


def _settled(files: Mapping[str, bytes], edit: Mapping[str, str]) -> Mapping[str, str]:
    """`edit` with its search text as it stands in the file, where only white space differs."""
    if "search" not in edit or edit["path"] not in files:
        return edit
    text = files[edit["path"]].decode(errors="replace")
    search, replace = drift.settled(text, edit["search"], edit["replace"])
    return {**edit, "search": search, "replace": replace}


def title(hypothesis: str) -> str:
    """The first sentence of the hypothesis, cut at a word when it is long."""
    first = re.split(r"(?<=[.!?])\s", hypothesis.strip(), maxsplit=1)[0].rstrip(".")
    return first if len(first) <= MAX_TITLE else first[:MAX_TITLE].rsplit(" ", 1)[0] + " …"


def parse(text: str, *, whole_files: bool = False) -> Reply:
    """The first of these that is there: a JSON object with edits or a diff, a unified diff, search/replace blocks."""
    if len(text) > MAX_REPLY:
        raise Unusable(f"the reply is longer than {MAX_REPLY} characters")
    for candidate in _candidates(text):
        found = _object(candidate)
        if found is not None and "files" in found and "edits" not in found:
            found = {**found, "edits": found["files"]}
        if found is not None and ("edits" in found or isinstance(found.get("diff"), str)):
            return _checked(found)
    return _plain(text, whole_files=whole_files)


def objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object that a reply holds: alone, in a fence or within talk, also without its last brackets."""
    for candidate in _candidates(text[:MAX_REPLY]):
        found = _object(candidate)
        if found is not None:
            yield found


def _plain(text: str, *, whole_files: bool) -> Reply:
    """A reply without JSON: what stands before the first change are the reasons."""
    lines = text.splitlines()
    found = blocks.unified(lines) or blocks.replacements(lines) or (blocks.files(lines) if whole_files else None)
    if found is None:
        raise Unusable("the reply holds no JSON object with “edits”, no unified diff and no search/replace block")
    reasons = [part.strip() for part in "\n".join(lines[: found.start]).split("\n\n") if part.strip()]
    if not reasons:
        raise Unusable("the reply's “hypothesis” is missing: it has changes and no word about why")
    hypothesis, rationale = _labelled(reasons[0]), "\n\n".join(reasons[1:])[:MAX_TEXT]
    return Reply(hypothesis=hypothesis, rationale=rationale, expected="", edits=found.edits, diff=found.diff)


def _labelled(text: str) -> str:
    """`text` without a label such as “**Hypothesis:**” in front."""
    return re.sub(r"^[*#\s]*hypothesis[*:\s]*", "", text, flags=re.IGNORECASE).strip()[:MAX_TEXT] or text[:MAX_TEXT]


def _candidates(text: str) -> list[str]:
    fenced: list[str] = re.findall(r"^```(?:json)?[ \t]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    within = islice(re.finditer(r'\{\s*"', text), MAX_TRIES)
    return [text, *fenced[:MAX_TRIES], *(text[at.start():] for at in within)]


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object which `text` begins with.

    Raw newlines within strings, commas before a bracket and missing last brackets are let pass.
    """
    for ending, comma in product(ENDINGS, (False, True)):
        whole = text.strip() + ending
        try:
            found, _ = json.JSONDecoder(strict=False).raw_decode(COMMA.sub(r"\1\2", whole) if comma else whole)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, dict) else None
    return None


def _checked(found: Mapping[str, Any]) -> Reply:
    if "edits" not in found:
        return Reply(
            hypothesis=_text(found, "hypothesis", needed=True), rationale=_text(found, "rationale"),
            expected=_text(found, "expected"), diff=found["diff"],
        )
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
