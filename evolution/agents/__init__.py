"""Who proposes. `agent_for` is the only place that knows every kind of agent.

No Django is imported here: the confined child that runs the operators passes through this file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evolution.agents.base import Agent
from evolution.agents.builtin import BuiltinAgent
from evolution.agents.model import Model, OpenAIModel
from evolution.agents.openai_agent import OpenAIAgent
from evolution.agents.replay import ReplayAgent
from evolution.errors import BadInput

if TYPE_CHECKING:
    from evolution.models import Experiment, Strategy, Variant

BUILTIN = "builtin"
OPENAI = "openai"
REPLAY = "replay:"


def agent_for(experiment: Experiment, strategy: Strategy) -> Agent:
    """The agent that proposes by `strategy`: its provider is "builtin", "openai" or "replay:FILE"; else BadInput."""
    name = strategy.provider
    if name == BUILTIN:
        return BuiltinAgent()
    if name == OPENAI:
        return OpenAIAgent(model_for(experiment, strategy))
    if name.startswith(REPLAY):
        return ReplayAgent(experiment, Path(name.removeprefix(REPLAY)))
    raise BadInput(f"there is no agent {name!r}: choose builtin, openai or replay:FILE")


def model_for(experiment: Experiment, strategy: Strategy, *, target: Variant | None = None) -> Model:
    """The language model of `strategy`, ready to be asked about `target`; AgentUnavailable says what is missing."""
    if strategy.provider != OPENAI:
        raise BadInput(f"the strategy {strategy.name!r} asks no language model: its provider is {strategy.provider}")
    model = OpenAIModel.from_environment()
    temperature = model.temperature if strategy.temperature is None else strategy.temperature
    return replace(model, name=strategy.model or model.name, temperature=temperature)
