"""The form that starts an experiment, with an estimate of its time from what was measured here."""

import secrets
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from darwin_web.pages import machine
from darwin_web.pages.scope import person
from evolution import experiments
from evolution.errors import DarwinError, NameTaken
from evolution.models import Experiment, ReviewMode
from evolution.options import BUILTIN, DEFAULT_BUDGET_TOKENS, DEFAULTS, MOST_PAIRS, Options
from sandbox import queries

OPENAI = "openai"
MOST_SEED = 2**31


def _text(label: str, hint: str = "", **options: Any) -> forms.CharField:
    attributes = {"class": "input", "autocomplete": "off", "spellcheck": "false"}
    return forms.CharField(label=label, help_text=hint, widget=forms.TextInput(attributes), **options)


def _number(label: str, hint: str = "", *, least: float, most: float, **options: Any) -> forms.IntegerField:
    return forms.IntegerField(
        label=label, help_text=hint, min_value=int(least), max_value=int(most),
        widget=forms.NumberInput({"class": "input"}), **options,
    )


class NewExperiment(forms.Form):
    name = _text("Name", "Also its address: letters, digits, spaces and hyphens.", max_length=60)
    genome = _text(
        "Genome", "“builtin” is a small GPT. Or a directory on this machine with a genome.toml.", initial=BUILTIN
    )
    data = _text(  # type: ignore[assignment]  # fields leave the class: what the form was sent stays at self.data
        "Data", "“builtin” is 1 MB of Python source. Or a text file on this machine.", initial=BUILTIN
    )
    population = _number("Proposals per generation", least=1, most=1000, initial=10)
    survivors = _number("Survivors", "The best so far, which breed.", least=1, most=1000, initial=4)
    generations = _number("Generations", "Bred ones; the baseline is generation 0.", least=1, most=10_000, initial=5)
    budget = forms.ChoiceField(
        label="Budget of one training", initial="tokens", choices=[("tokens", "tokens"), ("seconds", "seconds")],
        widget=forms.Select({"class": "select"}),
        help_text="Tokens are repeatable: same device, same seed, same number.",
    )
    amount = _number("How many", least=1, most=10**13, initial=DEFAULT_BUDGET_TOKENS)
    agent = _text("Agent", "“builtin”: named edits, no key. “openai”: any OpenAI-compatible endpoint.", initial=BUILTIN)
    review = forms.ChoiceField(
        label="Review", initial=ReviewMode.HUMAN, choices=ReviewMode.choices, widget=forms.RadioSelect
    )
    confirm_pairs = _number(
        "Pairs of a contest, at most", "On new seeds, what leads must beat the champion. 0: no contests.",
        least=0, most=MOST_PAIRS, initial=DEFAULTS["confirm_pairs"], required=False,
    )
    seed = _number("Seed of the search", "The same seed draws the same parents.", least=0, most=MOST_SEED)

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_genome(self) -> str:
        return self._allowed("genome")

    def clean_data(self) -> str:
        return self._allowed("data")

    def clean_agent(self) -> str:
        agent = self.cleaned_data["agent"].strip()
        if agent in (BUILTIN, OPENAI):
            return str(agent)
        return self._allowed("agent")

    def _allowed(self, field: str) -> str:
        """What names files of this machine is for its administrators."""
        value = str(self.cleaned_data[field]).strip()
        if value != BUILTIN and not self.user.is_superuser:
            raise forms.ValidationError(f"Only an administrator may name files of this machine: write {BUILTIN}.")
        return value

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        population, survivors = cleaned.get("population"), cleaned.get("survivors")
        if population and survivors and survivors > population:
            self.add_error("survivors", f"{survivors} cannot survive of a population of {population}: choose fewer.")
        return cleaned

    def options(self) -> Options:
        cleaned = self.cleaned_data
        pinned = machine.report() or {}
        budget = {f"budget_{cleaned['budget']}": cleaned["amount"]}
        names = (
            "name", "genome", "data", "population", "survivors", "generations", "agent", "review", "seed",
            "confirm_pairs",
        )
        return Options(
            **{name: cleaned[name] for name in names}, **budget,
            sandbox=pinned.get("driver") or "auto", image=pinned.get("image") or None,
        )


@require_http_methods(["GET", "POST"])
def experiment_new(request: HttpRequest) -> HttpResponseBase:
    user = person(request)
    if request.method == "POST":
        form = NewExperiment(request.POST, user=user)
        if form.is_valid() and (made := _create(form)) is not None:
            return redirect("experiment", slug=made.slug)
        return _page(request, form)
    return _page(request, NewExperiment(user=user, initial={"seed": secrets.randbelow(MOST_SEED)}))


def _create(form: NewExperiment) -> Experiment | None:
    try:
        return experiments.create(form.options(), actor=f"user:{form.user.get_username()}", owner=form.user)
    except NameTaken as error:
        form.add_error("name", str(error))
    except DarwinError as error:
        form.add_error(_field_of(str(error)), str(error))
    return None


def _field_of(message: str) -> str | None:
    """The field a sentence of the options speaks about, by its first word; None puts it above the form."""
    first = message.split(" ", 1)[0].strip("“”")
    return {"budget_tokens": "amount", "budget_seconds": "amount", "confirm": "confirm_pairs"}.get(
        first, first if first in NewExperiment.base_fields else None
    )


def _page(request: HttpRequest, form: NewExperiment) -> HttpResponse:
    return render(request, "pages/experiment_new.html", {
        "here": "experiments", "form": form, "machine": machine.report(),
    })


@require_GET
def estimate(request: HttpRequest) -> JsonResponse:
    """{"trainings", "seconds", "measured"}: seconds is null while nothing was measured on this machine."""
    given = {name: _whole(request, name) for name in ("population", "generations", "amount")}
    trainings = 1 + given["population"] * given["generations"]
    pace, speed = queries.pace(), queries.speed()
    if pace is None or speed is None:
        return JsonResponse({"trainings": trainings, "seconds": None, "measured": 0})
    overhead = max(0.0, pace.seconds - speed.train_seconds)
    tokens = request.GET.get("budget") != "seconds"
    train = given["amount"] / speed.tokens_per_second if tokens else given["amount"]
    return JsonResponse({
        "trainings": trainings, "seconds": trainings * (overhead + train) / pace.devices, "measured": pace.trainings,
    })


def _whole(request: HttpRequest, name: str) -> int:
    text = request.GET.get(name, "")
    return min(int(text), 10**13) if text.isdecimal() and len(text) < 16 else 0
