"""The agent that asks a language model for one proposal per brief."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolution.agents import reply
from evolution.agents.base import Brief, Proposal, Unusable
from evolution.agents.model import Message, Model

PROMPTS = Path(__file__).parent / "prompts"
MAX_FILE = 60_000  # characters of one file that are shown
ASKS = 2  # a reply that is no proposal goes back once, with the reason

_TEXT = {"type": "string"}
_OPTIONAL = {"type": ["string", "null"]}
_EDIT = {"path": _TEXT, "search": _OPTIONAL, "replace": _OPTIONAL, "content": _OPTIONAL}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "hypothesis": _TEXT, "rationale": _TEXT, "expected": _TEXT,
        "edits": {"type": "array", "items": {
            "type": "object", "properties": _EDIT, "required": list(_EDIT), "additionalProperties": False,
        }},
    },
    "required": ["hypothesis", "rationale", "expected", "edits"],
    "additionalProperties": False,
}
RESPONSE_FORMAT: dict[str, Any] = {
    "type": "json_schema", "json_schema": {"name": "proposal", "strict": True, "schema": SCHEMA},
}


@dataclass(frozen=True)
class OpenAIAgent:
    """Asks one model for one proposal per brief."""

    model: Model

    @property
    def name(self) -> str:
        return self.model.name

    def propose(self, brief: Brief) -> Proposal:
        """The model's proposal; Unusable when its reply is none, AgentUnavailable when it cannot be reached.

        A reply that is no proposal goes back once with the reason. The tokens of both count.
        """
        asked = messages(brief)
        tokens_in = tokens_out = 0
        cost = 0.0
        for ask in range(ASKS):
            text = ""
            try:
                answer = self.model.ask(asked, purpose=_purpose(brief, ask), schema=RESPONSE_FORMAT)
                text, tokens_in, tokens_out = answer.text, tokens_in + answer.tokens_in, tokens_out + answer.tokens_out
                cost += answer.cost_usd
                return reply.proposal(
                    text, brief, author=f"agent:{answer.model}", tokens_in=tokens_in, tokens_out=tokens_out,
                    cost_usd=cost,
                )
            except Unusable as error:
                if not text:
                    tokens_in, tokens_out = tokens_in + error.tokens_in, tokens_out + error.tokens_out
                error.tokens_in, error.tokens_out = tokens_in, tokens_out
                if ask + 1 == ASKS:
                    raise
                asked = [*asked, *_again(text, str(error))]
        raise AssertionError("unreachable")


def _purpose(brief: Brief, ask: int) -> str:
    return "again" if ask else "repair" if brief.failure is not None else "propose"


def messages(brief: Brief) -> list[Message]:
    """What the model is told: the rules, then the brief."""
    rules = (PROMPTS / "system.md").read_text(encoding="utf-8")
    ask = (PROMPTS / "proposal.md").read_text(encoding="utf-8")
    system = rules.format(editable=", ".join(brief.genome.editable), load=brief.genome.load)
    user = ask.format(
        objective=brief.objective, target=brief.target,
        perplexity=_number(brief.perplexity), parent_perplexity=_number(brief.parent_perplexity),
        directives=_listed(brief.directives), recalled=_listed(brief.recalled), tried=_listed(sorted(brief.tried)),
        files="\n\n".join(_shown(path, content) for path, content in sorted(brief.files.items())),
    )
    if brief.failure is not None:
        user += (PROMPTS / "repair.md").read_text(encoding="utf-8").format(
            target=brief.target, reason=brief.failure.reason,
            traceback=brief.failure.traceback.strip() or "(none: the code was not run)", diff=brief.failure.diff,
            code=brief.failure.code or "(not known)", tries=_listed(brief.failure.tried),
        )
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _again(text: str, reason: str) -> list[Message]:
    """What follows a reply that was no proposal."""
    ask = (PROMPTS / "again.md").read_text(encoding="utf-8")
    return [
        {"role": "assistant", "content": text[:MAX_FILE] or "(nothing)"},
        {"role": "user", "content": ask.format(reason=reason)},
    ]


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "- nothing yet"


def _shown(path: str, content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return f"=== {path} ===\n(not text, {len(content)} bytes)"
    if len(text) > MAX_FILE:
        text = text[:MAX_FILE] + f"\n(cut: {len(text)} characters in all)"
    return f"=== {path} ===\n{text}"
