"""What every agent is: something that turns a brief into a proposal. No Django here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from evolution.errors import DarwinError, Infrastructure
from trainer.contract import Genome


class AgentUnavailable(Infrastructure):
    """The agent cannot be asked: no key, no network, or its provider failed. The message says what to do."""

    passes = False  # asking again may help: a rate limit, a timeout, an error of the server
    retry_after: float | None = None  # seconds, where the server said so
    counted = True  # it cost nothing; False: the server may have begun to answer, and charge for it


class BudgetSpent(AgentUnavailable):
    """No call is allowed now: a budget is spent, a price is not known, or somebody stopped all calls."""


class Unusable(DarwinError):
    """The agent replied, and no proposal can be made of it. The message is what the record keeps."""

    tokens_in = 0  # what the replies cost all the same
    tokens_out = 0
    cost_usd = 0.0
    counted = True  # False: the server did not say how many tokens it used
    answered = ""  # which model said it answered


class GaveUp(Unusable):
    """A model did not answer in so many tries that this counts as a reply of no use. It is not asked again at once."""


@dataclass(frozen=True)
class Failure:
    """Why the target of a brief does not train. All of it may hold text of a variant: shown, never obeyed."""

    reason: str
    traceback: str  # its last lines, of the training only; empty when it ran no code
    diff: str  # from the last code that worked
    code: str = ""  # around the line that failed, numbered; empty where none is known
    tried: Sequence[str] = ()  # earlier tries to mend it: what each changed, and how it ended


@dataclass(frozen=True, kw_only=True)
class Brief:
    """Everything an agent is told about the peer whose code it is asked to improve.

    `files` is the whole tree of the target, by POSIX path. `tried` holds the authors (such as
    "operator:rms_norm") whose idea was already proposed for this target or in this generation, or was vetoed.
    """

    files: Mapping[str, bytes]
    genome: Genome
    target: int  # the number of the variant
    perplexity: float | None
    parent_perplexity: float | None
    recalled: Sequence[str] = ()  # what memory recalls, one sentence each
    lineage: Sequence[str] = ()  # what made the target's code, the newest change first, one sentence each
    identity: str = ""  # who proposes, as one of the population
    directives: Sequence[str] = ()  # what people asked for, one sentence each
    tried: frozenset[str] = frozenset()
    failure: Failure | None = None  # the target is broken, and its idea is to be saved
    operators: Sequence[str] = ()  # families or names of the built-in operators that may be asked; empty: all
    seed: int = 0
    proposer: int | None = None  # the number of the variant whose agent is asked: the target's peer
    objective: str = "lower perplexity on held-out text at the same budget"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A patch to a variant and the reasons for it. `files` is the whole tree after it."""

    files: Mapping[str, bytes]
    title: str
    hypothesis: str
    rationale: str
    expected: str
    author: str
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0


class Agent(Protocol):
    """Something that proposes."""

    @property
    def name(self) -> str:
        """How this agent is shown, such as "built-in operators"."""

    def propose(self, brief: Brief) -> Proposal | None:
        """A proposal for the target of `brief`; None when this agent has nothing (more) to propose.

        Raises Unusable for a reply that is no proposal, AgentUnavailable when it cannot be asked at all.
        """
