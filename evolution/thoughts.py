"""What a model says while it is asked, for the pages: the last letters of each call's text in a small file.

Pages are told that there is more, and read the file; a reload shows the same. Nothing of it is memory: what became of
the call is in its row, and the proposal in the variant.
"""

import json
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evolution import live
from evolution.models import Call, CallState, Experiment
from evolution.storable import storable

log = logging.getLogger(__name__)

FOLDER = "thoughts"
SHOWN = 8_000  # characters, the last ones
PAUSE = 0.3  # seconds between two pieces of news
KEPT = 20  # files
THOUGHT = "thought"  # the kind of the news; it is no event


@dataclass
class Thought:
    """The text of one call as it grows. `seq` counts what pages were told; `proposer` is whose agent is asked."""

    call: Call
    proposer: int | None = None
    text: str = ""
    seq: int = 0
    told: float = field(default=0.0)
    waiting: list[str] = field(default_factory=list)

    def begin(self) -> None:
        self._tell()

    def hear(self, piece: str) -> None:
        """Take one piece of text; pages hear of it a few times a second."""
        self.waiting.append(piece)
        if time.monotonic() - self.told >= PAUSE:
            self._tell()

    def end(self, text: str | None = None) -> None:
        """Say that it is over; `text` where the answer came in one piece."""
        if text is not None and not self.text and not self.waiting:
            self.waiting.append(text)
        self._tell()

    def _tell(self) -> None:
        self.text = (self.text + "".join(self.waiting))[-SHOWN:]
        self.waiting, self.told, self.seq = [], time.monotonic(), self.seq + 1
        try:
            self._write()
        except OSError as error:  # a page that shows less must stop nobody's work
            log.warning("the thought of call %s cannot be kept: %s", self.call.pk, error)
        live.publish(self.call.experiment_id, kind=THOUGHT, event=None, variant=None)

    def _write(self) -> None:
        folder = _folder(self.call.experiment)
        folder.mkdir(exist_ok=True)
        kept = {"seq": self.seq, "proposer": self.proposer, "text": storable(self.text)}
        building = folder / f"{self.call.pk}.new"
        building.write_text(json.dumps(kept), encoding="utf-8")
        building.replace(folder / f"{self.call.pk}.json")
        if self.seq == 1:
            _prune(folder)


def latest(experiment: Experiment) -> dict[str, Any] | None:
    """The newest call with its text, as the page shows it; None before the first."""
    call = experiment.calls.select_related("target", "strategy").order_by("-id").first()
    if call is None:
        return None
    kept = _kept(experiment, call)
    return {
        "call": call.pk, "seq": kept.get("seq", 0), "proposer": kept.get("proposer"), "text": kept.get("text", ""),
        "target": call.target.number if call.target else None, "purpose": call.purpose,
        "model": call.answered or call.model, "strategy": call.strategy.name if call.strategy else "",
        "thinking": call.state == CallState.RESERVED, "error": call.error, "tokens": call.tokens_in + call.tokens_out,
        "cost_usd": call.cost_usd, "at": (call.ended_at or call.started_at).isoformat(),
    }


def _kept(experiment: Experiment, call: Call) -> dict[str, Any]:
    try:
        found = json.loads((_folder(experiment) / f"{call.pk}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _prune(folder: Path) -> None:
    files = sorted((path for path in folder.glob("*.json") if path.stem.isdecimal()), key=lambda path: int(path.stem))
    for path in deque(files[:-KEPT]):
        path.unlink(missing_ok=True)


def _folder(experiment: Experiment) -> Path:
    return experiment.folder / FOLDER
