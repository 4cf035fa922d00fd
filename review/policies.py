"""What may be trained without a person. Whatever is unknown or could not be read goes to a person."""

from evolution.models import Variant
from review.models import Evidence, Risk

SMALL_LINES = 30


def rule_for(variant: Variant, evidence: Evidence) -> str | None:
    """The rule that lets `variant` pass, or None: a person decides."""
    small = 0 < variant.lines_changed <= SMALL_LINES
    if small and not evidence.flags and evidence.risk == Risk.LOW:
        return "small and harmless"
    return None
