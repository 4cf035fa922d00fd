"""Which language models can be asked, and where: the environment's, and those of the file DARWIN_PROVIDERS names.

The file is {"name": {"base_url", "key_env", "model", "timeout", "max_output", "price": {"in", "out"}}}: `key_env` is
the name of an environment variable, never a key. No Django here.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolution.agents.base import AgentUnavailable
from evolution.agents.model import MAX_OUTPUT, SECONDS, OpenAIModel
from evolution.errors import BadInput

OPENAI = "openai"  # the environment's
TAKEN = frozenset({OPENAI, "builtin", "replay"})
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
FIELDS = frozenset({"base_url", "key_env", "model", "timeout", "max_output", "price"})
LONGEST = 600.0  # seconds for one answer
NO_KEY = "none"  # what is sent to a server that wants no key

Environment = Mapping[str, str]


@dataclass(frozen=True)
class Provider:
    """A server that speaks the OpenAI interface, and what is asked of it unless a strategy says otherwise."""

    name: str
    base_url: str | None
    key_env: str | None  # the variable that holds its key
    model: str
    seconds: float = SECONDS
    max_output: int = MAX_OUTPUT
    price: tuple[float, float] | None = None  # USD per million tokens in and out

    def ready(self, environment: Environment) -> OpenAIModel:
        """The model, with its key; AgentUnavailable when the key is not there."""
        key = environment.get(self.key_env, "") if self.key_env else NO_KEY
        if not key:
            raise AgentUnavailable(f"{self.key_env} is not set: the provider {self.name} takes its key from there")
        return OpenAIModel(
            name=self.model, key=key, base_url=self.base_url, seconds=self.seconds, max_output=self.max_output,
            price=self.price,
        )


def model_of(provider: str, environment: Environment = os.environ) -> OpenAIModel:
    """The model of `provider`, "openai" or one of the file; AgentUnavailable or BadInput says what is missing."""
    if provider == OPENAI:
        return from_environment(environment)
    found = listed(environment)
    if provider not in found:
        known = ", ".join(found) or "no file, or an empty one"
        raise BadInput(
            f"there is no agent {provider!a}: choose builtin, openai or replay:FILE, or a provider that "
            f"DARWIN_PROVIDERS lists ({known})"
        )
    return found[provider].ready(environment)


def from_environment(environment: Environment = os.environ) -> OpenAIModel:
    """The model of OPENAI_API_KEY, OPENAI_BASE_URL and DARWIN_MODEL; AgentUnavailable says which is missing."""
    key, model = environment.get("OPENAI_API_KEY", ""), environment.get("DARWIN_MODEL", "")
    if not key:
        raise AgentUnavailable(
            "OPENAI_API_KEY is not set: set it (any text for a local server, with OPENAI_BASE_URL), "
            "or choose the builtin agent"
        )
    if not model:
        raise AgentUnavailable("DARWIN_MODEL is not set: set it to the name of a model which the server offers")
    stated = environment.get("DARWIN_MODEL_SECONDS") or str(SECONDS)
    seconds = _number(stated)
    if seconds is None:
        raise AgentUnavailable(f"DARWIN_MODEL_SECONDS is {stated!r}: give seconds, at most {LONGEST:.0f}")
    return OpenAIModel(name=model, key=key, base_url=environment.get("OPENAI_BASE_URL") or None, seconds=seconds)


def listed(environment: Environment = os.environ) -> dict[str, Provider]:
    """The providers of the file, by name; empty without one. BadInput says in one sentence what is wrong with it."""
    file = environment.get("DARWIN_PROVIDERS", "")
    if not file:
        return {}
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"DARWIN_PROVIDERS names {file}, which cannot be read as JSON ({error}): mend it") from error
    if not isinstance(found, dict):
        raise BadInput(f'{file} must hold one object, {{"name": {{"base_url": …, "key_env": …, "model": …}}}}')
    return {name: _provider(name, one, file) for name, one in found.items()}


def key_variables(environment: Environment = os.environ) -> frozenset[str]:
    """The variables that hold keys of the file's providers. BadInput for a bad file: what it would name may leak."""
    return frozenset(one.key_env for one in listed(environment).values() if one.key_env)


def _provider(name: str, given: Any, file: str) -> Provider:
    where = f"the provider {name!a} in {file}"
    if not NAME.fullmatch(name) or name in TAKEN:
        raise BadInput(f"{where} cannot be called so: use small letters, digits, dots and hyphens")
    if not isinstance(given, dict) or not set(given) <= FIELDS:
        raise BadInput(f"{where} may have {', '.join(sorted(FIELDS))}, and nothing else: keys stay in the environment")
    return Provider(
        name=name, base_url=_address(given, where), key_env=_variable(given, where), model=_model(given, where),
        seconds=_seconds(given, where), max_output=_output(given, where), price=_price(given, where),
    )


def _address(given: Mapping[str, Any], where: str) -> str | None:
    address = given.get("base_url")
    if address is not None and not (isinstance(address, str) and re.match(r"https?://[^\s@]+$", address)):
        raise BadInput(f"the base_url of {where} is no address: write http://… or https://…, without a password")
    return address


def _variable(given: Mapping[str, Any], where: str) -> str | None:
    name = given.get("key_env")
    if name is not None and not (isinstance(name, str) and VARIABLE.fullmatch(name)):
        raise BadInput(f"the key_env of {where} is no name of an environment variable: the key itself stays there")
    return name


def _model(given: Mapping[str, Any], where: str) -> str:
    model = given.get("model")
    if not isinstance(model, str) or not model.strip() or len(model) > 200:
        raise BadInput(f"{where} needs a model: the name of one which the server offers")
    return model


def _seconds(given: Mapping[str, Any], where: str) -> float:
    seconds = _number(given.get("timeout", SECONDS))
    if seconds is None:
        raise BadInput(f"the timeout of {where} must be seconds, at most {LONGEST:.0f}")
    return seconds


def _number(value: Any) -> float | None:
    """Seconds for one answer; None when it is none, or too many."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if math.isfinite(seconds) and 0 < seconds <= LONGEST else None


def _output(given: Mapping[str, Any], where: str) -> int:
    tokens = given.get("max_output", MAX_OUTPUT)
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 < tokens <= 10**6:
        raise BadInput(f"the max_output of {where} must be a number of tokens")
    return tokens


def _price(given: Mapping[str, Any], where: str) -> tuple[float, float] | None:
    price = given.get("price")
    if price is None:
        return None
    pair = (price.get("in"), price.get("out")) if isinstance(price, dict) else (None, None)
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and 0 <= one < 1e6 for one in pair):
        raise BadInput(f'the price of {where} must be {{"in": USD, "out": USD}} per million tokens')
    return float(pair[0]), float(pair[1])  # type: ignore[arg-type]
