"""A model whose every try is on record: reserved before, settled after, shown as it thinks, repeated where it helps."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import takewhile
from random import uniform
from typing import Any

from django.utils import timezone

from evolution import prices, spending
from evolution.agents.base import AgentUnavailable, BudgetSpent, GaveUp, Unusable
from evolution.agents.model import Answer, Message, OpenAIModel
from evolution.errors import Infrastructure
from evolution.models import Call, CallState, Experiment, Strategy, Variant
from evolution.prices import Price
from evolution.spending import Asked, Used
from evolution.thoughts import Thought

TRIES = 3  # of one question
LONGEST_WAIT = 120.0  # seconds, as a server may ask for; if it asks for more, the station comes back later
FIRST_WAIT = 1.0
IN_VAIN = 6  # tries in a row without an answer that count as one answer of no use
FIRST_REST = 2.0  # seconds after a try without an answer; twice as many after each further one
LONGEST_REST = 300.0
MOST_UNANSWERED = 10 * IN_VAIN  # in a row, that are looked at
PER_MESSAGE = 50  # tokens around each message


@dataclass(frozen=True)
class RecordedModel:
    """`model`, asked for `strategy` of `experiment` about `target`, by the agent of the variant number `proposer`."""

    model: OpenAIModel
    experiment: Experiment
    strategy: Strategy
    target: Variant | None = None
    proposer: int | None = None

    @property
    def name(self) -> str:
        return self.model.name

    def ask(self, messages: Sequence[Message], *, purpose: str, schema: Mapping[str, Any] | None = None) -> Answer:
        """One answer. Tried again, in this call, while the server says that this may help.

        No try begins later than the time of one answer after the first, so that a hanging server is given up. An
        experiment whose tries have no answer rests longer and longer; every sixth in a row is no AgentUnavailable
        but GaveUp, which counts as a proposal: no generation waits for ever.
        """
        before = self._unanswered()
        self._rest(before)
        begun = time.monotonic()
        for tries in range(1, TRIES + 1):
            try:
                return self._try(messages, purpose, schema)
            except AgentUnavailable as error:
                wait = error.retry_after if error.retry_after is not None else FIRST_WAIT * 2 ** (tries - 1)
                late = time.monotonic() + wait - begun > self.model.seconds
                if tries == TRIES or not error.passes or wait > LONGEST_WAIT or late:
                    raise self._given_up(before, error) from error
            time.sleep(wait + uniform(0, wait / 4))  # noqa: S311 chance, not secrecy
        raise AssertionError("unreachable")

    def _try(self, messages: Sequence[Message], purpose: str, schema: Mapping[str, Any] | None) -> Answer:
        call = spending.reserve(self._asked(messages, purpose, schema))
        thought = Thought(call, self.proposer)
        thought.begin()

        def hear(piece: str) -> None:
            _go_on()
            thought.hear(piece)

        text: str | None = None
        useless: Unusable | None = None
        used = Used(CallState.FAILED, counted=False, error="the call was interrupted", price=self._price())
        try:
            answer = self.model.ask(messages, purpose=purpose, schema=schema, hear=hear)
            text, used = answer.text, self._used(answer)
        except Unusable as error:
            useless, used = error, self._of_no_use(error)
            raise
        except AgentUnavailable as error:
            used = Used(CallState.FAILED, counted=error.counted, error=str(error), price=self._price())
            raise
        finally:
            settled = spending.settle(call, used)
            thought.end(text)
            if useless is not None:
                useless.cost_usd = settled.cost_usd or 0.0  # the refused proposal says what it cost
        return replace(answer, cost_usd=settled.cost_usd or 0.0)

    def _asked(self, messages: Sequence[Message], purpose: str, schema: Mapping[str, Any] | None) -> Asked:
        return Asked(
            experiment=self.experiment, strategy=self.strategy, target=self.target, purpose=purpose,
            model=self.name, tokens_in=at_most_tokens(messages, schema), tokens_out=self.model.max_output,
            price=self._price(),
        )

    def _used(self, answer: Answer) -> Used:
        return Used(CallState.DONE, answer.model, answer.tokens_in, answer.tokens_out, answer.counted,
                    price=self._price(answer.model))

    def _of_no_use(self, error: Unusable) -> Used:
        """Its tokens count all the same."""
        return Used(CallState.FAILED, error.answered or self.name, error.tokens_in, error.tokens_out, error.counted,
                    str(error), self._price(error.answered))

    def _price(self, answered: str = "") -> Price | None:
        """That of its provider, else of the table: the higher of the model asked and the one that answered."""
        if self.model.price is not None:
            return Price(*self.model.price)
        try:
            table = prices.table()
        except Infrastructure as error:
            raise AgentUnavailable(str(error)) from error
        names = (self.name, answered.partition(" (asked for")[0])
        known = [price for name in names if name and (price := prices.price_of(name, table))]
        return Price(*map(max, zip(*known, strict=True))) if known else None

    def _unanswered(self) -> list[Call]:
        """The newest tries of this model, newest first, as far as none of them had an answer."""
        provider = self.strategy.provider  # another server may offer a model of the same name
        asked = self.experiment.calls.filter(model=self.name, strategy__provider=provider)
        newest = asked.exclude(state=CallState.RESERVED).order_by("-id")
        return list(takewhile(lambda call: not call.answered, newest[:MOST_UNANSWERED]))

    def _rest(self, unanswered: Sequence[Call]) -> None:
        """AgentUnavailable while it is too early to ask again."""
        if not unanswered or unanswered[0].ended_at is None:
            return
        rest = min(LONGEST_REST, FIRST_REST * 2 ** (len(unanswered) - 1))
        again = unanswered[0].ended_at + timedelta(seconds=rest)
        if timezone.now() < again:
            raise AgentUnavailable(f"{unanswered[0].error}; the next try is at {again:%H:%M:%S} UTC")

    def _given_up(self, before: Sequence[Call], error: AgentUnavailable) -> Exception:
        """What becomes of the last try: every IN_VAIN in a row it is a verdict, so that nothing waits for ever."""
        if isinstance(error, BudgetSpent):
            return error
        now = len(self._unanswered())
        if now // IN_VAIN == len(before) // IN_VAIN and now < MOST_UNANSWERED:
            return error
        return GaveUp(f"no answer in {now} tries in a row: {error}")


def at_most_tokens(messages: Sequence[Message], schema: Mapping[str, Any] | None) -> int:
    """More tokens than a prompt can have in practice: one for each two bytes (code has one for three or four)."""
    said = sum(len(message["content"].encode(errors="replace")) for message in messages)
    return (said + len(json.dumps(schema or {}))) // 2 + PER_MESSAGE * (len(messages) + 1)


def _go_on() -> None:
    """BudgetSpent when all calls were stopped while the answer was under way; what came of it is paid for."""
    try:
        spending.require_allowed()
    except BudgetSpent as error:
        error.counted = False
        raise
