"""One trial from container to number, with no database: train, freeze, judge.

What fails in here by the variant's own fault is an Outcome with a cause; what fails by ours is an exception.
"""

from sandbox.drivers.base import Driver
from sandbox.judging import judge
from sandbox.outcome import Outcome
from sandbox.training import train
from sandbox.trial import Order, Watcher
from trainer.contract import Cause

CONTAINERS = "train", "window", "prefix"


def conduct(order: Order, driver: Driver, watch: Watcher) -> Outcome:
    """Train and judge one genome; takes over what an earlier runner of the same folder left."""
    outcome = Outcome()
    if order.held_out_in:
        outcome.cause, outcome.detail = Cause.HELD_OUT_TEXT, f"{order.held_out_in} holds strings of the held-out text"
        return outcome
    try:
        trained = train(order, driver, watch, outcome)
        if trained and outcome.cause is None:
            judge(order, driver, watch, outcome)
    finally:
        for part in CONTAINERS:
            box = driver.adopt(f"{order.name}-{part}")
            if box is not None:
                box.remove()
    return outcome
