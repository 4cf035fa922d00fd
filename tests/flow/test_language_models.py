"""A generation of language-model agents against a server that misbehaves in every way we know, to its survivors."""

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.evolution.agents.misbehaviour import HANGS, OVERLOADED, REFUSED, is_again
from tests.evolution.agents.stub import Body, Reply, Stub, completion, says, serving
from tests.flow.stage import Stage, last_object

pytestmark = pytest.mark.bubblewrap

KEY = "canary-sk-4711"
POPULATION = 7  # at most three drafts for each place: 21


def proposes(title: str, search: str, replace: str) -> str:
    edits = [{"path": "train.py", "search": search, "replace": replace}]
    return json.dumps({"hypothesis": title, "rationale": "r", "expected": "lower perplexity", "edits": edits})


class Script:
    """What the server answers to each new question. What goes back meets the same answer, but for the first talk."""

    def __init__(self) -> None:
        good = proposes("a larger learning rate", "learning_rate = 1.0", "learning_rate = 30.0")
        other = Reply({**completion(good), "model": "stranger"})
        self.replies = [HANGS, *OVERLOADED, other, *(one.reply for one in REFUSED)]
        self.last = self.replies[-1]

    def answer(self, body: Body) -> Reply:
        if not is_again(body):
            self.last = self.replies.pop(0) if self.replies else says("I have no more ideas.")
        return self.last


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as one:
        one.answer = Script().answer
        yield one


def rows(stage: Stage, query: str) -> list[Any]:
    with sqlite3.connect(stage.var / "db.sqlite3") as database:
        return database.execute(query).fetchall()


def test_a_generation_comes_to_its_survivors_whatever_the_models_server_does(
    stage: Stage, shakespeare: Path, stub: Stub
) -> None:
    stage.environment.update(
        OPENAI_API_KEY=KEY, OPENAI_BASE_URL=stub.url, DARWIN_MODEL="tiny", DARWIN_MODEL_SECONDS="5"
    )
    run = stage.manage(
        "evolve", "flow", "--genome", str(stage.genome()), "--data", str(shakespeare), "--agent", "openai",
        "--population", str(POPULATION), "--survivors", "1", "--generations", "1", "--budget-tokens", "2000",
        "--confirm", "0", "--review", "auto", "--sandbox", "bubblewrap", "--repair-tries", "0", "--json",
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    told = last_object(run.stdout)
    assert (told["status"], told["counts"]["survived"]) == ("finished", 1)

    reasons = [json.loads(data)["reason"] for (data,) in rows(
        stage, "SELECT data FROM evolution_event WHERE kind = 'proposal.refused' ORDER BY id"
    )]
    missing = [one.name for one in REFUSED if not any(re.search(one.verdict, reason) for reason in reasons)]
    assert missing == []
    authors = {author for (author,) in rows(stage, "SELECT author FROM evolution_variant WHERE number > 0")}
    assert authors == {"agent:stranger (asked for tiny)"}

    calls = rows(stage, "SELECT state, error FROM evolution_call")
    assert len(calls) == len(stub.asked)
    assert {state for state, _ in calls} == {"done", "failed"}
    assert any("no whole answer in 5 s" in error for _, error in calls)

    assert set(stub.keys) == {f"Bearer {KEY}"}
    holding = [path for path in stage.var.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert holding == []
