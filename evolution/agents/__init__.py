"""Who proposes. `agent_for` is the only place that knows every kind of agent.

No Django is imported here: the confined child that runs the operators passes through this file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evolution.agents import providers, writing
from evolution.agents.base import Agent, AgentUnavailable, Brief
from evolution.agents.builtin import BuiltinAgent
from evolution.agents.chunk_agent import ChunkAgent
from evolution.agents.model import Model
from evolution.agents.openai_agent import OpenAIAgent
from evolution.agents.providers import OPENAI
from evolution.agents.replay import ReplayAgent
from evolution.errors import BadInput

if TYPE_CHECKING:
    from evolution.models import Experiment, Strategy, Variant

__all__ = ["BUILTIN", "OPENAI", "REPLAY", "agent_for", "model_for"]

BUILTIN = "builtin"
REPLAY = "replay:"


def agent_for(experiment: Experiment, strategy: Strategy) -> Agent:
    """The agent that proposes by `strategy`: "builtin", "replay:FILE", or a language model of a provider.

    AgentUnavailable when its provider is none of them, cannot be read about, or lacks its key.
    """
    name = strategy.provider
    if name == BUILTIN:
        return BuiltinAgent()
    if name.startswith(REPLAY):
        return ReplayAgent(experiment, Path(name.removeprefix(REPLAY)))
    model = model_for(experiment, strategy)

    def about(brief: Brief) -> Model:
        target = experiment.variants.get(number=brief.target)
        return model_for(experiment, strategy, target=target, proposer=brief.proposer)

    if strategy.mode == writing.CHUNKS:
        return ChunkAgent(model, about, strategy.chunk_probability, strategy.instructions)
    return OpenAIAgent(model, about, _mode(strategy), strategy.instructions)


def _mode(strategy: Strategy) -> str:
    if strategy.mode not in writing.SCHEMAS:
        raise BadInput(f"the strategy {strategy.name!r} asks a language model in mode {strategy.mode}: choose another")
    return strategy.mode


def model_for(
    experiment: Experiment, strategy: Strategy, *, target: Variant | None = None, proposer: int | None = None
) -> Model:
    """The language model of `strategy`, ready to be asked about `target` by the agent of the variant `proposer`.

    Every call of it is a row: its highest price is reserved before, it is settled after, and it is tried again where
    that may help. BadInput for a strategy without a language model, AgentUnavailable says what is missing.
    """
    from evolution.agents.recorded import RecordedModel  # noqa: PLC0415 Django, which the confined child must not load

    if strategy.provider == BUILTIN or strategy.provider.startswith(REPLAY):
        raise BadInput(f"the strategy {strategy.name!r} asks no language model: its provider is {strategy.provider}")
    try:
        model = providers.model_of(strategy.provider)
    except BadInput as error:
        raise AgentUnavailable(str(error)) from error
    temperature = model.temperature if strategy.temperature is None else strategy.temperature
    model = replace(model, name=strategy.model or model.name, temperature=temperature)
    return RecordedModel(model, experiment, strategy, target, proposer)
