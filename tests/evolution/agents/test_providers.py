"""The file of providers: what it may hold, and that a key in it is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from evolution.agents import agent_for, providers
from evolution.agents.base import AgentUnavailable
from evolution.agents.chunk_agent import ChunkAgent
from evolution.agents.openai_agent import OpenAIAgent
from evolution.errors import BadInput
from evolution.models import Experiment
from tests import cast

GOOD = {
    "local": {"base_url": "http://127.0.0.1:8080/v1", "model": "qwen", "timeout": 30, "price": {"in": 0, "out": 0}},
    "other": {"key_env": "OTHER_SECRET", "model": "large", "max_output": 500},
}


def named(path: Path, content: Any) -> dict[str, str]:
    file = path / "providers.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return {"DARWIN_PROVIDERS": str(file)}


def test_a_provider_says_where_and_whom_to_ask(tmp_path: Path) -> None:
    environment = {**named(tmp_path, GOOD), "OTHER_SECRET": "s"}
    local, other = (providers.model_of(name, environment) for name in GOOD)
    assert (local.name, local.base_url, local.seconds, local.price) == ("qwen", "http://127.0.0.1:8080/v1", 30, (0, 0))
    assert (other.name, other.key, other.max_output, other.price) == ("large", "s", 500, None)


def test_a_key_that_is_not_there_is_named_by_its_variable(tmp_path: Path) -> None:
    with pytest.raises(AgentUnavailable, match="OTHER_SECRET is not set"):
        providers.model_of("other", named(tmp_path, GOOD))


def test_the_variables_with_keys_are_known(tmp_path: Path) -> None:
    assert providers.key_variables(named(tmp_path, GOOD)) == {"OTHER_SECRET"}
    assert providers.key_variables({}) == frozenset()


@pytest.mark.parametrize(("content", "why"), [
    ("{", "cannot be read as JSON"),
    ([], "one object"),
    ({"Big One": {"model": "m"}}, "cannot be called so"),
    ({"openai": {"model": "m"}}, "cannot be called so"),
    ({"a": {"model": "m", "key": "sk-123"}}, "keys stay in the environment"),
    ({"a": {"model": "m", "key_env": "sk-123"}}, "no name of an environment variable"),
    ({"a": {}}, "needs a model"),
    ({"a": {"model": "m", "base_url": "ftp://h"}}, "no address"),
    ({"a": {"model": "m", "base_url": "https://me:secret@h/v1"}}, "no address"),
    ({"a": {"model": "m", "timeout": 601}}, "at most 600"),
    ({"a": {"model": "m", "timeout": "soon"}}, "at most 600"),
    ({"a": {"model": "m", "max_output": 0}}, "number of tokens"),
    ({"a": {"model": "m", "price": 3}}, "the price of"),
])
def test_a_bad_file_is_refused_in_one_sentence(content: Any, why: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=why) as caught:
        providers.listed(named(tmp_path, content))
    assert "sk-123" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.django_db
@pytest.mark.parametrize(("mode", "kind"), [
    ("edits", OpenAIAgent), ("diff", OpenAIAgent), ("file", OpenAIAgent), ("chunks", ChunkAgent),
])
def test_a_strategy_asks_its_provider_in_its_mode(
    mode: str, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARWIN_PROVIDERS", named(tmp_path, GOOD)["DARWIN_PROVIDERS"])
    experiment: Experiment = cast.experiment("providers")
    strategy = experiment.strategies.create(name="bold", provider="local", mode=mode, model="special")
    agent = agent_for(experiment, strategy)
    assert isinstance(agent, kind)
    assert agent.name == "special"
    strategy.mode = "operators"
    with pytest.raises(BadInput, match="mode operators"):
        agent_for(experiment, strategy)
