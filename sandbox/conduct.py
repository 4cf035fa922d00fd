"""One trial from container to number, with no database: train, freeze, judge.

What fails in here by the variant's own fault is an Outcome with a cause; what fails by ours is an exception.
"""

import logging

from sandbox import hashes
from sandbox.drivers.base import Driver, SandboxError
from sandbox.judging import Prepared, judge, prepare
from sandbox.outcome import Outcome
from sandbox.training import train
from sandbox.trial import Order, Watcher
from trainer.contract import Cause

log = logging.getLogger(__name__)
CONTAINERS = "train", "window", "prefix"


def conduct(order: Order, driver: Driver, watch: Watcher) -> Outcome:
    """Train and judge one genome; takes over what an earlier runner of the same folder left."""
    outcome = Outcome(hashes=hashes.of_order(order))
    if order.held_out_in:
        outcome.cause, outcome.detail = Cause.HELD_OUT_TEXT, f"{order.held_out_in} holds strings of the held-out text"
        return outcome
    prepared: list[Prepared] = []

    def near_end() -> None:
        try:
            prepared.append(prepare(order, driver))
        except SandboxError as error:  # no reason to end a training that runs: the judge tries again
            log.warning("the judge's containers could not be started early: %s", error)

    try:
        trained = train(order, driver, watch, outcome, near_end=near_end)
        if trained and outcome.cause is None:
            judge(order, driver, watch, outcome, prepared[0] if prepared else None)
    finally:
        for one in prepared:
            one.close()
        for part in CONTAINERS:
            box = driver.adopt(f"{order.name}-{part}")
            if box is not None:
                box.remove()
    return outcome
