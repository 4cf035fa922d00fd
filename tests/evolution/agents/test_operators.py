"""Every built-in operator, on every code tree we have, and on code which another operator changed before."""

import ast
import difflib
import itertools
from random import Random
from typing import Any

import libcst as cst
import pytest
import torch

from evolution.agents.operators import applied, drawn, fitting, operate, parsed
from evolution.agents.operators.catalogue import CATALOGUE, named
from evolution.agents.operators.numbers import constants, random_names
from evolution.confined import Unparsable, confined
from evolution.syntax import check
from tests.evolution.agents.conftest import texts

TREES = ("builtin", "nanogpt")
# They turn a number a bit further each time, up to a bound: a second time is another proposal.
STEPS = {
    "higher_learning_rate", "lower_learning_rate", "smaller_batch", "shorter_warmup", "tighter_clip", "fewer_heads",
}
STRUCTURAL = sorted(set(CATALOGUE) - STEPS)


def after(name: str, files: dict[str, str]) -> dict[str, str]:
    """What operator `name` changes in `files`."""
    return applied(named(name), parsed({"files": files, "editable": list(files)}), seed=1)


def broken(files: dict[str, str]) -> list[str]:
    """What is wrong with `files`: no Python, or names that nothing defines."""
    found = check({"files": files, "entries": ["train.py", "model.py"]})
    return [*found["parse"], *found["names"]]


def fits(name: str, tree: str) -> bool:
    return bool(after(name, texts(tree)))


CASES = [(name, tree) for tree in TREES for name in CATALOGUE if fits(name, tree)]
PAIRS = Random(5).sample(
    [(one, two, tree) for tree in TREES for one, two in itertools.permutations(STRUCTURAL, 2) if (one, tree) in CASES
     and (two, tree) in CASES], 60,
)


@pytest.mark.parametrize("tree", TREES)
def test_at_least_fourteen_operators_fit(tree: str) -> None:
    assert sum(1 for _, where in CASES if where == tree) >= 14


def test_every_operator_fits_one_of_our_trees() -> None:
    assert {name for name, _ in CASES} | {"fused_attention", "fused_optimiser", "shorter_memory"} >= set(CATALOGUE)


@pytest.mark.parametrize(("name", "tree"), CASES)
def test_what_an_operator_makes_is_python_whose_names_resolve(name: str, tree: str) -> None:
    files = texts(tree)
    assert broken({**files, **after(name, files)}) == []


@pytest.mark.parametrize(("name", "tree"), [case for case in CASES if case[0] in STRUCTURAL])
def test_an_operator_declines_where_it_was_applied_already(name: str, tree: str) -> None:
    files = texts(tree)
    assert after(name, {**files, **after(name, files)}) == {}


@pytest.mark.parametrize(("name", "tree"), CASES)
def test_an_operator_touches_few_lines_and_keeps_the_rest(name: str, tree: str) -> None:
    files = texts(tree)
    for path, new in after(name, files).items():
        old = files[path].splitlines(keepends=True)
        matcher = difflib.SequenceMatcher(None, old, new.splitlines(keepends=True))
        assert len(old) - sum(block.size for block in matcher.get_matching_blocks()) <= 25


@pytest.mark.parametrize(("one", "two", "tree"), PAIRS)
def test_an_operator_works_on_code_that_another_one_changed(one: str, two: str, tree: str) -> None:
    files = texts(tree)
    files.update(after(one, files))
    files.update(after(two, files))
    assert broken(files) == []


def test_operators_find_their_place_wherever_it_stands() -> None:
    """A person renamed things, put the norm into a list and wrote the attention as one expression."""
    files = {"net.py": (
        "import torch\nfrom torch import nn\nimport torch.nn.functional as fn\n\n\n"
        "class Mix(nn.Module):\n    def forward(self, a, b, c):\n"
        "        # heads are ready\n        return fn.scaled_dot_product_attention(a, b, c, is_causal=True)\n\n\n"
        "norms = [nn.LayerNorm(8, eps=1e-6, bias=False) for _ in range(2)]\n"
    )}
    normed = "a, b = fn.rms_norm(a, (a.size(-1),)), fn.rms_norm(b, (b.size(-1),))\n        return"
    assert normed in after("qk_norm", files)["net.py"]
    assert "nn.RMSNorm(8, eps=1e-6) for" in after("rms_norm", files)["net.py"]


def test_operators_decline_code_that_is_no_training_code() -> None:
    assert fitting({"files": {"hello.py": "print('hello')\n"}, "editable": ["hello.py"], "seed": 1})["fits"] == []


def test_operators_leave_files_alone_that_may_not_be_changed() -> None:
    reply = operate({"operator": "rms_norm", "files": texts("nanogpt"), "editable": ["train.py"], "seed": 1})
    assert reply == {"declined": True}


def test_a_file_that_is_no_python_does_not_keep_operators_from_the_others() -> None:
    files = {**texts("nanogpt"), "broken.py": "def ("}
    assert set(after("rms_norm", files)) == {"model.py"}


@pytest.mark.parametrize(("name", "old", "new"), [
    ("learning_rate_x1.5", "learning_rate = 1e-3", "learning_rate = 1.5e-3"),
    ("learning_rate_x0.5", "lr: float = 0.002", "lr: float = 0.001"),
    ("batch_size_x0.5", "PRESET = {'batch_size': 12}", "PRESET = {'batch_size': 6}"),
    ("warmup_x0.5", "settings = dict(warmup_iters=100)", "settings = dict(warmup_iters=50)"),
    ("weight_decay_x2", "def f(weight_decay=0.1): pass", "def f(weight_decay=0.2): pass"),
])
def test_a_knob_is_turned_wherever_it_is_set_in_the_way_it_was_written(name: str, old: str, new: str) -> None:
    assert after(name, {"a.py": old + "\n"}) == {"a.py": new + "\n"}


def test_random_factors_are_the_same_for_the_same_seed_and_are_real_operators() -> None:
    names = random_names(Random(3), 8)
    assert names == random_names(Random(3), 8)
    assert all(named(name).name == name for name in names)


def test_numbers_are_strewn_among_the_catalogue_and_the_same_for_the_same_seed() -> None:
    first = [drawn(seed, tried=frozenset())[:12] for seed in range(20)]
    assert first == [drawn(seed, tried=frozenset())[:12] for seed in range(20)]
    numeric = [name for names in first for name in names if name not in CATALOGUE]
    assert 0.1 < len(numeric) / 240 < 0.35
    assert "muon" not in drawn(1, tried=frozenset({"muon"}))


@pytest.mark.parametrize(("name", "old", "new"), [
    ("SCALE_x1.5", "SCALE = 20.0", "SCALE = 30.0"),
    ("momentum_x2", "def f(momentum=0.95): pass", "def f(momentum=0.9): pass"),
    ("steps_x0.6", "steps: int = 5", "steps: int = 3"),
    ("steps_x0.1", "steps: int = 5", "steps: int = 1"),
    ("width_x1.3", "P = dict(width=128)", "P = dict(width=160)"),
])
def test_any_number_that_has_a_name_can_be_turned(name: str, old: str, new: str) -> None:
    assert after(name, {"a.py": old + "\n"}) == {"a.py": new + "\n"}


def test_numbers_that_are_no_part_of_a_recipe_are_left_alone() -> None:
    files = {"a.py": "CONTEXT = 64\nREPORT_EVERY = 10\nSEED = 3\nheads = 4\nRATE = 0.5\nx = f(dim=2, on=1, off=0.0)\n"}
    [module] = parsed({"files": files, "editable": list(files)}).values()
    assert constants(module) == {"RATE"}
    assert named("learning_rate_x2").name == "learning_rate_x2"
    with pytest.raises(KeyError):
        named("CONTEXT_x2")


def test_numbers_that_an_operator_brought_can_be_turned_in_their_turn() -> None:
    files = {**texts("builtin"), **after("muon", texts("builtin"))}
    modules = parsed({"files": files, "editable": list(files)})
    names = {name.rpartition("_x")[0] for name in random_names(Random(1), 200, modules.values())}
    assert {"momentum", "stretch", "refresh", "steps"} <= names


def test_embeddings_of_several_tokens_never_see_a_later_one() -> None:
    for name, function in (("bigram_embedding", "pairs"), ("trigram_embedding", "triples")):
        scope: dict[str, Any] = {"F": torch.nn.functional}
        source = after(name, texts("builtin"))["model.py"]
        functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
        [node] = [node for node in functions if node.name == function]
        exec(ast.unparse(node), scope)  # our own text
        tokens = torch.randint(0, 256, (2, 9))
        whole = scope[function](tokens, 4096)
        assert all(torch.equal(scope[function](tokens[:, :n], 4096), whole[:, :n]) for n in range(1, 9))
        assert whole.max() < 4096


WRITTEN_OUT = """\
import math
import torch.nn.functional as F


class Attention:
    def forward(self, q, k, v):
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.mask == 0, float("-inf"))
        att = F.softmax(att, dim=-1)
        att = self.drop(att)
        return_this = 0
        y = att @ v
        return y
"""


def test_attention_that_is_written_out_becomes_one_call() -> None:
    plain = WRITTEN_OUT.replace("        return_this = 0\n", "")
    made = after("fused_attention", {"a.py": plain})["a.py"]
    call = "F.scaled_dot_product_attention(q, k, v, dropout_p=self.drop.p if self.training else 0.0, is_causal=True)"
    assert made.endswith(f"(self, q, k, v):\n        y = {call}\n        return y\n")
    without = plain.replace("        att = self.drop(att)\n", "")
    assert "attention(q, k, v, is_causal=True)" in after("fused_attention", {"a.py": without})["a.py"]


@pytest.mark.parametrize(("old", "new"), [
    ("", ""),  # a line that is no part of it stands between
    ("        return_this = 0\n        y = att @ v", "        y = v @ att"),
    ("        return_this = 0\n", "        att = att * 2\n"),
    (".masked_fill(self.mask == 0, float(\"-inf\"))", ""),
    (" * (1.0 / math.sqrt(k.size(-1)))", ""),
])
def test_what_is_not_quite_attention_is_left_alone(old: str, new: str) -> None:
    assert old in WRITTEN_OUT
    assert after("fused_attention", {"a.py": WRITTEN_OUT.replace(old, new) if old else WRITTEN_OUT}) == {}


def test_an_unknown_operator_is_an_error() -> None:
    with pytest.raises(KeyError):
        named("make_it_better")


def test_every_operator_says_what_it_believes_and_where_that_comes_from() -> None:
    for name, operator in CATALOGUE.items():
        assert operator.name == name
        assert operator.hypothesis.endswith(".")
        assert "(" in operator.rationale or "PyTorch" in operator.rationale
        assert "erplexity" in operator.expected
        assert "MFU" in operator.expected


def test_hostile_nesting_ends_the_child_and_not_the_worker() -> None:
    files = {"model.py": "x = " + "(" * 1_500 + ")" * 1_500 + "\n"}
    try:
        reply = confined("operate", {"operator": "rms_norm", "files": files, "editable": ["model.py"], "seed": 1})
    except Unparsable:
        return
    assert reply == {"declined": True}


def test_cst_keeps_the_text_of_our_trees() -> None:
    for tree in TREES:
        for text in texts(tree).values():
            assert cst.parse_module(text).code == text
