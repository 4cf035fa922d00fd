"""What the adapter of nanoGPT reads, writes and says, without running a trainer."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from trainer.adapters.base import Invocation, TrainingText
from trainer.adapters.nanogpt import settings
from trainer.adapters.nanogpt.outside import CHECK_ITERATIONS, NanoGPT
from trainer.adapters.registry import ADAPTERS, adapter
from trainer.contract import GenomeError, parse_genome

TINY = Path(__file__).parent / "tiny_trainer"
CONFIG = "config/train_tiny_char.py"
COMMAND = ("python", "train.py", CONFIG)
TEXT = TrainingText(
    train=np.arange(1000, dtype=np.uint16) % 60, validation=(np.arange(1000, dtype=np.uint16) % 60)[-100:],
    vocab_size=61, alphabet=tuple(chr(65 + n) for n in range(61)),
)

trainer = NanoGPT()


def checkout() -> dict[str, bytes]:
    return {path.relative_to(TINY).as_posix(): path.read_bytes() for path in TINY.rglob("*.py")}


def adopted(config: str | None = CONFIG, **changed: str) -> dict[str, bytes]:
    return trainer.adopt(checkout(), name="tiny", config=config, settings=changed)


def arguments(
    *, tokens: int | None = None, seconds: float | None = None, check: bool = False, device: str = "cpu"
) -> dict[str, str]:
    words = trainer.arguments(Invocation(
        device=device, out="/out", tokens_per_iteration=128, budget_tokens=tokens, budget_seconds=seconds, check=check
    ))
    return dict(word.removeprefix("--").split("=") for word in words)


def test_the_registry_knows_every_adapter_by_the_name_it_says() -> None:
    assert {name: one.name for name, one in ADAPTERS.items()} == {"nanogpt": "nanogpt"}
    with pytest.raises(GenomeError, match="choose one of nanogpt"):
        adapter("lightning")


# --- settings -------------------------------------------------------------------------------------------------------


def test_settings_are_those_of_the_program_then_the_configuration_then_the_words() -> None:
    read = settings.read(checkout(), (*COMMAND, "--n_embd=32", "--device=cpu"))
    assert (read["learning_rate"], read["block_size"], read["n_embd"], read["device"]) == (1e-2, 16, 32, "cpu")
    assert read["min_lr"] == 6e-5  # train.py alone says it


def test_a_product_is_a_number_and_what_follows_the_configurator_is_no_setting() -> None:
    program = b"a = 5 * 8\nb = -1.5\nc = len('x')\nexec(open('configurator.py').read())\nd = 4\n"
    assert settings.read({"train.py": program}, ("python", "train.py")) == {"a": 40, "b": -1.5}


@pytest.mark.parametrize("program", [b"a = (", b"\0", b"a = " + b"(" * 5000])
def test_a_program_that_cannot_be_parsed_is_a_genome_error(program: bytes) -> None:
    with pytest.raises(GenomeError, match="cannot be read as Python"):
        settings.read({"train.py": program}, ("python", "train.py"))


# --- import ---------------------------------------------------------------------------------------------------------


def test_an_imported_checkout_has_a_manifest_and_every_file_unchanged() -> None:
    files = adopted()
    genome = parse_genome(files.pop("genome.toml").decode())
    assert files == checkout()
    assert genome.command == COMMAND
    assert (genome.adapter, genome.context, genome.vocabulary) == ("nanogpt", 16, "chars")
    assert genome.may_edit("train.py")
    assert genome.may_edit(CONFIG)


def test_what_a_training_does_not_read_is_left_out() -> None:
    given = {
        **checkout(), "data/tiny_char/prepare.py": b"", "assets/loss.png": b"", "notes.ipynb": b"", ".gitignore": b"",
        "weights.bin": b"", "LICENSE": b"MIT", "README.md": b"", "bench.py": b"", "config/train_large.py": b"",
    }
    files = trainer.adopt(given, name="tiny", config=CONFIG, settings={})
    assert set(files) - set(checkout()) == {"genome.toml", "LICENSE"}


def test_what_a_training_imports_or_opens_is_kept() -> None:
    given = {
        **checkout(), "model.py": b"from parts.norm import RMS\nimport optim\n", "optim.py": b"open('table.json')\n",
        "table.json": b"{}", "parts/__init__.py": b"", "parts/norm.py": b"from . import deep\n", "parts/deep.py": b"",
        "parts/other.py": b"",
    }
    files = trainer.adopt(given, name="tiny", config=CONFIG, settings={})
    added = set(files) - set(checkout())
    assert added == {"optim.py", "table.json", "parts/__init__.py", "parts/norm.py", "parts/deep.py", "genome.toml"}


def test_changed_settings_are_in_a_configuration_that_agents_may_change_too() -> None:
    files = adopted(batch_size="4", n_embd="32", device="cpu")
    genome = parse_genome(files["genome.toml"].decode())
    assert genome.command == ("python", "train.py", "config/darwin.py")
    assert genome.may_edit("config/darwin.py")
    read = settings.read(files, genome.command)
    assert (read["batch_size"], read["n_embd"], read["device"], read["learning_rate"]) == (4, 32, "cpu", 1e-2)
    assert files["config/darwin.py"].count(b"batch_size") == 1


@pytest.mark.parametrize(("change", "words"), [
    ({"model.py": None}, "no model.py"),
    ({"train.py": b"block_size = 'wide'\n"}, "block_size"),
])
def test_what_is_no_such_trainer_is_refused_in_one_sentence(change: dict[str, bytes | None], words: str) -> None:
    files = {path: content for path, content in {**checkout(), **change}.items() if content is not None}
    with pytest.raises(GenomeError, match=words):
        trainer.adopt(files, name="tiny", config=None, settings={})


def test_a_setting_or_a_configuration_that_is_not_there_is_named() -> None:
    with pytest.raises(GenomeError, match="n_experts"):
        adopted(n_experts="4")
    with pytest.raises(GenomeError, match="there is no config/none"):
        adopted(config="config/none.py")


# --- the budget -----------------------------------------------------------------------------------------------------


def test_tokens_of_an_iteration_count_accumulation_rows_and_columns() -> None:
    assert trainer.tokens_per_iteration(checkout(), COMMAND) == 1 * 8 * 16
    assert trainer.tokens_per_iteration(checkout(), ("python", "train.py")) == 8 * 12 * 1024


@pytest.mark.parametrize("tokens", [1, 128, 129, 12_800, 999_999])
def test_a_budget_in_tokens_is_spent_in_whole_iterations_with_a_save_after_the_last(tokens: int) -> None:
    told = arguments(tokens=tokens)
    iterations, interval = int(told["max_iters"]), int(told["eval_interval"])
    assert iterations == max(tokens // 128, 1)
    assert iterations % interval == 0
    assert interval == iterations  # one save, at the end


@pytest.mark.parametrize("tokens", [128, 12_800, 999_999])
def test_a_run_that_may_be_stopped_saves_on_its_way_and_after_its_last_iteration(tokens: int) -> None:
    told = arguments(tokens=tokens, seconds=60)
    iterations, interval = int(told["max_iters"]), int(told["eval_interval"])
    assert iterations % interval == 0
    assert tokens // 128 * 0.95 - 1 <= iterations <= tokens // 128
    assert iterations // interval <= 40


def test_a_cosine_never_divides_by_zero_whatever_the_warmup() -> None:
    """nanoGPT divides by lr_decay_iters - warmup_iters at every iteration between the two."""
    told = arguments(tokens=128 * 50)
    decay, last = int(told["lr_decay_iters"]), int(told["max_iters"])
    for warmup in range(100):
        assert not any(warmup <= it <= decay and decay == warmup for it in range(last + 1))


def test_a_budget_in_seconds_keeps_the_trainers_own_schedule() -> None:
    told = arguments(seconds=60)
    assert not {"max_iters", "lr_decay_iters"} & set(told)
    assert int(told["eval_interval"]) > 0


def test_a_check_is_short_and_saves() -> None:
    told = arguments(tokens=10**9, seconds=10**6, check=True)
    assert int(told["max_iters"]) == int(told["eval_interval"]) == CHECK_ITERATIONS
    assert told["eval_iters"] == "1"


@pytest.mark.parametrize(("tokens", "seconds"), [(128 * 500, None), (128 * 5000, 60), (128 * 10**6, None)])
def test_looks_cost_little_of_the_training(tokens: int, seconds: float | None) -> None:
    told = arguments(tokens=tokens, seconds=seconds)
    iterations, interval, batches = (int(told[name]) for name in ("max_iters", "eval_interval", "eval_iters"))
    assert 1 <= batches <= 10
    assert (iterations / interval + 1) * 2 * batches / 3 <= 0.05 * iterations


def test_a_gpu_keeps_the_trainers_own_precision_and_compilation() -> None:
    cpu, gpu = arguments(tokens=1000), arguments(tokens=1000, device="cuda")
    assert (cpu["compile"], cpu["dtype"]) == ("False", "float32")
    assert not {"compile", "dtype"} & set(gpu)
    assert gpu["device"] == "cuda"


# --- the data -------------------------------------------------------------------------------------------------------


def laid_out(folder: Path, seed: int, text: TrainingText = TEXT) -> tuple[np.ndarray, np.ndarray]:
    trainer.layout(text, seed=seed, directory=folder)
    train, val = (np.fromfile(folder / name, dtype="<u2") for name in ("train.bin", "val.bin"))
    return train, val


def test_validation_text_is_cut_from_the_training_text_and_not_trained_on(tmp_path: Path) -> None:
    text = TrainingText(
        train=np.arange(1000, dtype=np.uint16), validation=np.arange(900, 1000, dtype=np.uint16), vocab_size=1000
    )
    train, val = laid_out(tmp_path, 0, text)
    assert sorted(train.tolist()) == list(range(100, 1000))
    assert val.tolist() == list(range(100))


def test_seeds_differ_in_where_the_text_begins_and_in_nothing_else(tmp_path: Path) -> None:
    first, again, other = (laid_out(tmp_path / str(n), seed)[0] for n, seed in enumerate((1, 1, 2)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    doubled = np.concatenate([first, first])
    assert any(np.array_equal(doubled[n : n + len(other)], other) for n in range(len(first)))


def test_the_pickle_says_the_vocabulary_and_what_its_tokens_are(tmp_path: Path) -> None:
    laid_out(tmp_path, 0)
    meta = pickle.loads((tmp_path / "meta.pkl").read_bytes())
    assert meta["vocab_size"] == 61
    assert meta["itos"][0] == "A"
    assert all(meta["stoi"][letter] == token for token, letter in meta["itos"].items())
    assert not (tmp_path / "meta.pkl").stat().st_mode & 0o022


# --- what it prints -------------------------------------------------------------------------------------------------


def test_a_line_of_an_iteration_is_a_claim() -> None:
    claim = trainer.claimed("iter 120: loss 1.8123, time 43.21ms, mfu 12.50%\n")
    assert claim is not None
    assert (claim.step, claim.loss, dict(claim.numbers)) == (120, 1.8123, {"ms": 43.21, "mfu": 0.125})


def test_a_share_of_minus_one_hundred_percent_is_none() -> None:
    claim = trainer.claimed("iter 0: loss 4.2, time 900.00ms, mfu -100.00%")
    assert claim is not None
    assert "mfu" not in claim.numbers


def test_a_line_of_a_look_is_a_claim_too() -> None:
    claim = trainer.claimed("step 250: train loss 1.9, val loss 2.1")
    assert claim is not None
    assert (claim.step, claim.loss, dict(claim.numbers)) == (250, 1.9, {"train_loss": 1.9, "val_loss": 2.1})


@pytest.mark.parametrize("loss", ["nan", "inf", "-inf", "1e309"])
def test_a_loss_that_is_no_number_is_none(loss: str) -> None:
    claim = trainer.claimed(f"iter 1: loss {loss}, time 1.0ms, mfu 1.0%")
    assert claim is not None
    assert claim.loss is None


@pytest.mark.parametrize("line", [
    "", "saving checkpoint to /out", "iter : loss 1, time 1ms", "iter -1: loss 1.0, time 1.0ms, mfu 1.0%",
    "iter 99999999999999999999: loss 1.0, time 1.0ms, mfu 1.0%", "iter 1: loss 1.0, time 1.0ms, mfu 1.0% and more",
    "x" * 1_000_000, "iter 1: loss " + "9" * 500 + ", time 1.0ms, mfu 1.0%", "iter ١: loss 1.0, time 1.0ms",
])
def test_other_lines_and_forged_ones_say_nothing(line: str) -> None:
    assert trainer.claimed(line) is None


def test_a_claim_is_finite_or_none() -> None:
    claim = trainer.claimed("step 1: train loss wat, val loss 0x10")
    assert claim is not None
    assert all(value is None or math.isfinite(value) for value in (claim.loss, *claim.numbers.values()))
