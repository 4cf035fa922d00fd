import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from evolution import archive, chain, documents, durable, journal
from evolution.chain import Broken
from evolution.memory import remember
from evolution.models import Event, Experiment, Status
from tests import cast

pytestmark = pytest.mark.django_db(transaction=True)


def raw_lines(experiment: Experiment) -> list[bytes]:
    return (journal.memory_of(experiment) / chain.JOURNAL).read_bytes().splitlines(keepends=True)


def kinds(experiment: Experiment) -> list[str]:
    return [line.kind for line in chain.lines(journal.memory_of(experiment))]


def document(experiment: Experiment, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((journal.memory_of(experiment) / f"variants/{number}.json").read_text())
    return found


def test_each_line_carries_the_hash_of_the_bytes_before_it(experiment: Experiment) -> None:
    journal.drain(experiment)
    previous = "0" * 64
    for number, raw in enumerate(raw_lines(experiment), 1):
        line = json.loads(raw)
        assert list(line) == ["seq", "time", "kind", "actor", "data", "previous"]
        assert line["seq"] == number
        assert line["time"].endswith("+00:00")
        assert line["previous"] == previous
        previous = hashlib.sha256(raw.removesuffix(b"\n")).hexdigest()


def test_a_drain_says_how_many_events_it_wrote_and_writes_none_twice(experiment: Experiment) -> None:
    waiting = Event.objects.filter(journaled=False).count()
    assert waiting > 0
    assert journal.drain(experiment) == waiting
    before = raw_lines(experiment)
    assert journal.drain(experiment) == 0
    assert raw_lines(experiment) == before


def test_events_are_written_in_the_order_in_which_they_happened(experiment: Experiment) -> None:
    cast.population(experiment)
    journal.drain(experiment)
    written = [line.data["event"] for line in chain.lines(journal.memory_of(experiment)) if "event" in line.data]
    assert written == list(Event.objects.order_by("id").values_list("id", flat=True))


def test_the_document_says_what_was_proposed_decided_and_measured(experiment: Experiment) -> None:
    people = cast.population(experiment)
    journal.drain(experiment)
    vetoed, measured = document(experiment, people["vetoed"].number), document(experiment, people["measured"].number)
    assert vetoed["status"] == "vetoed"
    assert vetoed["reason"] == "costly"
    assert vetoed["parents"] == [0]
    assert "+learning_rate = 3.0" in vetoed["diff"]
    assert [move["new"] for move in vetoed["transitions"]] == ["screened", "checked", "in_review", "vetoed"]
    assert measured["measured"]["perplexity"] == 10.5
    assert measured["assessment"].startswith("lowered the perplexity: 12 to 10.5")
    assert measured["decisions"] == []
    assert measured["trials"] == []


def test_only_documents_that_an_event_touched_are_written_again(experiment: Experiment) -> None:
    first, second = cast.mutation(experiment, rate=2.0), cast.mutation(experiment, rate=3.0)
    journal.drain(experiment)
    before = len(raw_lines(experiment))
    cast.move(first, Status.SCREENED)
    journal.drain(experiment)
    new = [json.loads(raw) for raw in raw_lines(experiment)[before:]]
    assert [line["kind"] for line in new] == ["variant.moved", "document.written"]
    assert new[1]["data"]["path"] == documents.name_of(first)
    assert document(experiment, second.number)["status"] == "drafted"


def test_a_line_about_a_document_carries_its_hash(experiment: Experiment) -> None:
    journal.drain(experiment)
    memory = journal.memory_of(experiment)
    for path, sha256 in chain.newest(chain.lines(memory)).items():
        assert durable.sha256_of(memory / path) == sha256


def test_a_commit_is_recorded_once_with_the_hashes_of_its_files(experiment: Experiment) -> None:
    variant = cast.mutation(experiment)
    journal.drain(experiment)
    cast.move(variant, Status.SCREENED)
    journal.drain(experiment)
    lines = [line for line in chain.lines(journal.memory_of(experiment)) if line.kind == "commit.written"]
    assert [line.data["variant"] for line in lines] == [0, variant.number]
    assert lines[1].data["commit"] == variant.commit
    assert f"objects/{variant.commit[:2]}/{variant.commit[2:]}" in lines[1].data["files"]
    assert len(lines[1].data["files"]) == 3  # the commit, its tree and the one file that changed


class Killed(BaseException):
    """Stands for a kill at this line."""


def killed(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.parametrize("where", [
    (durable, "stage"), (chain, "append"), (durable, "publish"), (chain, "write_head"),
])
def test_a_kill_at_any_step_loses_nothing_and_writes_nothing_twice(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, where: tuple[object, str]
) -> None:
    journal.drain(experiment)
    cast.mutation(experiment)
    with monkeypatch.context() as patch:
        patch.setattr(*where, killed)
        with pytest.raises(Killed):
            journal.drain(experiment)
    assert archive.changes(experiment.folder) == []
    remember(experiment, "generation.started", actor="system", data={"generation": 1})
    journal.drain(experiment)
    assert archive.changes(experiment.folder) == []
    written = [line.data["event"] for line in chain.lines(journal.memory_of(experiment)) if "event" in line.data]
    assert written == list(Event.objects.order_by("id").values_list("id", flat=True))
    assert not Event.objects.filter(journaled=False).exists()
    assert document(experiment, 1)["status"] == "drafted"
    assert not list(experiment.folder.rglob("*.new"))


def test_half_a_line_is_taken_away_by_the_next_drain(experiment: Experiment) -> None:
    journal.drain(experiment)
    path = journal.memory_of(experiment) / chain.JOURNAL
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq":99,"ti')
    assert archive.changes(experiment.folder) == []
    remember(experiment, "generation.started", actor="system", data={"generation": 1})
    journal.drain(experiment)
    assert path.read_bytes().startswith(whole + b'{"seq":%d,' % (len(whole.splitlines()) + 1))


def test_a_journal_that_lost_lines_is_not_written_on(experiment: Experiment) -> None:
    journal.drain(experiment)
    path = journal.memory_of(experiment) / chain.JOURNAL
    path.write_bytes(b"".join(raw_lines(experiment)[:-1]))
    remember(experiment, "generation.started", actor="system", data={"generation": 1})
    with pytest.raises(Broken, match="shorter"):
        journal.drain(experiment)
    assert Event.objects.filter(journaled=False).count() == 1


def test_letters_that_are_no_letters_are_written_and_read_back(experiment: Experiment) -> None:
    text = "half \ud800, line\u2028end, “quoted”, 日本"
    remember(experiment, "experiment.changed", actor="user:olivia", data={"status": "running", "reason": text})
    journal.drain(experiment)
    assert archive.changes(experiment.folder) == []
    changed = [line for line in chain.lines(journal.memory_of(experiment)) if line.kind == "experiment.changed"]
    assert changed[0].data["reason"] == text.replace("\ud800", "?")  # no database keeps half a character


def test_staged_leftovers_are_no_documents(experiment: Experiment, tmp_path: Path) -> None:
    journal.drain(experiment)
    (journal.memory_of(experiment) / "variants/0.json.new").write_text("{}")
    assert archive.changes(experiment.folder) == []
