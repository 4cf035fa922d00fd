import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.conftest import CONTEXT, Client, Serve
from tests.trainer.test_checkpoint import CONFIG, GOOD
from trainer.contract import CONFIG_FILE, MODEL_FILE
from trainer.harness.outside import state
from trainer.harness.outside.server import Budget, Report
from trainer.harness.outside.stream import Stream
from trainer.harness.outside.text import Text

Connect = Callable[[], Client]


def upload(client: Client, number: int = 0, content: bytes = GOOD) -> dict[str, Any]:
    client.ask(content, op="save", save=number, file=MODEL_FILE, size=len(content), offset=0)
    return client.ask(CONFIG, op="save", save=number, file=CONFIG_FILE, size=len(CONFIG), offset=0)[0]


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_client_is_told_what_it_trains_on(client: Client) -> None:
    answer, _ = client.ask(op="hello", rank=0)
    assert answer == {
        "device": "cpu", "seed": 7, "vocab_size": 256, "rank": 0, "world": 1, "budget_tokens": 100_000,
        "progress": 0.0, "number": -1, "save": -1, "state": -1,
    }


def test_batches_cut_the_stream_in_order_whatever_their_shape(client: Client, text: Text) -> None:
    shapes = [(2, 64), (1, 7), (12, 64), (3, 100)]
    payloads = [np.frombuffer(client.batch(n, *shape)[1], dtype="<u2") for n, shape in enumerate(shapes)]
    total = sum(rows * width for rows, width in shapes)
    x, y = Stream(text.train, seed=7, segment=CONTEXT).read(0, total)
    assert np.array_equal(np.concatenate([payload[: len(payload) // 2] for payload in payloads]), x)
    assert np.array_equal(np.concatenate([payload[len(payload) // 2 :] for payload in payloads]), y)


def test_the_budget_is_never_exceeded(serve: Serve, connect: Connect) -> None:
    server = serve(budget=Budget(tokens=1000))
    client = connect()
    answers = [client.batch(number, 2, 64)[0] for number in range(7)]
    assert [answer["progress"] for answer in answers] == pytest.approx([n * 0.128 for n in range(1, 8)])
    for _ in range(2):
        answer, payload = client.batch(7, 2, 64)
        assert answer == {"progress": 1.0, "end": True}
        assert payload == b""
    progress = server.progress()
    assert (progress.phase, progress.tokens, progress.batches, progress.fraction) == ("saving", 896, 7, 1.0)


def test_a_batch_asked_for_again_is_the_same_and_counts_once(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()
    client.batch(0)
    first, again = client.batch(1), client.batch(1)
    assert first == again
    assert server.progress().tokens == 2 * 128


@pytest.mark.parametrize("number", [-1, 2, 5, 2**60, "1", None, True, 1.0])
def test_a_batch_out_of_order_closes_the_connection(client: Client, number: Any) -> None:
    client.batch(0)
    with pytest.raises(ConnectionError):
        client.batch(number)


def test_a_later_server_on_the_same_folder_continues_exactly(serve: Serve, connect: Connect, text: Text) -> None:
    first = serve()
    client = connect()
    payloads = [client.batch(n)[1] for n in range(3)]
    before = first.progress()
    first.stop()
    assert client.is_hung_up()
    second = serve()
    assert second.progress().tokens == before.tokens
    assert second.progress().phase == "training"
    client = connect()
    assert client.batch(2)[1] == payloads[2]  # its answer may have been lost
    payloads += [client.batch(n)[1] for n in range(3, 5)]
    x, _ = Stream(text.train, seed=7, segment=CONTEXT).read(0, 5 * 128)
    assert b"".join(payload[:256] for payload in payloads) == x.tobytes()
    assert second.progress().seconds >= before.seconds
    assert second.progress().started_at == before.started_at


def test_the_time_without_a_server_is_not_counted(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = serve(budget=Budget(tokens=None, seconds=1000))
    connect().batch(0)
    first.stop()
    before = first.progress().seconds
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 500)
    second = serve(budget=Budget(tokens=None, seconds=1000))
    assert second.progress().seconds - before < 100


def test_a_budget_of_seconds_ends_on_our_clock(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(budget=Budget(tokens=None, seconds=100))
    client = connect()
    assert client.ask(op="hello")[0]["budget_tokens"] is None
    client.batch(0)
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 50)
    assert client.batch(1)[0]["progress"] == pytest.approx(0.5, abs=0.1)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 100)
    assert client.batch(2)[0]["end"] is True
    assert server.progress().phase == "saving"


def test_a_smoke_check_ends_early_and_is_told_the_full_budget(serve: Serve, connect: Connect) -> None:
    server = serve(budget=Budget(tokens=100_000, batches=2))
    client = connect()
    assert client.ask(op="hello")[0]["budget_tokens"] == 100_000
    assert client.batch(0)[0]["progress"] == pytest.approx(128 / 100_000)
    assert server.progress().fraction == 0.5
    client.batch(1)
    assert client.batch(2)[0]["end"] is True


def test_warming_up_is_off_the_clock_until_its_limit(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = serve(), connect()
    client.ask(op="warmup")
    assert server.progress().phase == "warming"
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 150)
    client.batch(0)
    assert server.progress().phase == "training"
    assert server.progress().seconds == pytest.approx(30, abs=5)


def test_validation_is_training_text_and_costs_no_tokens(serve: Serve, connect: Connect, text: Text) -> None:
    server, client = serve(), connect()
    index, rows = 0, []
    while True:
        answer, payload = client.ask(op="validation", index=index, shape=[4, 64])
        if answer.get("end"):
            break
        rows.append(payload[: len(payload) // 2])
        index += 1
    assert b"".join(rows) == text.validation[: index * 4 * 64].tobytes()
    assert server.progress().tokens == 0
    assert index > 2


def test_a_checkpoint_arrives(serve: Serve, connect: Connect, folder: Path) -> None:
    server, client = serve(), connect()
    client.batch(0)
    assert not server.progress().saved
    assert upload(client) == {}
    assert server.progress().saved
    assert (folder / MODEL_FILE).read_bytes() == GOOD
    assert server.progress().saved_seconds is not None


def test_a_bad_checkpoint_is_refused_with_its_reason(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()
    assert "safetensors" in upload(client, content=b"not a model at all")["error"]
    assert "safetensors" in server.progress().refused
    assert not server.progress().saved
    assert upload(client, 1) == {}
    assert server.progress().refused == ""


def test_a_checkpoint_too_large_is_refused(client: Client) -> None:
    answer, _ = client.ask(b"x", op="save", save=0, file=MODEL_FILE, size=2 << 20, offset=0)
    assert "2,097,152 bytes where 1,048,576 are allowed" in answer["error"]


def test_a_save_whose_answer_was_lost_may_be_repeated(client: Client, folder: Path) -> None:
    upload(client)
    assert client.ask(CONFIG, op="save", save=0, file=CONFIG_FILE, size=len(CONFIG), offset=0)[0] == {}
    assert (folder / MODEL_FILE).read_bytes() == GOOD


def test_saving_is_limited_after_the_end(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(budget=Budget(tokens=128))
    client = connect()
    client.batch(0)
    client.batch(1)
    assert upload(client) == {}
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 31)
    assert "are over" in upload(client, 1)["error"]
    assert server.progress().saved


def test_done_waits_until_the_clocks_were_read(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()
    client.batch(0)
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(client.ask(op="done")[0]))
    thread.start()
    eventually(lambda: server.progress().phase == "done")
    assert answers == []
    server.acknowledge()
    thread.join(10)
    assert answers == [{}]


def test_a_failure_is_told_in_few_words(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()
    server.acknowledge()
    client.ask(op="failed", error="e" * 10_000, traceback="t" * 10_000)
    progress = server.progress()
    assert progress.phase == "failed"
    assert (len(progress.error), len(progress.traceback)) == (500, 4096)


def test_after_the_end_there_are_no_more_batches(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()
    server.acknowledge()
    client.batch(0)
    client.ask(op="done")
    with pytest.raises(ConnectionError):
        client.batch(1)
    assert server.progress().tokens == 128


def test_reports_carry_the_servers_counts(serve: Serve, connect: Connect, reports: list[Report]) -> None:
    serve(on_report=reports.append)
    client = connect()
    client.batch(0)
    head = b'{"op": "report", "step": 3, "loss": NaN, "numbers": {"lr": 0.5, "x": Infinity}}'
    client.connection.sendall(struct.pack("!IQ", len(head), 0) + head)
    eventually(lambda: reports)
    assert (reports[0].step, reports[0].tokens, reports[0].loss) == (3, 128, None)
    assert reports[0].numbers == {"lr": 0.5, "x": None}


def test_a_socket_may_have_a_long_path(serve: Serve, folder: Path) -> None:
    deep = folder / ("x" * 100) / ("y" * 100)
    serve(socket=deep / "harness.sock")
    assert (deep / "harness.sock").is_socket()
    assert (deep / "harness.sock").stat().st_mode & 0o777 == 0o666


# --- the clock ------------------------------------------------------------------------------------------------------


def test_a_look_at_validation_text_starts_the_clock(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()
    server.watch_device(lambda: 4.5)
    client.ask(op="hello", rank=0)
    assert server.progress().started_at is None
    client.ask(op="validation", index=0, shape=[1, 64])
    server.watch_device(lambda: 9.0)
    client.batch(0)
    assert server.progress().started_at is not None
    assert server.progress().setup_device_seconds == 4.5


def test_looks_alone_use_up_a_budget_of_seconds(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(budget=Budget(tokens=None, seconds=100))
    client = connect()
    client.ask(op="validation", index=0, shape=[1, 64])
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 101)
    assert client.batch(0)[0]["end"] is True


def test_warming_up_does_not_stop_a_clock_that_runs(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = serve(), connect()
    client.batch(0)
    client.ask(op="warmup")
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 50)
    assert server.progress().phase == "training"
    assert server.progress().seconds >= 50
    assert server.progress().warm_seconds == 0


def test_the_clock_runs_on_in_a_later_server(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = serve()
    connect().batch(0)
    first.stop()
    second = serve()
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 50)
    assert second.progress().seconds >= 50  # whether or not it asks for text
    assert second.progress().setup_device_seconds == 0.0


def test_the_clock_is_read_once(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()
    read: list[float] = []

    def clock() -> float:
        read.append(1.0)
        return 1.0

    server.watch_device(clock)
    for number in range(3):
        client.batch(number)
    assert len(read) == 1


def test_a_clock_that_cannot_be_read_is_not_the_variants_fault(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()

    def broken() -> float:
        raise RuntimeError("the engine is gone")

    server.watch_device(broken)
    with pytest.raises(ConnectionError):
        client.batch(0)
    with pytest.raises(RuntimeError, match="engine is gone"):
        server.progress()


# --- reading around the harness ---------------------------------------------------------------------------------------


def test_a_batch_asked_for_again_in_another_shape_gives_no_text(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()
    client.batch(0, 2, 64)
    for shape in [(4, 64), (2, 65), (1, 64), (64, 2)]:
        answer, payload = client.batch(0, *shape)
        assert "one shape" in answer["error"]
        assert payload == b""
    assert server.progress().tokens == 128


def test_an_earlier_batch_is_not_served_again(client: Client) -> None:
    client.batch(0)
    client.batch(1)
    with pytest.raises(ConnectionError):
        client.batch(0)


def test_many_connections_share_one_budget(serve: Serve, connect: Connect, text: Text) -> None:
    server = serve(budget=Budget(tokens=64 * 40))
    seen: set[bytes] = set()

    def grab() -> None:
        client = connect()
        for number in range(60):
            try:
                seen.add(client.batch(number, 1, 64)[1])
            except ConnectionError:  # somebody else is further: try where they are
                client = connect()

    threads = [threading.Thread(target=grab) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    seen.discard(b"")
    assert server.progress().tokens == 64 * len(seen) <= 64 * 40


@pytest.mark.parametrize("phase", ["saving", "done"])
def test_after_the_end_there_is_no_validation_text(serve: Serve, connect: Connect, phase: str) -> None:
    server = serve(budget=Budget(tokens=128))
    server.acknowledge()
    client = connect()
    client.batch(0)
    client.batch(1)
    if phase == "done":
        client.ask(op="done")
    answer, payload = client.ask(op="validation", index=0, shape=[1, 64])
    assert (answer, payload) == ({"end": True}, b"")


def test_nothing_can_be_saved_after_done(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()
    server.acknowledge()
    client.batch(0)
    client.ask(op="done")
    with pytest.raises(ConnectionError):
        upload(client)
    assert not server.progress().saved


# --- several processes ------------------------------------------------------------------------------------------------


def rank_batch(client: Client, rank: int, number: int, rows: int = 2) -> tuple[dict[str, Any], bytes]:
    return client.ask(op="batch", rank=rank, number=number, shape=[rows, CONTEXT])


def test_ranks_get_the_rows_of_one_global_batch(serve: Serve, connect: Connect, text: Text) -> None:
    server = serve(world=3)
    client = connect()
    payloads = [rank_batch(client, rank, number)[1] for number in range(2) for rank in (1, 0, 2)]
    x, _ = Stream(text.train, seed=7, segment=CONTEXT).read(0, 2 * 3 * 128)
    ordered = [payloads[place][:256] for place in (1, 0, 2, 4, 3, 5)]
    assert b"".join(ordered) == x.tobytes()
    assert (server.progress().tokens, server.progress().batches) == (2 * 3 * 128, 2)


def test_ranks_are_told_the_same_progress(serve: Serve, connect: Connect) -> None:
    serve(world=2)
    client = connect()
    first = rank_batch(client, 0, 0)[0]
    rank_batch(client, 0, 1)
    assert rank_batch(client, 1, 0)[0] == first


def test_the_budget_ends_for_every_rank_after_the_same_batch(serve: Serve, connect: Connect) -> None:
    server = serve(world=2, budget=Budget(tokens=2 * 2 * 128))
    client = connect()
    answers = [[rank_batch(client, rank, number)[0] for number in range(3)] for rank in (0, 1)]
    assert answers[0] == answers[1]
    assert [answer.get("end") for answer in answers[0]] == [None, None, True]
    assert server.progress().tokens == 2 * 2 * 128


def test_a_rank_too_far_ahead_waits_for_the_slowest(serve: Serve, connect: Connect) -> None:
    server = serve(world=2)
    client = connect()
    served = 0
    while not rank_batch(client, 0, served)[0].get("wait"):
        served += 1
    assert served == 4
    assert server.progress().batches == served
    assert rank_batch(client, 1, 0)[1]
    assert rank_batch(client, 0, served)[1]


def test_a_rank_that_starts_late_begins_at_its_own_batch(serve: Serve, connect: Connect) -> None:
    serve(world=2)
    client = connect()
    for number in range(3):
        rank_batch(client, 0, number)
    assert client.ask(op="hello", rank=1)[0]["number"] == -1
    assert client.ask(op="hello", rank=0)[0]["number"] == 2


def test_ranks_ask_for_batches_of_one_shape(serve: Serve, connect: Connect) -> None:
    serve(world=2)
    client = connect()
    rank_batch(client, 0, 0, rows=2)
    assert "one shape" in rank_batch(client, 1, 0, rows=3)[0]["error"]


@pytest.mark.parametrize("rank", [2, -1, "0", 1.0])
def test_a_rank_that_does_not_exist_closes_the_connection(serve: Serve, connect: Connect, rank: Any) -> None:
    serve(world=2)
    with pytest.raises(ConnectionError):
        connect().ask(op="hello", rank=rank)
    with pytest.raises(ConnectionError):
        connect().ask(op="batch", rank=rank, number=0, shape=[1, 1])


# --- going on after a loss --------------------------------------------------------------------------------------------


def save_state(client: Client, save: int, number: int, content: bytes = GOOD) -> dict[str, Any]:
    told: dict[str, Any] = {"op": "save_state", "state": save, "number": number}
    answer, _ = client.ask(content, **told, file=MODEL_FILE, size=len(content), offset=0)
    return answer if "error" in answer else client.ask(CONFIG, **told, file=CONFIG_FILE, size=len(CONFIG), offset=0)[0]


def test_a_new_container_goes_on_where_the_last_state_was_saved(serve: Serve, connect: Connect, text: Text) -> None:
    first = serve()
    first.watch_device(lambda: 3.0)
    client = connect()
    client.batch(0)
    first.watch_device(lambda: 10.0)
    client.batch(1)
    assert save_state(client, 0, 1) == {}
    upload(client)
    client.batch(2)
    first.stop()
    second = serve()
    second.stop()
    assert second.rewind()
    second = serve()
    second.watch_device(lambda: 2.0)
    progress = second.progress()
    assert (progress.tokens, progress.batches, progress.phase) == (256, 2, "waiting")
    assert (progress.carried_device_seconds, progress.started_at, progress.saved) == (7.0, None, False)
    client = connect()
    told = client.ask(op="hello", rank=0)[0]
    assert (told["number"], told["progress"]) == (1, 256 / 100_000)
    x, _ = Stream(text.train, seed=7, segment=CONTEXT).read(256, 128)
    assert client.batch(2)[1][:256] == x.tobytes()
    assert second.progress().setup_device_seconds == 2.0
    assert second.progress().tokens == 384


def test_a_saved_state_comes_back_in_pieces(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.harness.outside.server.CHUNK_BYTES", 50)
    first = serve()
    client = connect()
    client.batch(0)
    save_state(client, 0, 0)
    assert client.ask(op="load_state", file=MODEL_FILE, offset=0)[0] == {"none": True}  # nothing was lost
    first.stop()
    first.rewind()
    serve()
    client, content = connect(), b""
    while len(content) < len(GOOD):
        answer, piece = client.ask(op="load_state", file=MODEL_FILE, offset=len(content))
        assert (answer, len(piece) <= 50) == ({"size": len(GOOD)}, True)
        content += piece
    assert content == GOOD


def test_without_a_saved_state_there_is_nothing_to_go_on_from(serve: Serve, connect: Connect) -> None:
    server = serve()
    connect().batch(0)
    server.stop()
    assert not server.rewind()
    assert server.progress().batches == 1


def test_a_state_belongs_to_the_last_batch(serve: Serve, connect: Connect) -> None:
    serve()
    client = connect()
    for number in range(3):
        client.batch(number)
    assert "the last batch that was served" in save_state(client, 0, 1)["error"]
    assert save_state(client, 0, 2) == {}


def test_states_come_one_after_the_other(serve: Serve, connect: Connect, folder: Path) -> None:
    serve()
    client = connect()
    client.batch(0)
    with pytest.raises(ConnectionError):
        save_state(client, 1, 0)
    assert list(folder.glob("state-*")) == []


def test_a_state_too_large_or_unreadable_is_refused(client: Client) -> None:
    client.batch(0)
    assert "safetensors" in save_state(client, 0, 0, content=b"not a model at all")["error"]
    answer, _ = client.ask(b"x", op="save_state", state=0, number=0, file=MODEL_FILE, size=2 << 20, offset=0)
    assert "are allowed" in answer["error"]


def test_there_is_no_other_file_to_load(serve: Serve, connect: Connect) -> None:
    serve()
    for name in ["state.json", "../state.json", None, 1]:
        with pytest.raises(ConnectionError):
            connect().ask(op="load_state", file=name, offset=0)


# --- hostile clients ------------------------------------------------------------------------------------------------

HOSTILE = {
    "a truncated length": b"\x00\x00",
    "no message at all": b"GET / HTTP/1.1\r\n\r\n" * 4,
    "a giant header": struct.pack("!IQ", 0xFFFFFFFF, 0),
    "a giant payload": struct.pack("!IQ", 2, 1 << 60) + b"{}",
    "a header that is not JSON": struct.pack("!IQ", 4, 0) + b"\xff\xff\xff\xff",
    "a header that is a list": struct.pack("!IQ", 2, 0) + b"[]",
    "deep nesting": struct.pack("!IQ", 200_000, 0) + b"[" * 200_000,
}
WRONG: list[dict[str, Any]] = [
    {}, {"op": None}, {"op": []}, {"op": "__class__"}, {"op": "batch"}, {"op": "batch", "number": 0},
    {"op": "batch", "number": 0, "shape": 5}, {"op": "batch", "number": 0, "shape": [1]},
    {"op": "batch", "number": 0, "shape": [0, 64]}, {"op": "batch", "number": 0, "shape": [-1, -64]},
    {"op": "batch", "number": 0, "shape": [1 << 30, 1 << 30]}, {"op": "batch", "number": 0, "shape": ["2", "64"]},
    {"op": "validation", "index": -1, "shape": [1, 1]}, {"op": "save"},
    {"op": "save", "save": 0, "size": 1, "offset": 0, "file": {}}, {"op": "report", "step": "x"},
    {"op": "report", "step": 1, "numbers": 7},
]


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_message_ends_only_its_own_connection(client: Client, connect: Connect, data: bytes) -> None:
    hostile = connect()
    hostile.connection.sendall(data)
    hostile.connection.shutdown(socket.SHUT_WR)
    assert hostile.is_hung_up()
    assert client.batch(0)[1]


@pytest.mark.parametrize("message", WRONG, ids=json.dumps)
def test_a_wrong_request_closes_the_connection_and_changes_nothing(
    serve: Serve, connect: Connect, message: dict[str, Any]
) -> None:
    server, hostile = serve(), connect()
    head = json.dumps(message).encode()
    hostile.connection.sendall(struct.pack("!IQ", len(head), 0) + head)
    assert hostile.is_hung_up()
    assert server.progress().batches == 0
    assert connect().batch(0)[1]


def test_a_client_that_stops_in_the_middle_does_not_block_others(client: Client, connect: Connect) -> None:
    connect().connection.sendall(struct.pack("!IQ", 100, 0) + b"{")
    assert client.batch(0)[1]


def test_there_are_at_most_eight_connections(client: Client, connect: Connect) -> None:
    client.batch(0)
    others = [connect() for _ in range(20)]
    eventually(lambda: sum(_is_open(other) for other in others) == 7)
    assert client.batch(1)[1]
    for other in others:
        other.connection.close()
    eventually(lambda: _works(connect))


def _is_open(client: Client) -> bool:
    client.connection.setblocking(False)
    try:
        return client.connection.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def _works(connect: Connect) -> bool:
    try:
        return bool(connect().ask(op="hello")[0])
    except ConnectionError:
        return False


def test_a_full_disk_is_not_the_variants_fault(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = serve(), connect()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state, "write", full)
    with pytest.raises(ConnectionError):
        client.batch(0)
    with pytest.raises(OSError, match="No space left"):
        server.progress()
    monkeypatch.undo()
