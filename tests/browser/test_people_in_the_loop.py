"""One generation with a person in the loop: real pages, real Chromium, real containers."""

import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Page, expect

from tests.flow.stage import Stage, edit, eventually, free_port, last_object, reply

pytestmark = [pytest.mark.browser, pytest.mark.docker, pytest.mark.timeout(600)]

POINTS = """() => (document.getElementById("chart-curves").data ?? [])
    .reduce((sum, trace) => sum + (trace.x?.length ?? 0), 0)"""


class Campaign:
    """`evolve --review human` in its own stage, with what it printed so far."""

    def __init__(self, stage: Stage, shakespeare: Path) -> None:
        port = free_port()
        stage.environment.update(PORT=str(port), HOST="127.0.0.1")
        self.stage = stage
        self.address = f"http://127.0.0.1:{port}"
        replies = stage.replies(
            reply("a larger learning rate", edit("learning_rate = 1.0", "learning_rate = 30.0")),
            reply("another batch size", edit("batch_size = 8", "batch_size = 16")),
            reply("momentum", edit("lr=learning_rate)", "lr=learning_rate, momentum=0.5)")),
        )
        self.process = stage.start(
            "evolve", "people", "--genome", str(stage.genome()), "--data", str(shakespeare), "--agent",
            f"replay:{replies}", "--population", "3", "--survivors", "2", "--generations", "1", "--budget-tokens",
            "2500000", "--confirm", "0", "--review", "human", "--sandbox", "docker", "--json",
        )
        self.output: list[str] = []
        self.reader = Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.output.extend(iter(self.process.stdout.readline, ""))

    def link(self) -> str | None:
        if self.process.poll() is not None:
            raise AssertionError("".join(self.output))
        found = re.search(r"http://\S+/login/\S+", "".join(self.output))
        return found.group() if found else None

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(f"file:{self.stage.var / 'db.sqlite3'}?mode=ro", uri=True, timeout=20) as database:
            return database.execute(query).fetchall()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(2)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def campaign(stage: Stage, shakespeare: Path) -> Iterator[Campaign]:
    one = Campaign(stage, shakespeare)
    yield one
    one.close()


def test_accept_edit_and_veto_by_hand_and_a_chart_that_grows(campaign: Campaign, page: Page) -> None:
    page.goto(eventually(campaign.link, what="the login link"))

    # The baseline trains; its curve grows without a reload.
    page.goto(f"{campaign.address}/experiments/people/")
    page.wait_for_function(f"() => ({POINTS})() > 2", timeout=120_000)
    before = page.evaluate(POINTS)
    page.wait_for_function(f"(before) => ({POINTS})() > before + 2", arg=before, timeout=60_000)

    # Three proposals arrive in the queue.
    page.goto(f"{campaign.address}/review/")
    expect(page.locator(".queue-row")).to_have_count(3, timeout=240_000)

    # Accept with a key, take it back with another, accept again.
    open_proposal(page, "a larger learning rate")
    page.keyboard.press("a")
    expect(page.locator("#pending form")).to_have_count(1)
    page.keyboard.press("u")
    expect(page.locator("#pending form")).to_have_count(0)
    open_proposal(page, "a larger learning rate")
    page.keyboard.press("a")
    expect(page.locator("#pending form")).to_have_count(1)

    # Edit on the right side: the new variant is the person's.
    open_proposal(page, "another batch size")
    line = page.locator(".cm-merge-b .cm-line", has_text="batch_size = 16").first
    line.click()
    page.keyboard.press("End")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.keyboard.type("24")
    page.keyboard.press("Escape")
    page.locator("[data-edit]").click()
    expect(page.locator("#pending form")).to_have_count(2)

    # Veto with a reason.
    open_proposal(page, "momentum")
    page.keyboard.press("v")
    page.keyboard.press("4")
    page.locator(".veto-panel input[name=reason]").fill("not on a bigram")
    page.keyboard.press("Enter")
    expect(page.locator(".queue-row")).to_have_count(0, timeout=30_000)

    # The tree shows all of them, the superseded one too.
    page.goto(f"{campaign.address}/experiments/people/lineage/")
    for title in ("a larger learning rate", "another batch size", "momentum"):
        expect(page.get_by_text(title).first).to_be_visible()

    # The rest happens by itself; the pages' server ends with it.
    page.goto("about:blank")
    campaign.process.wait(300)
    campaign.reader.join(10)
    assert campaign.process.returncode == 0, "".join(campaign.output)
    told = last_object("".join(campaign.output))
    assert told["counts"]["vetoed"] == 1
    assert told["counts"]["superseded"] == 1
    verdicts = campaign.rows("SELECT verdict, reason FROM review_decision WHERE reviewer_id IS NOT NULL ORDER BY id")
    assert [verdict for verdict, _ in verdicts] == ["accept", "undo", "accept", "edit", "veto", "accept"]
    assert verdicts[4][1] == "not on a bigram"
    edited = campaign.rows("SELECT author, perplexity FROM evolution_variant WHERE kind = 'edit'")
    assert len(edited) == 1
    assert str(edited[0][0]).startswith("user:")
    assert edited[0][1] is not None


def open_proposal(page: Page, title: str) -> None:
    row = page.locator(".queue-row", has_text=title)
    row.click()
    expect(page.locator("#proposal-title")).to_have_text(title)
    expect(page.locator(".cm-merge-b .cm-content").first).to_be_visible()
