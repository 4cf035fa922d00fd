"""What a language model is asked about another one's proposal, and how its answer is read. No Django here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolution.agents import reply
from evolution.agents.base import Unusable
from evolution.agents.model import Answer, Message, Model

PROMPTS = Path(__file__).parent / "prompts"
MAX_DIFF = 30_000  # characters
MAX_TEXT = 2_000
BEFORE = ("sound", "doubtful", "harmful")
AFTER = ("confirmed", "refuted", "open")
RISKS = {"low": "low", "med": "medium", "medium": "medium", "high": "high"}
TRUTHS = {"true": True, "yes": True, "false": False, "no": False}

_TEXT = {"type": "string"}
_ASSESS = {
    "is_what_it_says": {"type": "boolean"}, "risk": {"type": "string", "enum": ["low", "medium", "high"]},
    "opinion": {"type": "string", "enum": list(BEFORE)}, "text": _TEXT,
}
_EXPLAIN = {"opinion": {"type": "string", "enum": list(AFTER)}, "text": _TEXT}


@dataclass(frozen=True, kw_only=True)
class Matter:
    """What is judged. Every text of it came from somebody else."""

    target: int  # the number of the variant that is changed
    title: str
    hypothesis: str
    rationale: str
    expected: str
    diff: str
    numbers: str  # of the target, in words
    recalled: Sequence[str] = ()  # what memory says, one sentence each
    result: str = ""  # after measurement, in words


@dataclass(frozen=True)
class Verdict:
    """An opinion as it was read, and the answer that it came in."""

    opinion: str
    text: str
    answer: Answer
    is_what_it_says: bool | None = None
    risk: str = ""


def assess(model: Model, matter: Matter) -> Verdict:
    """What `model` says of a proposal before review. Unusable, with its tokens, for an answer that is no opinion."""
    ask = _prompt("assess.md").format(target=matter.target, matter=_shown(matter))
    answer = model.ask(_messages(ask), purpose="assess", schema=_schema("assessment", _ASSESS))
    found = _read(answer, BEFORE)
    truth = found.get("is_what_it_says")
    return Verdict(
        found["opinion"], found["text"], answer,
        is_what_it_says=truth if isinstance(truth, bool) else TRUTHS.get(_word(truth)),
        risk=RISKS.get(_word(found.get("risk")), ""),
    )


def explain(model: Model, matter: Matter) -> Verdict:
    """What `model` says of a result. Unusable, with its tokens, for an answer that is no explanation."""
    ask = _prompt("explain.md").format(target=matter.target, result=matter.result, matter=_shown(matter))
    answer = model.ask(_messages(ask), purpose="explain", schema=_schema("explanation", _EXPLAIN))
    found = _read(answer, AFTER)
    return Verdict(found["opinion"], found["text"], answer)


def _read(answer: Answer, opinions: Sequence[str]) -> dict[str, Any]:
    """The first object in the answer with one of `opinions` and a text, in whatever case or fence it came."""
    for found in reply.objects(answer.text):
        opinion, text = _word(found.get("opinion")), found.get("text")
        if opinion in opinions and isinstance(text, str) and text.strip():
            return {**found, "opinion": opinion, "text": text.strip()[:MAX_TEXT]}
    error = Unusable(f"the answer of {answer.model} has no opinion ({', '.join(opinions)}) with a text, as JSON")
    error.tokens_in, error.tokens_out = answer.tokens_in, answer.tokens_out
    raise error


def _word(value: Any) -> str:
    return value.strip().strip(".!“”\"'").lower() if isinstance(value, str) else ""


def _messages(ask: str) -> list[Message]:
    return [{"role": "system", "content": _prompt("assessor.md")}, {"role": "user", "content": ask}]


def _prompt(name: str) -> str:
    return (PROMPTS / name).read_text(encoding="utf-8")


def _shown(matter: Matter) -> str:
    diff = matter.diff if len(matter.diff) <= MAX_DIFF else matter.diff[:MAX_DIFF] + "\n(cut)"
    parts = {
        "Title": matter.title, "Hypothesis": matter.hypothesis, "Rationale": matter.rationale,
        "Expected": matter.expected, f"v{matter.target}": matter.numbers,
        "What the record says": "\n".join(f"- {line}" for line in matter.recalled), "The change": diff,
    }
    return "\n\n".join(f"{name}:\n{text or '(nothing)'}" for name, text in parts.items())


def _schema(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    shape = {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": shape}}
