"""Every cheat we know, by what it tries."""

from tests.trust.cheat import Cheat
from tests.trust.cheats import adapting, answers, claims, compute, peeking, tokens

FAMILIES = (peeking, adapting, answers, claims, compute, tokens)
CHEATS: dict[str, Cheat] = {one.name: one for family in FAMILIES for one in family.CHEATS}
