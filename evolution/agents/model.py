"""Language models behind the OpenAI interface: OpenAI itself, vLLM, Ollama, llama.cpp and others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from evolution.agents import wire
from evolution.agents.base import AgentUnavailable, Unusable
from evolution.agents.wire import MAX_ANSWER, Completion, Failed, Hear, TooLarge, TooLate

if TYPE_CHECKING:
    import httpx2
    from openai import APIStatusError, OpenAI, OpenAIError

SECONDS = 180.0
TEMPERATURE = 0.2
MAX_OUTPUT = 16_000  # tokens of one answer, thinking included
MAX_REASON = 200
MAX_SAID = 20_000
SHORTEST_KEY = 8  # letters; local servers are given any text, which may be a word of the program
AGAIN = (408, 409, 425, 429)  # and 5xx: asking again may help
LIMIT = "max_tokens"
GATEWAY = (502, 504, 524)  # the server behind it may have answered, and charge for it
TOO_LONG = "context_length_exceeded"
NO_MONEY = "insufficient_quota"  # comes as 429, and no patience helps

Message = Mapping[str, str]  # {"role": "system" | "user" | "assistant", "content": text}


@dataclass(frozen=True)
class Answer:
    """What a model replied, who said it did, and what it cost."""

    text: str
    model: str
    tokens_in: int
    tokens_out: int
    cost_usd: float = 0.0
    counted: bool = True  # False: the server did not say how many tokens it used


class Model(Protocol):
    """A language model that can be asked."""

    @property
    def name(self) -> str: ...

    def ask(self, messages: Sequence[Message], *, purpose: str, schema: Mapping[str, Any] | None = None) -> Answer:
        """One answer to `messages`, as JSON of `schema` where the server can. `purpose` is for the record of calls.

        Raises AgentUnavailable when it cannot be asked, BudgetSpent (one of its kind) when it may not be, Unusable
        (with its tokens) for an answer of no use.
        """


class _Ear:
    """Passes on what is said, without the key, also where that comes in pieces: the last letters wait for the next."""

    def __init__(self, hear: Hear, scrubbed: Callable[[str], str], wait: int) -> None:
        self._hear, self._scrubbed, self._wait, self._held = hear, scrubbed, max(wait, 0), ""

    def __call__(self, piece: str) -> None:
        text = self._scrubbed(self._held + piece)
        end = max(len(text) - self._wait, 0)
        self._held = text[end:]
        if end:
            self._hear(text[:end])

    def end(self) -> None:
        if self._held:
            self._hear(self._held)


@dataclass(frozen=True)
class OpenAIModel:
    """One model of one server, asked once: whoever records the calls asks again where that may help."""

    name: str
    key: str
    base_url: str | None = None
    temperature: float = TEMPERATURE
    seconds: float = SECONDS  # for a whole answer
    max_output: int = MAX_OUTPUT
    price: tuple[float, float] | None = None  # USD per million tokens in and out, where its provider states it

    def __repr__(self) -> str:
        return f"OpenAIModel({self.name!r})"  # the key is for nobody's log

    def ask(
        self, messages: Sequence[Message], *, purpose: str = "", schema: Mapping[str, Any] | None = None,
        hear: Hear | None = None,
    ) -> Answer:
        """One answer; `hear` is told its text as it arrives. An error says by `passes` whether to try again."""
        ear = None if hear is None else _Ear(hear, self._scrubbed, len(self.key) - 1)
        completion = self._without_key(self._first(messages, schema, ear))
        if ear is not None:
            ear.end()
        counted = completion.usage is not None
        tokens_in, tokens_out = completion.usage or (0, 0)
        try:
            return Answer(self._text(completion), self._answered(completion), tokens_in, tokens_out, counted=counted)
        except Unusable as error:
            error.tokens_in, error.tokens_out, error.counted = tokens_in, tokens_out, counted
            error.answered = self._answered(completion)
            raise

    def _without_key(self, completion: Completion) -> Completion:
        """A server may repeat the key it was given: it must not get into the record."""
        for name in ("text", "refusal", "model"):
            setattr(completion, name, self._scrubbed(getattr(completion, name)))
        return completion

    def _scrubbed(self, text: str) -> str:
        return text.replace(self.key, "…") if len(self.key) >= SHORTEST_KEY else text

    def _text(self, completion: Completion) -> str:
        if completion.finish == "length":
            raise Unusable(f"the reply of {self.name} was cut off at the server's limit of tokens")
        if completion.finish == "content_filter":
            raise Unusable(f"the reply of {self.name} was held back by the server's filter")
        if completion.refusal:
            raise Unusable(f"{self.name} refused: {completion.refusal[:MAX_REASON]}")
        if completion.called_a_tool:
            raise Unusable(f"{self.name} called a tool in place of a reply")
        if not completion.text.strip():
            raise Unusable(f"{self.name} gave an empty reply")
        if completion.finish == "broken":
            raise Unusable(f"the reply of {self.name} breaks off")
        return completion.text

    def _answered(self, completion: Completion) -> str:
        """Who answered: servers give a version of the model that was asked for, and sometimes another model."""
        answered = completion.model or self.name
        return answered if self.name in answered else f"{answered} (asked for {self.name})"

    def _first(self, asked: Sequence[Message], schema: Mapping[str, Any] | None, hear: Hear | None) -> Completion:
        """The first answer, asking for less each time the server refuses the request as it is (400 or 422).

        Some servers know no JSON schema or no streams, and some models take no temperature or limit.
        """
        from openai import BadRequestError, UnprocessableEntityError  # noqa: PLC0415 takes 1 s

        wishes = self._wishes(schema)
        deadline = time.monotonic() + self.seconds
        with self._client(deadline) as client:
            while True:
                try:
                    with self._errors(deadline):
                        return self._complete(client, asked, wishes, hear=hear)
                except (BadRequestError, UnprocessableEntityError) as error:
                    self._give_in(wishes, error)

    def _wishes(self, schema: Mapping[str, Any] | None) -> dict[str, Any]:
        """What is asked for beyond the plain interface, in the order in which it is given up."""
        return {
            **({"response_format": schema} if schema else {}),
            "max_completion_tokens": self.max_output,
            "temperature": self.temperature,
            "stream": True,
        }

    def _give_in(self, wishes: dict[str, Any], error: APIStatusError) -> None:
        """Take back the wish that the server names, else the next; what is refused without any is an error."""
        said = self._scrubbed(_said(error))
        if error.code == TOO_LONG:
            raise Unusable(f"the prompt is too long for {self.name}: {said[:MAX_REASON]}") from error
        # The limit may go by its older name, and is never given up: what was set aside is counted with it.
        left = [one for one in wishes if one != LIMIT]
        named = next((one for one in left if one in said), next(iter(left), ""))
        if not named:
            raise self._unavailable(said) from error
        value = wishes.pop(named)
        if named == "max_completion_tokens":
            wishes[LIMIT] = value

    @contextmanager
    def _client(self, deadline: float) -> Iterator[OpenAI]:
        from openai import OpenAI  # noqa: PLC0415

        from evolution.agents import transport  # noqa: PLC0415

        # Retries are ours, so that every try is on record.
        with OpenAI(
            api_key=self.key, base_url=self.base_url, timeout=self.seconds, max_retries=0,
            http_client=transport.client(deadline),
        ) as client:
            yield client

    @contextmanager
    def _errors(self, deadline: float) -> Iterator[None]:
        """Every way in which a server fails as one of ours; a refused request (400, 422) passes through."""
        from httpx2 import ConnectError, ConnectTimeout, HTTPError  # noqa: PLC0415
        from openai import (  # noqa: PLC0415
            APIConnectionError,
            APIStatusError,
            APITimeoutError,
            BadRequestError,
            OpenAIError,
            UnprocessableEntityError,
        )

        try:
            yield
        except (BadRequestError, UnprocessableEntityError):
            raise
        except TooLarge as error:
            large = Unusable(f"the answer of {self.name} is larger than {MAX_ANSWER >> 20} MB")
            large.counted = False
            raise large from error
        except APIStatusError as error:
            raise self._refused(error) from error
        except (APITimeoutError, TooLate) as error:
            raise self._unavailable(
                f"no whole answer in {self.seconds:.0f} s", passes=True, counted=False) from error
        except Failed as error:
            raise self._unavailable(f"it failed within its answer: {error}", passes=True, counted=False) from error
        except APIConnectionError as error:
            # Where no connection was made nothing can cost anything.
            never = isinstance(error.__cause__, ConnectError | ConnectTimeout)
            said = f"no connection: {error.__cause__ or error}"
            raise self._unavailable(said, passes=True, counted=never) from error
        except HTTPError as error:
            late = time.monotonic() > deadline
            said = f"no whole answer in {self.seconds:.0f} s" if late else f"the connection broke ({error})"
            raise self._unavailable(said, passes=True, counted=False) from error
        except OpenAIError as error:
            raise self._unavailable(str(error)) from error

    def _complete(
        self, client: OpenAI, asked: Sequence[Message], wishes: Mapping[str, Any], *, hear: Hear | None
    ) -> Completion:
        create: Any = client.chat.completions.with_streaming_response.create
        extra = {**wishes, **({"stream_options": {"include_usage": True}} if "stream" in wishes else {})}
        with create(model=self.name, messages=list(asked), **extra) as response:
            raw: httpx2.Response = response.http_response
            try:
                return wire.read(raw, wire.bounded(raw.iter_bytes()), who=self.name, hear=hear)
            except Unusable as error:
                error.counted = False  # it answered something, and said nothing of what that costs
                raise

    def _refused(self, error: APIStatusError) -> AgentUnavailable:
        passes = (error.status_code in AGAIN or error.status_code >= 500) and error.code != NO_MONEY
        counted = error.status_code not in GATEWAY
        return self._unavailable(_said(error), passes=passes, counted=counted, after=retry_after(error))

    def _unavailable(
        self, said: str, *, passes: bool = False, counted: bool = True, after: float | None = None
    ) -> AgentUnavailable:
        shown = self._scrubbed(said)[:MAX_REASON]
        todo = "it is asked again later" if passes else (
            "check its address, key and name (OPENAI_BASE_URL, OPENAI_API_KEY and DARWIN_MODEL, or DARWIN_PROVIDERS)"
        )
        error = AgentUnavailable(f"{self.name} could not be asked ({shown}): {todo}")
        error.passes, error.counted, error.retry_after = passes, counted, after
        return error


def retry_after(error: APIStatusError) -> float | None:
    """Seconds that the server asks to wait: a number, or a date (RFC 9110, 10.2.3)."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    stated = error.response.headers.get("retry-after", "")
    try:
        return max(0.0, float(stated))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(stated).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _said(error: OpenAIError) -> str:
    return " ".join(str(error)[:MAX_SAID].split())  # cut further once the key is out
