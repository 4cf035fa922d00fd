"""Two processes that run trials while the tests wait for what they are about."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

import pytest
from django.conf import settings

from sandbox.outcome import Outcome
from sandbox.readiness import drivers
from tests.trust import genomes, worker
from tests.trust.cases import OF

Start = Callable[..., Future[Any]]
PROCESSES = 2


@pytest.fixture(scope="session")
def start() -> Iterator[Start]:
    """Call a function, by its module and name, in one of the processes."""
    if not any(one.usable for one in drivers()):
        reason = "no sandbox can be used here"
        pytest.fail(f"CI must have this: {reason}") if os.environ.get("CI") == "true" else pytest.skip(reason)
    pool = ProcessPoolExecutor(
        PROCESSES, mp_context=multiprocessing.get_context("spawn"), initializer=worker.prepare,
        initargs=(str(settings.DARWIN_VAR),),
    )

    def call(module: str, function: str, *arguments: Any) -> Future[Any]:
        return pool.submit(worker.call, module, function, *arguments)

    yield call
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def twin(start: Start) -> Outcome:
    """How the honest twin of every cheat ends."""
    outcome: Outcome = start("tests.trust.cases", "honest", genomes.files()).result()
    assert outcome.cause is None, outcome.sentence()
    return outcome


@pytest.fixture(scope="session")
def built_in(start: Start) -> Outcome:
    """How the built-in genome, made small, ends: the baseline of the honest ones."""
    outcome: Outcome = start("tests.trust.cases", "built_in").result()
    assert outcome.cause is None, outcome.sentence()
    return outcome


@pytest.fixture(scope="session")
def ended(request: pytest.FixtureRequest, start: Start) -> Callable[[str, str], Any]:
    """How the case `name` of a table ends. All that were selected start at the first question."""
    asked = [
        (kind, item.callspec.params[kind]) for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        for kind in OF if kind in item.callspec.params
    ]
    arguments = {kind: [request.getfixturevalue(one) for one in OF[kind]] for kind in {kind for kind, _ in asked}}
    running = {
        (kind, name): start("tests.trust.cases", kind, name, *arguments[kind]) for kind, name in dict.fromkeys(asked)
    }
    return lambda kind, name: running[kind, name].result()
