"""The object a genome gets, in this process, against the real text server."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from tests.trainer.conftest import CONTEXT, Serve
from trainer.contract import CONFIG_FILE, MODEL_FILE
from trainer.harness.inside import line as line_module
from trainer.harness.inside.line import Line
from trainer.harness.inside.run import Run
from trainer.harness.outside.server import Budget, Report
from trainer.harness.outside.stream import Stream
from trainer.harness.outside.text import Text


@pytest.fixture
def line(folder: Path) -> Iterator[Line]:
    found = Line(folder / "harness.sock")
    yield found
    found.close()


def run_of(line: Line, folder: Path) -> Run:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return Run(line, out=out)


def test_it_has_what_the_contract_names(serve: Serve, line: Line, folder: Path) -> None:
    serve()
    run = run_of(line, folder)
    assert (run.device, run.seed, run.vocab_size, run.rank, run.world) == ("cpu", 7, 256, 0, 1)
    assert (run.budget_tokens, run.progress) == (100_000, 0.0)
    assert run.out == folder / "out"


def test_batches_are_the_stream_as_long_tensors(serve: Serve, line: Line, folder: Path, text: Text) -> None:
    server = serve(budget=Budget(tokens=10 * 128))
    run = run_of(line, folder)
    batches, progress = [], []
    for x, y in run.batches(2, CONTEXT):
        batches.append((x, y))
        progress.append(run.progress)
    assert len(batches) == 10
    assert progress == pytest.approx([n / 10 for n in range(1, 11)])
    assert batches[0][0].dtype == torch.int64
    tokens, successors = Stream(text.train, seed=7, segment=CONTEXT).read(0, 10 * 128)
    assert torch.cat([x for x, _ in batches]).flatten().tolist() == tokens.tolist()
    assert torch.cat([y for _, y in batches]).flatten().tolist() == successors.tolist()
    assert server.progress().phase == "saving"


def test_all_calls_share_one_budget(serve: Serve, line: Line, folder: Path) -> None:
    serve(budget=Budget(tokens=4 * 128))
    run = run_of(line, folder)
    next(run.batches(2, CONTEXT))
    assert len(list(run.batches(1, CONTEXT))) == 6
    assert list(run.batches(1, CONTEXT)) == []
    assert run.progress == 1.0


def test_it_waits_for_a_server_that_is_started_again(
    serve: Serve, line: Line, folder: Path, text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "PAUSE_SECONDS", 0.02)
    first = serve()
    run = run_of(line, folder)
    batches = run.batches(2, CONTEXT)
    rows = [next(batches)[0] for _ in range(3)]
    first.stop()
    later = threading.Timer(0.3, serve)
    later.start()
    rows += [next(batches)[0] for _ in range(3)]
    later.join()
    expected, _ = Stream(text.train, seed=7, segment=CONTEXT).read(0, 6 * 128)
    assert torch.cat(rows).flatten().tolist() == expected.tolist()


def test_it_does_not_wait_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(OSError, match="No such file"):
        Line(folder / "harness.sock").ask({"op": "hello"})


def test_saving_sends_both_files_with_the_vocabulary(serve: Serve, line: Line, folder: Path) -> None:
    server = serve()
    run = run_of(line, folder)
    model = nn.Linear(3, 4)
    run.save(model, {"width": 3})
    assert server.progress().saved
    assert json.loads((folder / CONFIG_FILE).read_text()) == {"width": 3, "vocab_size": 256}
    assert torch.equal(safetensors.torch.load_file(folder / MODEL_FILE)["weight"], model.weight)


def test_the_last_save_counts(serve: Serve, line: Line, folder: Path) -> None:
    serve()
    run = run_of(line, folder)
    run.save(nn.Linear(3, 4), {"n": 1})
    run.save(nn.Linear(5, 6), {"n": 2})
    assert json.loads((folder / CONFIG_FILE).read_text())["n"] == 2
    assert safetensors.torch.load_file(folder / MODEL_FILE)["weight"].shape == (6, 5)


def test_a_checkpoint_larger_than_one_message_arrives_whole(serve: Serve, line: Line, folder: Path) -> None:
    serve(max_checkpoint_bytes=1 << 26)
    model = nn.Linear(3000, 1000)  # 12 MB: three pieces
    run_of(line, folder).save(model, {})
    assert torch.equal(safetensors.torch.load_file(folder / MODEL_FILE)["weight"], model.weight)


def test_a_refused_checkpoint_raises(serve: Serve, line: Line, folder: Path) -> None:
    serve(max_checkpoint_bytes=100)
    with pytest.raises(RuntimeError, match="refused"):
        run_of(line, folder).save(nn.Linear(30, 40), {})


def test_files_a_genome_wrote_itself_are_sent_at_the_end(serve: Serve, line: Line, folder: Path) -> None:
    server = serve()
    server.acknowledge()
    run = run_of(line, folder)
    safetensors.torch.save_model(nn.Linear(3, 4), str(run.out / MODEL_FILE))
    (run.out / CONFIG_FILE).write_text('{"mine": true}')
    run.finish()
    assert server.progress().saved
    assert json.loads((folder / CONFIG_FILE).read_text()) == {"mine": True}


def test_what_was_saved_is_not_sent_twice(serve: Serve, line: Line, folder: Path) -> None:
    server = serve()
    server.acknowledge()
    run = run_of(line, folder)
    run.save(nn.Linear(3, 4), {})
    before = (folder / MODEL_FILE).stat().st_mtime_ns
    run.finish()
    assert (folder / MODEL_FILE).stat().st_mtime_ns == before


def test_reports_take_floats_and_tensors(serve: Serve, line: Line, folder: Path, reports: list[Report]) -> None:
    serve(on_report=reports.append)
    run = run_of(line, folder)
    next(run.batches(2, CONTEXT))
    loss = torch.tensor(2.5, requires_grad=True) * 1
    run.report(step=3, loss=loss, lr=0.1, grad=torch.tensor(float("nan")))
    deadline = time.monotonic() + 10
    while not reports and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (reports[0].step, reports[0].tokens, reports[0].loss) == (3, 128, 2.5)
    assert reports[0].numbers == {"lr": 0.1, "grad": None}


def test_warming_up_gives_random_ids_and_uses_nothing(serve: Serve, line: Line, folder: Path) -> None:
    server = serve()
    batches = list(run_of(line, folder).warmup(2, CONTEXT))
    assert 1 <= len(batches) <= 16
    assert batches[0][0].shape == batches[0][1].shape == (2, CONTEXT)
    assert int(batches[0][0].max()) < 256
    assert server.progress().tokens == 0
    assert server.progress().seconds == 0.0


def test_validation_ends_by_itself(serve: Serve, line: Line, folder: Path) -> None:
    server = serve()
    run = run_of(line, folder)
    first, again = list(run.validation(4, CONTEXT)), list(run.validation(4, CONTEXT))
    assert len(first) > 1
    assert all(torch.equal(x, other) for (x, _), (other, _) in zip(first, again, strict=True))
    assert server.progress().tokens == 0
