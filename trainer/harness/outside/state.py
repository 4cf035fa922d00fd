"""What the text server must remember when it is killed at any line: one small file, replaced whole."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

FILE = "state.json"

Phase = Literal["waiting", "warming", "training", "saving", "done", "failed"]


@dataclass
class Opened:
    """A batch that was served: `shape` is [B, T] of each rank, `progress` is what every rank is told with it."""

    number: int
    start: int  # where in the stream it begins
    shape: tuple[int, int]
    progress: float


@dataclass
class Saved:
    """Where a training was when it saved a state to go on from. The files are in `folder_of(save)`."""

    save: int
    number: int  # of the last batch that went into it
    tokens: int
    seconds: float
    device_seconds: float  # from the first text to this moment


@dataclass
class Mark:
    """Where a check was at one moment. Both seconds begin before the first text."""

    tokens: int
    seconds: float
    device_seconds: float


@dataclass
class Rehearsal:
    """How a genome did on fake tensors, by what its container says. None: they could not tell."""

    passed: bool | None
    detail: str
    seconds: float


@dataclass
class State:
    """Where one training is. Times ending in `_at` are seconds since 1970; the other seconds are those of Progress."""

    phase: Phase = "waiting"
    number: int = -1  # of the last batch served
    tokens: int = 0  # served, which is also where in the stream the next batch begins
    batches: int = 0
    opened: list[Opened] = field(default_factory=list)  # the last batches, which a rank may still ask for
    taken: dict[str, int] = field(default_factory=dict)  # the last batch of each rank, by its decimal number
    seconds: float = 0.0
    warm_seconds: float = 0.0
    held_seconds: float = 0.0
    started_held_seconds: float = 0.0  # `held_seconds` when the first text was served
    setup_device_seconds: float | None = None
    greeted_at: float | None = None
    started_at: float | None = None  # when the first text was served
    ended_at: float | None = None  # when the budget was used up
    done_at: float | None = None
    last_request_at: float | None = None
    save: int = -1  # the number of the last complete save
    saved_seconds: float | None = None
    refused: str = ""  # why the last save was refused
    error: str = ""
    traceback: str = ""
    saved: Saved | None = None  # the last complete one
    resumed: bool = False  # this container goes on from `saved`
    carried_seconds: float = 0.0  # of the containers before this one, up to `saved`
    carried_device_seconds: float = 0.0  # likewise
    few: Mark | None = None  # of a check: after its first few batches
    last: Mark | None = None  # and at the last request for one
    rehearsal: Rehearsal | None = None


def folder_of(folder: Path, save: int) -> Path:
    """Where the files of a saved state are."""
    return folder / f"state-{save}"


def rewound(state: State) -> State:
    """Where a new container begins when the one before was lost after `state.saved`: what it used since is not counted.

    Checkpoints that the lost container sent are forgotten: they may know more of the text than is counted now.
    """
    saved = state.saved
    if saved is None:
        raise ValueError("no state was saved")
    return State(
        number=saved.number, batches=saved.number + 1, tokens=saved.tokens, seconds=saved.seconds, saved=saved,
        resumed=True, carried_seconds=saved.seconds, carried_device_seconds=saved.device_seconds,
    )


def read(folder: Path) -> State:
    """The state an earlier server left in `folder`, or a fresh one."""
    path = folder / FILE
    if not path.is_file():
        return State()
    values = json.loads(path.read_text())
    known = {one.name for one in fields(State)}
    state = State(**{name: value for name, value in values.items() if name in known})
    state.opened = [Opened(**{**one, "shape": tuple(one["shape"])}) for one in values.get("opened", [])]
    state.saved = Saved(**values["saved"]) if values.get("saved") else None
    for name, made in (("few", Mark), ("last", Mark), ("rehearsal", Rehearsal)):
        setattr(state, name, made(**values[name]) if values.get(name) else None)
    return state


def write(folder: Path, state: State) -> None:
    """Replace the file. It survives the death of this process; after a power cut the trial starts again."""
    partial = folder / (FILE + ".partial")
    partial.write_text(json.dumps(asdict(state)))
    partial.replace(folder / FILE)
