"""Which driver is taken, and what is said when none can be."""

import pytest

from sandbox import readiness
from sandbox.drivers.base import SandboxError, SandboxUnavailable


class Fake:
    warning = "keeps less"

    def __init__(self, name: str, error: str = "") -> None:
        self.name, self.error = name, error

    def check(self) -> None:
        if self.error:
            raise SandboxUnavailable(self.error)


@pytest.fixture
def only_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = {"docker": Fake("docker", "no engine: start one"), "bubblewrap": Fake("bubblewrap")}
    monkeypatch.setattr(readiness, "driver", fakes.__getitem__)


@pytest.mark.usefixtures("only_bubblewrap")
def test_auto_takes_the_best_that_works() -> None:
    assert readiness.choose("auto").name == "bubblewrap"


@pytest.mark.usefixtures("only_bubblewrap")
def test_what_was_asked_for_is_never_replaced_silently() -> None:
    with pytest.raises(SandboxUnavailable, match="no engine: start one"):
        readiness.choose("docker")


@pytest.mark.usefixtures("only_bubblewrap")
def test_each_driver_says_why_not_or_what_it_cannot_keep() -> None:
    docker, bubblewrap = readiness.drivers()
    assert (docker.usable, docker.reason, docker.warning) == (False, "no engine: start one", "")
    assert (bubblewrap.usable, bubblewrap.reason, bubblewrap.warning) == (True, "", "keeps less")


def test_a_driver_nobody_knows_is_refused() -> None:
    with pytest.raises(SandboxError, match="docker or bubblewrap"):
        readiness.choose("podman")
