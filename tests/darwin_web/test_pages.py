"""Every page with nothing, one and many; who may see it; and what the browser may load."""

import json
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evolution.models import Event, Experiment, ExperimentStatus, Role, Status
from sandbox.models import Purpose, Trial
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def web(owner: User, client: Client) -> Client:
    client.force_login(owner)
    return client


@pytest.fixture
def demo(owner: User) -> Experiment:
    experiment = cast.experiment(owner=owner)
    cast.population(experiment)
    return experiment


def page(client: Client, name: str, *args: object, expect: int = 200, **query: str) -> str:
    response = client.get(reverse(name, args=args), query)
    assert response.status_code == expect
    return response.content.decode()


def addresses(experiment: Experiment) -> list[str]:
    names = ("experiment", "experiment_state", "experiment_curves", "lineage", "lineage_data")
    return [reverse(name, args=[experiment.slug]) for name in names] + [reverse("variant", args=[experiment.slug, 0])]


def test_an_empty_overview_teaches_how_to_begin(web: Client) -> None:
    text = page(web, "overview")
    assert "Start your first experiment" in text
    assert reverse("experiment_new") in text


def test_the_overview_shows_each_experiment_and_what_waits(web: Client, demo: Experiment) -> None:
    text = page(web, "overview")
    assert reverse("experiment", args=["demo"]) in text
    assert "10.50" in text
    assert reverse("review_proposal", args=["demo", 4]) in text


def test_the_list_of_experiments_is_filtered_by_name_and_status(web: Client, demo: Experiment) -> None:
    other = cast.experiment("second")
    assert "second" in page(web, "experiments", q="SEC")
    assert reverse("experiment", args=[demo.slug]) not in page(web, "experiments", q="SEC")
    assert reverse("experiment", args=[other.slug]) not in page(web, "experiments", status="paused")
    assert "No experiment is like this" in page(web, "experiments", q="nothing")


def test_the_list_of_experiments_has_a_second_page(web: Client, demo: Experiment) -> None:
    fields = {"genome": "builtin", "data": "builtin"}
    Experiment.objects.bulk_create([Experiment(slug=f"e{n}", name=f"e{n}", **fields) for n in range(30)])
    assert "page 2 of 2" in page(web, "experiments", page="2")


def test_an_experiment_that_has_just_begun_has_a_page(web: Client) -> None:
    cast.experiment()
    state = json.loads(page(web, "experiment_state", "demo"))
    assert state["best"] is None
    assert state["seconds_left"] is None
    assert page(web, "experiment", "demo")


def test_the_variant_page_shows_difference_family_and_decisions(web: Client, demo: Experiment) -> None:
    text = page(web, "variant", "demo", 1)
    assert "learning_rate" in text.split('class="removed"')[1]
    assert "10.50" in text
    assert reverse("variant", args=["demo", 0]) in text
    assert "Larger steps learn more" in text


def test_the_variant_page_compares_with_any_other_variant(web: Client, demo: Experiment) -> None:
    text = page(web, "variant", "demo", 1, against="2")
    assert "3.0" in text
    page(web, "variant", "demo", 1, against="99", expect=404)


def test_the_variant_page_shows_one_file_of_the_code(web: Client, demo: Experiment) -> None:
    assert "Bigram" in page(web, "variant", "demo", 0, view="code", file="model.py")
    page(web, "variant", "demo", 0, view="code", file="../secret_key", expect=404)


def test_a_log_is_shown_as_text_with_hidden_characters_escaped(web: Client, demo: Experiment) -> None:
    trial = Trial.objects.create(variant=demo.variants.get(number=3), purpose=Purpose.SCORE, seed=1)
    trial.attempts.create(number=1, device="cpu:0", log_tail="<script>alert(1)</script> \x1b[31m \u202e")
    text = page(web, "variant", "demo", 3)
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    assert "\\x1b[31m" in text
    assert "\\u202e" in text


def test_a_title_of_a_variant_cannot_leave_the_page_data(web: Client, demo: Experiment) -> None:
    cast.mutation(demo, rate=9.0, title="</script><script>alert(1)</script>")
    assert "<script>alert(1)" not in page(web, "experiment", "demo")
    assert "<script>alert(1)" not in page(web, "variant", "demo", 6)


def test_the_machine_page_says_that_no_worker_has_reported(web: Client) -> None:
    (Path(settings.DARWIN_VAR) / "machine.json").unlink(missing_ok=True)
    assert "No sandbox worker has reported yet" in page(web, "machine")


def test_the_machine_page_shows_driver_reason_and_warning(web: Client) -> None:
    path = Path(settings.DARWIN_VAR) / "machine.json"
    path.write_text(json.dumps({
        "at": "2030-01-01T00:00:00+00:00", "driver": "bubblewrap", "why": "no Docker engine answers",
        "warning": "memory is not limited", "drivers": [{"name": "docker", "usable": False, "reason": "no engine"}],
        "devices": [], "image": "",
    }))
    text = page(web, "machine")
    path.unlink()
    assert "no Docker engine answers" in text
    assert "memory is not limited" in text
    assert "not usable" in text


def test_every_page_asks_for_a_login(client: Client, demo: Experiment) -> None:
    for address in [*addresses(demo), *map(reverse, ("overview", "experiments", "experiment_new", "machine"))]:
        assert client.get(address)["Location"].startswith(reverse("login"))


def test_a_hidden_experiment_does_not_exist(client: Client, viewer: User, demo: Experiment) -> None:
    client.force_login(viewer)
    assert [client.get(address).status_code for address in addresses(demo)] == [404] * 6
    assert reverse("experiment", args=["demo"]) not in page(client, "overview")
    assert client.post(reverse("experiment_control", args=["demo", "stop"])).status_code == 404


def test_a_member_may_look_but_not_steer(client: Client, demo: Experiment) -> None:
    client.force_login(cast.member("victor", demo, Role.VIEWER))
    assert [client.get(address).status_code for address in addresses(demo)] == [200] * 6
    assert "Pause" not in page(client, "experiment", "demo")
    assert client.post(reverse("experiment_control", args=["demo", "pause"])).status_code == 403
    demo.refresh_from_db()
    assert demo.status == ExperimentStatus.RUNNING


def test_the_owner_pauses_resumes_and_stops(web: Client, demo: Experiment) -> None:
    for action, status in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        web.post(reverse("experiment_control", args=["demo", action]), {"reason": "a reason"})
        demo.refresh_from_db()
        assert demo.status == status
    assert Event.objects.filter(kind="experiment.changed", actor="user:olga").count() == 3
    assert demo.variants.get(number=4).status == Status.CANCELLED


def test_a_control_that_makes_no_sense_says_so(web: Client, demo: Experiment) -> None:
    response = web.post(reverse("experiment_control", args=["demo", "resume"]), follow=True)
    assert "it cannot become running" in response.content.decode()


def test_controls_are_not_followed_as_links(web: Client, demo: Experiment) -> None:
    assert web.get(reverse("experiment_control", args=["demo", "stop"])).status_code == 405


def test_the_policy_allows_no_inline_script_and_no_other_host(web: Client, demo: Experiment) -> None:
    for name in ("overview", "experiment", "lineage"):
        response = web.get(reverse(name, args=["demo"] if name != "overview" else []))
        # The directives come in any order.
        policy = dict(one.strip().split(" ", 1) for one in response["Content-Security-Policy"].split(";"))
        assert policy["script-src"] == "'self'"
        assert policy["default-src"] == "'none'"
        assert "nonce-" in policy["style-src-elem"]
        text = response.content.decode()
        assert "onclick=" not in text
        assert " style=" not in text
        assert "http://" not in text.replace("http://www.w3.org", "")
