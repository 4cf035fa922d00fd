"""A change of one's own: files edited on the page, or a pasted diff, through the same gate as every proposal."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from darwin_web.pages.scope import experiment_of, person
from evolution.contributions import contribute, default_target
from evolution.errors import BadInput, DarwinError
from evolution.genomes import genome_of, store_of
from evolution.models import Experiment, Role, Status, Variant
from evolution.patches import apply_unified
from review.forms import edited_files

WAYS = "edit", "diff"
OFFERED = 200  # variants to choose from
LONGEST_DIFF = 1 << 20  # characters
SOUND = (Status.SURVIVED, Status.CULLED, Status.MEASURED, Status.TRAINING, Status.APPROVED)


class ChangeForm(forms.Form):
    """What a person says about a change, and with `way` "diff" the change itself."""

    to = forms.IntegerField(min_value=0)
    way = forms.ChoiceField(choices=[(way, way) for way in WAYS])
    title = forms.CharField(max_length=200)
    hypothesis = forms.CharField(required=False, max_length=4000)
    diff = forms.CharField(required=False, max_length=LONGEST_DIFF, strip=False)


@dataclass(frozen=True)
class Page:
    """What the page is filled with; after a refusal with everything as it was sent."""

    experiment: Experiment
    target: Variant
    way: str
    files: Mapping[str, str]  # the target's editable text files, by path
    sent: Mapping[str, str] = field(default_factory=dict)  # title, hypothesis, diff
    edited: Mapping[str, str] = field(default_factory=dict)

    @property
    def texts(self) -> list[dict[str, str]]:
        return [
            {"path": path, "before": text, "text": self.edited.get(path, text)} for path, text in self.files.items()
        ]


@require_http_methods(["GET", "POST"])
def propose(request: HttpRequest, slug: str) -> HttpResponseBase:
    experiment = experiment_of(request, slug, role=Role.REVIEWER)
    given = request.POST if request.method == "POST" else request.GET
    way = given.get("way") if given.get("way") in WAYS else WAYS[0]
    target = _target(experiment, given.get("to", ""))
    page = Page(experiment, target, str(way), _editable(experiment, target))
    return _submitted(request, page) if request.method == "POST" else _shown(request, page)


def _submitted(request: HttpRequest, page: Page) -> HttpResponseBase:
    """On to the new variant; or the page again with one sentence, and nothing that was written lost."""
    edited = edited_files(request.POST, page.files)
    form = ChangeForm(request.POST)
    try:
        if not form.is_valid():
            raise BadInput(_sentence(form))
        made = contribute(
            page.experiment, to=page.target, files=_files(page, form.cleaned_data["diff"], edited),
            person=person(request).get_username(), title=form.cleaned_data["title"],
            hypothesis=form.cleaned_data["hypothesis"],
        )
    except DarwinError as error:
        sent = {name: request.POST.get(name, "") for name in ("title", "hypothesis", "diff")}
        return _refused(request, error, Page(page.experiment, page.target, page.way, page.files, sent, edited))
    address = reverse("variant", args=[page.experiment.slug, made.number])
    if _wants_json(request):
        return JsonResponse({"next": address})
    messages.success(request, f"v{made.number} is proposed as a change to v{page.target.number}: it is being checked.")
    return redirect(address)


def _refused(request: HttpRequest, error: DarwinError, page: Page) -> HttpResponse:
    said = str(error)
    begin = said[:1].upper() if said.partition(" ")[0].isalpha() else said[:1]  # a path stays as it is
    sentence = begin + said[1:] + ("" if said.endswith((".", "!", "?")) else ".")
    if _wants_json(request):
        return JsonResponse({"message": sentence}, status=400)
    return _shown(request, page, refused=sentence, status=400)


def _shown(request: HttpRequest, page: Page, *, refused: str = "", status: int = 200) -> HttpResponse:
    return render(request, "pages/propose.html", {
        "here": "experiments", "experiment": page.experiment, "page": page, "refused": refused,
        "targets": _targets(page.experiment, page.target),
    }, status=status)


def _files(page: Page, diff: str, edited: Mapping[str, str]) -> dict[str, bytes]:
    """The target's whole tree after the change."""
    before = store_of(page.experiment).files(page.target.commit)
    if page.way == "diff":
        return apply_unified(before, diff.replace("\r\n", "\n"))
    return {**before, **{path: text.encode() for path, text in edited.items()}}


def _editable(experiment: Experiment, target: Variant) -> dict[str, str]:
    """The files that agents may change, as far as they are text."""
    files = store_of(experiment).files(target.commit)
    genome, found = genome_of(files), {}
    for path in sorted(files):
        if genome.may_edit(path):
            try:
                found[path] = files[path].decode()
            except UnicodeDecodeError:
                continue
    return found


def _target(experiment: Experiment, number: str) -> Variant:
    """The variant of that number; without one, or with one that is not there, the champion or the baseline."""
    found = experiment.variants.filter(number=int(number)).first() if number.isascii() and number.isdigit() else None
    return found or default_target(experiment)


def _targets(experiment: Experiment, chosen: Variant) -> list[Variant]:
    """Whom one may build on: what passed the checks, the latest first, and the chosen one whatever it is."""
    sound = list(experiment.variants.filter(status__in=SOUND).order_by("-number")[:OFFERED])
    return sound if chosen in sound else [chosen, *sound]


def _sentence(form: forms.Form) -> str:
    name, errors = next(iter(form.errors.items()))
    return f"{str(name).capitalize()}: {errors[0]}"


def _wants_json(request: HttpRequest) -> bool:
    return "application/json" in request.headers.get("Accept", "")
