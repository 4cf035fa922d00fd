"""The OpenAI agent against a server of our own."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from evolution.agents.base import AgentUnavailable, Brief, Unusable
from evolution.agents.model import OpenAIModel
from evolution.agents.openai_agent import OpenAIAgent, messages
from evolution.agents.providers import from_environment
from evolution.agents.wire import MAX_ANSWER
from tests.evolution.agents.stub import PIECE, Body, Reply, Stub, calls_a_tool, completion, refuses, says, serving
from tests.evolution.agents.test_reply import said


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as one:
        one.answer = lambda _: says(said())
        yield one


def agent(stub: Stub, seconds: float = 10) -> OpenAIAgent:
    return OpenAIAgent(OpenAIModel(name="tiny", key="none", base_url=stub.url, seconds=seconds))


def test_a_structured_answer_becomes_a_proposal_with_its_tokens(stub: Stub, brief: Brief) -> None:
    proposal = agent(stub).propose(brief)
    assert b"learning_rate = 2e-3" in proposal.files["train.py"]
    assert (proposal.author, proposal.tokens_in, proposal.tokens_out) == ("agent:tiny", 120, 30)
    assert stub.asked[0]["response_format"]["type"] == "json_schema"
    assert stub.asked[0]["temperature"] == 0.2


def test_a_server_without_json_schema_is_asked_plainly(stub: Stub, brief: Brief) -> None:
    def answer(body: Body) -> Reply:
        if "response_format" in body:
            return refuses(400, "response_format is not supported")
        return says(f"Sure!\n```json\n{said()}\n```")

    stub.answer = answer
    assert b"2e-3" in agent(stub).propose(brief).files["train.py"]
    assert "response_format" not in stub.asked[-1]
    assert stub.asked[-1]["temperature"] == 0.2


@pytest.mark.parametrize(("reply", "why"), [
    (says("I cannot."), "no JSON object"),
    (says(None), "empty reply"),
    (says(said()[:40], finish="length"), "cut off"),
    (says("", finish="content_filter"), "held back"),
    (calls_a_tool("submit"), "called a tool"),
    (says(None, refusal="It is not allowed."), "refused: It is not allowed"),
    (Reply({**completion(""), "choices": []}), "empty reply"),
])
def test_an_answer_that_is_no_proposal_is_unusable(reply: Reply, why: str, stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: reply
    with pytest.raises(Unusable, match=why):
        agent(stub).propose(brief)


def test_a_reply_that_is_no_proposal_goes_back_once_with_the_reason(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda body: says(said() if len(body["messages"]) > 2 else "Let me think.")
    proposal = agent(stub).propose(brief)
    assert b"2e-3" in proposal.files["train.py"]
    assert (proposal.tokens_in, proposal.tokens_out) == (240, 60)
    assert "no JSON object" in stub.asked[1]["messages"][-1]["content"]


def test_the_tokens_of_replies_in_vain_are_counted(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: says("I cannot.")
    with pytest.raises(Unusable) as caught:
        agent(stub).propose(brief)
    assert (caught.value.tokens_in, caught.value.tokens_out) == (240, 60)
    assert len(stub.asked) == 2


def test_who_answered_is_the_author(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: Reply({**completion(said()), "model": "other"})
    assert agent(stub).propose(brief).author == "agent:other (asked for tiny)"


def test_a_huge_answer_is_not_read_to_its_end(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: says("x" * (MAX_ANSWER + 1))
    with pytest.raises(Unusable, match="larger than 4 MB"):
        agent(stub).propose(brief)


def test_a_connection_that_breaks_within_an_answer_may_be_tried_again_and_may_have_cost_something(
    stub: Stub, brief: Brief
) -> None:
    stub.answer = lambda _: Reply(completion(said()), cut=300)
    with pytest.raises(AgentUnavailable, match="the connection broke") as caught:
        agent(stub).propose(brief)
    assert caught.value.passes
    assert not caught.value.counted


def test_an_answer_that_drips_is_given_up_in_time(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: Reply(completion(said()), drip=0.2)
    with pytest.raises(AgentUnavailable, match="no whole answer in 1 s"):
        agent(stub, seconds=1.0).propose(brief)


@pytest.mark.parametrize("content", [b"<html>busy</html>", b"[]", b"{}"])
def test_garbage_is_unusable(content: bytes, stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: Reply(raw=content)
    with pytest.raises(Unusable):
        agent(stub).propose(brief)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_a_server_that_refuses_makes_the_agent_unavailable(status: int, stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: refuses(status)
    with pytest.raises(AgentUnavailable, match="tiny could not be asked"):
        agent(stub).propose(brief)


def test_a_server_that_is_not_there_makes_the_agent_unavailable(brief: Brief) -> None:
    gone = OpenAIAgent(OpenAIModel(name="tiny", key="none", base_url="http://127.0.0.1:9/v1", seconds=5))
    with pytest.raises(AgentUnavailable):
        gone.propose(brief)


@pytest.mark.parametrize(("environment", "missing"), [
    ({}, "OPENAI_API_KEY is not set"),
    ({"OPENAI_API_KEY": "k"}, "DARWIN_MODEL is not set"),
])
def test_what_is_not_set_is_named(environment: dict[str, str], missing: str) -> None:
    with pytest.raises(AgentUnavailable, match=missing):
        from_environment(environment)


def test_the_environment_chooses_server_and_model() -> None:
    chosen = from_environment({"OPENAI_API_KEY": "k", "DARWIN_MODEL": "m", "OPENAI_BASE_URL": "http://h/v1"})
    assert (chosen.name, chosen.base_url) == ("m", "http://h/v1")


def test_the_model_is_told_the_files_the_record_and_what_people_asked_for(brief: Brief) -> None:
    told = replace(brief, recalled=["rms_norm helped v3"], directives=["leave the data loading alone"])
    system, user = (str(message["content"]) for message in messages(told))
    assert "*.py" in system
    assert "model:load" in system
    for part in ("class GPT", "rms_norm helped v3", "leave the data loading alone", "7.9000", "v31"):
        assert part in user


def test_text_is_heard_as_it_arrives(stub: Stub) -> None:
    heard: list[str] = []
    one = OpenAIModel(name="tiny", key="none", base_url=stub.url)
    answer = one.ask([{"role": "user", "content": "?"}], hear=heard.append)
    assert len(heard) > 3
    assert "".join(heard) == answer.text == said()
    assert stub.asked[0]["stream_options"] == {"include_usage": True}


def test_a_server_without_streams_is_asked_for_one_piece(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda body: refuses(400, "stream is not supported here") if "stream" in body else says(said())
    proposal = agent(stub).propose(brief)
    assert (proposal.tokens_in, len(stub.asked)) == (120, 2)
    assert "response_format" in stub.asked[1]


def test_an_older_server_is_told_the_limit_by_its_older_name(stub: Stub, brief: Brief) -> None:
    def answer(body: Body) -> Reply:
        known = "max_completion_tokens" not in body
        return says(said()) if known else refuses(400, "unknown field max_completion_tokens")

    stub.answer = answer
    agent(stub).propose(brief)
    assert stub.asked[-1]["max_tokens"] == 16_000


def test_a_stream_without_usage_is_an_answer_whose_tokens_are_not_known(stub: Stub) -> None:
    stub.answer = lambda _: Reply({**completion(said()), "usage": None})
    answer = agent(stub).model.ask([{"role": "user", "content": "?"}], purpose="propose")
    assert not answer.counted


def test_a_stream_that_stops_without_an_end_is_no_answer(stub: Stub, brief: Brief) -> None:
    begun = b'data: {"model": "tiny", "choices": [{"delta": {"content": "{\\"hypothesis"}}]}\n\n'
    stub.answer = lambda _: Reply(raw=begun, raw_type="text/event-stream")
    with pytest.raises(Unusable, match="breaks off"):
        agent(stub).propose(brief)


def test_an_error_within_a_stream_may_pass_and_may_have_cost_something(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: Reply(raw=b'data: {"error": {"message": "overloaded"}}\n\n', raw_type="text/event-stream")
    with pytest.raises(AgentUnavailable, match="overloaded") as caught:
        agent(stub).propose(brief)
    assert (caught.value.passes, caught.value.counted) == (True, False)


def test_the_body_of_an_error_is_not_read_to_its_end_either(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: Reply(status=500, raw=b"x" * (MAX_ANSWER + (1 << 20)))
    with pytest.raises(Unusable, match="larger than 4 MB"):
        agent(stub).propose(brief)


def test_a_server_that_repeats_the_key_does_not_bring_it_into_the_record(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: refuses(401, "the key canary-7 is wrong")
    one = OpenAIAgent(OpenAIModel(name="tiny", key="canary-7", base_url=stub.url))
    with pytest.raises(AgentUnavailable) as caught:
        one.propose(brief)
    assert "canary-7" not in str(caught.value) + repr(one)
    heard: list[str] = []
    stub.answer = lambda _: says("the key is canary-7")
    answer = OpenAIModel(name="tiny", key="canary-7", base_url=stub.url).ask(
        [{"role": "user", "content": "?"}], hear=heard.append
    )
    assert answer.text == "".join(heard) == "the key is …"


def test_a_key_that_comes_in_two_pieces_is_not_shown_either(stub: Stub) -> None:
    heard: list[str] = []
    stub.answer = lambda _: says("x" * (PIECE - 4) + "canary-7 and more")
    one = OpenAIModel(name="tiny", key="canary-7", base_url=stub.url)
    answer = one.ask([{"role": "user", "content": "?"}], hear=heard.append)
    assert answer.text == "".join(heard) == "x" * (PIECE - 4) + "… and more"
    assert len(heard) > 1


@pytest.mark.parametrize(("status", "code", "passes"), [
    (429, None, True), (429, "insufficient_quota", False), (503, None, True), (401, None, False), (404, None, False),
])
def test_what_passes_is_told_from_what_does_not(
    status: int, code: str | None, passes: bool, stub: Stub, brief: Brief
) -> None:
    stub.answer = lambda _: refuses(status, code=code)
    with pytest.raises(AgentUnavailable) as caught:
        agent(stub).propose(brief)
    assert caught.value.passes is passes


def test_a_server_says_when_to_come_back(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: refuses(429, retry_after="7")
    with pytest.raises(AgentUnavailable) as caught:
        agent(stub).propose(brief)
    assert caught.value.retry_after == 7


def in_mode(stub: Stub, mode: str, instructions: str = "") -> OpenAIAgent:
    return OpenAIAgent(OpenAIModel(name="tiny", key="none", base_url=stub.url), mode=mode, instructions=instructions)


@pytest.mark.parametrize("mode", ["edits", "diff", "file"])
def test_each_mode_asks_for_its_own_form(mode: str, stub: Stub, brief: Brief) -> None:
    in_mode(stub, mode).propose(brief)
    schema = stub.asked[0]["response_format"]["json_schema"]["schema"]
    told = stub.asked[0]["messages"][0]["content"]
    key = {"edits": "edits", "diff": "diff", "file": "files"}[mode]
    assert key in schema["properties"]
    assert f'"{key}": ' in told.split("Answer with one JSON object")[1]
    assert "{{" not in told


def test_whole_files_are_taken_as_they_are(stub: Stub, brief: Brief) -> None:
    whole = {"path": "train.py", "content": "learning_rate = 9\n"}
    reply = {"hypothesis": "h", "rationale": "", "expected": "", "files": [whole]}
    stub.answer = lambda _: says(json.dumps(reply))
    assert in_mode(stub, "file").propose(brief).files["train.py"] == b"learning_rate = 9\n"
    stub.answer = lambda _: says("It is simpler.\n\n### train.py\n```python\nlearning_rate = 9\n```\n")
    assert in_mode(stub, "file").propose(brief).files["train.py"] == b"learning_rate = 9\n"
    with pytest.raises(Unusable):  # as edits a file in a fence is no more than a quotation
        in_mode(stub, "edits").propose(brief)


def test_a_diff_in_json_is_applied(stub: Stub, brief: Brief) -> None:
    line = next(line for line in brief.files["train.py"].decode().splitlines() if line.startswith("learning_rate"))
    diff = f"--- a/train.py\n+++ b/train.py\n@@ -7,1 +7,1 @@\n-{line}\n+learning_rate = 9\n"
    stub.answer = lambda _: says(json.dumps({"hypothesis": "h", "rationale": "", "expected": "", "diff": diff}))
    assert b"learning_rate = 9\n" in in_mode(stub, "diff").propose(brief).files["train.py"]


def test_a_strategys_own_instructions_are_part_of_the_rules(stub: Stub, brief: Brief) -> None:
    in_mode(stub, "edits", "Only touch the optimiser.").propose(brief)
    assert "Only touch the optimiser." in stub.asked[0]["messages"][0]["content"]
