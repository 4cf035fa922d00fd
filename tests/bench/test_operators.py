"""bench/operators.py: what it concludes from trials, and that trials are kept."""

import itertools
import json
from pathlib import Path
from typing import Any, cast

import pytest

from bench import operators, trials
from bench.operators import Pair, Row
from bench.recipes import BUILTIN
from bench.trials import Budget, Ledger, Trial
from evolution.agents.operators import operate
from evolution.errors import BadInput, Infrastructure
from evolution.genomes import read_directory
from sandbox import scoring
from sandbox.drivers.base import Driver
from sandbox.outcome import Outcome
from trainer.contract import Cause

NO_DRIVER = cast(Driver, None)
FILES = {"model.py": b"x = 1\n"}


def trial_of(loss: float | None, *, device: float = 10.0, verdict: str = "measured", reason: str = "") -> Trial:
    return Trial(
        genome="g", seed=0, tokens=768, turn=0, verdict=verdict, reason=reason, loss=loss, mfu=0.1,
        device_seconds=device, wall_seconds=20.0,
    )


def row_of(*changes: float | None, ratio: float = 1.0) -> Row:
    """An operator whose pairs differ by `changes` nats; None: that trial failed."""
    baseline = trial_of(2.0)
    return Row("one", [
        Pair(
            trial_of(None, verdict="failed", reason="crashed: no") if change is None
            else trial_of(2.0 + change, device=10.0 * ratio), baseline, beside=10.0,
        ) for change in changes
    ])


@pytest.mark.parametrize(("row", "verdict"), [
    (row_of(-0.10, -0.11, -0.12), "helps"),
    (row_of(-0.10, -0.11, -0.12, ratio=1.3), "helps, too slow"),
    (row_of(0.10, 0.11, 0.12), "hurts"),
    (row_of(-0.02, 0.01, 0.01), "nothing seen"),
    (row_of(0.0, 0.0, 0.0), "does nothing"),
    (row_of(-0.10), "one seed"),
    (row_of(-0.10, None, -0.11), "failed"),
    (row_of(), "not run"),
])
def test_a_verdict_is_what_the_interval_allows(row: Row, verdict: str) -> None:
    assert row.verdict == verdict


def test_the_table_shows_the_best_first_and_says_why_something_has_no_number() -> None:
    table = operators.table([row_of(None, None), row_of(0.1, 0.11), row_of(-0.1, -0.11)])
    order = [line.split("|")[7].strip() for line in table.splitlines()[2:5]]
    assert order == ["helps", "hurts", "failed"]
    assert "| -10.0% | 1.00 × |" in table
    assert "one: crashed: no" in table


def scripted(monkeypatch: pytest.MonkeyPatch, *outcomes: Outcome) -> list[dict[str, Any]]:
    """Trials end like `outcomes`, one after the other; what they were asked for."""
    asked: list[dict[str, Any]] = []
    left = list(outcomes)

    def score(directory: Path, data: str, driver: Driver, **given: Any) -> Outcome:
        asked.append(given)
        return left.pop(0)

    monkeypatch.setattr(scoring, "score", score)
    return asked


def measured(loss: float) -> Outcome:
    return Outcome(numbers={"val_loss": loss, "device_seconds": 3.0, "train_tokens": 768, "saved_bytes": 9})


def test_a_trial_is_run_once_and_known_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = scripted(monkeypatch, measured(2.0))
    path, budget = tmp_path / "kept.jsonl", Budget("builtin", 768)
    first = Ledger(path, NO_DRIVER, budget).trial(FILES, seed=1)
    with path.open("a") as file:
        file.write('{"genome": "cut off by a ki')
    again = Ledger(path, NO_DRIVER, budget).trial(FILES, seed=1)
    assert (first, first.loss, first.limits.saved_bytes, len(asked)) == (again, 2.0, 9, 1)


def test_another_seed_turn_length_or_text_is_another_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = scripted(monkeypatch, *(measured(2.0) for _ in range(5)))
    path = tmp_path / "kept.jsonl"
    ledger = Ledger(path, NO_DRIVER, Budget("builtin", 768))
    ledger.trial(FILES, seed=0)
    ledger.trial(FILES, seed=1)
    ledger.trial(FILES, seed=0, turn=1)
    Ledger(path, NO_DRIVER, Budget("builtin", 1536)).trial(FILES, seed=0)
    Ledger(path, NO_DRIVER, Budget("builtin", 768, split="private")).trial(FILES, seed=0)
    assert [one["split"] for one in asked] == ["public"] * 4 + ["private"]


def test_a_trial_that_failed_by_our_fault_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, Outcome(cause=Cause.INFRASTRUCTURE, detail="the engine went away"), measured(2.0))
    ledger = Ledger(tmp_path / "kept.jsonl", NO_DRIVER, Budget("builtin", 768))
    with pytest.raises(Infrastructure):
        ledger.trial(FILES, seed=0)
    assert ledger.trial(FILES, seed=0).loss == 2.0


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_text(json.dumps({"winner": "me"}) + "\n")
    with pytest.raises(BadInput, match="name another one"):
        Ledger(path, NO_DRIVER, Budget("builtin", 768))


def test_every_operator_has_a_baseline_on_both_sides_whenever_it_was_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(10)  # the machine gets slower all the time

    def run(files: Any, driver: Driver, budget: Budget, *, seed: int, turn: int = 0) -> Trial:
        is_baseline = files == {"a": b"0"}
        return Trial(
            genome=trials.fingerprint(files), seed=seed, tokens=budget.tokens, turn=turn, verdict="measured", reason="",
            loss=2.0 if is_baseline else 1.9, mfu=None, device_seconds=next(clock), wall_seconds=1.0,
        )

    monkeypatch.setattr(trials, "run", run)
    baseline = {"a": b"0"}
    changed = {f"operator {n}": {"a": b"%d" % (n + 1)} for n in range(5)}
    path, budget = tmp_path / "kept.jsonl", Budget("builtin", 768)
    lines = list(operators.measured(Ledger(path, NO_DRIVER, budget), baseline, changed, seed=0))
    assert [line.split()[2] for line in lines] == ["baseline"] + ["operator"] * 4 + ["baseline", "operator", "baseline"]
    more = {"another": {"a": b"9"}, **changed}
    ledger = Ledger(path, NO_DRIVER, budget)
    assert len(list(operators.measured(ledger, baseline, more, seed=0))) == 3
    rows = [operators.row(ledger, name, baseline, more, seeds=1) for name in ("operator 0", "operator 4", "another")]
    assert [one.pairs[0].beside for one in rows] == [12.5, 16.0, 19.0]
    assert rows[0].changes == [pytest.approx(-0.1)]


def test_what_is_measured_is_what_the_operator_makes_of_the_built_in_genome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "confined", lambda task, payload: operate(payload))  # our own code needs no limits
    baseline = dict(read_directory(BUILTIN))
    changed = operators.variants(baseline, ["rms_norm", "batch_size_x0.5"])
    assert b"nn.RMSNorm(" in changed["rms_norm"]["model.py"]
    assert b"batch_size=6," in changed["batch_size_x0.5"]["config.py"]
    with pytest.raises(BadInput, match="does not fit"):
        operators.variants(baseline, ["fused_optimiser"])


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--tokens", "5"]])
def test_bad_input_is_one_sentence_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert operators.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
