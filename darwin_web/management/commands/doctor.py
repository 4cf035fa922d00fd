"""What this machine has and what to do about what is missing."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from darwin_web.diagnosis import Finding, State, can_run, examine
from darwin_web.management.base import Code, DarwinCommand

COLOUR = {State.OK: "green", State.WARNING: "yellow", State.ABSENT: "dim", State.BROKEN: "bold red"}


class Command(DarwinCommand):
    help = "Say what this machine has (Python, database, Redis, sandboxes, GPU, key) and what to do about the rest."
    examples = ("manage.py doctor", "manage.py doctor --json")
    codes = (Code.DONE, Code.INFRASTRUCTURE)
    meaning = {Code.DONE: "DARWIN can run here", Code.INFRASTRUCTURE: "it cannot; the table says why"}
    migrates = False  # it must also work where the database does not

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")

    def handle(self, *args: Any, json: bool, **options: Any) -> None:
        findings = examine()
        if json:
            self.stdout.write(_as_json(findings))
        else:
            self._show(findings)
        if not can_run(findings):
            raise SystemExit(Code.INFRASTRUCTURE)

    def _show(self, findings: list[Finding]) -> None:
        table = Table(box=None, pad_edge=False)
        for column in ("", "", "found", "what to do"):
            table.add_column(column, overflow="fold")
        for finding in findings:
            state = f"[{COLOUR[finding.state]}]{finding.state}[/]"
            table.add_row(finding.name, state, escape(finding.found), escape(finding.advice))
        console = Console()
        console.print(table)
        console.print("\nDARWIN can run here." if can_run(findings) else "\n[bold red]DARWIN cannot run here yet.[/]")


def _as_json(findings: list[Finding]) -> str:
    return json.dumps({"can_run": can_run(findings), "findings": [asdict(finding) for finding in findings]})
