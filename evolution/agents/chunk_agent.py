"""The paper's way of changing code: functions and classes, each with a probability, one call of the model for each.

Every prompt holds how the target is built, the globals of the chunk's file, and a summary of what was changed before
it in the same proposal (DARWIN, arXiv 2602.05848). Imports and module-level code are only drawn where a person's
directive has the word “module-level”.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from evolution.agents import conversation, reply, writing
from evolution.agents.base import AgentUnavailable, Brief, GaveUp, Proposal, Unusable
from evolution.agents.conversation import PROMPTS, Bill
from evolution.agents.model import Message, Model
from evolution.agents.openai_agent import OpenAIAgent, known, listed, rules
from evolution.confined import confined

GLOBAL = ("imports", "module")
WORDS = ("module-level", "module level")
PROBABILITY = 0.4


@dataclass(frozen=True)
class Chunk:
    """A part of a file, from line `first` to line `last` (from 1, both included)."""

    path: str
    kind: str  # imports, module, function or class
    name: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.path}: {self.kind} {self.name}".rstrip()

    def of(self, lines: Sequence[str]) -> str:
        return "".join(lines[self.first - 1 : self.last])


@dataclass(frozen=True)
class Change:
    """What a model made of one chunk."""

    chunk: Chunk
    reply: reply.Part


@dataclass(frozen=True)
class ChunkAgent:
    """Changes some chunks of the target, drawn by the brief's seed. What failed is repaired by edits instead."""

    model: Model
    about: Callable[[Brief], Model] | None = None
    probability: float = PROBABILITY
    instructions: str = ""

    @property
    def name(self) -> str:
        return self.model.name

    def propose(self, brief: Brief) -> Proposal | None:
        """All changed chunks as one proposal; None for a target without functions and classes that may be changed.

        Unusable when no chunk was changed. A model that cannot be asked any more ends it with what is changed so far.
        """
        if brief.failure is not None:
            return OpenAIAgent(self.model, about=self.about, instructions=self.instructions).propose(brief)
        texts = _editable(brief)
        every = [Chunk(**one) for one in confined("chunks", {"files": texts})["chunks"]]
        drawn = draw(every, brief, self.probability)
        if not drawn:
            return None
        bill = Bill(self.model.name)
        changes = self._changes(brief, texts, every, drawn, bill)
        return reply.of_parts(
            brief, {path: _assembled(text, [one for one in changes if one.chunk.path == path])
                    for path, text in texts.items()},
            [one.reply for one in changes], author=f"agent:{bill.model}", tokens_in=bill.tokens_in,
            tokens_out=bill.tokens_out, cost_usd=bill.cost_usd,
        )

    def _changes(
        self, brief: Brief, texts: Mapping[str, str], every: Sequence[Chunk], drawn: Sequence[Chunk], bill: Bill
    ) -> list[Change]:
        model = self.about(brief) if self.about else self.model
        changes: list[Change] = []
        problem = Unusable("the model left every part as it is")
        for chunk in drawn:
            try:
                part = conversation.ask(
                    model, self._messages(brief, texts, every, chunk, changes), purpose="propose",
                    schema=writing.response_format(writing.CHUNKS), read=reply.part, bill=bill,
                )
            except GaveUp as error:
                problem = error
                break
            except Unusable as error:
                problem = error  # the other chunks may do better
                continue
            except AgentUnavailable:
                if not changes:
                    raise
                break  # what is changed already was paid for
            if part.content is not None:
                changes.append(Change(chunk, part))
        if not changes:
            raise bill.onto(problem)
        return changes

    def _messages(
        self, brief: Brief, texts: Mapping[str, str], every: Sequence[Chunk], chunk: Chunk, changes: Sequence[Change]
    ) -> list[Message]:
        lines = _lines(texts[chunk.path])
        own = [one.of(lines) for one in every if one.path == chunk.path and one.kind in GLOBAL]
        user = (PROMPTS / "chunk.md").read_text(encoding="utf-8").format(
            **known(brief), path=chunk.path, chunk=chunk, code=chunk.of(lines),
            structure=listed([f"{one}, lines {one.first} to {one.last}" for one in every]),
            globals="\n".join(own) or "(none)",
            changed=listed([f"{one.chunk}: {one.reply.hypothesis}" for one in changes]),
        ).lstrip()
        return [
            {"role": "system", "content": rules(brief, writing.CHUNKS, self.instructions)},
            {"role": "user", "content": user},
        ]


def draw(chunks: Iterable[Chunk], brief: Brief, probability: float) -> list[Chunk]:
    """Those to change: each with `probability`, at least one; the same for the same seed."""
    rng = Random(brief.seed)  # noqa: S311 chance, not secrecy
    wide = asks_for_module_level(brief.directives)
    candidates = [one for one in chunks if wide or one.kind not in GLOBAL]
    drawn = [one for one in candidates if rng.random() < probability]
    return drawn or ([rng.choice(candidates)] if candidates else [])


def asks_for_module_level(directives: Iterable[str]) -> bool:
    """Whether a person asks that code outside functions and classes be changed: by that word."""
    return any(word in directive.lower() for directive in directives for word in WORDS)


def _editable(brief: Brief) -> dict[str, str]:
    """The Python files that may be changed; one that is not UTF-8 has no chunks."""
    found: dict[str, str] = {}
    for path, content in brief.files.items():
        if path.endswith(".py") and brief.genome.may_edit(path):
            with suppress(UnicodeDecodeError):
                found[path] = content.decode()
    return found


def _lines(text: str) -> list[str]:
    """Lines as the syntax tree counts them: str.splitlines would also split at form feeds."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _assembled(text: str, changes: Iterable[Change]) -> str:
    """`text` with the chunks replaced, from the last to the first, so that line numbers stay true."""
    lines = _lines(text)
    for one in sorted(changes, key=lambda change: -change.chunk.first):
        content = textwrap.dedent(one.reply.content or "").strip("\n")
        lines[one.chunk.first - 1 : one.chunk.last] = [f"{content}\n"]
    return "".join(lines)
