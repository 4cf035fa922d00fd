"""bench/evolution.py: that its arms spend the same, its winners are proven on fresh seeds, and its table is honest."""

import json
import re
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from bench import arms, constants, evolution, trials
from bench.arms import Setting, Spent
from bench.constants import CONSTANTS
from bench.evolution import Result
from bench.recipes import BUILTIN
from bench.trials import Budget, Ledger, Trial
from evolution.agents.operators import operate
from evolution.genomes import read_directory
from sandbox import peak
from sandbox.drivers.base import Driver

NO_DRIVER = cast(Driver, None)
BASELINE = dict(read_directory(BUILTIN))
RATE = re.compile(rb"    learning_rate=([\d.e-]+),")


def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials whose loss is lower the nearer the learning rate is to 0.004; without training."""

    def run(files: Any, driver: Driver, budget: Budget, *, seed: int, turn: int = 0) -> Trial:
        found = RATE.search(files["config.py"])
        assert found is not None
        rate = float(found[1])
        return Trial(
            genome=trials.fingerprint(files), seed=seed, tokens=budget.tokens, turn=turn, verdict="measured",
            reason="", loss=2.0 + abs(rate - 0.004) * 100 + seed % 7 / 1000, mfu=0.1, device_seconds=10.0,
            wall_seconds=2.0, split=budget.split, trained=budget.tokens,
        )

    monkeypatch.setattr(trials, "run", run)


def setting(tmp_path: Path, **given: Any) -> Setting:
    ledger = Ledger(tmp_path / "kept.jsonl", NO_DRIVER, Budget("builtin", 768))
    plain = {
        "name": "x", "baseline": BASELINE, "trials": 6, "tokens": 768, "data": "builtin", "seed": 0,
        "sandbox": "auto", "agent": "builtin", "ledger": ledger,
    }
    return Setting(**{**plain, **given})


def result(arm: str, gains: list[float], *, repetition: int = 0) -> Result:
    return Result(
        arm=arm, repetition=repetition, trials=24, failures=2, repairs=0, tokens=1000, seconds=60.0, gains=gains,
        mfu=[1.0], device=[1.1], lost=0,
    )


def test_the_recipe_as_it_is_comes_back_unchanged_where_the_trainer_reads_it() -> None:
    same = constants.recipe(BASELINE, {name: one.drawn for name, one in CONSTANTS.items()})
    cpu = [files["config.py"].decode().partition("GPU = ")[0] for files in (BASELINE, same)]
    assert cpu[0] == cpu[1]
    assert {path for path in same if same[path] != BASELINE[path]} <= {"config.py"}


def test_constants_are_written_where_they_stand() -> None:
    drawn = {name: one.range.to_external_repr(one.range.high) for name, one in CONSTANTS.items()}  # type: ignore[attr-defined]
    made = constants.recipe(BASELINE, drawn)
    assert b"learning_rate=2e-2," in made["config.py"]
    assert b"beta2=0.9," in made["config.py"]
    assert b"BETA1 = 0.97" in made["optimiser.py"]
    assert b"WARMUP = 0.3 " in made["schedule.py"]
    assert b"INIT_STD = 0.2" in made["model.py"]


def test_a_constant_that_is_gone_is_an_error() -> None:
    with pytest.raises(ValueError, match="up to date"):
        constants.recipe({**BASELINE, "schedule.py": b"RISE = 0.05\n"}, {"warmup": 0.1})


def test_optuna_spends_the_trials_it_was_given_and_finds_a_better_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretended(monkeypatch)
    spent = arms.tuned(setting(tmp_path))
    assert (spent.trials, spent.failures, spent.tokens) == (6, 0, 6 * 768)
    found = RATE.search(spent.files["config.py"])
    assert found is not None
    assert abs(float(found[1]) - 0.004) < 0.004 - 0.001


def test_optuna_goes_on_where_it_was_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended(monkeypatch)
    first = arms.tuned(setting(tmp_path))
    monkeypatch.setattr(trials, "run", lambda *_, **__: pytest.fail("a trial was run again"))
    assert arms.tuned(setting(tmp_path)).files == first.files


def test_an_independent_sample_depends_on_nothing_but_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "confined", lambda task, payload: operate(payload))  # our own code needs no limits
    one, again, other = (arms.sampled(BASELINE, Random(f"{seed}")) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert one != BASELINE


def test_best_of_n_keeps_the_baseline_where_nothing_is_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended(monkeypatch)
    monkeypatch.setattr(arms, "sampled", lambda baseline, rng: {
        **baseline, "config.py": baseline["config.py"].replace(b"learning_rate=1e-3", b"learning_rate=1e-1"),
        "more.py": str(rng.random()).encode(),
    })
    spent = arms.best_of_n(setting(tmp_path, trials=4))
    assert (spent.trials, spent.files) == (4, BASELINE)


def test_winners_are_confirmed_on_fresh_seeds_and_on_text_that_no_search_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretended(monkeypatch)
    better = {**BASELINE, "config.py": BASELINE["config.py"].replace(b"learning_rate=1e-3", b"learning_rate=2e-3")}
    fresh = Ledger(tmp_path / "confirmation.jsonl", NO_DRIVER, Budget("builtin", 768, split="private"))
    found = evolution.confirmed("one", 0, Spent(better, 4, 0, 0, 1, 1.0), BASELINE, fresh, pairs=3)
    assert found.gains == pytest.approx([0.1] * 3)
    assert {(one.split, one.seed >= evolution.FIRST_FRESH_SEED) for one in fresh.known.values()} == {("private", True)}


def test_an_interval_is_over_searches_as_soon_as_there_are_two() -> None:
    one = evolution.table([result("darwin", [0.3, 0.31])])
    assert "(seeds of one search)" in one
    two = evolution.table([result("darwin", [0.3, 0.31]), result("darwin", [0.2, 0.21], repetition=1)])
    assert "(searches)" in two
    assert "| darwin | 2 | -22.5% |" in two


def test_the_arm_with_the_largest_gain_comes_first_whoever_it_is() -> None:
    lines = evolution.table([result("darwin", [0.1, 0.1]), result("optuna", [0.2, 0.2])]).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["optuna", "darwin"]


@pytest.mark.parametrize("arguments", [
    ["--trials", "6"], ["--arms", "optuna", "--trials", "0"], ["--repeat", "0"], ["--arms", "no-memory"],
])
def test_bad_input_is_one_sentence_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert evolution.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.bubblewrap
@pytest.mark.django_db
def test_the_bench_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "flops_per_second", lambda *_: 1e12)  # on a busy machine it would be timed too low
    data = tmp_path / "text"
    data.write_text("".join(f"{n * n % 9973} is what {n} times {n} leaves of 9973.\n" for n in range(4000)))
    shared = [
        "--arms", "optuna", "--data", str(data), "--tokens", "2304", "--trials", "1", "--repeat", "1", "--confirm", "1",
        "--sandbox", "bubblewrap", "--results", str(tmp_path / "results"), "--json",
    ]
    assert evolution.main(shared) == 0
    told = json.loads(capsys.readouterr().out)
    [found] = told["results"]
    assert (found["arm"], found["trials"], len(found["gains"]), found["lost"]) == ("optuna", 1, 1, 0)
    assert evolution.main([*shared, "--report"]) == 0
