"""Who may see and do what."""

import pytest
from django.contrib.auth.models import AnonymousUser

from evolution.models import Experiment, Role
from evolution.rights import may, visible_to
from tests import cast

pytestmark = pytest.mark.django_db


def test_a_stranger_sees_nothing(experiment: Experiment) -> None:
    assert not visible_to(cast.person("stranger")).exists()
    assert not visible_to(AnonymousUser()).exists()
    assert not may(cast.person("stranger"), experiment, Role.VIEWER)
    assert not may(AnonymousUser(), experiment, Role.VIEWER)


def test_a_member_sees_each_experiment_once(experiment: Experiment) -> None:
    cast.experiment("other")
    owner_and_member = cast.member("olivia", experiment, Role.VIEWER)
    assert visible_to(cast.member("victor", experiment, Role.VIEWER)).get() == experiment
    assert visible_to(owner_and_member).filter(pk=experiment.pk).count() == 1


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        (Role.VIEWER, {Role.VIEWER}),
        (Role.REVIEWER, {Role.VIEWER, Role.REVIEWER}),
        (Role.OWNER, {Role.VIEWER, Role.REVIEWER, Role.OWNER}),
    ],
)
def test_a_role_holds_those_below_it(experiment: Experiment, held: Role, allowed: set[Role]) -> None:
    user = cast.member("mona", experiment, held)
    assert {role for role in Role if may(user, experiment, role)} == allowed


def test_owners_and_superusers_may_do_everything(experiment: Experiment) -> None:
    root = cast.person("root", superuser=True)
    assert may(cast.person("olivia"), experiment, Role.OWNER)
    assert may(root, experiment, Role.OWNER)
    assert visible_to(root).get() == experiment


def test_an_account_that_was_switched_off_has_no_rights_left(experiment: Experiment) -> None:
    root = cast.person("root", superuser=True)
    root.is_active = False
    assert not may(root, experiment, Role.VIEWER)
    assert not visible_to(root).exists()
