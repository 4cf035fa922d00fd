"""What the review pages post, read and checked."""

from collections.abc import Mapping

from django import forms
from django.http import QueryDict

from review.models import Verdict, VetoReason
from review.queries import SORTS, Choice

FILE = "file:"  # the name of a field that holds an edited file is this and its path


class ChoiceForm(forms.Form):
    """The filters in the address; what is unknown is left out."""

    experiment = forms.SlugField(required=False)
    risk = forms.ChoiceField(required=False, choices=[("low", "low"), ("med", "med"), ("high", "high")])
    author = forms.CharField(required=False, max_length=200)
    sort = forms.ChoiceField(required=False, choices=list(SORTS.items()))


class DecisionForm(forms.Form):
    verdict = forms.ChoiceField(choices=[(v.value, v.label) for v in (Verdict.ACCEPT, Verdict.EDIT, Verdict.VETO)])
    shown = forms.RegexField(r"^[0-9a-f]{64}$")
    category = forms.ChoiceField(required=False, choices=VetoReason.choices)
    reason = forms.CharField(required=False, max_length=2000)


def choice_of(query: QueryDict) -> Choice:
    """The filters in an address."""
    form = ChoiceForm(query)
    form.is_valid()
    return Choice(**{"sort": "risk", **{name: value for name, value in form.cleaned_data.items() if value}})


def edited_files(post: QueryDict, before: Mapping[str, str]) -> dict[str, str]:
    """The files of a posted edit that differ from what was proposed, `before`.

    A browser sends every line end as CR LF, whatever was in the field: each file keeps the ends that it had.
    """
    edited: dict[str, str] = {}
    for name in post:
        path = name.removeprefix(FILE)
        if not name.startswith(FILE) or path not in before:
            continue
        text = str(post[name]).replace("\r\n", "\n")
        if "\r\n" in before[path]:
            text = text.replace("\n", "\r\n")
        if text != before[path]:
            edited[path] = text
    return edited


def sentence(form: forms.Form) -> str:
    """What is wrong with a form, in one sentence."""
    field, errors = next(iter(form.errors.items()))
    return f"{field.capitalize()}: {errors[0]} Reload the page and try again."
