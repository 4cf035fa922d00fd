"""Recorded replies, consumed in order: for tests and demonstrations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from evolution.agents import reply
from evolution.agents.base import Brief, Proposal
from evolution.errors import BadInput

if TYPE_CHECKING:
    from evolution.models import Experiment

AUTHOR = "agent:replay"


class ReplayAgent:
    """Takes the next line of a file for each proposal; the experiment remembers how many lines were used."""

    name = "recorded replies"

    def __init__(self, experiment: Experiment, path: Path) -> None:
        self.experiment, self.path = experiment, path

    def propose(self, brief: Brief) -> Proposal | None:
        """The next recorded reply as a proposal; None when all are used. Unusable for a reply that is no proposal.

        A reply counts as used before it is read, so an unusable one is not met twice. Raises BadInput for a bad file.
        """
        replies = recorded(self.path)
        place = self._take(len(replies))
        return None if place is None else reply.proposal(replies[place], brief, author=AUTHOR)

    def _take(self, count: int) -> int | None:
        """Claim the next place in the file, or None when there is none. Of two racing callers each gets its own."""
        rows = type(self.experiment).objects.filter(pk=self.experiment.pk)
        while (used := rows.values_list("replies_used", flat=True).get()) < count:
            if rows.filter(replies_used=used).update(replies_used=used + 1):
                self.experiment.replies_used = used + 1
                return used
        return None


def recorded(path: Path) -> list[str]:
    """The raw replies of a file with one {"response": "…"} per line; BadInput says which line is not one."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the recorded replies {path} cannot be read ({error}): name a UTF-8 text file") from error
    return [_response(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]


def _response(line: str, path: Path, number: int) -> str:
    try:
        response = json.loads(line)["response"]
    except (ValueError, KeyError, TypeError, RecursionError):
        response = None
    if not isinstance(response, str):
        raise BadInput(f'line {number} of {path} is not {{"response": "text"}}: write one such object per line')
    return response
