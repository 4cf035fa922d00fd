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


def test_warming_up_is_the_same_for_one_seed_and_has_nothing_of_the_text(
    serve: Serve, line: Line, folder: Path, text: Text
) -> None:
    serve()
    first, again = (list(run_of(line, folder).warmup(2, CONTEXT)) for _ in range(2))
    assert all(torch.equal(x, other) for (x, _), (other, _) in zip(first, again, strict=True))
    assert not set(first[0][0].flatten().tolist()) <= set(text.train.tolist())


def test_the_first_look_at_validation_text_starts_the_clock(serve: Serve, line: Line, folder: Path) -> None:
    server = serve()
    run = run_of(line, folder)
    list(run.warmup(1, CONTEXT))
    assert server.progress().started_at is None
    next(run.validation(1, CONTEXT))
    assert server.progress().started_at is not None


def test_validation_is_the_same_slice_in_any_shape(serve: Serve, line: Line, folder: Path, text: Text) -> None:
    serve()
    run = run_of(line, folder)
    for shape in [(1, CONTEXT), (3, 10)]:
        x = torch.cat([x.flatten() for x, _ in run.validation(*shape)])
        assert x.tolist() == text.validation[: len(x)].tolist()


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (-1, 4)])
def test_a_batch_without_tokens_is_refused_at_once(
    serve: Serve, line: Line, folder: Path, shape: tuple[int, int]
) -> None:
    serve()
    run = run_of(line, folder)
    for batches in (run.batches(*shape), run.validation(*shape)):
        with pytest.raises(ValueError, match="at least one row"):
            next(batches)


def test_two_ranks_read_one_global_batch(serve: Serve, folder: Path, text: Text) -> None:
    server = serve(world=2, budget=Budget(tokens=10 * 2 * 2 * CONTEXT))
    rows: dict[int, list[torch.Tensor]] = {0: [], 1: []}

    def read(rank: int) -> None:
        line = Line(folder / "harness.sock")
        run = Run(line, out=folder, rank=rank)
        assert (run.rank, run.world) == (rank, 2)
        rows[rank] = [x for x, _ in run.batches(2, CONTEXT)]
        line.close()

    threads = [threading.Thread(target=read, args=(rank,)) for rank in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    x, _ = Stream(text.train, seed=7, segment=CONTEXT).read(0, 10 * 2 * 2 * CONTEXT)
    both = [torch.cat(pair) for pair in zip(rows[0], rows[1], strict=True)]
    assert torch.cat(both).flatten().tolist() == x.tolist()
    assert server.progress().tokens == 10 * 2 * 2 * CONTEXT


def test_rank_0_speaks_and_saves_for_all(serve: Serve, line: Line, folder: Path, reports: list[Report]) -> None:
    server = serve(world=2, on_report=reports.append)
    run = Run(line, out=folder, rank=1)
    next(run.batches(2, CONTEXT))
    run.report(step=0, loss=1.0)
    run.save(nn.Linear(3, 4), {})
    run.save_state({"w": torch.zeros(1)}, {})
    run.finish()
    server.stop()
    assert reports == []
    assert not server.progress().saved
    assert not server.rewind()
    assert server.progress().phase == "training"  # the launcher says when all ranks are done


def test_a_state_comes_back_in_the_next_container(serve: Serve, line: Line, folder: Path) -> None:
    first = serve(max_checkpoint_bytes=1 << 26)
    run = run_of(line, folder)
    assert run.load_state() is None
    next(run.batches(2, CONTEXT))
    large = torch.randn(3000, 1000)  # 12 MB: three pieces
    run.save_state({"large": large, "same": large, "random": torch.get_rng_state()}, {"step": 0, "best": [1.5, None]})
    assert run.load_state() is None  # it is this container's own
    next(run.batches(2, CONTEXT))
    line.close()
    first.stop()
    assert first.rewind()
    serve(max_checkpoint_bytes=1 << 26)
    run = run_of(line, folder)
    found = run.load_state()
    assert found is not None
    tensors, numbers = found
    assert numbers == {"step": 0, "best": [1.5, None]}
    assert torch.equal(tensors["large"], large)
    assert torch.equal(tensors["random"], torch.get_rng_state())
    assert run.progress == pytest.approx(128 / 100_000)


def test_a_state_before_the_first_batch_is_refused_at_once(serve: Serve, line: Line, folder: Path) -> None:
    serve()
    with pytest.raises(RuntimeError, match="take one before saving"):
        run_of(line, folder).save_state({"w": torch.zeros(1)}, {})


def test_a_later_state_replaces_an_earlier_one(serve: Serve, line: Line, folder: Path) -> None:
    server = serve()
    run = run_of(line, folder)
    for step, _ in zip(range(3), run.batches(2, CONTEXT), strict=False):
        run.save_state({"w": torch.full((2,), float(step))}, {"step": step})
    server.stop()
    server.rewind()
    serve()
    found = run_of(line, folder).load_state()
    assert found is not None
    assert (found[0]["w"].tolist(), found[1]) == ([2.0, 2.0], {"step": 2})


def test_a_state_without_a_tensor_is_refused(serve: Serve, line: Line, folder: Path) -> None:
    serve()
    with pytest.raises(ValueError, match="at least one tensor"):
        run_of(line, folder).save_state({}, {"step": 1})
