"""What a text server does in a check alone: it ends early, notes how fast it went, and keeps the first weights."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.conftest import CONTEXT, Client, Serve
from tests.trainer.test_checkpoint import CONFIG, GOOD
from tests.trainer.test_server import upload
from trainer.contract import CONFIG_FILE, FIRST, MODEL_FILE
from trainer.harness.outside.server import Budget, TextServer
from trainer.harness.outside.state import Rehearsal

CHECK = Budget(tokens=100_000, batches=6, few=2)


@pytest.fixture
def server(serve: Serve) -> TextServer:
    return serve(budget=CHECK)


def first(client: Client, content: bytes = GOOD) -> None:
    client.ask(content, op="save_first", file=MODEL_FILE, size=len(content), offset=0)
    client.ask(CONFIG, op="save_first", file=CONFIG_FILE, size=len(CONFIG), offset=0)


def test_it_ends_after_its_batches_and_tells_the_progress_of_the_whole_budget(
    server: TextServer, connect: Callable[[], Client]
) -> None:
    client = connect()
    answers = [client.batch(number)[0] for number in range(7)]
    assert [one.get("end", False) for one in answers] == [False] * 6 + [True]
    assert answers[5]["progress"] < 0.01


def test_what_it_used_after_its_first_batches_is_known(server: TextServer, connect: Callable[[], Client]) -> None:
    client, seconds = connect(), iter((5.0, 7.0, 11.0))  # at the first text, after the first batches, at the end
    server.watch_device(lambda: next(seconds))
    for number in range(7):
        client.batch(number)
    progress = server.progress()
    assert progress.few is not None
    assert progress.few.tokens == 2 * 2 * CONTEXT
    assert progress.steady_tokens == 4 * 2 * CONTEXT
    assert progress.steady_device_seconds == 4.0


def test_a_slow_one_ends_as_soon_as_its_pace_is_known(serve: Serve, connect: Callable[[], Client]) -> None:
    serve(budget=Budget(tokens=100_000, batches=6, few=2, steady=1, check_seconds=0.0))
    client = connect()
    assert [client.batch(number)[0].get("end", False) for number in range(4)] == [False, False, False, True]


def test_the_first_weights_are_kept_apart(server: TextServer, connect: Callable[[], Client], folder: Path) -> None:
    client = connect()
    first(client)
    client.batch(0)
    upload(client)
    assert (folder / FIRST / MODEL_FILE).read_bytes() == (folder / MODEL_FILE).read_bytes() == GOOD


def test_once_text_was_served_nothing_is_first_any_more(
    server: TextServer, connect: Callable[[], Client], folder: Path
) -> None:
    client = connect()
    client.batch(0)
    first(client)
    client.ask(op="rehearsed", passed=True, detail="late", seconds=1.0)
    assert not (folder / FIRST / MODEL_FILE).exists()
    assert server.progress().rehearsal is None


def test_how_it_did_on_fake_tensors_is_kept_once_and_survives_a_restart(
    server: TextServer, connect: Callable[[], Client], serve: Serve
) -> None:
    client = connect()
    client.ask(op="rehearsed", passed=None, detail="x" * 9000, seconds=1.5)
    client.ask(op="rehearsed", passed=True, detail="again", seconds=2.0)
    server.stop()
    known = serve(budget=CHECK).progress().rehearsal
    assert known == Rehearsal(None, "x" * 500, 1.5)


@pytest.mark.parametrize("seconds", [-1.0, 1e9, "long", None])
def test_a_rehearsal_that_took_impossible_seconds_is_hung_up_on(
    server: TextServer, connect: Callable[[], Client], seconds: object
) -> None:
    client = connect()
    with pytest.raises(ConnectionError):
        client.ask(op="rehearsed", passed=True, detail="", seconds=seconds)


@pytest.mark.parametrize("op", ["rehearsed", "save_first"])
def test_in_a_training_nobody_is_asked_such_things(client: Client, op: str) -> None:
    with pytest.raises(ConnectionError):
        client.ask(op=op, passed=True, detail="", seconds=1.0, file=MODEL_FILE, size=1, offset=0)
