"""What is read out of code that nobody trusts, in the confined child."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from evolution.confined import Unparsable, confined
from evolution.genomes import read_directory
from evolution.syntax import TASKS, check, code_hash
from tests.cast import FILES

TRAIN = FILES["train.py"].decode()
MODEL = FILES["model.py"].decode()


def checked(**files: str) -> dict[str, Any]:
    python = {"train.py": TRAIN, "model.py": MODEL, **{f"{name}.py": text for name, text in files.items()}}
    return check({"files": python, "entries": ["train.py", "model.py"]})


def hashed(**files: str) -> str:
    return str(code_hash({"files": {f"{name}.py": text for name, text in files.items()}, "others": {}})["sha256"])


def test_honest_code_raises_no_alarm() -> None:
    assert checked() == {"parse": [], "names": []}


def test_our_own_code_raises_no_alarm() -> None:
    """Thousands of honest lines, none of which may be called wrong."""
    files = {
        path: content.decode() for path, content in read_directory(Path(settings.BASE_DIR) / "evolution").items()
        if path.endswith(".py")
    }
    found = check({"files": files, "entries": sorted(files)})
    assert [line for line in found["names"] if "is not installed in the sandbox" not in line] == []


def test_the_libraries_a_variant_may_import_raise_no_alarm() -> None:
    """The network library brings some hundred files that nobody wrote for us."""
    spec = find_spec("networkx")
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    files = {f"networkx/{file.name}": file.read_text() for file in root.glob("*.py")}
    found = check({"files": files, "entries": sorted(files)})
    assert [line for line in found["names"] if "is not defined" in line] == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("x = (1", "model.py:1: '(' was never closed"),
        ("return 1", "model.py:1: 'return' outside function"),
        ("x = 1\n  y = 2\n", "model.py:2: unexpected indent"),
    ],
)
def test_what_is_no_python_is_named_with_its_line(line: str, problem: str) -> None:
    assert checked(model=line)["parse"] == [problem]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def f():\n    return missing\n", "model.py:2: missing is not defined"),
        ("class A:\n    x = missing\n", "model.py:2: missing is not defined"),
        ("x = [missing for y in ()]\n", "model.py:1: missing is not defined"),
        ("import transformers\n", "model.py:1: transformers is not installed in the sandbox"),
        ("from einops.layers import torch\n", "model.py:1: einops is not installed in the sandbox"),
    ],
)
def test_a_name_that_cannot_be_there_is_found(code: str, problem: str) -> None:
    assert problem in checked(model=f"{code}class Bigram: ...\n")["names"]


def test_a_name_that_another_file_does_not_define_is_found() -> None:
    assert checked(model="class Other: ...\n")["names"] == ["train.py:6: model.py defines no Bigram"]


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    import flash_attn\nexcept ImportError:\n    flash_attn = None\n",
        "def f():\n    import tiktoken\n    return tiktoken\n",
        "if False:\n    import wandb\n",
        "def f():\n    global g\n    g = 1\ndef h():\n    return g\n",
        "exec('x = 1')\nprint(x)\n",
        "from math import *\nprint(pi)\n",
        "class A:\n    def f(self):\n        return __class__, super().f()\n",
        "def f(x: 'Later') -> 'Later': ...\n",
        "from __future__ import annotations\ndef f(x: Later) -> Later: ...\n",
        "match [1]:\n    case [first, *rest]:\n        print(first, rest)\n",
        "print(y := 1, y)\n",
        "for k in (1,):\n    pass\nprint(k, __file__, __name__)\n",
        "try:\n    1\nexcept ValueError as e:\n    print(e)\n",
        "import torch.nn.functional as F, numpy as np, safetensors, os.path\nprint(F, np, os)\n",
    ],
)
def test_what_may_be_defined_at_run_time_is_let_pass(code: str) -> None:
    assert checked(model=f"{code}\nclass Bigram: ...\n") == {"parse": [], "names": []}


def test_a_file_that_nothing_imports_may_need_anything() -> None:
    assert checked(sample="import tiktoken\nprint(missing)\n")["names"] == []


def test_comments_layout_quotes_and_docstrings_are_not_code() -> None:
    plain = "def f(a, b):\n    return a + 'x'\n"
    dressed = '"""A module."""\n# note\n\ndef f(a,b):\n    """Adds."""\n\n    return (a + "x")  # here\n'
    assert hashed(a=plain) == hashed(a=dressed)


def test_a_changed_number_or_name_is_other_code() -> None:
    assert len({hashed(a="x = 1"), hashed(a="x = 2"), hashed(a="y = 1"), hashed(b="x = 1"), hashed(a="x = 1.0")}) == 5


def test_other_files_count_byte_for_byte() -> None:
    one, other = (code_hash({"files": {}, "others": {"c.json": sha}})["sha256"] for sha in ("a", "b"))
    assert one != other


@pytest.mark.parametrize(
    "bomb", ["(" * 100_000 + ")" * 100_000, "x = " + "-" * 500_000 + "1", "x = " + "+".join("1" * 200_000)]
)
def test_a_bomb_is_a_problem_of_the_code_and_not_of_the_worker(bomb: str) -> None:
    try:
        found = confined("check", {"files": {"a.py": bomb}, "entries": ["a.py"]})["parse"]
    except Unparsable as error:
        found = [str(error)]
    assert found


def test_the_child_answers_as_the_function_does() -> None:
    payload = {"files": {"train.py": TRAIN, "model.py": MODEL}, "entries": ["train.py"]}
    assert confined("check", payload) == check(payload)


def test_what_a_task_cannot_parse_is_unparsable() -> None:
    with pytest.raises(Unparsable, match=r"a\.py"):
        confined("flags", {"files": {"a.py": {"before": None, "after": "x = ("}}, "strict": True})


def test_every_task_names_a_function_that_is_there() -> None:
    for name in TASKS.values():
        module, _, function = name.partition(":")
        file = Path(settings.BASE_DIR) / f"{module.replace('.', '/')}.py"
        file = file if file.exists() else file.with_suffix("") / "__init__.py"
        assert f"def {function}(" in file.read_text()
