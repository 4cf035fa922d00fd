"""Which kind of change a built-in operator makes: the name of the file it stands in"""

from collections.abc import Mapping
from typing import Any

from evolution.agents.operators.catalogue import FAMILIES
from evolution.families import SETTINGS

KINDS = {one.name: family.__name__.rpartition(".")[2] for family in FAMILIES for one in family.OPERATORS}


def family(payload: Mapping[str, Any]) -> dict[str, str]:
    """{"operator": name} -> {"family": its kind of change}; "" for one that only turns a number.

    Numbers of every kind are turned in `settings` and by knobs: what they are called says more (evolution/families.py).
    """
    kind = KINDS.get(payload["operator"], "")
    return {"family": "" if kind == SETTINGS else kind}
