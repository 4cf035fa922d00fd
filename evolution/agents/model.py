"""Language models behind the OpenAI interface: OpenAI itself, vLLM, Ollama, llama.cpp and others."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from evolution.agents.base import AgentUnavailable, Unusable

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletion

SECONDS = 180.0
RETRIES = 3
TEMPERATURE = 0.2
MAX_REASON = 200
MAX_ANSWER = 4 << 20  # bytes of one answer of the server

Message = Mapping[str, str]  # {"role": "system" | "user" | "assistant", "content": text}


@dataclass(frozen=True)
class Answer:
    """What a model replied, who said it did, and what it cost."""

    text: str
    model: str
    tokens_in: int
    tokens_out: int
    cost_usd: float = 0.0


class Model(Protocol):
    """A language model that can be asked."""

    @property
    def name(self) -> str: ...

    def ask(self, messages: Sequence[Message], *, purpose: str, schema: Mapping[str, Any] | None = None) -> Answer:
        """One answer to `messages`, as JSON of `schema` where the server can. `purpose` is for the record of calls.

        Raises AgentUnavailable when it cannot be asked, Unusable (with its tokens) for an answer of no use.
        """


@dataclass(frozen=True)
class OpenAIModel:
    """One model of one server."""

    name: str
    key: str
    base_url: str | None = None
    temperature: float = TEMPERATURE
    seconds: float = SECONDS
    retries: int = RETRIES

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> OpenAIModel:
        """The model of OPENAI_API_KEY, OPENAI_BASE_URL and DARWIN_MODEL; AgentUnavailable says which is missing."""
        key, model = environment.get("OPENAI_API_KEY", ""), environment.get("DARWIN_MODEL", "")
        if not key:
            raise AgentUnavailable(
                "OPENAI_API_KEY is not set: set it (any text for a local server, with OPENAI_BASE_URL), "
                "or choose the builtin agent"
            )
        if not model:
            raise AgentUnavailable("DARWIN_MODEL is not set: set it to the name of a model which the server offers")
        return cls(name=model, key=key, base_url=environment.get("OPENAI_BASE_URL") or None)

    def ask(self, messages: Sequence[Message], *, purpose: str, schema: Mapping[str, Any] | None = None) -> Answer:
        completion = self._first(messages, schema)
        used = completion.usage
        tokens_in, tokens_out = (used.prompt_tokens, used.completion_tokens) if used else (0, 0)
        try:
            return Answer(self._text(completion), self._answered(completion), tokens_in, tokens_out)
        except Unusable as error:
            error.tokens_in, error.tokens_out = tokens_in, tokens_out
            raise

    def _text(self, completion: ChatCompletion) -> str:
        choice = completion.choices[0] if completion.choices else None
        if choice is not None and choice.finish_reason == "length":
            raise Unusable(f"the reply of {self.name} was cut off at the server's limit of tokens")
        if choice is not None and choice.message.refusal:
            raise Unusable(f"{self.name} refused: {choice.message.refusal[:MAX_REASON]}")
        if choice is not None and choice.message.tool_calls:
            raise Unusable(f"{self.name} called a tool in place of a reply")
        if choice is None or not choice.message.content:
            raise Unusable(f"{self.name} gave an empty reply")
        return choice.message.content

    def _answered(self, completion: ChatCompletion) -> str:
        """Who answered: servers give a version of the model that was asked for, and sometimes another model."""
        answered = completion.model or self.name
        return answered if self.name in answered else f"{answered} (asked for {self.name})"

    def _first(self, asked: Sequence[Message], schema: Mapping[str, Any] | None) -> ChatCompletion:
        """The first answer, asking for less each time the server refuses the request as it is (400 or 422).

        Some servers know no JSON schema, and some models take no temperature.
        """
        from openai import BadRequestError, OpenAI, OpenAIError, UnprocessableEntityError  # noqa: PLC0415 takes 1 s

        client = OpenAI(api_key=self.key, base_url=self.base_url, timeout=self.seconds, max_retries=self.retries)
        refused: OpenAIError | None = None
        shaped: dict[str, Any] = {"response_format": schema} if schema else {}
        temperature: dict[str, Any] = {"temperature": self.temperature}
        for extra in ({**shaped, **temperature}, *([shaped] if shaped else []), temperature, {}):
            try:
                return self._complete(client, asked, extra)
            except (BadRequestError, UnprocessableEntityError) as error:
                refused = error
            except OpenAIError as error:
                raise self._unavailable(error) from error
        raise self._unavailable(refused) from refused

    def _complete(self, client: OpenAI, asked: Sequence[Message], extra: Mapping[str, Any]) -> ChatCompletion:
        """One answer, within bounds of time and size: a timeout of the connection begins again with every byte."""
        from httpx2 import HTTPError  # noqa: PLC0415
        from openai import APIConnectionError  # noqa: PLC0415
        from openai.types.chat import ChatCompletion  # noqa: PLC0415

        deadline, content = time.monotonic() + self.seconds, bytearray()
        create: Any = client.chat.completions.with_streaming_response.create
        with create(model=self.name, messages=list(asked), **extra) as response:
            request = response.http_request
            try:
                for part in response.iter_bytes():
                    content += part
                    if len(content) > MAX_ANSWER:
                        raise Unusable(f"the answer of {self.name} is larger than {MAX_ANSWER >> 20} MB")
                    if time.monotonic() > deadline:
                        raise APIConnectionError(message=f"no whole answer in {self.seconds:.0f} s", request=request)
            except HTTPError as error:
                raise APIConnectionError(message=f"the connection broke ({error})", request=request) from error
        try:
            return ChatCompletion.model_validate_json(bytes(content))
        except ValueError as error:
            raise Unusable(f"the answer of {self.name} is not what the interface promises") from error

    def _unavailable(self, error: Exception | None) -> AgentUnavailable:
        return AgentUnavailable(
            f"{self.name} could not be asked ({error}): check OPENAI_BASE_URL, OPENAI_API_KEY and DARWIN_MODEL"
        )
