"""The built-in operators, and what the confined child may be asked to do with them.

Only `python -m evolution.syntax` imports this: code that nobody has read yet is parsed here, in a process with limits.
"""

from collections.abc import Mapping
from random import Random
from typing import Any

import libcst as cst

from evolution.agents.operators.catalogue import CATALOGUE, named
from evolution.agents.operators.numbers import random_names
from evolution.agents.operators.operator import Operator


def operate(payload: Mapping[str, Any]) -> dict[str, Any]:
    """{"operator", "files": {path: text}, "editable": [path], "seed"} -> {"files": {changed path: new text}, words}.

    The words are "title", "hypothesis", "rationale" and "expected"; {"declined": true} when it does not fit.
    """
    operator = named(payload["operator"])
    changed = applied(operator, parsed(payload), seed=payload["seed"])
    if not changed:
        return {"declined": True}
    words = {key: getattr(operator, key) for key in ("title", "hypothesis", "rationale", "expected")}
    return {"files": changed, **words}


def fitting(payload: Mapping[str, Any]) -> dict[str, Any]:
    """{"files", "editable", "seed"} -> {"fits": [names of the catalogue that would change it], "numeric": [...]}.

    "numeric" are operators with random factors, drawn from the seed, for when the catalogue is used up.
    """
    modules, seed = parsed(payload), payload["seed"]
    fits = [name for name, operator in CATALOGUE.items() if applied(operator, modules, seed=seed)]
    drawn = dict.fromkeys(random_names(Random(seed), 12))  # noqa: S311 not for secrets
    return {"fits": fits, "numeric": [name for name in drawn if applied(named(name), modules, seed=seed)]}


def parsed(payload: Mapping[str, Any]) -> dict[str, cst.Module]:
    """The editable files as syntax trees; what is no Python is left out, the parse check will say so."""
    modules = {}
    for path in sorted(payload["editable"]):
        try:
            modules[path] = cst.parse_module(payload["files"][path])
        except cst.ParserSyntaxError:
            continue
    return modules


def applied(operator: Operator, modules: Mapping[str, cst.Module], *, seed: int) -> dict[str, str]:
    """The new text of every file which `operator` changes."""
    changed = {}
    for path, module in modules.items():
        new = operator.apply(module, Random(f"{seed} {path}"))  # noqa: S311 not for secrets
        if new is not None and new.code != module.code:
            changed[path] = new.code
    return changed
