"""Several processes in one container: torch.distributed over the container's own loopback."""

import pytest
import torch
from safetensors.torch import load_file

from sandbox.drivers.base import Driver
from sandbox.outcome import Outcome
from sandbox.training import train
from tests import cast
from tests.sandbox.boxes import residue
from tests.sandbox.trainings import CONTEXT, Watch, ordered
from trainer.contract import MODEL_FILE, Cause

STEPS = 30
ROWS = 4  # of each rank
TWO = cast.MANIFEST.replace(b"[train]\n", b"[train]\nprocesses = 2\n")

TRAIN = b'''\
import torch
import torch.distributed as dist
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from model import Bigram


def main(run):
    torch.manual_seed(1)
    model = Bigram(run.vocab_size)
    trained = model
    if run.world > 1:
        dist.init_process_group("gloo")
        trained = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
    for step, (x, y) in enumerate(run.batches(8 // run.world, 16)):
        loss = functional.cross_entropy(trained(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 10.0 * (1 - run.progress / 2)
        optimizer.step()
        run.report(step=step, loss=loss, progress=run.progress)
    run.save(model, {"world": run.world})
    if run.world > 1:
        dist.destroy_process_group()
'''

ONE_DIES = b'''\
import os
import time


def main(run):
    for _ in run.batches(4, 16):
        if run.rank == 1:
            os._exit(3)
        time.sleep(0.1)
    run.save(None, {})
'''

ONE_RAISES = ONE_DIES.replace(b"os._exit(3)", b"raise ValueError('rank one has had enough')")


def test_two_ranks_train_the_model_that_one_process_trains_on_the_same_batches(driver: Driver) -> None:
    weights, outcomes = [], []
    for manifest in (TWO, cast.MANIFEST):
        outcome = Outcome()
        with ordered(tokens=STEPS * 8 * CONTEXT, manifest=manifest, train=TRAIN) as order:
            assert train(order, driver, watch := Watch(), outcome), (outcome.sentence(), outcome.log_tail)
            weights.append(load_file(order.folder / MODEL_FILE)["table.weight"])
        outcomes.append(outcome)
        assert [report.step for report in watch.reports] == sorted({report.step for report in watch.reports})
    assert [one.numbers["train_tokens"] for one in outcomes] == [STEPS * 8 * CONTEXT] * 2
    assert torch.allclose(weights[0], weights[1], atol=1e-5)
    assert weights[0].std() > 1e-3


@pytest.mark.parametrize(("code", "words"), [
    (ONE_DIES, "process 1 of 2 ended with code 3"), (ONE_RAISES, "ValueError: rank one has had enough"),
])
def test_a_rank_that_dies_ends_the_others(driver: Driver, code: bytes, words: str) -> None:
    outcome = Outcome()
    with ordered(tokens=1_000_000, manifest=TWO, train=code) as order:
        assert not train(order, driver, Watch(), outcome)
    assert (outcome.cause, outcome.detail) == (Cause.CRASHED, words)
    assert residue(driver, f"{order.name}-train") == []
