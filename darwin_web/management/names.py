"""What people write on a command line, as rows."""

from evolution.errors import BadInput
from evolution.models import Experiment, Variant
from evolution.options import slug_of


def experiment_of(name: str) -> Experiment:
    """The experiment of that name, or BadInput that lists those there are."""
    found = Experiment.objects.filter(slug=slug_of(name)).select_related("baseline", "champion").first()
    if found is None:
        known = ", ".join(Experiment.objects.values_list("slug", flat=True)[:10])
        raise BadInput(f"there is no experiment “{name}”: {f'there are {known}' if known else 'there is none yet'}")
    return found


def variant_of(experiment: Experiment, text: str) -> Variant:
    """The variant that `text` names (31, v31, baseline or champion), or BadInput."""
    number = text.removeprefix("v").removeprefix("#")
    named = {"baseline": experiment.baseline, "champion": experiment.champion}
    found = named[text] if text in named else (
        experiment.variants.filter(number=int(number)).first() if number.isascii() and number.isdigit() else None
    )
    if found is None:
        raise BadInput(f"“{experiment.slug}” has no variant {text}: write v31, baseline or champion")
    return found
