"""The server of a trainer that owns its loop, and the parent it has in the container."""

import io
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.conftest import Client
from trainer.adapters.nanogpt.outside import NanoGPT
from trainer.harness.inside.command import KEPT_LINES, MAX_LINE, Output
from trainer.harness.outside.command import Command, CommandServer
from trainer.harness.outside.reports import Report

Serve = Callable[..., CommandServer]
Connect = Callable[[], Client]
CHUNK = 1000


def archive(size: int = 5000) -> bytes:
    """As torch.save would write it, as far as anybody outside looks."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x04" + bytes(size))
    return content.getvalue()


@pytest.fixture
def serve(folder: Path, reports: list[Report]) -> Iterator[Serve]:
    servers: list[CommandServer] = []

    def start(*, tokens: int | None = 10_000, seconds: float | None = None, **changes: Any) -> CommandServer:
        server = CommandServer(**{
            "socket": folder / "harness.sock", "folder": folder, "max_checkpoint_bytes": 1 << 20,
            "command": Command(
                words=("python", "train.py", "--max_iters=100"), adapter=NanoGPT(), tokens_per_iteration=100,
                tokens=tokens, seconds=seconds,
            ),
            "on_report": reports.append, **changes,
        })
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


def say(client: Client, *lines: str) -> bool:
    return bool(client.ask(op="lines", lines=list(lines))[0]["stop"])


def upload(client: Client, content: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for offset in range(0, len(content), CHUNK):
        answer, _ = client.ask(content[offset : offset + CHUNK], op="save", size=len(content), offset=offset)
    return answer


def test_the_parent_is_told_what_to_run_and_what_to_bring(serve: Serve, connect: Connect) -> None:
    serve()
    answer, _ = connect().ask(op="hello")
    assert answer == {"command": ["python", "train.py", "--max_iters=100"], "checkpoint": "ckpt.pt"}


def test_tokens_are_what_its_lines_claim(serve: Serve, connect: Connect, reports: list[Report]) -> None:
    server, client = serve(), connect()
    client.ask(op="started")
    lines = "found vocab_size = 66", "iter 49: loss 2.1, time 5.00ms, mfu 3.00%", "iter 50: loss 2.0, time 5.00ms"
    assert not say(client, *lines)
    progress = server.progress()
    assert (progress.phase, progress.tokens, progress.fraction) == ("training", 5000, 0.5)
    assert (reports[0].step, reports[0].loss, reports[0].numbers["mfu"]) == (50, 2.0, 0.03)


def test_a_look_and_an_iteration_of_one_message_are_one_report(
    serve: Serve, connect: Connect, reports: list[Report]
) -> None:
    serve()
    client = connect()
    client.ask(op="started")
    say(client, "step 7: train loss 2.0, val loss 2.2", "iter 7: loss 1.9, time 5.00ms, mfu 3.00%")
    assert (reports[0].step, reports[0].loss, reports[0].numbers["val_loss"]) == (7, 1.9, 2.2)


def test_device_time_from_outside_ends_it(serve: Serve, connect: Connect) -> None:
    server, client = serve(tokens=None, seconds=10.0), connect()
    used = 3.0
    server.watch_device(lambda: used)
    client.ask(op="started")
    assert not say(client)
    used = 12.0  # 9 since its start
    time.sleep(0.6)
    assert not say(client)
    used = 13.5
    time.sleep(0.6)
    assert say(client)
    assert server.progress().phase == "saving"
    assert server.progress().fraction == 1.0


def test_who_claims_to_go_on_after_the_last_iteration_is_stopped(serve: Serve, connect: Connect) -> None:
    serve(tokens=10_000)
    client = connect()
    client.ask(op="started")
    assert not say(client, "iter 100: loss 2.0, time 5.00ms, mfu 3.00%")
    assert say(client, "iter 101: loss 2.0, time 5.00ms, mfu 3.00%")


def test_forged_lines_and_wrong_types_change_nothing(serve: Serve, connect: Connect, reports: list[Report]) -> None:
    server, client = serve(), connect()
    client.ask(op="started")
    answer, _ = client.ask(op="lines", lines=["x" * 100_000, 7, None, "iter 1e9: loss 0.0, time 0ms, mfu 900%"])
    assert answer == {"stop": False}
    assert (server.progress().tokens, reports) == (0, [])
    with pytest.raises(ConnectionError):
        client.ask(op="lines", lines="iter 1: loss 1.0, time 1.0ms")


def test_silence_is_seen_though_the_parent_asks(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()
    client.ask(op="started")
    before = server.progress().last_request_at
    say(client)
    assert server.progress().last_request_at == before
    say(client, "anything")
    assert (server.progress().last_request_at or 0) > (before or 0)


def test_a_checkpoint_is_kept_as_it_came(serve: Serve, connect: Connect, folder: Path) -> None:
    server, client, content = serve(), connect(), archive()
    client.ask(op="started")
    assert not server.progress().saved
    assert upload(client, content) == {}
    assert server.progress().saved
    assert (folder / "ckpt.pt").read_bytes() == content


@pytest.mark.parametrize(("content", "word"), [
    (b"\x80\x04" + bytes(5000), "archive"),
    (archive()[:-30], "archive"),
    (bytes(2 << 20), "allowed"),
])
def test_what_is_no_archive_or_too_large_is_refused(
    serve: Serve, connect: Connect, content: bytes, word: str
) -> None:
    server, client = serve(), connect()
    client.ask(op="started")
    upload(client, content)
    assert not server.progress().saved
    assert word in server.progress().refused


def test_a_refused_checkpoint_leaves_the_one_before(serve: Serve, connect: Connect, folder: Path) -> None:
    server, client, content = serve(), connect(), archive()
    client.ask(op="started")
    upload(client, content)
    upload(client, bytes(5000))
    assert server.progress().saved
    assert (folder / "ckpt.pt").read_bytes() == content


def test_a_gap_in_a_checkpoint_is_refused(serve: Serve, connect: Connect) -> None:
    serve()
    client = connect()
    client.ask(op="started")
    assert "gap" in client.ask(bytes(10), op="save", size=100, offset=50)[0]["error"]


def test_a_later_server_goes_on_where_the_first_was(serve: Serve, connect: Connect) -> None:
    first, client = serve(), connect()
    client.ask(op="started")
    say(client, "iter 50: loss 2.0, time 5.00ms, mfu 3.00%")
    first.stop()
    second = serve()
    assert second.progress().tokens == 5000
    assert second.progress().started_at == first.progress().started_at
    assert not say(connect(), "iter 51: loss 2.0, time 5.00ms, mfu 3.00%")
    assert second.progress().tokens == 5100


def test_after_the_end_nothing_can_be_saved(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()
    client.ask(op="started")
    server.acknowledge()
    client.ask(op="done")
    assert server.progress().phase == "done"
    with pytest.raises(ConnectionError):
        upload(client, archive())


def test_why_it_failed_is_cut_to_a_sentence_and_a_tail(serve: Serve, connect: Connect) -> None:
    server, client = serve(), connect()
    client.ask(op="started")
    server.acknowledge()
    client.ask(op="failed", error="E" * 10_000, traceback="T" * 100_000)
    progress = server.progress()
    assert progress.phase == "failed"
    assert (len(progress.error), len(progress.traceback)) == (500, 4096)


# --- the parent inside ----------------------------------------------------------------------------------------------


@pytest.fixture
def output() -> Iterator[tuple[Output, Callable[[bytes], int]]]:
    reader, writer = os.pipe()
    yield Output(reader), lambda content: os.write(writer, content)
    os.close(reader)
    os.close(writer)


def test_lines_are_passed_on_when_they_are_whole(output: tuple[Output, Callable[[bytes], int]]) -> None:
    read, write = output
    write(b"iter 0: loss 1.0\niter 1: lo")
    assert read.read(0.05) == ["iter 0: loss 1.0"]
    write(b"ss 0.9\n")
    assert read.read(0.05) == ["iter 1: loss 0.9"]


def test_a_long_line_is_cut_and_many_lines_are_dropped(output: tuple[Output, Callable[[bytes], int]]) -> None:
    read, write = output
    write(b"x" * 5000)
    write(b"y" * 5000 + b"\n")
    assert [len(line) for line in read.read(0.05)] == [MAX_LINE]
    write(b"".join(b"%d\n" % n for n in range(5 * KEPT_LINES)))
    lines = read.read(0.05)
    assert len(lines) == KEPT_LINES
    assert lines[-1] == str(5 * KEPT_LINES - 1)
