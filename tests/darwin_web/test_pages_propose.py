"""The page for a change of one's own."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evolution import experiments
from evolution.genomes import store_of
from evolution.models import Experiment, Kind, Role, Status, Variant
from tests import cast

pytestmark = pytest.mark.django_db

MODEL = cast.MODEL.decode()
FASTER = cast.TRAIN.decode().replace("learning_rate = 1.0", "learning_rate = 2.0")
DIFF = """\
--- a/train.py
+++ b/train.py
@@ -7,3 +7,3 @@
-learning_rate = 1.0
+learning_rate = 2.0
 batch_size = 8
 block_size = 16
"""


@pytest.fixture
def web(owner: User, client: Client) -> Client:
    client.force_login(owner)
    return client


@pytest.fixture
def demo(owner: User) -> Experiment:
    experiment = cast.experiment(owner=owner)
    cast.population(experiment)
    return experiment


def given(**changes: str) -> dict[str, str]:
    return {"to": "0", "way": "edit", "title": "Faster", "hypothesis": "It crawls.", "file:train.py": FASTER, **changes}


def propose(client: Client, experiment: Experiment, changes: dict[str, str], *, expect: int = 302) -> str:
    response = client.post(reverse("propose", args=[experiment.slug]), given(**changes))
    assert response.status_code == expect
    return response.content.decode() or response["Location"]


def newest(experiment: Experiment) -> Variant:
    return experiment.variants.order_by("number").latest("number")


def test_an_edited_file_becomes_a_proposal_credited_to_the_person(web: Client, demo: Experiment) -> None:
    address = propose(web, demo, {"file:model.py": MODEL.replace("\n", "\r\n")})
    made = newest(demo)
    assert address == reverse("variant", args=[demo.slug, made.number])
    assert (made.kind, made.author, made.title, made.hypothesis) == (Kind.PATCH, "user:olga", "Faster", "It crawls.")
    assert (made.parent, made.status) == (demo.baseline, Status.DRAFTED)
    assert store_of(demo).files(made.commit) == {**cast.FILES, "train.py": FASTER.encode()}


def test_a_pasted_diff_becomes_the_same_proposal(web: Client, demo: Experiment) -> None:
    propose(web, demo, {"way": "diff", "diff": DIFF.replace("\n", "\r\n"), "file:train.py": ""})
    assert store_of(demo).files(newest(demo).commit)["train.py"] == FASTER.encode()


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"file:train.py": cast.TRAIN.decode()}, "changes nothing"),
    ({"title": ""}, "Title: This field is required."),
    ({"way": "diff", "diff": "what?"}, "The patch is empty"),
    ({"way": "diff", "diff": DIFF.replace("1.0", "9.0")}, "does not"),
    ({"way": "diff", "diff": DIFF.replace("train.py", "genome.toml")}, "genome.toml"),
    ({"way": "diff", "diff": "--- /dev/null\n+++ b/../escape.py\n@@ -0,0 +1 @@\n+x = 1\n"}, "escape.py"),
    ({"file:train.py": FASTER + "# \u202e hidden\n"}, "train.py"),
])
def test_a_refusal_is_one_sentence_and_nothing_is_lost(
    web: Client, demo: Experiment, changes: dict[str, str], sentence: str
) -> None:
    before = demo.variants.count()
    page = propose(web, demo, changes, expect=400)
    note = page.partition('id="refused" role="alert">')[2].partition("</p>")[0]
    assert sentence in note.replace("&quot;", '"')
    assert demo.variants.count() == before
    assert "It crawls." in page
    if changes.get("way") == "diff":
        assert changes["diff"].splitlines()[0] in page
    elif "file:train.py" not in changes:
        assert "learning_rate = 2.0" in page


def test_a_script_gets_the_sentence_or_the_address_alone(web: Client, demo: Experiment) -> None:
    address, headers = reverse("propose", args=[demo.slug]), {"accept": "application/json"}
    refused = web.post(address, given(title=""), headers=headers)
    assert (refused.status_code, refused.json()) == (400, {"message": "Title: This field is required."})
    done = web.post(address, given(), headers=headers)
    assert done.json() == {"next": reverse("variant", args=[demo.slug, newest(demo).number])}


def test_the_page_offers_the_files_that_may_be_changed_and_whom_to_build_on(web: Client, demo: Experiment) -> None:
    page = web.get(reverse("propose", args=[demo.slug]), {"to": "1"}).content.decode()
    assert 'name="file:model.py"' in page
    assert "genome.toml" not in page
    assert '<option value="1" selected>' in page
    assert '<option value="0">' in page


def test_a_number_that_is_no_variant_means_the_champion(web: Client, demo: Experiment) -> None:
    for number in ("999", "x", ""):
        page = web.get(reverse("propose", args=[demo.slug]), {"to": number}).content.decode()
        best = demo.champion or demo.baseline
        assert best is not None
        assert f'<option value="{best.number}" selected>' in page


def test_viewers_and_strangers_may_not_propose(client: Client, demo: Experiment) -> None:
    viewer = cast.member("vera", demo, Role.VIEWER)
    for person, code in ((viewer, 403), (cast.person("sven"), 404)):
        client.force_login(person)
        assert client.post(reverse("propose", args=[demo.slug]), given()).status_code == code
        assert client.get(reverse("propose", args=[demo.slug])).status_code == code
    client.force_login(viewer)
    assert "Propose a change" not in client.get(reverse("experiment", args=[demo.slug])).content.decode()


def test_an_experiment_that_is_over_takes_no_more(web: Client, demo: Experiment) -> None:
    experiments.stop(demo, actor="user:olga")
    assert "takes no more proposals" in propose(web, demo, {}, expect=400)
    assert "Propose a change" not in web.get(reverse("experiment", args=[demo.slug])).content.decode()
