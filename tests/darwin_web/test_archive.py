"""Export, verify, restore: through the commands, on rows of every app."""

import io
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import Settings

from darwin_web.management.base import exit_code
from evolution import archive, journal, rows
from evolution.errors import BadInput, DarwinError, NameTaken
from evolution.genomes import store_of
from evolution.models import (
    Assessment,
    Check,
    Event,
    Experiment,
    Generation,
    Membership,
    Moment,
    Opinion,
    Role,
    Status,
    Strategy,
    Transition,
    Variant,
)
from evolution.restore import Damaged
from review.models import Decision, Evidence, Risk, Verdict
from sandbox.models import Attempt, AttemptState, Point, Purpose, Trial
from tests import cast

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(autouse=True)
def own_var(settings: Settings, tmp_path: Path) -> Path:
    settings.DARWIN_VAR = tmp_path / "var"
    return tmp_path / "var"


@pytest.fixture
def experiment(db: None) -> Experiment:
    """A little population with decisions, evidence, trials and a champion."""
    one = cast.experiment(owner=cast.person("olga"))
    people = cast.population(one)
    cast.member("rita", one, Role.REVIEWER)
    _decisions(people["vetoed"], people["measured"])
    Assessment.objects.create(
        variant=people["vetoed"], moment=Moment.BEFORE, assessor="agent:m", peer=people["measured"], risk="low",
        opinion=Opinion.DOUBTFUL, is_what_it_says=True, text=EVIL,
    )
    _trial(people["measured"])
    cast.move(people["measured"], Status.SURVIVED, actor="selection", reason="the lowest perplexity of 2")
    Experiment.objects.filter(pk=one.pk).update(champion=people["measured"])
    journal.drain(one)
    return Experiment.objects.get(pk=one.pk)


def _decisions(vetoed: Variant, nearest: Variant) -> None:
    rita = cast.person("rita")
    accept = Decision.objects.create(
        variant=vetoed, turn=1, reviewer=rita, verdict=Verdict.ACCEPT, shown_sha256="a" * 64, effective_at=NOW
    )
    Decision.objects.create(
        variant=vetoed, turn=2, reviewer=rita, verdict=Verdict.UNDO, undoes=accept, shown_sha256="a" * 64,
        effective_at=NOW,
    )
    Decision.objects.create(
        variant=vetoed, turn=3, rule="too large", verdict=Verdict.VETO, category="costly", reason=EVIL,
        shown_sha256="a" * 64, effective_at=NOW,
    )
    Evidence.objects.create(variant=vetoed, risk=Risk.HIGH, flags=[{"kind": "size"}], nearest=nearest, similarity=0.25)


def _trial(variant: Variant) -> None:
    trial = Trial.objects.create(
        variant=variant, purpose=Purpose.SCORE, seed=7, budget_tokens=1000, ended_at=NOW, verdict="measured",
        result={"perplexity": 10.5, "hashes": {"weights": "b" * 64}},
    )
    for number, cause in ((1, "interrupted"), (2, "")):
        Attempt.objects.create(
            trial=trial, number=number, device="cpu:0", state=AttemptState.ENDED, ended_at=NOW, cause=cause,
            log_tail=EVIL,
        )
    Point.objects.create(trial=trial, step=1, tokens=128, seconds=0.25, loss=5.5, numbers={"lr": 0.001})


@pytest.fixture
def exported(experiment: Experiment, tmp_path: Path) -> Path:
    call_command("export", experiment.slug, str(tmp_path / "export"), stdout=io.StringIO())
    return tmp_path / "export"


def manage(*words: str, var: Path) -> subprocess.CompletedProcess[str]:
    """A command in a process and a database of its own."""
    environment = {**os.environ, "DARWIN_VAR": str(var), "DJANGO_SETTINGS_MODULE": "darwin_web.settings"}
    environment.pop("DARWIN_TEST_VAR", None)
    environment.pop("DATABASE_URL", None)
    return subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def test_an_export_holds_memory_repository_report_and_manifest(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "genomes.git", "manifest.json", "memory", "report.html",
    ]
    assert archive.changes(exported) == []


def test_what_was_exported_is_restored_on_an_empty_machine_and_exports_the_same(exported: Path, tmp_path: Path) -> None:
    var, again = tmp_path / "elsewhere", tmp_path / "again"
    restored = manage("restore", str(exported), var=var)
    assert (restored.returncode, restored.stderr) == (0, "")
    second = manage("export", "demo", str(again), var=var)
    assert (second.returncode, second.stderr) == (0, "")
    # The documents are written from every field of every row, so equal documents mean equal rows. The cast's text is
    # not built in, so the restored experiment is paused until it gets its text: that is one changed document more.
    before, after = contents(exported), contents(again)
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {"manifest.json", "report.html", "memory/experiment.json", "memory/journal.jsonl",
                       "memory/head.json"}
    assert after["memory/journal.jsonl"].startswith(before["memory/journal.jsonl"])
    assert b'"status": "paused"' in after["memory/experiment.json"]
    assert manage("verify", str(again), var=var).returncode == 0


def wipe() -> None:
    """Forget every row. Decisions cannot be deleted, so only an experiment without any can be wiped like this."""
    Experiment.objects.update(baseline=None, champion=None)
    for model in (Event, Transition, Check, Membership):
        model._default_manager.all().delete()
    while leaves := Variant.objects.filter(children=None, other_children=None, proposed=None):
        leaves.delete()
    Strategy.objects.all().delete()
    Generation.objects.all().delete()
    Experiment.objects.all().delete()


def everything() -> dict[str, list[Any]]:
    return {
        model.__name__: [
            rows.record(one, leave={"data"} if model is Event else ()) for one in model._default_manager.order_by("pk")
        ]
        for model in (Experiment, Generation, Variant, Transition, Check, Event)
    }


def test_an_experiment_s_own_folder_is_enough_to_rebuild_every_row(db: None) -> None:
    one = cast.experiment()
    cast.population(one)
    journal.drain(one)
    before = everything()
    files = contents(one.folder)
    wipe()
    call_command("restore", str(one.folder), stdout=io.StringIO())
    assert everything() == before
    assert contents(one.folder) == files
    fresh = Experiment.objects.get()
    assert fresh.baseline == fresh.variants.get(number=0)
    assert fresh.variants.get(number=1).parent == fresh.baseline
    assert fresh.owner == cast.person("olivia")
    cast.mutation(fresh, rate=9.0)
    assert journal.drain(fresh) == 1
    assert archive.changes(one.folder) == []


def test_a_restore_touches_nothing_when_the_experiment_is_there(exported: Path) -> None:
    with pytest.raises(NameTaken, match="already"):
        call_command("restore", str(exported))


def test_a_damaged_export_is_not_restored(exported: Path) -> None:
    (exported / "memory/variants/1.json").write_text("{}")
    with pytest.raises(Damaged, match=r"memory/variants/1\.json was changed"):
        call_command("restore", str(exported))


def test_an_attempt_that_was_running_is_restored_as_interrupted(experiment: Experiment, tmp_path: Path) -> None:
    trial = Trial.objects.create(variant=experiment.variants.get(number=5), purpose=Purpose.SCORE, seed=1)
    Attempt.objects.create(trial=trial, number=1, device="cpu:9", state=AttemptState.TRAINING, lease_owner="host:1")
    call_command("export", "demo", str(tmp_path / "running"), stdout=io.StringIO())
    assert manage("restore", str(tmp_path / "running"), var=tmp_path / "elsewhere").returncode == 0
    assert manage("export", "demo", str(tmp_path / "again"), var=tmp_path / "elsewhere").returncode == 0
    text = (tmp_path / "again/memory/variants/5.json").read_text()
    assert '"cause": "interrupted"' in text
    assert '"state": "ended"' in text


def flips(directory: Path, names: list[str], *, each: int, rng: random.Random) -> Iterator[tuple[str, int]]:
    """Change one byte, let the caller look, put it back."""
    for name in names:
        path = directory / name
        whole = path.read_bytes()
        for at in rng.sample(range(len(whole)), min(each, len(whole))):
            other = (whole[at] + rng.randrange(1, 256)) % 256
            path.chmod(0o644)
            path.write_bytes(whole[:at] + bytes([other]) + whole[at + 1:])
            yield name, at
        path.write_bytes(whole)


def test_every_changed_byte_of_an_export_is_found(exported: Path) -> None:
    rng = random.Random(1)
    names = [name for name in contents(exported) if "hooks" not in name]
    missed = [flip for flip in flips(exported, names, each=4, rng=rng) if not archive.changes(exported)]
    assert missed == []
    assert archive.changes(exported) == []


def test_every_changed_byte_of_a_folder_in_use_is_found(experiment: Experiment) -> None:
    rng = random.Random(2)
    folder = experiment.folder
    covered = ("memory/", "genomes.git/objects", "genomes.git/refs")
    journal_file = "memory/journal.jsonl"
    names = [name for name in contents(folder) if name.startswith(covered)]
    missed = [flip for flip in flips(folder, names, each=6, rng=rng) if not archive.changes(folder)]
    missed += [flip for flip in flips(folder, [journal_file], each=60, rng=rng) if not archive.changes(folder)]
    assert missed == []
    assert archive.changes(folder) == []


def test_a_file_too_many_and_a_file_too_few_are_found(exported: Path) -> None:
    (exported / "memory/variants/99.json").write_text("{}")
    assert "memory/variants/99.json is not in the manifest" in archive.changes(exported)
    (exported / "memory/variants/99.json").unlink()
    (exported / "memory/variants/2.json").unlink()
    assert "memory/variants/2.json is missing" in archive.changes(exported)


@pytest.mark.parametrize("name", ["manifest.json", "memory/head.json", "memory/journal.jsonl"])
def test_an_export_without_one_of_its_own_files_was_changed(exported: Path, name: str) -> None:
    (exported / name).unlink()
    assert any("missing" in one for one in archive.changes(exported))


def test_damage_that_git_would_read_for_ever_is_found(experiment: Experiment) -> None:
    variant = experiment.variants.get(number=1)
    name = f"genomes.git/objects/{variant.commit[:2]}/{variant.commit[2:]}"
    size = (experiment.folder / name).stat().st_size
    for each in range(size - 16, size):
        rng = random.Random(each)
        assert all(archive.changes(experiment.folder) for _ in flips(experiment.folder, [name], each=4, rng=rng))
    (experiment.folder / name).unlink()
    assert archive.changes(experiment.folder)


def test_cut_lines_are_found_in_a_folder_in_use(experiment: Experiment) -> None:
    path = experiment.folder / "memory/journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    assert "cut off" in archive.changes(experiment.folder)[0]


def test_a_proposal_that_is_being_committed_is_no_damage(experiment: Experiment, tmp_path: Path) -> None:
    store_of(experiment).commit({"a": b"b"}, parents=[], message="m", author="a", number=99)
    assert archive.changes(experiment.folder) == []
    call_command("export", "demo", str(tmp_path / "export"), stdout=io.StringIO())
    assert archive.changes(tmp_path / "export") == []


def test_verify_says_what_it_found_and_ends_with_its_code(exported: Path, tmp_path: Path) -> None:
    intact = manage("verify", str(exported), var=tmp_path / "v")
    assert (intact.returncode, intact.stderr) == (0, "")
    with (exported / "report.html").open("ab") as file:
        file.write(b" ")
    changed = manage("verify", str(exported), var=tmp_path / "v")
    assert (changed.returncode, changed.stdout) == (1, "report.html was changed\n")
    nothing = manage("verify", str(tmp_path), var=tmp_path / "v")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert nothing.stderr.startswith("darwin: ")
    assert len(nothing.stderr.splitlines()) == 1


def test_an_export_goes_to_an_empty_directory_only_and_is_whole_or_not_there(
    experiment: Experiment, tmp_path: Path
) -> None:
    target = tmp_path / "full"
    target.mkdir()
    (target / "mine").write_text("mine")
    with pytest.raises(BadInput, match="not empty"):
        call_command("export", "demo", str(target))
    assert [path.name for path in target.iterdir()] == ["mine"]
    shutil.rmtree(experiment.folder / "genomes.git/objects")
    with pytest.raises(DarwinError):
        call_command("export", "demo", str(tmp_path / "new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "var"]


def test_the_report_needs_no_other_host_and_escapes_what_others_wrote(exported: Path) -> None:
    text = (exported / "report.html").read_text()
    assert EVIL not in text
    assert "&lt;/script&gt;" in text
    assert 'src="http' not in text
    assert "default-src 'none'" in text
    assert "learning rate 2.0" in text
    assert "perplexity 10.5000" in text


def test_the_champion_is_printed_as_a_patch_and_nothing_else(experiment: Experiment) -> None:
    out = io.StringIO()
    call_command("champion", "demo", stdout=out)
    assert out.getvalue().startswith("diff --git a/train.py b/train.py\n")
    assert "\n+learning_rate = 2.0\n" in out.getvalue()


def test_without_a_champion_there_is_a_sentence_and_exit_code_1(experiment: Experiment) -> None:
    Experiment.objects.update(champion=None)
    out = io.StringIO()
    with pytest.raises(DarwinError, match="no champion yet") as raised:
        call_command("champion", "demo", stdout=out)
    assert exit_code(raised.value) == 1
    assert out.getvalue() == ""


def test_an_unknown_experiment_is_bad_input_and_names_those_there_are(experiment: Experiment) -> None:
    with pytest.raises(BadInput, match="there are demo"):
        call_command("champion", "nothing")


PATCH = """\
Subject: [PATCH] A larger batch
diff --git a/train.py b/train.py
--- a/train.py
+++ b/train.py
@@ -8,1 +8,1 @@
-batch_size = 8
+batch_size = 16
"""


def test_a_person_s_patch_becomes_a_variant_of_the_champion(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "my.patch").write_text(PATCH)
    call_command("propose", "demo", "--patch", str(tmp_path / "my.patch"), stdout=io.StringIO())
    variant = experiment.variants.order_by("number").last()
    assert variant is not None
    assert (variant.kind, variant.status, variant.parent) == ("patch", Status.DRAFTED, experiment.champion)
    assert variant.author.startswith("user:")
    assert variant.title == "A larger batch"
    assert b"batch_size = 16" in store_of(experiment).files(variant.commit)["train.py"]


def test_a_patch_goes_to_the_variant_that_is_named(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "my.patch").write_text(PATCH)
    call_command("propose", "demo", "--patch", str(tmp_path / "my.patch"), "--to", "v0", stdout=io.StringIO())
    assert experiment.variants.order_by("-number")[0].parent == experiment.baseline


@pytest.mark.parametrize("text", ["", "no diff", PATCH.replace("batch_size = 8", "batch_size = 9"),
                                  PATCH.replace("train.py", "genome.toml")])
def test_a_patch_that_does_not_fit_is_bad_input_and_makes_no_variant(
    experiment: Experiment, tmp_path: Path, text: str
) -> None:
    (tmp_path / "my.patch").write_text(text)
    before = experiment.variants.count()
    with pytest.raises(BadInput):
        call_command("propose", "demo", "--patch", str(tmp_path / "my.patch"))
    assert experiment.variants.count() == before
