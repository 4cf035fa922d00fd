"""The built-in agent: no key, no network. It picks one of the built-in operators and says so."""

from collections.abc import Mapping
from typing import Any

from evolution.agents.base import Brief, Proposal
from evolution.confined import confined

AUTHOR = "operator:"


class BuiltinAgent:
    """Proposes a built-in operator that fits the target and was not tried, or a number with a random factor."""

    name = "built-in operators"

    def propose(self, brief: Brief) -> Proposal | None:
        """A proposal by an operator drawn with the brief's seed; None when none fits. Unparsable for hostile code."""
        tried = [author.removeprefix(AUTHOR) for author in sorted(brief.tried) if author.startswith(AUTHOR)]
        done = confined("operate", {
            "files": readable(brief.files), "editable": editable(brief), "seed": brief.seed, "tried": tried,
            "only": list(brief.operators),
        })
        return None if "declined" in done else _proposal(brief, done)


def readable(files: Mapping[str, bytes]) -> dict[str, str]:
    """The Python files that are UTF-8 text, as text. Line ends stay as they are."""
    texts = {}
    for path, content in files.items():
        if path.endswith(".py"):
            try:
                texts[path] = content.decode()
            except UnicodeDecodeError:
                continue
    return texts


def editable(brief: Brief) -> list[str]:
    return [path for path in readable(brief.files) if brief.genome.may_edit(path)]


def _proposal(brief: Brief, done: Mapping[str, Any]) -> Proposal:
    changed = {path: text.encode() for path, text in done["files"].items()}
    return Proposal(
        files={**brief.files, **changed},
        title=done["title"],
        hypothesis=done["hypothesis"],
        rationale=f"Built-in operator, a fixed change from the literature. {done['rationale']}",
        expected=done["expected"],
        author=AUTHOR + done["operator"],
    )
