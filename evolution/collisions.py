"""Where two parents collide, a language model says place by place what stands there: what it is asked, and its answer.

Text of variants stands in the question as data. The answer is held to its form; what is of no use in it is left out, so
that whoever asked settles those places otherwise.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evolution.agents import base
from evolution.agents.base import Unusable
from evolution.agents.model import Answer, Message, Model
from evolution.errors import Infrastructure
from evolution.genetics.crossover import Place
from evolution.memory import effect
from evolution.models import Variant
from evolution.quoting import quoted

HYPOTHESIS = 600  # letters of one that a model is shown

PROMPT = Path(base.__file__).parent / "prompts" / "merge.md"
ASKS = 2  # an answer that leaves a place open goes back once, with what is missing
MOST = 20  # places of one question
MAX_QUESTION = 60_000  # characters
MAX_LINES = 20_000  # characters of an answer's own lines for one place
MAX_WHY = 200
MAX_STARTS = 50  # braces at which an answer may begin
GONE = "(the file is not there)"

_NULLABLE = {"type": ["string", "null"]}
_PLACE = {
    "number": {"type": "integer"}, "take": {"type": "string", "enum": ["first", "second", "own"]},
    "lines": _NULLABLE, "why": {"type": "string"},
}
RESPONSE_FORMAT: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "merge", "strict": True, "schema": {
    "type": "object", "required": ["places"], "additionalProperties": False,
    "properties": {"places": {"type": "array", "items": {
        "type": "object", "properties": _PLACE, "required": list(_PLACE), "additionalProperties": False,
    }}},
}}}


@dataclass(frozen=True)
class Settlement:
    """What stands in one place of the child (None: the file is not there), and how that was found, in a few words."""

    lines: bytes | None
    how: str


@dataclass
class Settled:
    """What a model settled, and what that cost. `trouble` says why places are missing; empty for none.

    `author` is the model that was asked, whatever it said; empty when none was.
    """

    places: dict[Place, Settlement] = field(default_factory=dict)
    author: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    trouble: str = ""


def ask(asked: Model, first: Variant, second: Variant, places: Sequence[Place]) -> Settled:
    """What the model `asked` says of `places`, where `first` and `second` collide.

    It never raises for the model's sake: a model that cannot be reached, that is out of money or that talks nonsense
    settles nothing, and a merge can do without.
    """
    settled = Settled()
    talk = question(first, second, places)
    if len(places) > MOST or sum(len(one["content"]) for one in talk) > MAX_QUESTION:
        settled.trouble = "there were too many collisions to ask about"
        return settled
    settled.author = f"agent:{asked.name}"
    for turn in range(ASKS):
        try:
            answer = asked.ask(talk, purpose="again" if turn else "merge", schema=RESPONSE_FORMAT)
        except (Unusable, Infrastructure) as error:
            _count(settled, error)
            settled.trouble = str(error)
            continue
        _take(settled, answer, first, second, places)
        if not settled.trouble:
            break
        talk = [*talk, {"role": "assistant", "content": answer.text[:MAX_QUESTION]}, _again(settled.trouble)]
    return settled


def _take(settled: Settled, answer: Answer, first: Variant, second: Variant, places: Sequence[Place]) -> None:
    settled.author = f"agent:{answer.model}"
    settled.tokens_in += answer.tokens_in
    settled.tokens_out += answer.tokens_out
    settled.cost_usd += answer.cost_usd
    settled.places |= parse(answer.text, first, second, places)
    missing = [str(number) for number, place in enumerate(places, 1) if place not in settled.places]
    settled.trouble = f"nothing usable was said of place {', '.join(missing)}" if missing else ""


def _count(settled: Settled, error: Exception) -> None:
    """An answer of no use has its price all the same."""
    settled.tokens_in += getattr(error, "tokens_in", 0)
    settled.tokens_out += getattr(error, "tokens_out", 0)
    settled.cost_usd += getattr(error, "cost_usd", 0.0)


def _again(trouble: str) -> Message:
    said = f"That cannot be used: {trouble}. Send the whole JSON object again, and only it."
    return {"role": "user", "content": said}


def question(first: Variant, second: Variant, places: Sequence[Place]) -> list[Message]:
    """The rules, and every place with what stands around it, in the ancestor and in both parents."""
    told = [_parent("first", first), _parent("second", second)]
    told += [_shown(number, place) for number, place in enumerate(places, 1)]
    return [
        {"role": "system", "content": PROMPT.read_text(encoding="utf-8")},
        {"role": "user", "content": "\n\n".join(told)},
    ]


def _parent(which: str, variant: Variant) -> str:
    measured = "not measured" if variant.perplexity is None else f"{variant.perplexity:.4f}"
    did = effect(variant) or "was not compared with its own parent"
    return (
        f"The {which} parent is {variant} “{quoted(variant.title)}”, perplexity {measured}. "
        f"Its hypothesis: “{quoted(variant.hypothesis, limit=HYPOTHESIS)}” Its last change {did}."
    )


def _shown(number: int, place: Place) -> str:
    parts = (
        ("the lines before", place.before), ("the ancestor", place.base), ("the first parent", place.first),
        ("the second parent", place.second), ("the lines after", place.after),
    )
    return "\n".join([f"=== place {number}: {place.path}, line {place.line} ===", *(
        f"--- {name}\n{GONE if text is None else text.decode(errors='replace')}" for name, text in parts
    )])


def parse(text: str, first: Variant, second: Variant, places: Sequence[Place]) -> dict[Place, Settlement]:
    """Every place that the raw `text` of an answer settles in a form that can be used."""
    found: dict[Place, Settlement] = {}
    for entry in _entries(text):
        number = entry.get("number")
        if isinstance(number, int) and 1 <= number <= len(places):
            place = places[number - 1]
            settlement = _settlement(entry, place, first, second)
            if settlement is not None:
                found[place] = settlement
    return found


def _settlement(entry: Mapping[str, Any], place: Place, first: Variant, second: Variant) -> Settlement | None:
    said = entry.get("why")
    why = f" ({' '.join(said.split())[:MAX_WHY]})" if isinstance(said, str) and said.strip() else ""
    take, lines = entry.get("take"), entry.get("lines")
    if take == "first":
        return Settlement(place.first, f"the lines of {first}, chosen by the model{why}")
    if take == "second":
        return Settlement(place.second, f"the lines of {second}, chosen by the model{why}")
    if take == "own" and isinstance(lines, str) and len(lines) <= MAX_LINES:
        return Settlement(_whole_lines(lines, place), f"lines by the model{why}")
    return None


def _whole_lines(text: str, place: Place) -> bytes:
    """The model's lines as a file has them: a place that ended with a newline still does."""
    ends = any((side or b"").endswith(b"\n") for side in (place.base, place.first, place.second))
    return (text + "\n" if ends and text and not text.endswith("\n") else text).encode(errors="replace")


def _entries(text: str) -> list[dict[str, Any]]:
    """The list under “places” of the first JSON object that has one, in a fence or within talk; else nothing."""
    decoder, at = json.JSONDecoder(strict=False), -1
    for _ in range(MAX_STARTS):
        at = text.find("{", at + 1)
        if at < 0:
            break
        try:
            found, _end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
        places = found.get("places")
        if isinstance(places, list):
            return [one for one in places if isinstance(one, dict)]
    return []
