import json
import re
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evolution.models import Experiment, Role, Status, Variant
from review.decisions import accept, settle_due
from review.models import Decision
from tests import cast
from tests.review.test_admission import proposal_with
from tests.review.test_decisions import fresh

JSON = {"Accept": "application/json"}


def entered(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def address(name: str, variant: Variant) -> str:
    return reverse(name, args=[variant.experiment.slug, variant.number])


def test_the_queue_opens_the_first_proposal(client: Client, rita: User, proposal: Variant) -> None:
    page = entered(client, rita).get(reverse("review_queue"))
    assert page.status_code == 200
    assert "1 waiting" in page.content.decode()
    assert page.context["proposal"].variant == proposal


def test_an_empty_queue_says_what_comes_next(client: Client, rita: User) -> None:
    assert "Nothing waits for you" in entered(client, rita).get(reverse("review_queue")).content.decode()


def test_someone_without_an_experiment_is_led_to_a_new_one(client: Client, viewer: User) -> None:
    assert reverse("experiment_new") in entered(client, viewer).get(reverse("review_queue")).content.decode()


def test_the_riskiest_comes_first_and_filters_narrow_the_queue(
    client: Client, rita: User, experiment: Experiment
) -> None:
    small = cast.move(cast.mutation(experiment), *cast.TO_REVIEW)
    risky = cast.move(proposal_with(experiment, b"import os\n"), Status.IN_REVIEW)
    client = entered(client, rita)
    for variant in (small, risky):
        client.get(address("review_proposal", variant))  # reads the evidence
    listed = client.get(reverse("review_queue")).context["queue"].rows
    assert [row.pk for row in listed] == [risky.pk, small.pk]
    narrowed = client.get(reverse("review_queue"), {"risk": "low"}).context["queue"]
    assert [row.pk for row in narrowed.rows] == [small.pk]
    assert narrowed.total == 2
    by_author = client.get(reverse("review_queue"), {"author": "agent:m"}).context["queue"].rows
    assert [row.pk for row in by_author] == [risky.pk]


def test_accept_leads_to_the_next_proposal(client: Client, rita: User, proposal: Variant, shown: str) -> None:
    other = cast.move(cast.mutation(proposal.experiment, rate=7.0), *cast.TO_REVIEW)
    data = {"verdict": "accept", "shown": shown}
    answer = entered(client, rita).post(address("review_decide", proposal), data)
    assert answer.headers["Location"] == address("review_proposal", other)
    assert proposal.decisions.get().verdict == "accept"


def test_a_script_gets_the_next_address_as_json(client: Client, rita: User, proposal: Variant, shown: str) -> None:
    data = {"verdict": "accept", "shown": shown}
    answer = entered(client, rita).post(address("review_decide", proposal), data, headers=JSON)
    assert answer.json() == {"decision": Decision.objects.latest("pk").pk, "verdict": "accept", "next": "/review/"}


def test_an_edit_from_a_browser_keeps_the_line_ends_of_the_file(
    client: Client, rita: User, proposal: Variant, shown: str
) -> None:
    text = client_text(client, rita, proposal).replace("batch_size = 8", "batch_size = 2")
    data = {"verdict": "edit", "shown": shown, "file:train.py": text.replace("\n", "\r\n")}
    client.post(address("review_decide", proposal), data)
    child = Variant.objects.get(parent=proposal)
    assert child.lines_changed == 2
    assert child.author == "user:rita"


def client_text(client: Client, user: User, variant: Variant) -> str:
    page = entered(client, user).get(address("review_proposal", variant))
    return str(next(text for text in page.context["texts"] if text["path"] == "train.py")["after"])


def test_accepting_never_loses_an_edit(client: Client, rita: User, proposal: Variant, shown: str) -> None:
    text = client_text(client, rita, proposal) + "# mine\n"
    data = {"verdict": "accept", "shown": shown, "file:train.py": text}
    answer = client.post(address("review_decide", proposal), data)
    assert answer.status_code == 400
    assert not proposal.decisions.exists()


def test_a_stale_edit_is_refused_and_given_back(client: Client, rita: User, proposal: Variant, shown: str) -> None:
    text = client_text(client, rita, proposal) + "# mine\n"
    Experiment.objects.update(image="sha256:another")
    answer = client.post(address("review_decide", proposal), {"verdict": "edit", "shown": shown, "file:train.py": text})
    assert answer.status_code == 409
    assert "changed since you opened it" in answer.content.decode()
    assert [one["edited"] for one in answer.context["texts"]] == [text]


def test_undo_brings_the_proposal_back(client: Client, rita: User, proposal: Variant, shown: str) -> None:
    decision = accept(proposal, reviewer=rita, shown=shown)
    client = entered(client, rita)
    assert reverse("review_undo", args=[decision.pk]) in client.get(reverse("review_queue")).content.decode()
    answer = client.post(reverse("review_undo", args=[decision.pk]))
    assert answer.headers["Location"] == address("review_proposal", proposal)
    assert client.get(reverse("review_queue")).context["queue"].total == 1


def test_withdraw_brings_an_approval_back(
    client: Client, rita: User, proposal: Variant, shown: str, later: datetime
) -> None:
    accept(proposal, reviewer=rita, shown=shown)
    settle_due(later)
    entered(client, rita).post(address("review_withdraw", proposal))
    assert fresh(proposal).status == Status.IN_REVIEW


def test_what_a_person_may_not_see_does_not_exist(client: Client, viewer: User, proposal: Variant, shown: str) -> None:
    decision = accept(proposal, reviewer=cast.person("olivia"), shown=shown)
    client = entered(client, viewer)
    assert client.get(address("review_proposal", proposal)).status_code == 404
    assert client.post(address("review_decide", proposal), {"verdict": "accept", "shown": shown}).status_code == 404
    assert client.post(reverse("review_undo", args=[decision.pk])).status_code == 404
    assert client.get(reverse("review_queue")).context["queue"].total == 0


@pytest.mark.parametrize("headers", [{}, JSON])
def test_a_viewer_is_told_who_decides(
    client: Client, proposal: Variant, shown: str, headers: dict[str, str]
) -> None:
    victor = cast.member("victor", proposal.experiment, Role.VIEWER)
    client = entered(client, victor)
    data = {"verdict": "accept", "shown": shown}
    answer = client.post(address("review_decide", proposal), data, headers=headers)
    assert answer.status_code == 403
    assert "ask its owner to make you a reviewer" in answer.content.decode()
    assert "data-accept" not in client.get(address("review_proposal", proposal)).content.decode()


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\u202eevil"


def test_hostile_text_is_shown_as_text(client: Client, rita: User, experiment: Experiment) -> None:
    fields: dict[str, Any] = dict.fromkeys(("title", "hypothesis", "rationale", "expected", "author"), HOSTILE)
    variant = cast.move(cast.mutation(experiment, **fields), *cast.TO_REVIEW)
    text = entered(client, rita).get(address("review_proposal", variant)).content.decode()
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    text = re.sub(r'<option value="[^"]*"', "", text)  # what a filter sends back; nobody sees it
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\u202eevil" in text


def test_hostile_code_reaches_the_editor_as_data(client: Client, rita: User, experiment: Experiment) -> None:
    variant = cast.move(proposal_with(experiment, b"s = '</script><script>alert(1)</script>'\n"), Status.IN_REVIEW)
    text = entered(client, rita).get(address("review_proposal", variant)).content.decode()
    assert "<script>alert" not in text
    start = text.index(">", text.index('id="texts"')) + 1
    assert "</script>" in json.loads(text[start : text.index("</script>", start)])[0]["after"]


def test_without_scripts_there_is_a_table_and_a_form(client: Client, rita: User, proposal: Variant) -> None:
    text = entered(client, rita).get(address("review_proposal", proposal)).content.decode()
    assert "<ins>2</ins>" in text
    assert '<textarea class="textarea mono" name="file:train.py"' in text
    assert 'name="verdict" value="accept"' in text
