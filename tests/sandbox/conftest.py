"""Both drivers: every test that takes `driver` runs once in each."""

import pytest

from sandbox.drivers.base import Driver
from sandbox.readiness import driver as driver_named


@pytest.fixture(
    params=[
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    ]
)
def driver(request: pytest.FixtureRequest) -> Driver:
    return driver_named(request.param)
