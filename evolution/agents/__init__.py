"""Who proposes. `agent_for` is the only place that knows every kind of agent.

No Django is imported here: the confined child that runs the operators passes through this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evolution.agents.base import Agent
from evolution.agents.builtin import BuiltinAgent
from evolution.agents.openai_agent import OpenAIAgent
from evolution.agents.replay import ReplayAgent
from evolution.errors import BadInput

if TYPE_CHECKING:
    from evolution.models import Experiment

REPLAY = "replay:"


def agent_for(experiment: Experiment) -> Agent:
    """The agent which `experiment.agent` names: "builtin", "openai" or "replay:FILE"; BadInput for another name."""
    name = experiment.agent
    if name == "builtin":
        return BuiltinAgent()
    if name == "openai":
        return OpenAIAgent.from_environment()
    if name.startswith(REPLAY):
        return ReplayAgent(experiment, Path(name.removeprefix(REPLAY)))
    raise BadInput(f"there is no agent {name!r}: choose builtin, openai or replay:FILE")


def repairs(experiment: Experiment) -> bool:
    """Whether its agent can mend what failed: only a language model reads a traceback."""
    return experiment.agent == "openai"
