"""The form that starts an experiment."""

import json
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evolution.models import Experiment
from tests import cast

pytestmark = pytest.mark.django_db


def given(**changes: str) -> dict[str, str]:
    options = cast.options()  # writes the tiny genome and a text
    return {
        "name": "Second try", "genome": str(options.genome), "data": str(options.data), "population": "3",
        "survivors": "2", "generations": "2", "budget": "tokens", "amount": "20000", "agent": "builtin",
        "review": "human", "seed": "7", **changes,
    }


@pytest.fixture
def web(owner: User, client: Client) -> Client:
    client.force_login(owner)
    return client


def refused(client: Client, **changes: str) -> str:
    response = client.post(reverse("experiment_new"), given(**changes))
    assert response.status_code == 200
    assert not Experiment.objects.exists()
    return response.content.decode()


def test_it_starts_an_experiment_and_leads_to_its_page(web: Client) -> None:
    report = Path(settings.DARWIN_VAR) / "machine.json"
    report.write_text(json.dumps({"driver": "docker", "image": "sha256:1"}))
    response = web.post(reverse("experiment_new"), given())
    report.unlink()
    made = Experiment.objects.get()
    assert response["Location"] == reverse("experiment", args=["second-try"])
    assert (made.population, made.survivors, made.generations, made.budget_tokens, made.seed) == (3, 2, 2, 20_000, 7)
    assert (made.sandbox, made.image) == ("docker", "sha256:1")
    assert made.owner is not None
    assert made.owner.get_username() == "olga"


def test_a_budget_may_be_seconds(web: Client) -> None:
    web.post(reverse("experiment_new"), given(budget="seconds", amount="60"))
    made = Experiment.objects.get()
    assert (made.budget_seconds, made.budget_tokens) == (60, None)


def test_a_name_that_is_taken_is_said_beside_the_name(web: Client) -> None:
    cast.experiment("second try")
    text = web.post(reverse("experiment_new"), given()).content.decode()
    assert "choose another name" in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"survivors": "9"}, "choose fewer"),
        ({"genome": "/nowhere"}, "neither a directory with a genome.toml"),
        ({"data": "/nowhere"}, "does not exist: give a text file"),
        ({"name": "new"}, "cannot be a name"),
        ({"amount": "5"}, "must be between 1,000"),
        ({"agent": "oracle"}, "must be builtin, openai or replay:FILE"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(web: Client, changes: dict[str, str], sentence: str) -> None:
    assert sentence in refused(web, **changes)


@pytest.mark.parametrize("field", ["genome", "data", "agent"])
def test_only_an_administrator_may_name_files_of_the_machine(client: Client, viewer: User, field: str) -> None:
    client.force_login(viewer)
    plain = {"genome": "builtin", "data": "builtin", "agent": "builtin", field: "/etc"}
    assert "Only an administrator may name files" in refused(client, **plain)
