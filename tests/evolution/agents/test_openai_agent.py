"""The OpenAI agent against a server of our own."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from evolution.agents.base import AgentUnavailable, Brief, Unusable
from evolution.agents.model import MAX_ANSWER, OpenAIModel
from evolution.agents.openai_agent import OpenAIAgent, messages
from tests.evolution.agents.test_reply import said

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


def completion(text: str | None, finish: str = "stop") -> dict[str, Any]:
    return {
        "id": "1", "object": "chat.completion", "created": 1, "model": "tiny",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150},
    }


def called(name: str) -> dict[str, Any]:
    answer = completion(None, "tool_calls")
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    answer["choices"][0]["message"]["tool_calls"] = [call]
    return answer


def refusal(text: str) -> dict[str, Any]:
    answer = completion(None)
    answer["choices"][0]["message"]["refusal"] = text
    return answer


class Stub:
    """A chat completions server: `answer` says what comes back, `asked` holds what was asked."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: (200, completion(said()))
        self.asked: list[dict[str, Any]] = []
        self.raw: bytes | None = None  # in place of what `answer` says
        self.drip = 0.0  # seconds between two bytes
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.asked.append(body)
                status, reply = stub.answer(body)
                content = json.dumps(reply).encode() if stub.raw is None else stub.raw
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if not stub.drip:
                    self.wfile.write(content)
                    return
                with contextlib.suppress(OSError):  # the client went away
                    for byte in content:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        time.sleep(stub.drip)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def stub() -> Iterator[Stub]:
    one = Stub()
    thread = threading.Thread(target=one.server.serve_forever)
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()


def agent(stub: Stub, seconds: float = 10) -> OpenAIAgent:
    return OpenAIAgent(OpenAIModel(name="tiny", key="none", base_url=stub.url, seconds=seconds, retries=0))


def test_a_structured_answer_becomes_a_proposal_with_its_tokens(stub: Stub, brief: Brief) -> None:
    proposal = agent(stub).propose(brief)
    assert b"learning_rate = 2e-3" in proposal.files["train.py"]
    assert (proposal.author, proposal.tokens_in, proposal.tokens_out) == ("agent:tiny", 120, 30)
    assert stub.asked[0]["response_format"]["type"] == "json_schema"
    assert stub.asked[0]["temperature"] == 0.2


def test_a_server_without_json_schema_is_asked_plainly(stub: Stub, brief: Brief) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if "response_format" in body:
            return 400, {"error": {"message": "response_format is not supported"}}
        return 200, completion(f"Sure!\n```json\n{said()}\n```")

    stub.answer = answer
    assert b"2e-3" in agent(stub).propose(brief).files["train.py"]
    assert "response_format" not in stub.asked[-1]
    assert stub.asked[-1]["temperature"] == 0.2


@pytest.mark.parametrize(("reply", "why"), [
    (completion("I cannot."), "no JSON object"),
    (completion(None), "empty reply"),
    (completion(said()[:40], finish="length"), "cut off"),
    (called("submit"), "called a tool"),
    (refusal("It is not allowed."), "refused: It is not allowed"),
    ({**completion(""), "choices": []}, "empty reply"),
])
def test_an_answer_that_is_no_proposal_is_unusable(reply: dict[str, Any], why: str, stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: (200, reply)
    with pytest.raises(Unusable, match=why):
        agent(stub).propose(brief)


def test_a_reply_that_is_no_proposal_goes_back_once_with_the_reason(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda body: (200, completion(said() if len(body["messages"]) > 2 else "Let me think."))
    proposal = agent(stub).propose(brief)
    assert b"2e-3" in proposal.files["train.py"]
    assert (proposal.tokens_in, proposal.tokens_out) == (240, 60)
    assert "no JSON object" in stub.asked[1]["messages"][-1]["content"]


def test_the_tokens_of_replies_in_vain_are_counted(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: (200, completion("I cannot."))
    with pytest.raises(Unusable) as caught:
        agent(stub).propose(brief)
    assert (caught.value.tokens_in, caught.value.tokens_out) == (240, 60)
    assert len(stub.asked) == 2


def test_who_answered_is_the_author(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: (200, {**completion(said()), "model": "other"})
    assert agent(stub).propose(brief).author == "agent:other (asked for tiny)"


def test_a_huge_answer_is_not_read_to_its_end(stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: (200, completion("x" * (MAX_ANSWER + 1)))
    with pytest.raises(Unusable, match="larger than 4 MB"):
        agent(stub).propose(brief)


def test_an_answer_that_drips_is_given_up_in_time(stub: Stub, brief: Brief) -> None:
    stub.drip = 0.2
    with pytest.raises(AgentUnavailable, match="no whole answer in 1 s"):
        agent(stub, seconds=1.0).propose(brief)


@pytest.mark.parametrize("content", [b"<html>busy</html>", b"[]", b"{}"])
def test_garbage_is_unusable(content: bytes, stub: Stub, brief: Brief) -> None:
    stub.raw = content
    with pytest.raises(Unusable):
        agent(stub).propose(brief)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_a_server_that_refuses_makes_the_agent_unavailable(status: int, stub: Stub, brief: Brief) -> None:
    stub.answer = lambda _: (status, {"error": {"message": "no"}})
    with pytest.raises(AgentUnavailable, match="check OPENAI_BASE_URL"):
        agent(stub).propose(brief)


def test_a_server_that_is_not_there_makes_the_agent_unavailable(brief: Brief) -> None:
    gone = OpenAIAgent(OpenAIModel(name="tiny", key="none", base_url="http://127.0.0.1:9/v1", seconds=5, retries=0))
    with pytest.raises(AgentUnavailable):
        gone.propose(brief)


@pytest.mark.parametrize(("environment", "missing"), [
    ({}, "OPENAI_API_KEY is not set"),
    ({"OPENAI_API_KEY": "k"}, "DARWIN_MODEL is not set"),
])
def test_what_is_not_set_is_named(environment: dict[str, str], missing: str) -> None:
    with pytest.raises(AgentUnavailable, match=missing):
        OpenAIModel.from_environment(environment)


def test_the_environment_chooses_server_and_model() -> None:
    chosen = OpenAIModel.from_environment({"OPENAI_API_KEY": "k", "DARWIN_MODEL": "m", "OPENAI_BASE_URL": "http://h/v1"})
    assert (chosen.name, chosen.base_url) == ("m", "http://h/v1")


def test_the_model_is_told_the_files_the_record_and_what_people_asked_for(brief: Brief) -> None:
    told = replace(brief, recalled=["rms_norm helped v3"], directives=["leave the data loading alone"])
    system, user = (str(message["content"]) for message in messages(told))
    assert "*.py" in system
    assert "model:load" in system
    for part in ("class GPT", "rms_norm helped v3", "leave the data loading alone", "7.9000", "v31"):
        assert part in user
