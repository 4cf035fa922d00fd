"""Which sandbox drivers work on this machine, and which one to take: for `doctor` and for new experiments."""

from dataclasses import dataclass
from functools import cache

from sandbox.drivers.base import Driver, SandboxError, SandboxUnavailable
from sandbox.drivers.bubblewrap import Bubblewrap
from sandbox.drivers.docker import Docker

AUTO = "auto"
ORDER = ("docker", "bubblewrap")  # the better one first


@dataclass(frozen=True)
class DriverState:
    """`reason`: why it cannot be used; `warning`: what it cannot keep although it can be used."""

    name: str
    usable: bool
    reason: str
    warning: str


@cache
def driver(name: str) -> Driver:
    """The driver of that name, one per process, whether or not it works here; SandboxUnavailable for another name."""
    if name == "docker":
        return Docker()
    if name == "bubblewrap":
        return Bubblewrap()
    raise SandboxUnavailable(f"there is no sandbox driver named {name}: choose {' or '.join(ORDER)}")


def drivers() -> list[DriverState]:
    """Every driver, the preferred one first. Each is asked to start something, so this takes up to a second."""
    return [_state(name) for name in ORDER]


def choose(preferred: str = AUTO) -> Driver:
    """The driver asked for, or the first that works; SandboxUnavailable says why and what to do."""
    names = ORDER if preferred == AUTO else (preferred,)
    reasons = []
    for name in names:
        one = driver(name)
        try:
            one.check()
        except SandboxError as error:
            reasons.append(f"{name}: {error}")
        else:
            return one
    raise SandboxUnavailable("no sandbox can be used here: " + "; ".join(reasons))


def _state(name: str) -> DriverState:
    one = driver(name)
    try:
        one.check()
        return DriverState(name, usable=True, reason="", warning=one.warning)
    except SandboxError as error:
        return DriverState(name, usable=False, reason=str(error), warning="")
