"""Calls and attributes of a genome's own that cannot work are named; what may work is let pass."""

import pytest

from evolution.syntax import check

MODEL = """
from dataclasses import dataclass
from torch import nn

@dataclass(frozen=True)
class Preset:
    width: int
    heads: int = 4

class Block(nn.Module):
    def __init__(self, width, *, dropout=0.0):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.register_buffer("mask", None)

    def forward(self, x):
        return self.norm(x)

def rate(progress, highest, *, lowest):
    return highest
"""


def found(code: str, model: str = MODEL) -> list[str]:
    reply = check({"files": {"train.py": code, "model.py": model}, "entries": ["train.py"]})
    assert reply["parse"] == []
    return list(reply["names"])


@pytest.mark.parametrize(("line", "problem"), [
    ("rate(0.1, 1.0)", "rate() is not given lowest"),
    ("rate(0.1, lowest=1.0)", "rate() is not given highest"),
    ("rate(0.1, 1.0, 2.0, lowest=0.0)", "rate() takes 2 positional arguments, and is given 3"),
    ("rate(0.1, 1.0, lowest=0.0, warmup=1)", "rate() has no parameter warmup"),
    ("rate(0.1, progress=0.1, highest=1.0, lowest=0.0)", "rate() is given progress twice"),
    ("Block()", "Block() is not given width"),
    ("Block(8, 0.1)", "Block() takes 1 positional arguments, and is given 2"),
    ("Preset(heads=2)", "Preset() is not given width"),
    ("Preset(8, depth=2)", "Preset() has no parameter depth"),
])
def test_a_call_that_python_refuses_is_named(line: str, problem: str) -> None:
    assert found(f"from model import Block, Preset, rate\n{line}\n") == [f"train.py:2: {problem}"]


@pytest.mark.parametrize("line", [
    "rate(0.1, 1.0, lowest=0.0)",
    "rate(*[0.1, 1.0], lowest=0.0)",
    "rate(0.1, **{'highest': 1.0, 'lowest': 0.0})",
    "Block(8, dropout=0.1)",
    "Preset(8, 2)",
    "try:\n    rate()\nexcept TypeError:\n    pass",
    "def local(rate):\n    return rate(1)",
    "rate = print\nrate(1, 2, 3)",
])
def test_a_call_that_may_work_is_let_pass(line: str) -> None:
    assert found(f"from model import Block, Preset, rate\n{line}\n") == []


def test_a_decorated_function_may_take_anything() -> None:
    decorated = f"from functools import cache\n{MODEL}".replace("def rate", "@cache\ndef rate")
    assert found("from model import rate\nrate()\n", decorated) == []


def test_an_attribute_that_nothing_gives_is_named() -> None:
    broken = MODEL.replace("return self.norm(x)", "return self.norm2(x)")
    assert found("import model\n", broken) == ["model.py:17: Block has no norm2"]


@pytest.mark.parametrize("line", [
    "self.mask", "self.training", "self._private", "self.forward", "self.parameters()",
])
def test_an_attribute_from_elsewhere_is_let_pass(line: str) -> None:
    assert found("import model\n", MODEL.replace("return self.norm(x)", f"return {line}")) == []


def test_a_class_with_unknown_parents_may_have_any_attribute() -> None:
    other = MODEL.replace("class Block(nn.Module)", "class Block(nn.Linear)").replace("self.norm(x)", "self.weight")
    assert found("import model\n", other) == []


def test_a_name_that_a_module_of_the_genome_lacks_is_named() -> None:
    assert found("import model\nmodel.Blok(8)\n") == ["train.py:2: model.py defines no Blok"]
