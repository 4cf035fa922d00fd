"""The built-in operators, and what the confined child may be asked to do with them.

Only `python -m evolution.syntax` imports this: code that nobody has read yet is parsed here, in a process with limits.
"""

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import libcst as cst

from evolution.agents.operators.catalogue import CATALOGUE, FAMILY, named
from evolution.agents.operators.numbers import random_names
from evolution.agents.operators.operator import Operator

RANDOM_NAMES = 20  # numbers with random factors
NUMERIC_SHARE = 0.25  # so often a number is asked for in front of an operator of the catalogue
NUMBERS = "numbers"  # their family


def operate(payload: Mapping[str, Any]) -> dict[str, Any]:
    """{"files": {path: text}, "editable": [path], "seed", and "operator" or "tried"} -> what the operator made of it.

    With "operator" that one is asked; without, they are drawn with the seed, those in "tried" left out, until one fits:
    from the catalogue, and now and then a number with a random factor. "only" names the families and operators that may
    be drawn; all when it is empty or missing. The reply is {"operator", "files": {changed path: new text}, "title",
    "hypothesis", "rationale", "expected"}, or {"declined": true}.
    """
    modules, seed = parsed(payload), payload["seed"]
    names = [payload["operator"]] if "operator" in payload else drawn(
        seed, tried=frozenset(payload["tried"]), only=frozenset(payload.get("only", ())), modules=modules.values()
    )
    for operator in map(named, names):
        if changed := applied(operator, modules, seed=seed):
            words = {key: getattr(operator, key) for key in ("title", "hypothesis", "rationale", "expected")}
            return {"operator": operator.name, "files": changed, **words}
    return {"declined": True}


def fitting(payload: Mapping[str, Any]) -> dict[str, Any]:
    """{"files", "editable", "seed"} -> {"fits": [names of the catalogue that would change something]}."""
    modules = parsed(payload)
    return {"fits": [name for name, one in CATALOGUE.items() if applied(one, modules, seed=payload["seed"])]}


def unknown(payload: Mapping[str, Any]) -> dict[str, Any]:
    """{"operators": [families and names]} -> {"unknown": [those that are neither]}."""
    families = {*FAMILY.values(), NUMBERS}
    return {"unknown": [one for one in payload["operators"] if one not in families and not _is_operator(one)]}


def _is_operator(name: str) -> bool:
    try:
        named(name)
    except KeyError:
        return False
    return True


def drawn(
    seed: int, *, tried: frozenset[str], only: frozenset[str] = frozenset(), modules: Iterable[cst.Module] = ()
) -> list[str]:
    """Untried names in the order in which they are asked: the catalogue shuffled, random factors strewn among it.

    With `only` no others than those of its families and names; a NAME_xFACTOR of it is asked as it is.
    """
    rng = Random(seed)  # noqa: S311 not for secrets
    catalogue, numeric = rng.sample(sorted(CATALOGUE), len(CATALOGUE)), random_names(rng, RANDOM_NAMES, modules)
    names: list[str] = []
    for name in catalogue:
        names += [numeric.pop()] if numeric and rng.random() < NUMERIC_SHARE else []
        names.append(name)
    names += numeric
    if only:
        exact = sorted(name for name in only if name not in CATALOGUE and _is_operator(name))
        names = [name for name in names if {name, FAMILY.get(name, NUMBERS)} & only] + exact
    return [name for name in names if name not in tried]


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
        if new is not None and (text := new.code) != module.code:
            changed[path] = text
    return changed
