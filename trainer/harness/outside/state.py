"""What the text server must remember when it is killed at any line: one small file, replaced whole."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

FILE = "state.json"

Phase = Literal["waiting", "warming", "training", "saving", "done", "failed"]


@dataclass
class State:
    """Where one training is. Times ending in `_at` are seconds since 1970; the other seconds are those of Progress."""

    phase: Phase = "waiting"
    number: int = -1  # of the last batch served
    start: int = 0  # where in the stream it begins
    shape: tuple[int, int] = (0, 0)
    position: int = 0  # where in the stream the next one begins
    tokens: int = 0
    batches: int = 0
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


def read(folder: Path) -> State:
    """The state an earlier server left in `folder`, or a fresh one."""
    path = folder / FILE
    if not path.is_file():
        return State()
    values = json.loads(path.read_text())
    known = {field.name for field in fields(State)}
    state = State(**{name: value for name, value in values.items() if name in known})
    state.shape = (state.shape[0], state.shape[1])
    return state


def write(folder: Path, state: State) -> None:
    """Replace the file. It survives the death of this process; after a power cut the trial starts again."""
    partial = folder / (FILE + ".partial")
    partial.write_text(json.dumps(asdict(state)))
    partial.replace(folder / FILE)
