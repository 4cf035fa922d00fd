"""The agent that asks a language model for one proposal per brief: as edits, as a diff, or as whole files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evolution.agents import conversation, reply, writing
from evolution.agents.base import Brief, Proposal
from evolution.agents.conversation import PROMPTS, Bill
from evolution.agents.model import Message, Model
from evolution.quoting import clean, cut

MAX_FILE = 60_000  # characters of one file that are shown
MAX_CAUSE = 600  # letters of why a target failed
NONE_YET = "- nothing yet"


@dataclass(frozen=True)
class OpenAIAgent:
    """Asks one model for one proposal per brief; `about` gives the model whose calls are recorded for that brief."""

    model: Model
    about: Callable[[Brief], Model] | None = None
    mode: str = writing.EDITS
    instructions: str = ""  # of the strategy: added to the rules

    @property
    def name(self) -> str:
        return self.model.name

    def propose(self, brief: Brief) -> Proposal:
        """The model's proposal; Unusable when its reply is none, AgentUnavailable when it cannot be reached.

        A reply that is no proposal goes back once with the reason. The tokens of both count.
        """
        bill = Bill(self.model.name)

        def read(text: str) -> Proposal:
            return reply.proposal(
                text, brief, author=f"agent:{bill.model}", tokens_in=bill.tokens_in, tokens_out=bill.tokens_out,
                cost_usd=bill.cost_usd, whole_files=self.mode == writing.FILE,
            )

        return conversation.ask(
            self.about(brief) if self.about else self.model,
            messages(brief, mode=self.mode, instructions=self.instructions),
            purpose="repair" if brief.failure is not None else "propose",
            schema=writing.response_format(self.mode), read=read, bill=bill,
        )


def messages(brief: Brief, *, mode: str = writing.EDITS, instructions: str = "") -> list[Message]:
    """What the model is told: the rules, then the brief."""
    ask = (PROMPTS / "proposal.md").read_text(encoding="utf-8")
    user = ask.format(
        **known(brief), files="\n\n".join(shown(path, content) for path, content in sorted(brief.files.items())),
    ).lstrip()
    if brief.failure is not None:
        user += (PROMPTS / "repair.md").read_text(encoding="utf-8").format(
            target=brief.target, reason=cut(clean(brief.failure.reason), MAX_CAUSE),
            traceback=brief.failure.traceback.strip() or "(none: the code was not run)", diff=brief.failure.diff,
            code=brief.failure.code or "(not known)", tries=listed(brief.failure.tried),
        )
    return [{"role": "system", "content": rules(brief, mode, instructions)}, {"role": "user", "content": user}]


def rules(brief: Brief, mode: str, instructions: str) -> str:
    """The rules for everybody, the strategy's own instructions, and the form of the reply."""
    general = (PROMPTS / "system.md").read_text(encoding="utf-8")
    general = general.format(editable=", ".join(brief.genome.editable), load=brief.genome.load)
    own = f"\nYour way of working\n{instructions.strip()}\n" if instructions.strip() else ""
    return f"{general}{own}\n{writing.form(mode)}"


def known(brief: Brief) -> dict[str, object]:
    """What every prompt says of the target, as text."""
    return {
        "objective": brief.objective, "target": brief.target,
        "perplexity": _number(brief.perplexity), "parent_perplexity": _number(brief.parent_perplexity),
        "directives": listed(brief.directives), "recalled": listed(brief.recalled),
        "lineage": listed(brief.lineage), "identity": brief.identity,
        "tried": listed(sorted(cut(clean(one)) for one in brief.tried)),
    }


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or NONE_YET


def shown(path: str, content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return f"=== {path} ===\n(not text, {len(content)} bytes)"
    if len(text) > MAX_FILE:
        text = text[:MAX_FILE] + f"\n(cut: {len(text)} characters in all)"
    return f"=== {path} ===\n{text}"
