"""One question to a model, and a second chance: what cannot be read goes back once, with the reason."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from evolution.agents.base import GaveUp, Unusable
from evolution.agents.model import Message, Model

PROMPTS = Path(__file__).parent / "prompts"
ASKS = 2  # a reply that is no proposal goes back once, with the reason
MAX_SENT_BACK = 60_000  # characters of such a reply

T = TypeVar("T")


@dataclass
class Bill:
    """What a proposal has cost so far, over all of its calls, and who answered last."""

    model: str
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0

    def add(self, tokens_in: int, tokens_out: int, cost_usd: float) -> None:
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.cost_usd += cost_usd

    def onto(self, error: Unusable) -> Unusable:
        """`error` with all that was spent in vain."""
        error.tokens_in, error.tokens_out, error.cost_usd = self.tokens_in, self.tokens_out, self.cost_usd
        return error


def ask(
    model: Model, asked: Sequence[Message], *, purpose: str, schema: Mapping[str, Any], read: Callable[[str], T],
    bill: Bill,
) -> T:
    """What `read` makes of the model's reply; Unusable (with the whole bill) when it makes nothing of two."""
    for attempt in range(ASKS):
        text = ""
        try:
            answer = model.ask(asked, purpose="again" if attempt else purpose, schema=schema)
            text, bill.model = answer.text, answer.model
            bill.add(answer.tokens_in, answer.tokens_out, answer.cost_usd)
            return read(text)
        except GaveUp as error:
            raise bill.onto(error) from error
        except Unusable as error:
            if not text:
                bill.add(error.tokens_in, error.tokens_out, error.cost_usd)
            if attempt + 1 == ASKS:
                raise bill.onto(error) from error
            asked = [*asked, *_again(text, str(error))]
    raise AssertionError("unreachable")


def _again(text: str, reason: str) -> list[Message]:
    """What follows a reply that could not be used."""
    again = (PROMPTS / "again.md").read_text(encoding="utf-8")
    return [
        {"role": "assistant", "content": text[:MAX_SENT_BACK] or "(nothing)"},
        {"role": "user", "content": again.format(reason=reason)},
    ]
