"""The strategies of an experiment: what each came to, how likely it is asked next and why, and whose opinion counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from darwin_web.pages.scope import experiment_of, person
from evolution import agreement, definitions, strategies
from evolution.agents import BUILTIN, OPENAI, providers
from evolution.errors import DarwinError
from evolution.genetics import bandit
from evolution.models import Experiment, Mode, Role, Strategy
from evolution.records import Record, records
from evolution.rights import may

LATELY = 8


@dataclass(frozen=True)
class Row:
    """One strategy with its record."""

    strategy: Strategy
    record: Record
    chance: float | None  # to be asked next; None while it is switched off

    @property
    def fates(self) -> Sequence[tuple[int, str]]:
        """What its proposals came to: how many of each, and the word for it. Some are counted more than once."""
        one = self.record
        always = ((one.proposals, "proposed"), (one.accepted, "accepted"), (one.measured, "measured"))
        found = (
            (one.survivors, "survived"), (one.repaired, "mended what was broken"), (one.refused, "refused"),
            (one.duplicates, "duplicate"), (one.stillborn, "stillborn"), (one.vetoed, "vetoed"), (one.failed, "failed"),
        )
        return [*always, *(pair for pair in found if pair[0])] if one.proposals else []

    @property
    def why(self) -> str:
        """Why it is asked as often as it is, in one sentence."""
        one, worth = self.record, self.record.worth
        if self.chance is None:
            return "Switched off."
        if not one.outcomes:
            return "Nothing of it is decided yet: it counts as the average of the others."
        asked = f"Asked {one.proposals} time{'s' if one.proposals != 1 else ''}, {len(one.outcomes)} decided"
        if worth is None:
            return f"{asked}: one outcome says little."
        half = (worth.high - worth.low) / 2
        return f"{asked}: it kept {worth.value:.4f} ± {half:.4f} nats for the cost of an average proposal."


def _of_the_file() -> list[str]:
    """The providers that DARWIN_PROVIDERS names; none of a file that cannot be read, which `doctor` tells."""
    try:
        return list(providers.listed())
    except DarwinError:
        return []


class Addition(forms.Form):
    """What the page asks for; `definitions.checked` decides whether it can be."""

    name = forms.CharField(max_length=60, widget=forms.TextInput({"class": "input", "autocomplete": "off"}))
    provider = forms.ChoiceField(
        label="Who proposes", initial=OPENAI, widget=forms.Select({"class": "select"}),
        choices=lambda: [
            (BUILTIN, "built-in operators"), (OPENAI, "a language model"),
            *((name, f"a language model of {name}") for name in _of_the_file() if name != OPENAI),
        ],
    )
    mode = forms.ChoiceField(
        label="How a model writes its change", initial=Mode.EDITS, required=False,
        choices=[(value, label) for value, label in Mode.choices if value != Mode.OPERATORS],
        widget=forms.Select({"class": "select"}),
    )
    model = forms.CharField(
        max_length=200, required=False, help_text="Empty: the one of DARWIN_MODEL.",
        widget=forms.TextInput({"class": "input", "autocomplete": "off"}),
    )
    temperature = forms.FloatField(
        required=False, min_value=0, max_value=2, widget=forms.NumberInput({"class": "input", "step": "0.1"}),
        help_text="Empty: the default.",
    )
    share = forms.FloatField(
        initial=1.0, min_value=0, max_value=definitions.MAX_SHARE, help_text="Of the calls while nothing is known.",
        widget=forms.NumberInput({"class": "input", "step": "0.1"}),
    )
    operators = forms.CharField(
        required=False, help_text="Families or names, such as “normalisation optimiser”. Empty: all of them.",
        widget=forms.TextInput({"class": "input", "autocomplete": "off", "spellcheck": "false"}),
    )
    instructions = forms.CharField(
        required=False, max_length=definitions.MAX_INSTRUCTIONS, help_text="A model reads them with every brief.",
        widget=forms.Textarea({"class": "textarea", "rows": 3}),
    )

    def definition(self) -> definitions.Definition:
        """BadInput says which of the values cannot be."""
        given = dict(self.cleaned_data)
        operators = given.pop("operators").replace(",", " ").split()
        if given["provider"] == BUILTIN:
            given["mode"] = Mode.OPERATORS.value
        return definitions.checked({**given, "operators": operators})


@require_GET
def strategies_page(request: HttpRequest, slug: str) -> HttpResponse:
    return _page(request, experiment_of(request, slug), Addition())


@require_POST
def strategy_add(request: HttpRequest, slug: str) -> HttpResponseBase:
    found = experiment_of(request, slug, role=Role.OWNER)
    form = Addition(request.POST)
    if not form.is_valid():
        return _page(request, found, form, status=400)
    try:
        strategies.add(found, form.definition(), actor=_actor(request))
    except DarwinError as error:
        form.add_error(None, str(error))
        return _page(request, found, form, status=400)
    return redirect("strategies", slug=slug)


@require_POST
def strategy_share(request: HttpRequest, slug: str, name: str) -> HttpResponseBase:
    """The share that was given, as a number; 0 switches off."""
    found = experiment_of(request, slug, role=Role.OWNER)
    strategy = get_object_or_404(found.strategies, name=name)
    try:
        strategies.change(strategy, share=_number(request.POST.get("share", "")), actor=_actor(request))
    except DarwinError as error:
        messages.error(request, str(error))
    return redirect("strategies", slug=slug)


def _page(request: HttpRequest, found: Experiment, form: Addition, *, status: int = 200) -> HttpResponse:
    lines = found.events.filter(kind=strategies.CHOSEN).order_by("-id")[:LATELY]
    return render(request, "pages/strategies.html", {
        "here": "experiments",
        "experiment": found,
        "rows": rows_of(found),
        "standings": agreement.standings(found),
        "lately": [_choice(line.data) for line in lines],
        "form": form,
        "floor": bandit.FLOOR,
        "decay": 1 - bandit.DECAY,
        "owns": may(person(request), found, Role.OWNER),
    }, status=status)


def rows_of(experiment: Experiment) -> list[Row]:
    """Every strategy, the likeliest first, those that are switched off last."""
    known = records(experiment)
    chances = strategies.chances(experiment, Random(experiment.seed))  # noqa: S311 the same page shows the same
    found = [Row(one, known[one.name], chances.get(one.name)) for one in strategies.of(experiment)]
    return sorted(found, key=lambda row: -1.0 if row.chance is None else -row.chance - 1)


def _choice(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "draft": data["attempt"] + 1, "chance": data["chances"].get(data["strategy"])}


def _number(text: str) -> float | str:
    """As a number where it is one; `definitions.share` says what is wrong with it else."""
    try:
        return float(text)
    except ValueError:
        return text


def _actor(request: HttpRequest) -> str:
    return f"user:{person(request).get_username()}"
