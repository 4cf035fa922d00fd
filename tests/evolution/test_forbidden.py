"""What no proposal may bring, and what it may."""

import pytest

from evolution.forbidden import forbidden

BEFORE = "import os\nimport time\n\nimport torch\n\nbegun = time.time()\n"


def found(after: str, before: str | None = BEFORE) -> list[str]:
    answer: list[str] = forbidden({"files": {"train.py": {"before": before, "after": after}}})["forbidden"]
    return answer


@pytest.mark.parametrize(("line", "kind"), [
    ("import socket", "network"),
    ("from urllib.request import urlopen", "network"),
    ("import subprocess as sp", "processes"),
    ("from os import fork", "processes"),
    ("os.system('true')", "processes"),
    ("os._exit(0)", "processes"),
    ("import ctypes", "processes"),
    ("import gc", "internals"),
    ("frame = sys._getframe(1)", "internals"),
    ("eval('1')", "internals"),
    ("from trainer.harness.inside import run", "the harness"),
    ("run.batches = more", "the harness"),
    ("run.progress += 0.1", "the harness"),
    ("sent = run._line", "the harness"),
    ("known = sys.modules", "evaluation"),
    ("judged = torch.is_inference_mode_enabled()", "evaluation"),
    ("class Model(nn.Module):\n    def eval(self): ...", "evaluation"),
    ("F.cross_entropy = cheaper", "internals"),
    ("torch.nn.Module.forward = other", "internals"),
    ("time.time = lambda: 0.0", "a clock"),
    ("torch.manual_seed(1337)", "a seed of its own"),
    ("rng = np.random.default_rng(3)", "a seed of its own"),
    ("data = open('/etc/passwd').read()", "files outside run.out"),
    ("data = np.memmap('../../text.bin')", "files outside run.out"),
    ("place = '/run/darwin/harness.sock'", "the sandbox"),
    ("where = os.environ['DARWIN_GENOME']", "the sandbox"),
])
def test_it_is_found_with_its_line(line: str, kind: str) -> None:
    assert any(one.startswith(f"train.py:7: {kind}: ") for one in found(f"{BEFORE}{line}\n"))


@pytest.mark.parametrize("line", [
    "torch.manual_seed(run.seed)",
    "torch.manual_seed(seed_of(run.seed, 'dropout'))",
    "elapsed = time.time() - begun",
    "(run.out / 'note.txt').write_text('x')",
    "model.eval()",
    "model.compile()",
    "torch.backends.cuda.matmul.allow_tf32 = True",
    "torch._dynamo.config.cache_size_limit = 64",
    "self.head.weight = self.embedding.weight",
    "model._forward = 3",
    "optimiser.seed = 3",
    "import math, hashlib, dataclasses",
    "name = 'darwin'",
])
def test_honest_code_passes(line: str) -> None:
    assert found(f"{BEFORE}{line}\n") == []


def test_what_the_parent_had_may_stay() -> None:
    before = "import subprocess\nexec(open('configurator.py').read())\ntorch.manual_seed(1337)\n"
    assert found(f"{before}x = 1\n", before) == []
    assert found(before, None) != []
