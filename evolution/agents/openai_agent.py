"""Language models behind the OpenAI interface: OpenAI itself, vLLM, Ollama, llama.cpp and others."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolution.agents import reply
from evolution.agents.base import AgentUnavailable, Brief, Proposal, Unusable

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

PROMPTS = Path(__file__).parent / "prompts"
SECONDS = 180.0
RETRIES = 3
TEMPERATURE = 0.2
MAX_FILE = 60_000  # characters of one file that are shown
MAX_REASON = 200
MAX_ANSWER = 4 << 20  # bytes of one answer of the server
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

    model: str
    key: str
    base_url: str | None = None
    temperature: float = TEMPERATURE
    seconds: float = SECONDS
    retries: int = RETRIES

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> OpenAIAgent:
        """The agent of OPENAI_API_KEY, OPENAI_BASE_URL and DARWIN_MODEL; AgentUnavailable says which is missing."""
        key, model = environment.get("OPENAI_API_KEY", ""), environment.get("DARWIN_MODEL", "")
        if not key:
            raise AgentUnavailable(
                "OPENAI_API_KEY is not set: set it (any text for a local server, with OPENAI_BASE_URL), "
                "or choose the builtin agent"
            )
        if not model:
            raise AgentUnavailable("DARWIN_MODEL is not set: set it to the name of a model which the server offers")
        return cls(model=model, key=key, base_url=environment.get("OPENAI_BASE_URL") or None)

    @property
    def name(self) -> str:
        return self.model

    def propose(self, brief: Brief) -> Proposal:
        """The model's proposal; Unusable when its reply is none, AgentUnavailable when it cannot be reached.

        A reply that is no proposal goes back once with the reason. The tokens of both count.
        """
        asked = messages(brief)
        tokens_in = tokens_out = 0
        for ask in range(ASKS):
            completion = self._ask(asked)
            if completion.usage is not None:
                tokens_in += completion.usage.prompt_tokens
                tokens_out += completion.usage.completion_tokens
            text = ""
            try:
                text = self._text(completion)
                return reply.proposal(
                    text, brief, author=f"agent:{self._answered(completion)}",
                    tokens_in=tokens_in, tokens_out=tokens_out,
                )
            except Unusable as error:
                error.tokens_in, error.tokens_out = tokens_in, tokens_out
                if ask + 1 == ASKS:
                    raise
                asked = [*asked, *_again(text, str(error))]
        raise AssertionError("unreachable")

    def _text(self, completion: ChatCompletion) -> str:
        choice = completion.choices[0] if completion.choices else None
        if choice is not None and choice.finish_reason == "length":
            raise Unusable(f"the reply of {self.model} was cut off at the server's limit of tokens")
        if choice is not None and choice.message.refusal:
            raise Unusable(f"{self.model} refused: {choice.message.refusal[:MAX_REASON]}")
        if choice is not None and choice.message.tool_calls:
            raise Unusable(f"{self.model} called a tool in place of a reply")
        if choice is None or not choice.message.content:
            raise Unusable(f"{self.model} gave an empty reply")
        return choice.message.content

    def _answered(self, completion: ChatCompletion) -> str:
        """Who answered: servers give a version of the model that was asked for, and sometimes another model."""
        answered = completion.model or self.model
        return answered if self.model in answered else f"{answered} (asked for {self.model})"

    def _ask(self, asked: list[ChatCompletionMessageParam]) -> ChatCompletion:
        """The first answer, asking for less each time the server refuses the request as it is (400 or 422).

        Some servers know no JSON schema, and some models take no temperature.
        """
        from openai import BadRequestError, OpenAI, OpenAIError, UnprocessableEntityError  # noqa: PLC0415 takes 1 s

        client = OpenAI(api_key=self.key, base_url=self.base_url, timeout=self.seconds, max_retries=self.retries)
        refused: OpenAIError | None = None
        schema, temperature = {"response_format": RESPONSE_FORMAT}, {"temperature": self.temperature}
        for extra in ({**schema, **temperature}, schema, temperature, {}):
            try:
                return self._complete(client, asked, extra)
            except (BadRequestError, UnprocessableEntityError) as error:
                refused = error
            except OpenAIError as error:
                raise self._unavailable(error) from error
        raise self._unavailable(refused) from refused

    def _complete(
        self, client: OpenAI, asked: list[ChatCompletionMessageParam], extra: Mapping[str, Any]
    ) -> ChatCompletion:
        """One answer, within bounds of time and size: a timeout of the connection begins again with every byte."""
        from httpx2 import HTTPError  # noqa: PLC0415
        from openai import APIConnectionError  # noqa: PLC0415
        from openai.types.chat import ChatCompletion  # noqa: PLC0415

        deadline, content = time.monotonic() + self.seconds, bytearray()
        create = client.chat.completions.with_streaming_response.create
        with create(model=self.model, messages=asked, **extra) as response:
            request = response.http_request
            try:
                for part in response.iter_bytes():
                    content += part
                    if len(content) > MAX_ANSWER:
                        raise Unusable(f"the answer of {self.model} is larger than {MAX_ANSWER >> 20} MB")
                    if time.monotonic() > deadline:
                        raise APIConnectionError(message=f"no whole answer in {self.seconds:.0f} s", request=request)
            except HTTPError as error:
                raise APIConnectionError(message=f"the connection broke ({error})", request=request) from error
        try:
            return ChatCompletion.model_validate_json(bytes(content))
        except ValueError as error:
            raise Unusable(f"the answer of {self.model} is not what the interface promises") from error

    def _unavailable(self, error: Exception | None) -> AgentUnavailable:
        return AgentUnavailable(
            f"{self.model} could not be asked ({error}): check OPENAI_BASE_URL, OPENAI_API_KEY and DARWIN_MODEL"
        )


def messages(brief: Brief) -> list[ChatCompletionMessageParam]:
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
        )
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _again(text: str, reason: str) -> list[ChatCompletionMessageParam]:
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
