"""bench/trainer.py: that its recipes are what they say, that its table is, and that it runs."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from bench import measure, recipes, trainer
from bench.measure import PHASES, Run
from evolution.genomes import read_directory
from sandbox import peak
from trainer.contract import parse_genome

SHAPES = [(shape, compiled) for shape in recipes.GPU_SHAPES for compiled in (False, True)]
TINY = "2304"  # tokens: three iterations


def run_of(
    *, speed: float = 100.0, loss: float = 2.0, reason: str = "", overhead: float = 1.0, recipe: str = "one"
) -> Run:
    return Run(
        recipe=recipe, reason=reason, tokens_per_second=speed, mfu=0.1, loss=loss, train_seconds=3.0, wall_seconds=9.0,
        overhead=dict.fromkeys(PHASES, overhead),
    )


@pytest.mark.parametrize(("shape", "millions"), [(recipes.GPU_SHAPES[0], 25.4), (recipes.GPU_SHAPES[1], 124.3)])
def test_a_shape_for_a_gpu_has_the_parameters_it_says(
    shape: recipes.Shape, millions: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = recipes.gpt(shape, compiled=False).lay_out(tmp_path)
    spec = importlib.util.spec_from_file_location("bench_config", directory / "config.py")
    assert spec is not None
    assert spec.loader is not None
    config = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_config", config)
    spec.loader.exec_module(config)
    spec = importlib.util.spec_from_file_location("bench_model", directory / "model.py")
    assert spec is not None
    assert spec.loader is not None
    model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model)
    with torch.device("meta"):
        gpt = model.GPT(
            vocab_size=shape.vocabulary or 256, context=config.CONTEXT, layers=config.GPU.layers,
            heads=config.GPU.heads, width=config.GPU.width,
        )
    assert sum(weight.numel() for weight in gpt.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize(("shape", "compiled"), SHAPES)
def test_a_generated_genome_keeps_the_contract(shape: recipes.Shape, compiled: bool) -> None:
    files = recipes.gpt(shape, compiled=compiled).files
    assert parse_genome(files["genome.toml"].decode()).context == shape.context
    for path in files:
        if path.endswith(".py"):
            compile(files[path], path, "exec")
    assert (b"torch.compile(model)" in files["train.py"]) == compiled


def test_a_genome_that_was_rewritten_is_not_benchmarked_as_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = recipes.GPU_SHAPES[0]
    kept = read_directory(recipes.BUILTIN)
    changed = {path: content.replace(b"model(x)", b"model(x, y)") for path, content in kept.items()}
    monkeypatch.setattr(recipes, "read_directory", lambda _: changed)
    with pytest.raises(ValueError, match="up to date"):
        recipes.gpt(shape, compiled=True)


def test_a_row_holds_medians_and_the_largest_difference_of_loss() -> None:
    found = measure.row("one", [run_of(speed=90, loss=2.0), run_of(speed=120, loss=2.0004), run_of(speed=100)])
    assert (found.tokens_per_second, found.loss, found.runs) == (100, 2.0, 3)
    assert found.drift == pytest.approx(0.0004)
    assert found.overhead_seconds == len(PHASES)
    assert found.sound


def test_runs_of_one_seed_that_differ_are_not_sound() -> None:
    assert not measure.row("one", [run_of(loss=2.0), run_of(loss=2.002)]).sound


def test_a_run_without_a_number_is_told_with_its_reason() -> None:
    found = measure.row("one", [run_of(), run_of(reason="crashed: no compiler")])
    assert not found.sound
    assert "one: crashed: no compiler" in trainer.table([found])


def test_the_ratio_is_to_the_first_row() -> None:
    rows = [measure.row("ours", [run_of(speed=120)]), measure.row("theirs", [run_of(speed=90)])]
    assert "| theirs | 1 | 90 | 0.75 |" in trainer.table(rows)


@pytest.mark.parametrize("arguments", [["--repeat", "0"], ["--tokens", "5"], ["--nanogpt", "nowhere"]])
def test_bad_input_is_one_sentence_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert trainer.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("sandbox", [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
])
def test_the_bench_runs(
    sandbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "flops_per_second", lambda *_: 1e12)  # on a busy machine it would be timed too low
    data = tmp_path / "text"
    data.write_text("".join(f"{n * n % 9973} is what {n} times {n} leaves of 9973.\n" for n in range(4000)))
    arguments = ["--sandbox", sandbox, "--data", str(data), "--tokens", TINY, "--repeat", "1", "--gpu", "--json"]
    assert trainer.main(arguments) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert trainer.NO_GPU in said.err or told["gpu"]
    row = told["rows"][0]
    assert (row["runs"], row["drift"]) == (1, None)
    assert row["tokens_per_second"] > 0
    assert 0 < row["loss"] < 10
    assert set(row["overhead"]) == set(PHASES)
