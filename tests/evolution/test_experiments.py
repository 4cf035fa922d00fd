"""Experiments come whole or not at all, and say in one sentence what is wrong."""

import stat
from pathlib import Path
from typing import Any

import pytest

from evolution import experiments, strategies
from evolution.errors import BadInput, Infrastructure, NameTaken, Refused, ResumeMismatch
from evolution.genomes import store_of
from evolution.models import Event, Experiment, ExperimentStatus, Status
from evolution.options import Options, plan
from tests import cast

pytestmark = pytest.mark.django_db


def test_a_new_experiment_has_its_baseline_drafted_and_committed() -> None:
    experiment = cast.experiment()
    baseline = experiment.baseline
    assert baseline is not None
    assert (baseline.number, baseline.status, baseline.author) == (0, Status.DRAFTED, "system")
    assert store_of(experiment).files(baseline.commit) == cast.FILES
    assert list(experiment.events.values_list("kind", flat=True)) == [
        "experiment.created", *["strategy.added"] * 5, "generation.started", "variant.drafted",
    ]


def test_the_data_is_a_private_copy_that_does_not_change_with_the_users_file() -> None:
    experiment = cast.experiment()
    copy = experiment.folder / "data" / "text"
    Path(experiment.data).write_bytes(b"something else")
    assert copy.read_bytes() == cast.TEXT
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_a_name_is_taken_once(experiment: Experiment) -> None:
    with pytest.raises(NameTaken, match="choose another name"):
        cast.experiment()
    assert (experiment.folder / "data" / "text").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"population": 0}, "population must be between"),
        ({"survivors": 5}, "5 survivors cannot be chosen from a population of 4"),
        ({"generations": 0}, "generations must be between"),
        ({"budget_tokens": 0}, "budget_tokens must be between"),
        ({"budget_tokens": None, "budget_seconds": float("nan")}, "budget_seconds must be a number"),
        ({"seed": -1}, "seed must be between"),
        ({"review": "nobody"}, "review must be one of human, auto, policy"),
        ({"sandbox": "chroot"}, "sandbox must be one of"),
        ({"agent": "oracle"}, "agent must be builtin, openai or replay:FILE"),
        ({"agent": "replay:/nowhere"}, "does not exist"),
        ({"data": "/nowhere"}, "/nowhere does not exist"),
        ({"genome": "nowhere"}, "neither a directory"),
        ({"preset": "holy"}, "preset must be one of darwin-paper"),
        ({"name": "!!!"}, "cannot be a name"),
        ({"name": "new"}, "cannot be a name"),
    ],
)
def test_bad_options_are_one_sentence_and_leave_nothing(given: dict[str, Any], message: str, own_var: Path) -> None:
    with pytest.raises(BadInput, match=message):
        cast.experiment(**given)
    assert not Experiment.objects.exists()
    assert not (own_var / "experiments").exists()


def test_a_directory_without_a_manifest_is_no_genome(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"has no genome\.toml"):
        cast.experiment(genome=str(tmp_path / "empty"))


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    broken = cast.genome(tmp_path / "broken")
    (broken / "genome.toml").write_text("name = ")
    with pytest.raises(BadInput, match="not valid TOML"):
        cast.experiment(genome=str(broken))


def test_data_that_is_too_small_for_the_held_out_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"x" * 1000)
    with pytest.raises(BadInput, match=r"1,000 bytes.*at least 10,240"):
        cast.experiment(data=str(tmp_path / "small"))


def test_without_a_budget_there_is_a_default_one() -> None:
    assert cast.experiment(budget_tokens=None).budget_tokens == 500_000


def test_a_preset_takes_the_place_of_defaults_and_what_is_given_wins() -> None:
    made = cast.experiment(preset="darwin-paper", population=6, survivors=2)
    assert (made.preset, made.selection, made.elites, made.confirm_pairs) == ("darwin-paper", "roulette_all", 0, 0)
    assert (made.population, made.survivors) == (6, 2)


def test_a_presets_survivors_are_cut_to_the_population_that_was_given() -> None:
    planned = plan(Options(name="small", preset="darwin-paper", population=3))
    assert (planned.fields["generations"], planned.fields["survivors"]) == (5, 3)


def test_the_papers_language_models_change_chunks() -> None:
    made = cast.experiment(preset="darwin-paper", agent="openai")
    assert [one.mode for one in strategies.of(made)] == ["chunks"]


def test_the_built_in_data_comes_whole() -> None:
    experiment = cast.experiment(data="builtin")
    assert (experiment.folder / "data" / "text").stat().st_size == 1_100_000


def test_a_genome_may_be_another_experiments_best(experiment: Experiment) -> None:
    assert cast.experiment("second", genome="demo").genome_sha256 == experiment.genome_sha256


def test_a_genome_may_be_an_imported_one(own_var: Path) -> None:
    cast.genome(own_var / "genomes" / "brought")
    assert cast.experiment(genome="brought").baseline is not None


def test_a_creation_that_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch, own_var: Path) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(experiments, "_write_private", full)
    with pytest.raises(Infrastructure, match="No space left on device"):
        cast.experiment()
    assert not Experiment.objects.exists()
    assert not (own_var / "experiments" / "demo").exists()


def test_a_creation_that_was_killed_half_way_can_be_repeated(own_var: Path) -> None:
    (own_var / "experiments" / "demo" / "data").mkdir(parents=True)
    assert experiments.create(cast.options(), actor="user:olivia").slug == "demo"


def test_a_folder_with_a_journal_is_never_overwritten(own_var: Path) -> None:
    journal = own_var / "experiments" / "demo" / "memory" / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("{}\n")
    with pytest.raises(NameTaken, match="restore it"):
        experiments.create(cast.options(), actor="user:olivia")
    assert journal.read_text() == "{}\n"


def test_going_on_with_other_options_is_refused(experiment: Experiment) -> None:
    with pytest.raises(ResumeMismatch, match="population = 4, not 6"):
        experiments.rejoin(cast.options(population=6), actor="user:olivia")


def test_going_on_with_the_same_options_wakes_a_paused_experiment(experiment: Experiment) -> None:
    experiments.pause(experiment, actor="user:olivia", reason="lunch")
    again = experiments.rejoin(cast.options(), actor="user:olivia")
    assert again.status == ExperimentStatus.RUNNING


def test_more_generations_reopen_a_finished_experiment(experiment: Experiment) -> None:
    experiments.finish(experiment)
    again = experiments.rejoin(cast.options(generations=3), actor="user:olivia")
    assert (again.status, again.generations) == (ExperimentStatus.RUNNING, 3)


def test_fewer_generations_are_refused(experiment: Experiment) -> None:
    with pytest.raises(ResumeMismatch, match="only be raised"):
        experiments.rejoin(cast.options(generations=1), actor="user:olivia")


def test_stopping_calls_off_what_is_not_training(experiment: Experiment) -> None:
    cast.bred(experiment)
    training = cast.move(cast.mutation(experiment, rate=2), *cast.TO_TRAINING)
    waiting = cast.move(cast.mutation(experiment, rate=3), *cast.TO_REVIEW)
    experiments.stop(experiment, actor="user:olivia", reason="enough")
    training.refresh_from_db()
    waiting.refresh_from_db()
    assert (training.status, waiting.status) == (Status.TRAINING, Status.CANCELLED)
    assert Event.objects.filter(kind="experiment.changed", data__reason="enough").count() == 1


def test_a_stopped_experiment_stays_stopped(experiment: Experiment) -> None:
    experiments.stop(experiment, actor="user:olivia")
    with pytest.raises(Refused, match="is stopped"):
        experiments.resume(experiment, actor="user:olivia")


def test_the_name_is_taken_even_when_two_come_at_once(experiment: Experiment) -> None:
    planned = plan(cast.options())
    with pytest.raises(NameTaken):
        experiments._insert(planned, None)
