"""People's corrections of the memory, and the switch: append-only, audited, and there after a restore."""

import shutil

import pytest

from evolution import corrections, documents, journal, restore, switching
from evolution.errors import BadInput, Refused
from evolution.genomes import store_of
from evolution.models import Correction, CorrectionAction, Event, Experiment, MemoryMode, Variant
from tests import cast

pytestmark = pytest.mark.django_db

A = CorrectionAction


@pytest.fixture
def variant(experiment: Experiment) -> Variant:
    return cast.mutation(experiment)


def test_the_last_word_counts_and_every_word_stays(variant: Variant) -> None:
    corrections.correct(variant, A.PIN, actor="user:rita")
    corrections.correct(variant, A.CORRECT, actor="user:rita", text="only with\nwarm-up")
    corrections.correct(variant, A.REVOKE, actor="user:olga", text="broken data")
    now = corrections.standing(variant)
    assert (now.pinned, now.revoked, now.words, now.actor) == (False, True, "only with warm-up", "user:olga")
    corrections.correct(variant, A.RESTORE, actor="user:olga")
    now = corrections.standing(variant)
    assert (now.pinned, now.revoked, now.words) == (False, False, "")
    assert variant.corrections.count() == 4


def test_each_correction_is_in_the_journal(variant: Variant) -> None:
    corrections.correct(variant, A.REVOKE, actor="user:rita", text="broken data")
    event = Event.objects.get(kind="memory.corrected")
    assert event.actor == "user:rita"
    assert event.data == {"variant": variant.number, "action": "revoke", "text": "broken data"}


@pytest.mark.parametrize(("action", "text"), [(A.UNPIN, ""), (A.RESTORE, ""), (A.CORRECT, " \n")])
def test_a_correction_that_changes_nothing_is_refused(variant: Variant, action: CorrectionAction, text: str) -> None:
    with pytest.raises(BadInput):
        corrections.correct(variant, action, actor="user:rita", text=text)
    assert not Correction.objects.exists()


def test_the_switch_is_audited_and_a_frozen_memory_has_its_moment(experiment: Experiment) -> None:
    switching.switch(experiment, MemoryMode.FROZEN, actor="user:olga")
    experiment.refresh_from_db()
    assert experiment.frozen_at is not None
    switching.switch(experiment, MemoryMode.ON, actor="user:olga")
    assert Experiment.objects.values_list("memory", "frozen_at").get() == ("on", None)
    assert [event.data["memory"] for event in Event.objects.filter(kind="memory.switched")] == ["frozen", "on"]
    with pytest.raises(Refused):
        switching.switch(experiment, MemoryMode.ON, actor="user:olga")


def test_corrections_and_the_switch_survive_a_restore(experiment: Experiment, variant: Variant) -> None:
    corrections.correct(variant, A.PIN, actor="user:rita")
    switching.switch(experiment, MemoryMode.FROZEN, actor="user:olga")
    journal.drain(experiment)
    before = documents.document(variant, store_of(experiment))["corrections"]
    frozen_at, folder = Experiment.objects.get().frozen_at, experiment.folder
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    Experiment.objects.filter(pk=experiment.pk).update(slug="gone")
    folder.rename(folder.with_name("gone"))
    restored = restore.restore(copy)
    again = restored.variants.get(number=variant.number).corrections.get()
    assert before == [{"action": "pin", "text": "", "actor": "user:rita", "at": again.at.isoformat()}]
    assert (restored.memory, restored.frozen_at) == ("frozen", frozen_at)
