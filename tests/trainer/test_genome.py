"""The built-in genome as code: shapes, causality, seeds. How it trains is in test_inside.py."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F  # noqa: N812

from tests.trainer.conftest import GENOME
from trainer.contract import read_genome

NAMES = "config", "model", "optimiser", "schedule"
SHAPE = {"vocab_size": 256, "context": 64, "layers": 2, "heads": 2, "width": 32}


@pytest.fixture(scope="module")
def code() -> Iterator[dict[str, ModuleType]]:
    """Its modules, imported as in a container: by their bare names."""
    before = {name: sys.modules.pop(name, None) for name in NAMES}
    sys.path.insert(0, str(GENOME))
    yield {name: __import__(name) for name in NAMES}
    sys.path.remove(str(GENOME))
    for name, module in before.items():
        sys.modules.pop(name)
        if module is not None:
            sys.modules[name] = module


def gpt(code: dict[str, ModuleType], *, seed: int = 1, **changes: float) -> torch.nn.Module:
    model: torch.nn.Module = code["model"].GPT(**{**SHAPE, **changes})
    model.initialise(seed)  # type: ignore[operator]
    return model.eval()


def test_its_manifest_says_what_it_is(code: dict[str, ModuleType]) -> None:
    genome = read_genome(GENOME)
    assert (genome.entry, genome.load, genome.context) == ("train:main", "model:load", code["config"].CONTEXT)
    assert genome.vocabulary == "bytes"
    assert genome.may_edit("model.py")
    assert not genome.may_edit("genome.toml")


@pytest.mark.parametrize(("preset", "low", "high"), [("CPU", 0.75e6, 0.9e6), ("GPU", 24e6, 27e6)])
def test_its_presets_have_the_size_they_say(code: dict[str, ModuleType], preset: str, low: float, high: float) -> None:
    numbers = getattr(code["config"], preset)
    with torch.device("meta"):
        model = code["model"].GPT(
            vocab_size=256, context=64, layers=numbers.layers, heads=numbers.heads, width=numbers.width
        )
    assert low < sum(weight.numel() for weight in model.parameters()) < high


@pytest.mark.parametrize(("rows", "width"), [(1, 1), (1, 64), (5, 1), (3, 17)])
def test_it_takes_every_shape_up_to_its_context(code: dict[str, ModuleType], rows: int, width: int) -> None:
    assert gpt(code)(torch.zeros(rows, width, dtype=torch.int64)).shape == (rows, width, 256)


def test_it_does_not_look_ahead(code: dict[str, ModuleType]) -> None:
    model = gpt(code)
    tokens = torch.randint(256, (4, 64), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 40:] = (changed[:, 40:] + 1) % 256
    with torch.inference_mode():
        before, after = model(tokens), model(changed)
    assert torch.allclose(before[:, :40], after[:, :40], atol=1e-5)
    assert not torch.allclose(before[:, 40:], after[:, 40:], atol=1e-3)


def test_it_starts_with_the_loss_of_a_guess(code: dict[str, ModuleType]) -> None:
    tokens = torch.randint(256, (8, 65), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        loss = F.cross_entropy(gpt(code)(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    assert float(loss) == pytest.approx(math.log(256), abs=0.1)


def test_a_weight_starts_the_same_in_another_architecture(code: dict[str, ModuleType]) -> None:
    shallow, deep = (gpt(code, layers=layers).state_dict() for layers in (2, 3))
    name = "blocks.1.mlp.fc.weight"
    assert torch.equal(shallow[name], deep[name])
    assert not torch.equal(shallow[name], gpt(code, seed=2).state_dict()[name])


def test_what_it_saves_it_loads(code: dict[str, ModuleType], tmp_path: Path) -> None:
    model = gpt(code)
    safetensors.torch.save_model(model, str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text(json.dumps(SHAPE))
    loaded = code["model"].load(tmp_path, "cpu").eval()
    tokens = torch.arange(64)[None]
    with torch.inference_mode():
        assert torch.equal(model(tokens), loaded(tokens))


def test_the_rate_rises_and_then_falls_to_its_lowest(code: dict[str, ModuleType]) -> None:
    rates = [code["schedule"].learning_rate(n / 100, highest=1e-3, lowest=1e-4) for n in range(101)]
    assert rates[0] == 0.0
    assert rates.index(max(rates)) == 5
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-4)
    assert rates[5:] == sorted(rates[5:], reverse=True)


def test_only_matrices_decay(code: dict[str, ModuleType]) -> None:
    model = gpt(code)
    optimiser = code["optimiser"].configure_optimiser(model, learning_rate=1e-3, beta2=0.99, weight_decay=0.1)
    decayed, free = optimiser.param_groups
    assert {p.dim() for p in decayed["params"]} == {2}
    assert {p.dim() for p in free["params"]} == {1}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))
