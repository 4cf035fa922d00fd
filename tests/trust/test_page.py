"""docs/trust.md lists every cheat we try, with the guard that stops it and what becomes of it, and no other."""

from pathlib import Path

from tests.trust.broken import BROKEN
from tests.trust.cheats import CHEATS
from tests.trust.honest import HONEST

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trust.md"
HEAD = ["| cheat | what it does | guard | becomes |", "|---|---|---|---|"]


def rows() -> list[str]:
    """The table, from the cheats themselves."""
    return HEAD + [
        f"| {name.replace('_', ' ')} | {one.does} | {one.guard} | {one.verdict} |" for name, one in CHEATS.items()
    ]


def test_the_page_lists_every_cheat_as_it_is_tried() -> None:
    table = "\n".join(rows())
    assert f"\n\n{table}\n\n" in PAGE.read_text(), f"put this table into docs/trust.md:\n{table}"


def test_the_page_counts_what_is_tried() -> None:
    counts = f"{len(CHEATS)} cheats, {len(HONEST)} honest genomes and {len(BROKEN)} broken ones"
    assert counts in PAGE.read_text(), counts
