"""What is claimed and what is not: the summary, the champion's patch, and the pages, after a contest and before."""

import json
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from darwin_web.archive.export import export
from darwin_web.management.commands.evolve import told_champion
from darwin_web.pages.figures import claims
from darwin_web.progress import doing
from darwin_web.summary import summary
from evolution.contests import step
from evolution.generations import close_generation
from evolution.models import Contest, Experiment, Replicate, Variant
from evolution.restore import restore
from tests import cast
from tests.darwin_web.test_archive import wipe

pytestmark = pytest.mark.django_db


@pytest.fixture
def experiment() -> Experiment:
    """Generation 1 has ended, and v1 leads with 9.0 against the baseline's 12.0."""
    made = cast.bred(cast.experiment("proof", confirm_pairs=8))
    close_generation(made, filled=False)
    cast.measured(cast.mutation(made), 9.0)
    for _ in range(3):
        close_generation(Experiment.objects.get(pk=made.pk), filled=True)
        if Experiment.objects.get(pk=made.pk).generation == 2:
            break
    return Experiment.objects.get(pk=made.pk)


def fight(experiment: Experiment, *, gain: float = 0.3) -> Experiment:
    """Every pair that is asked for, v1 better by `gain` and a little more in each."""
    places: dict[int, int] = {}  # of the seeds, which are drawn at random
    while True:
        while step(experiment):
            experiment = Experiment.objects.get(pk=experiment.pk)
        waiting = list(Replicate.objects.filter(variant__experiment=experiment, wanted=True, verdict=""))
        if not waiting:
            return experiment
        for run in waiting:
            place = places.setdefault(run.seed, len(places))
            loss = 2.0 + place % 7 / 1000 - (gain + place % 3 / 1000 if run.variant.number else 0)
            Replicate.objects.filter(pk=run.pk).update(
                verdict="measured", val_loss=loss, perplexity=7.0, mfu=0.1, ended_at=timezone.now()
            )


def variant(experiment: Experiment, number: int) -> Variant:
    return experiment.variants.get(number=number)


def test_before_a_contest_everything_is_unreplicated(experiment: Experiment) -> None:
    told = summary(experiment)
    assert (told["champion"]["variant"], told["champion"]["replicated"], told["champion"]["gain"]) == (0, False, None)
    assert (told["leader"]["variant"], told["leader"]["replicated"]) == (1, False)
    assert told["contests"] == []
    assert "unreplicated" in " ".join(told_champion(told))


def test_after_a_contest_the_champion_has_seeds_intervals_and_evidence(experiment: Experiment) -> None:
    told = summary(fight(experiment))
    champion, contest = told["champion"], told["contests"][0]
    assert (champion["variant"], champion["replicated"], champion["seeds"]) == (1, True, contest["pairs"])
    assert champion["perplexity_interval"][0] < champion["perplexity"] < champion["perplexity_interval"][1]
    assert champion["gain_interval"][0] < champion["gain"] < champion["gain_interval"][1]
    assert champion["e_value"] >= contest["threshold"] == 200
    assert champion["screening"]["perplexity"] == 9.0
    assert told["baseline"]["replicated"] is True
    assert told["counts"]["confirmation_runs"] == 2 * contest["pairs"]
    assert "proven against v0" in " ".join(told_champion(told))
    json.dumps(told, allow_nan=False)


def test_one_confirmation_run_makes_no_interval(experiment: Experiment) -> None:
    one = variant(experiment, 1)
    one.replicates.create(seed=1, drawn_at=timezone.now(), verdict="measured", val_loss=1.7)
    assert claims(one)["perplexity"].is_replicated is False
    assert claims(one)["perplexity"].value == 9.0


def test_the_champions_patch_is_not_the_leaders_until_it_is_proven(
    experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("champion", "proof")
    said = capsys.readouterr()
    assert said.out == ""
    assert "nothing is proven" in said.err
    assert "v1 leads" in said.err
    call_command("champion", "proof", "--leader")
    assert "+learning_rate = 2.0" in capsys.readouterr().out
    fight(experiment)
    call_command("champion", "proof")
    assert "+learning_rate = 2.0" in capsys.readouterr().out


def test_the_terminal_tells_of_the_open_contest(experiment: Experiment) -> None:
    while step(experiment):
        pass
    assert "contest 1: v1 against v0, 0 of at most 8 pairs" in doing(experiment)


def test_the_experiment_page_shows_the_proof_and_the_open_contest(
    experiment: Experiment, owner: User, client: Client
) -> None:
    client.force_login(owner)
    before = client.get("/experiments/proof/").content.decode()
    assert "nothing is proven to be better" in before
    assert "leads on the screening seed" in before
    step(experiment)
    assert "under way" in client.get("/experiments/proof/").content.decode()
    fight(experiment)
    after = client.get("/experiments/proof/").content.decode()
    assert "proven champion" in after
    assert f"({Contest.objects.get().pairs} seeds)" in after
    assert "where 200 promotes" in after
    state = client.get("/experiments/proof/state/").json()
    assert state["champion_replicated"] is True
    assert state["contests"][0]["outcome"] == "promoted"


def test_the_variant_page_shows_its_confirmation_runs(experiment: Experiment, owner: User, client: Client) -> None:
    fight(experiment)
    client.force_login(owner)
    page = client.get("/experiments/proof/variants/1/").content.decode()
    assert f"{Contest.objects.get().pairs} confirmation runs" in page
    assert str(variant(experiment, 1).replicates.all()[0].seed) in page


def test_the_overview_says_what_is_proven(experiment: Experiment, owner: User, client: Client) -> None:
    client.force_login(owner)
    assert "unreplicated" in client.get("/").content.decode()
    fight(experiment)
    assert "proven" in client.get("/").content.decode()


def test_the_report_has_contests_and_their_evidence(experiment: Experiment, tmp_path: Path) -> None:
    export(fight(experiment), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Proven in contest 1 against v0" in page
    assert "<h2>Contests</h2>" in page


def test_a_restored_experiment_has_its_contests_and_runs(
    experiment: Experiment, tmp_path: Path, settings: Settings
) -> None:
    before = fight(experiment)
    told = summary(before)
    export(before, tmp_path / "out")
    Contest.objects.all().delete()
    Replicate.objects.all().delete()
    wipe()
    settings.DARWIN_VAR = tmp_path / "elsewhere"
    after = restore(tmp_path / "out")
    assert summary(after)["contests"] == told["contests"]
    assert summary(after)["champion"] == told["champion"]
