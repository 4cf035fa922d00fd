"""The paper's mode: which parts are changed, what the model is told of each, and one proposal of all."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from evolution.agents.base import AgentUnavailable, Brief, Unusable
from evolution.agents.chunk_agent import Chunk, ChunkAgent, draw
from evolution.agents.model import OpenAIModel
from evolution.confined import confined
from tests.evolution.agents.stub import Body, Reply, Stub, refuses, says, serving

PROGRAM = '''\
"""Doc."""
import math
from torch import nn

rate = 1e-3  # kept


@decorated
def first(x):
    return x + 1

# between
class Second(nn.Module):
    def forward(self, x):
        return x


rate = 2e-3
'''


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as one:
        one.answer = lambda body: says(part(f"{_name(body)} is better so", code_of(body) + "\n# changed"))
        yield one


@pytest.fixture
def small(brief: Brief) -> Brief:
    return replace(brief, files={"genome.toml": brief.files["genome.toml"], "code.py": PROGRAM.encode()})


def part(hypothesis: str, content: str | None) -> str:
    return json.dumps({"hypothesis": hypothesis, "rationale": "r", "expected": "e", "content": content})


def asked_for(body: Body) -> str:
    return str(body["messages"][1]["content"]).split("The part that you may change now, ")[1]


def _name(body: Body) -> str:
    return asked_for(body).split(":\n\n")[0]


def code_of(body: Body) -> str:
    return asked_for(body).split(":\n\n", 1)[1].rstrip()


def agent(stub: Stub, probability: float = 1.0) -> ChunkAgent:
    return ChunkAgent(OpenAIModel(name="tiny", key="none", base_url=stub.url, seconds=10), probability=probability)


def cut(text: str) -> list[Chunk]:
    found: list[dict[str, Any]] = confined("chunks", {"files": {"code.py": text}})["chunks"]
    return [Chunk(**one) for one in found]


def test_a_program_is_cut_into_imports_module_level_code_functions_and_classes() -> None:
    assert [(one.kind, one.name, one.first, one.last) for one in cut(PROGRAM)] == [
        ("module", "", 1, 1), ("imports", "", 2, 3), ("module", "", 5, 5), ("function", "first", 8, 10),
        ("class", "Second", 13, 15), ("module", "", 18, 18),
    ]


def test_statements_that_share_a_line_share_a_chunk() -> None:
    assert [(one.kind, one.first, one.last) for one in cut("import math; rate = 1\nx = 2\n")] == [("module", 1, 2)]


def test_each_changed_chunk_is_asked_for_once_and_all_are_one_proposal(stub: Stub, small: Brief) -> None:
    proposal = agent(stub).propose(small)
    assert proposal is not None
    assert proposal.files["code.py"].decode() == PROGRAM.replace("x + 1\n", "x + 1\n# changed\n").replace(
        "        return x\n", "        return x\n# changed\n"
    )
    assert (len(stub.asked), proposal.tokens_in, proposal.tokens_out) == (2, 240, 60)
    assert proposal.title == "code.py: function first is better so"
    assert "code.py: class Second is better so" in proposal.hypothesis


def test_a_prompt_has_the_structure_the_globals_and_what_was_changed_before(stub: Stub, small: Brief) -> None:
    agent(stub).propose(small)
    told = [str(body["messages"][1]["content"]) for body in stub.asked]
    assert all("rate = 1e-3" in one and "import math" in one for one in told)
    assert all("- code.py: class Second, lines 13 to 15" in one for one in told)
    assert "What you have already changed in this proposal:\n- nothing yet" in told[0]
    assert "- code.py: function first: code.py: function first is better so" in told[1]


def test_the_same_seed_draws_the_same_chunks_and_at_least_one(brief: Brief) -> None:
    chunks = [Chunk("a.py", "function", f"f{number}", number, number) for number in range(1, 101)]
    drawn = draw(chunks, brief, 0.4)
    assert drawn == draw(chunks, brief, 0.4) != draw(chunks, replace(brief, seed=1), 0.4)
    assert 25 <= len(drawn) <= 55
    assert len(draw(chunks, brief, 0.0)) == 1


def test_module_level_code_is_only_changed_when_a_person_asks(brief: Brief) -> None:
    chunks = cut(PROGRAM)
    assert {one.kind for one in draw(chunks, brief, 1.0)} == {"function", "class"}
    told = replace(brief, directives=["You may look at module-level code too."])
    assert draw(chunks, told, 1.0) == chunks


def test_a_chunk_may_be_left_as_it_is(stub: Stub, small: Brief) -> None:
    stub.answer = lambda body: says(part("ok", None if "class" in _name(body) else "def first(x):\n    return x + 2"))
    proposal = agent(stub).propose(small)
    assert proposal is not None
    assert "x + 2" in proposal.files["code.py"].decode()
    assert proposal.hypothesis == "ok"


def test_when_every_chunk_is_left_there_is_no_proposal_and_its_tokens_count(stub: Stub, small: Brief) -> None:
    stub.answer = lambda _: says(part("fine as it is", None))
    with pytest.raises(Unusable, match="left every part as it is") as caught:
        agent(stub).propose(small)
    assert caught.value.tokens_in == 240


def test_a_reply_for_one_chunk_that_cannot_be_read_leaves_the_others(stub: Stub, small: Brief) -> None:
    def answer(body: Body) -> Reply:
        return says("Hm.") if "class" in _name(body) else says(part("better", "def first(x):\n    return x + 2"))

    stub.answer = answer
    proposal = agent(stub).propose(small)
    assert proposal is not None
    assert (len(stub.asked), proposal.tokens_in) == (3, 360)


def test_what_was_changed_before_the_model_could_not_be_asked_any_more_is_proposed(stub: Stub, small: Brief) -> None:
    first = part("better", "def first(x):\n    return x + 2")
    stub.answer = lambda body: refuses(401) if "class" in _name(body) else says(first)
    assert agent(stub).propose(small) is not None
    stub.answer = lambda _: refuses(401)
    with pytest.raises(AgentUnavailable):
        agent(stub).propose(small)


def test_code_in_a_fence_with_a_reason_before_it_is_read(stub: Stub, small: Brief) -> None:
    stub.answer = lambda _: says("Two is more than one.\n\n```python\ndef first(x):\n    return x + 2\n```\nDone.")
    proposal = agent(stub, probability=0.0).propose(replace(small, seed=2))
    assert proposal is not None
    assert "x + 2" in proposal.files["code.py"].decode()
    assert proposal.hypothesis == "Two is more than one."


def test_code_that_nobody_can_parse_is_cut_by_nobody() -> None:
    from evolution.confined import Unparsable

    with pytest.raises(Unparsable):
        cut("def broken(:\n")
