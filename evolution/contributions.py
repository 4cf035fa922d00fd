"""What a person proposes: through the same gate and the same checks as every other change, and credited to them."""

from collections.abc import Mapping

from evolution.drafting import draft
from evolution.errors import BadInput, Refused
from evolution.models import Experiment, Kind, Variant

UNTITLED = "a person's patch"


def contribute(
    experiment: Experiment, *, to: Variant, files: Mapping[str, bytes], person: str, title: str = "",
    hypothesis: str = "",
) -> Variant:
    """Draft `files` as `person`'s change to the variant `to`.

    Refused when the experiment is over, PatchRefused when nothing changed or a path may not be touched.
    """
    if experiment.is_over:
        raise Refused(f"“{experiment.slug}” is {experiment.get_status_display()}: it takes no more proposals")
    return draft(
        experiment, parent=to, files=files, kind=Kind.PATCH, author=f"user:{person}", title=title.strip() or UNTITLED,
        hypothesis=hypothesis,
    )


def default_target(experiment: Experiment) -> Variant:
    """Whom a change is for when nobody says: the champion, else the baseline; BadInput while there is neither."""
    found = experiment.champion or experiment.baseline
    if found is None:
        raise BadInput(f"“{experiment.slug}” has no baseline yet: name a variant")
    return found
