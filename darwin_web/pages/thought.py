"""What a model says at this moment about which variant, for the experiment page."""

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from darwin_web.pages.scope import experiment_of
from darwin_web.templatetags.darwin import visible
from evolution import thoughts
from evolution.models import Experiment

DOES = {
    "propose": "is thinking about", "again": "mends its reply about", "repair": "is repairing",
    "merge": "is merging into", "assess": "is assessing", "explain": "is explaining",
}
DID = {
    "propose": "has thought about", "again": "has mended its reply about", "repair": "has worked on the repair of",
    "merge": "has merged into", "assess": "has assessed", "explain": "has explained",
}


@never_cache
@require_GET
def experiment_thought(request: HttpRequest, slug: str) -> JsonResponse:
    return JsonResponse(thought_of(experiment_of(request, slug)))


def thought_of(experiment: Experiment) -> dict[str, Any]:
    """{"call": 0} before the first call; texts come with control and bidirectional characters as escapes."""
    found = thoughts.latest(experiment)
    if found is None:
        return {"call": 0, "seq": 0}
    who = f"a{found['proposer']}" if found["proposer"] is not None else "The model"
    verb = (DOES if found["thinking"] else DID).get(found["purpose"], "is asked about")
    about = f"v{found['target']}" if found["target"] is not None else "this experiment"
    return {
        **found, "text": visible(found["text"]), "error": visible(found["error"]), "model": visible(found["model"]),
        "says": f"{who} {verb} {about}",
    }
