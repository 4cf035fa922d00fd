"""An experiment with people, a proposal in review, and a clock that can be moved past the undo window."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from evolution.models import Experiment, Role, Variant
from review.decisions import shown_hash
from tests import cast


@pytest.fixture(autouse=True)
def own_var(settings: Settings, tmp_path: Path) -> Path:
    settings.DARWIN_VAR = tmp_path / "var"
    return tmp_path / "var"


@pytest.fixture
def experiment(db: None) -> Experiment:
    return cast.bred(cast.experiment(owner=cast.person("olivia")))


@pytest.fixture
def rita(experiment: Experiment) -> User:
    return cast.member("rita", experiment, Role.REVIEWER)


@pytest.fixture
def proposal(experiment: Experiment) -> Variant:
    return cast.move(cast.mutation(experiment), *cast.TO_REVIEW)


@pytest.fixture
def shown(proposal: Variant) -> str:
    return shown_hash(proposal)


@pytest.fixture
def later() -> datetime:
    """After every undo window."""
    return timezone.now() + timedelta(seconds=60)


@pytest.fixture
def shared_database(db: None, tmp_path: Path) -> Iterator[None]:
    """A database for threads with connections of their own, which read nothing of this test's transaction.

    SQLite: a file, copied from the test database in memory, which several connections cannot write to. The test
    itself touches it only through threads.
    """
    if connection.vendor != "sqlite":
        yield
        return
    (tmp_path / "shared.sqlite3").write_bytes(connection.connection.serialize())
    name = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = str(tmp_path / "shared.sqlite3")
    yield
    connection.settings_dict["NAME"] = name
